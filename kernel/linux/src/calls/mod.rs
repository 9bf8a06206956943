//! The bodies of system calls, by subject: they read arguments, and let the rooms below do the
//! work.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `table` | which number leads to which function; how a table is written |
//! | `files` | a folder: descriptors, transfers, names, stat, poll |
//! | `memory` | mmap and its kin |
//! | `process`, `wait`, `identity` | clone, execve; wait4 and waitid; groups and sessions |
//! | `ptrace` | what a tracer asks for |
//! | `pidfd` | processes as files |
//! | `futex`, `message_queues` | futex and its kin; POSIX message queues |
//! | `ipc` | a folder: semaphores, messages and shared memory by number and key |
//! | `signals` | sigaction, kill |
//! | `time`, `adjust` | clocks, sleeping; what is told of the clock by programs that keep it right |
//! | `timers`, `timerfd` | timers that send signals, and that are files |
//! | `tls`, `segments` | thread-local storage; segments that a program describes |
//! | `limits`, `credentials`, `prctl` | getrlimit, setuid, prctl, and their kin |
//! | `seccomp` | filters of calls |
//! | `scheduling` | policies, priorities, CPUs |
//! | `system` | uname, sysinfo, random bytes |
//!
//! May import everything but `dispatch`, which alone knows them all.

pub(crate) mod table;

pub(crate) mod adjust;
pub(crate) mod credentials;
pub(crate) mod files;
pub(crate) mod futex;
pub(crate) mod identity;
pub(crate) mod ipc;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod message_queues;
pub(crate) mod namespaces;
pub(crate) mod pidfd;
pub(crate) mod prctl;
pub(crate) mod process;
pub(crate) mod ptrace;
pub(crate) mod scheduling;
pub(crate) mod seccomp;
pub(crate) mod segments;
pub(crate) mod signals;
pub(crate) mod system;
pub(crate) mod time;
pub(crate) mod timerfd;
pub(crate) mod timers;
pub(crate) mod tls;
pub(crate) mod wait;
