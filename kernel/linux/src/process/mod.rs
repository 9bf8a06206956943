//! Processes: what one holds, its threads, its children, its birth and its death; and the one that
//! runs.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `state`, `attributes`, `place` | [`Process`]; what prctl says of one; its directory |
//! | `crew`, `table`, `orphans`, `listed` | the threads of a process; all processes, and whose children they are; groups that nothing would continue any more; lists by number |
//! | `task`, `apart`, `apart_state` | what a thread has of its own; what it may have apart from its process |
//! | `running`, `walk`, `user_memory` | its program's file; where a path leads, through links of /proc too; strings and numbers in the caller's memory |
//! | `first_stack` | what its first stack says: its environment, its auxiliary vector |
//!
//! | room | what is in it |
//! | --- | --- |
//! | `life` | birth, fork, clone, exit, wait |
//! | `names` | what numbers and names mean: of processes, threads, namespaces, machines |
//! | `identity` | users, groups, capabilities, and what they allow |
//! | `sending` | signals on their way |
//! | `time` | clocks, timers, what was spent |
//! | `tracing` | threads that another process stops, looks at and changes (ptrace) |
//! | `futex` | words of memory that threads sleep on |
//! | `filters` | system calls that a program keeps itself from, or carries out itself |
//! | `hardware` | I/O ports, shadow stacks, restartable sequences |
//!
//! May import `memory`, `files` and `abi`. What signals do, and how another program starts, is
//! above it.
//!
//! # What a process holds, and how it comes back
//!
//! Everything is reachable from [`Process`] or pinned in its thread, not only from a stack frame: a
//! thread whose kernel stack overflows in a system call is ended without returning, and its frames'
//! destructors never run.

mod apart;
pub(crate) mod apart_state;
pub(crate) mod attributes;
pub(crate) mod crew;
pub(crate) mod filters;
pub(crate) mod first_stack;
pub(crate) mod futex;
pub(crate) mod hardware;
pub(crate) mod identity;
pub(crate) mod life;
mod listed;
pub(crate) mod names;
pub(crate) mod orphans;
pub(crate) mod place;
pub(crate) mod running;
pub(crate) mod sending;
mod state;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod tracing;
pub(crate) mod user_memory;
pub(crate) mod walk;

pub use state::Process;
pub use task::{current, current_arc, current_task};
