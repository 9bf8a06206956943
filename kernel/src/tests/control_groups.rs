//! Control groups as programs have them: made, limited and watched by the distribution's shell.

use super::arch::expectations::EXPECTED;
use super::support::until;
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use kstack::groups::UNLIMITED;
use kstack::record::AccountId;
use linux::run_captured;
use threads::stacks::accounts::{self, groups};
use threads::stacks::{self, pages};

/// What a script begins with: the groups at their usual place, and two words more.
const BEGIN: &str = "cd /sys/fs/cgroup 2>/dev/null || exit 90
mount -t cgroup2 none /sys/fs/cgroup || exit 91
cd /sys/fs/cgroup || exit 92
echo '+memory +pids' >cgroup.subtree_control || exit 93
# Until a file of a group says so.
wait_for() { n=0; until grep -qx \"$1\" $2; do n=$((n+1)); [ $n -lt 400 ] || exit 94; sleep 0.05; done; }
# Ends all that is in a group.
end_all() { kill -9 $(cat $1/cgroup.procs) && wait_for 'populated 0' $1/cgroup.events; }
";

const END: &str = "cd / && umount /sys/fs/cgroup || exit 95\n";

/// Runs a script; what it has written. Afterwards nothing of it is charged, and no group is left.
fn run(script: &str) -> Result<String, String> {
    until("nothing is on its way out", || linux::all().is_empty() && stacks::census().ending == 0)?;
    let charged = pages::charged_bytes();
    let whole = format!("{BEGIN}{script}{END}");
    let ran = run_captured("/bin/busybox", &[b"sh", b"-c", whole.as_bytes()]);
    let (status, output) = ran.map_err(|error| format!("{error}"))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    check!(status == 0, "status {status}: {output}");
    until("all of it has ended", || linux::all().is_empty() && stacks::census().ending == 0)?;
    // A thread that ends is on its stack a moment longer. One of before may have been, too.
    until("its stacks are back", || pages::charged_bytes() <= charged)?;
    // A number that has a life is one of a group; the places are given out from the lowest.
    accounts::drain();
    let next = groups().create(AccountId::SYSTEM).map_err(|error| format!("{error}"))?;
    let is_first = next.get() % 1024 == 1 && groups().limit(next) == UNLIMITED;
    let _removed = groups().remove(next);
    check!(is_first, "group {next} is not the only one");
    Ok(output)
}

/// The script's lines must be these.
fn check_lines(script: &str, wanted: &[&str]) -> Outcome {
    let output = run(script)?;
    let lines = || output.lines().map(str::trim_end);
    check!(lines().eq(wanted.iter().copied()), "not {wanted:#?}, but\n{output}");
    Ok(())
}

/// A shell in a group whose stacks have a limit: its children fit until the limit is reached, the
/// next fork is `ENOMEM`, as copy_process has it, and what the group tells adds up. Red if a fork
/// is charged to the root, or fails otherwise.
pub fn u1_t7_t11_p2_a_shell_over_its_groups_memory_limit_cannot_fork() -> Outcome {
    let stack = EXPECTED.stack_kib * 1024;
    let script = format!(
        "mkdir a a/b || exit 1
echo +memory >a/cgroup.subtree_control || exit 2
cat a/cgroup.controllers a/b/cgroup.controllers
echo {three} >a/memory.max && cat a/memory.max a/b/memory.max
sh -c 'echo $$ >a/b/cgroup.procs; for i in 1 2 3 4; do sleep 1000 & done' 2>&1
cat a/memory.current a/b/memory.current
grep kernel_stack a/memory.stat
grep max a/memory.events
grep max a/b/memory.events
wc -l <a/b/cgroup.procs
end_all a/b
wait_for 0 a/memory.current
sh -c 'echo $$ >a/b/cgroup.procs; (echo fits); (echo again)'
echo max >a/memory.max && cat a/memory.max
rmdir a/b a && ls -d a 2>/dev/null
",
        three = 3 * stack + 100
    );
    let three = format!("{}", 3 * stack);
    let used = format!("kernel_stack {three}");
    check_lines(
        &script,
        &[
            "memory pids",
            "memory",
            &three,
            "max",
            "sh: can't fork: Cannot allocate memory",
            &three,
            &three,
            &used,
            "max 1",
            "max 0",
            "3",
            "fits",
            "again",
            "max",
        ],
    )
}

/// The same with the number of threads: `EAGAIN`, at the group above the one that the shell is in.
/// Red if a zombie or a moved process counts in the wrong group, or a refused fork stays counted.
pub fn u1_t7_t11_p2_a_shell_over_its_groups_pids_limit_cannot_fork() -> Outcome {
    let script = "mkdir a a/b || exit 1
echo +pids >a/cgroup.subtree_control || exit 2
echo 3 >a/pids.max && cat a/pids.max a/b/pids.max
sh -c 'echo 0 >a/b/cgroup.procs; cat /proc/self/cgroup; for i in 1 2 3; do sleep 1000 & done' 2>&1
cat a/pids.current a/b/pids.current a/pids.peak a/pids.events a/b/pids.events
for i in 1 2; do sleep 1000 & echo $! >a/b/cgroup.procs || exit 3; done
cat a/pids.current
rmdir a/b 2>/dev/null; echo $?
end_all a/b
wait_for 0 a/pids.current
grep -h . a/cgroup.events a/cgroup.stat
rmdir a 2>/dev/null; echo $?
rmdir a/b a; echo $?
";
    check_lines(
        script,
        &[
            "3",
            "max",
            "0::/a/b",
            "sh: can't fork: Resource temporarily unavailable",
            "2",
            "2",
            "3",
            "max 1",
            "max 0",
            "4",
            "1",
            "populated 0",
            "frozen 0",
            "nr_descendants 1",
            "nr_dying_descendants 0",
            "1",
            "0",
        ],
    )
}

/// A shell's stack overflows inside the clone that makes its child: what the clone had taken of the
/// group is given back, and the group can be removed. Red if it is kept in a frame of the call.
pub fn u1_t7_o5_p2_an_overflow_inside_a_clone_leaves_nothing_in_its_group() -> Outcome {
    let script = "mkdir a && echo 2 >a/pids.max || exit 1
{ sh -c 'echo $$ >a/cgroup.procs; echo clone >/proc/kstack/provoke; (echo never); echo no'; } 2>&1 |
    grep -v fault
cat a/pids.current a/pids.peak a/memory.current a/cgroup.procs
sh -c 'echo $$ >a/cgroup.procs; (echo fits); echo again'
rmdir a; echo $?
";
    check_lines(script, &["0", "2", "0", "fits", "again", "0"])
}

/// What Linux refuses is refused, each with its error. Red if a group with processes gives
/// controllers away, or a name that is a file's becomes a group.
pub fn u1_t7_p8_what_control_groups_do_not_take_is_an_error() -> Outcome {
    let script = "grep -c cgroup2 /proc/filesystems
grep -c '^none /sys/fs/cgroup cgroup2 rw' /proc/mounts
stat -f -c %t .
mkdir a && mkdir a 2>&1
mkdir cgroup.procs 2>&1
mkdir nowhere/a 2>&1
rmdir cgroup.procs 2>&1
rmdir nowhere 2>&1
rm a/pids.max 2>&1
try() { (echo $1 >$2) 2>&1 | sed 's/.*: //'; }
try +cpu cgroup.subtree_control
try x a/cgroup.procs
try 99999 a/cgroup.procs
try -1 a/pids.max
try x a/memory.max
try 1 a/memory.current
try 1 a/cgroup.threads
sleep 1000 &
echo $! >a/cgroup.procs
try +pids a/cgroup.subtree_control
kill -9 $!; wait $! 2>/dev/null
try +pids a/cgroup.subtree_control
try $$ a/cgroup.procs
mkdir a/b && try -pids cgroup.subtree_control
ls a/b | grep -c memory
echo -memory >cgroup.subtree_control && ls a | grep -c memory
rmdir a/b a
";
    check_lines(
        script,
        &[
            "1",
            "1",
            "63677270",
            "mkdir: can't create directory 'a': File exists",
            "mkdir: can't create directory 'cgroup.procs': File exists",
            "mkdir: can't create directory 'nowhere/a': No such file or directory",
            "rmdir: 'cgroup.procs': Not a directory",
            "rmdir: 'nowhere': No such file or directory",
            "rm: can't remove 'a/pids.max': Operation not permitted",
            "Invalid argument",
            "Invalid argument",
            "No such process",
            "Invalid argument",
            "Invalid argument",
            "Invalid argument",
            "Operation not supported",
            "Device or resource busy",
            "Device or resource busy",
            "Device or resource busy",
            "0",
            "0",
        ],
    )
}
