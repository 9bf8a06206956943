//! Birth, copies and death of processes.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `birth` | a process without a thread |
//! | `clone_request` | what `clone` and its kin ask for, read and checked |
//! | `fork` | fork, vfork, clone: a copy, or a thread of the same |
//! | `exit` | the end of a thread and of a process, death by a signal, wait |

pub(crate) mod birth;
pub(crate) mod clone_request;
pub(crate) mod exit;
pub(crate) mod fork;
