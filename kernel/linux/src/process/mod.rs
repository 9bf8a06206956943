//! Processes: what one holds, its threads, its children, its birth and its death; and the one that
//! runs.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `state`, `attributes`, `credentials`, `place` | [`Process`]; what prctl says of one; its users; its directory |
//! | `crew`, `table` | the threads of a process; all processes, and whose children they are |
//! | `task`, `apart`, `apart_state` | what a thread has of its own; what it may have apart from its process |
//! | `actions`, `pending`, `queued`, `shared_signals`, `send` | what a program said of signals; those on their way, and how many of each user's; sending |
//! | `readers`, `notices` | files that signals are read from; signals of files that tell of input |
//! | `orphans` | process groups that nothing would continue any more |
//! | `spent`, `cpu_time`, `moved` | how long threads and processes have run; what they read and wrote |
//! | `clocks`, `timer_list`, `timers`, `cpu_limit` | clocks by Linux's numbers; timers that send signals; RLIMIT_CPU |
//! | `user_memory` | strings and numbers in the caller's memory |
//! | `birth`, `clone_request`, `fork`, `exit` | a process without a thread; fork, vfork, clone; exit, death by a signal, wait |
//! | `permissions` | who may use a file |
//! | `pidfd` | processes and threads as files |
//! | `sequences`, `registered` | restartable sequences: which CPU a thread is on, and what to do if it left it |
//! | `user_dispatch`, `asked_dispatch` | system calls that a program carries out itself; who asked for it |
//! | `seccomp`, `seccomp_state`, `filter` | system calls that a program keeps itself from; what a thread may call; the filters' programs |
//! | `walk` | where a path leads, through links of /proc too |
//! | `host`, `host_names` | the names of the machine |
//! | `namespaces` | namespaces as files |
//! | `times` | clocks as programs in time namespaces have them |
//! | `users` | whom users and groups stand for that programs name; user namespaces and their maps |
//! | `numbers`, `named` | what numbers of processes mean that programs say, and are told; who has them |
//! | `ports`, `port_map`, `shadow`, `shadow_state` | I/O ports that a thread may use; its shadow stack |
//! | `futex` | words of memory that threads sleep on |
//!
//! May import `memory`, `files` and `abi`. What signals do, and how another program starts, is
//! above it.
//!
//! # What a process holds, and how it comes back
//!
//! Everything is reachable from [`Process`] or pinned in its thread, not only from a stack frame: a
//! thread whose kernel stack overflows in a system call is ended without returning, and its frames'
//! destructors never run.

pub(crate) mod actions;
mod apart;
pub(crate) mod apart_state;
mod asked_dispatch;
pub(crate) mod attributes;
pub(crate) mod birth;
pub(crate) mod clocks;
pub(crate) mod clone_request;
pub(crate) mod cpu_limit;
pub(crate) mod cpu_time;
pub(crate) mod credentials;
pub(crate) mod crew;
pub(crate) mod exit;
pub(crate) mod filter;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod host;
pub(crate) mod host_names;
pub(crate) mod moved;
pub(crate) mod named;
pub(crate) mod namespaces;
pub(crate) mod notices;
pub(crate) mod numbers;
pub(crate) mod orphans;
pub(crate) mod pending;
pub(crate) mod permissions;
pub(crate) mod pidfd;
pub(crate) mod place;
pub(crate) mod port_map;
pub(crate) mod ports;
pub(crate) mod queued;
pub(crate) mod readers;
pub(crate) mod registered;
pub(crate) mod running;
pub(crate) mod seccomp;
pub(crate) mod seccomp_state;
pub(crate) mod send;
pub(crate) mod sequences;
pub(crate) mod shadow;
pub(crate) mod shadow_state;
pub(crate) mod shared_signals;
pub(crate) mod spent;
mod state;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod timer_list;
pub(crate) mod timers;
pub(crate) mod times;
pub(crate) mod user_dispatch;
pub(crate) mod user_memory;
pub(crate) mod users;
pub(crate) mod walk;

pub use state::Process;
pub use task::{current, current_arc, current_task};
