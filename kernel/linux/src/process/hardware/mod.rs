//! What a thread has of the CPU's features, beside its registers.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `ports` | I/O ports that a thread may use |
//! | `port_map` | which ports those are |
//! | `shadow` | its shadow stack |
//! | `shadow_state` | where that lies |
//! | `sequences` | restartable sequences: which CPU a thread is on, and what to do if it left it |
//! | `registered` | where a program keeps that |

pub(crate) mod port_map;
pub(crate) mod ports;
pub(crate) mod registered;
pub(crate) mod sequences;
pub(crate) mod shadow;
pub(crate) mod shadow_state;
