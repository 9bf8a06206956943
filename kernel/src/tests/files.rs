//! Rules that programs give files: leases, flags, and what older calls tell of file systems.

use super::Outcome;
use super::hostile::run;

/// Red when a lease does not hold up who would open or cut the file, its holder is not told, or it
/// outlives the holder or its time.
pub fn p2_leases_hold_up_others_until_they_are_given_up() -> Outcome {
    run("file-rules", "leases")
}

/// Red when what may not change is changed, or what only grows is written elsewhere or cut.
pub fn u1_files_keep_to_their_flags() -> Outcome {
    run("file-rules", "flags")
}

/// Red when kinds of file systems, or names in the older form, are told otherwise than on Linux.
pub fn u1_older_calls_tell_of_file_systems_and_names() -> Outcome {
    run("file-rules", "systems")
}
