//! What programs know by number and key (System V IPC, sysvipc(7)).
//!
//! | file | what is in it |
//! | --- | --- |
//! | `table` | numbers and keys, whatever has them |
//! | `semaphores` | sets of semaphores, and what is undone at a process's end |
//! | `messages` | queues of messages with types |
//!
//! Segments of shared memory have a table too; their pages are `memory`'s, and so are they.

pub(crate) mod messages;
pub(crate) mod semaphores;
pub(crate) mod table;
