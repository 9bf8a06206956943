//! Clocks and timers of processes, and what was spent: time, bytes, calls.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `clocks` | clocks by Linux's numbers |
//! | `times` | clocks as programs in time namespaces have them |
//! | `timer_list` | the timers of a process |
//! | `timers` | timers that send signals |
//! | `spent` | what a thread or process has used |
//! | `cpu_time` | how long threads and processes have run |
//! | `cpu_limit` | RLIMIT_CPU |
//! | `share` | nice values as weights |
//! | `moved` | bytes that a program read and wrote |

pub(crate) mod clocks;
pub(crate) mod cpu_limit;
pub(crate) mod cpu_time;
pub(crate) mod moved;
pub(crate) mod share;
pub(crate) mod spent;
pub(crate) mod timer_list;
pub(crate) mod timers;
pub(crate) mod times;
