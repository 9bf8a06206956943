//! What signals do to the thread that takes them: what it does before user mode, the frames of
//! handlers, and faults of programs.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `deliver` | before user mode: which signal, and what it does |
//! | `frame` | the stack of a handler: pushing a frame, and going back |
//! | `core_file`, `core_notes`, `core_name` | the core file of a program that a signal ends; what it says of threads; what it is called |
//! | `restart` | calls that a signal cut short |
//! | `stop` | stopping and continuing (job control) |
//! | `descriptor` | signals that are read from a file |
//! | `faults` | faults and exceptions of programs |
//!
//! May import `process` and what is below it. Numbers and layouts are in `abi`, what a process and
//! a thread keep of signals, and the sending of them, in `process`; the calls are `calls::signals`.

mod core_file;
pub(crate) mod core_name;
mod core_notes;
pub(crate) mod deliver;
pub(crate) mod descriptor;
pub(crate) mod faults;
pub(crate) mod frame;
pub(crate) mod restart;
pub(crate) mod stop;
