//! Signals on their way: from the sender to the queue that delivery takes them from.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `actions` | what a program said of each signal |
//! | `pending` | signals that wait to be delivered |
//! | `queued` | how many of each user's wait |
//! | `shared_signals` | signals of a process, as all its threads have them; stops |
//! | `send` | sending to a thread, a process, a group |
//! | `readers` | files that signals are read from |
//! | `notices` | signals of files that tell of input |

pub(crate) mod actions;
pub(crate) mod notices;
pub(crate) mod pending;
pub(crate) mod queued;
pub(crate) mod readers;
pub(crate) mod send;
pub(crate) mod shared_signals;
