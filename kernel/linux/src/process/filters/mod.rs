//! System calls that a program keeps itself from, or carries out itself.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `seccomp` | what a thread may call, looked at before each call |
//! | `seccomp_state` | which filters a thread has |
//! | `listener` | calls that another process answers, and how far each is |
//! | `supervision` | how it answers them |
//! | `filter` | the programs of filters, checked and run |
//! | `user_dispatch` | system calls that a program carries out itself |
//! | `asked_dispatch` | which thread asked for it, and where |

pub(crate) mod asked_dispatch;
pub(crate) mod filter;
pub(crate) mod listener;
pub(crate) mod seccomp;
pub(crate) mod seccomp_state;
pub(crate) mod supervision;
pub(crate) mod user_dispatch;
