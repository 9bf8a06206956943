//! Signals: what one does to a process, where they come from besides calls, and when a thread sees to them.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `send` | a signal for a process |
//! | `faults` | faults and exceptions of programs |
//! | `deliver` | before user mode |
//!
//! May import `process` and what is below it. The numbers are `abi::signals`, what a process said of them is `process::actions`, the
//! calls are `calls::signals`.

pub(crate) mod deliver;
pub(crate) mod faults;
pub(crate) mod send;
