//! What namespaces hold (namespaces(7)): numbers of processes, users, clocks. Nothing here knows a
//! process; `process` says which of them one is in.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `pid` | PID namespaces: a number per level |
//! | `time` | time namespaces: by how much clocks are ahead |
//! | `user` | user namespaces: maps of users and groups, and who owns what |
//!
//! The first namespace of each kind is no object: `None` stands for it, so that a system with no
//! other pays a comparison with zero.

pub(crate) mod pid;
pub(crate) mod time;
pub(crate) mod user;

use core::sync::atomic::{AtomicU64, Ordering};

/// Numbers of first namespaces: `PROC_…_INIT_INO` (include/linux/proc_ns.h).
pub(crate) mod first {
    pub(crate) const USER: u64 = 0xefff_fffd;
    pub(crate) const PID: u64 = 0xefff_fffc;
    pub(crate) const TIME: u64 = 0xefff_fffa;
}

/// Those of others: none is one of a mount namespace or of one of host names.
static NEXT: AtomicU64 = AtomicU64::new(0xf400_0000);

/// The number that a new namespace is known by.
fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}
