//! The unwinder: from a frame pointer to the outermost frame, across stacks, over a closure that
//! reads.
//!
//! ```text
//!   IRQ stack                         thread stack of 12
//!   | ...            |                | ...              |
//!   | return address |                | return address   |
//!   | fp  -----------+--- seam ------>| fp               |   call_on_stack's frame record
//!   | return address |                | saved registers  |   fp marked: an interrupt; from the kernel: continue
//!   | fp             |                | return address   |
//!                                     | fp = marked      |   saved registers of user mode: the end, reliable
//! ```
//!
//! Invariants, checked by tests with arbitrary memory: it reads only inside stacks the lookup
//! knows, and only inside such that stay mapped meanwhile; within a stack the frame pointer only
//! moves up; a stack is entered once; so it ends.
//!
//! # Reliable is earned
//!
//! | the walk | ends |
//! | --- | --- |
//! | reached the registers at the top of a thread's stack, where entries from user mode put them | reliable |
//! | reached a frame pointer of 0 with the last record at the top of a stack that belongs to a CPU (idle, boot) | reliable |
//! | reached a frame pointer of 0 anywhere else | unknown stack: 0 is any value of a register that is no frame pointer |
//! | began, or crossed, at an interrupted instruction whose function's record is there | as above |
//! | likewise, but in the function's first or last instructions | as above, with the caller that SP or the link register names |
//! | likewise, and there is a table of frames ([`frames`]) | as above, with the caller that the table names; a leaf's and assembly's too |
//! | likewise, and neither table nor code tells | innermost may be missing |
//! | in an entry that has not saved its registers yet | on to what the entry interrupted, if the table says where that is |
//! | went through a function that sets up no frame | frame may be missing |

mod display;
mod steps;
mod walk;

pub use crate::place::frames;
pub use display::{NamedBacktrace, NamedStep};
pub use steps::{Backtrace, End, FrameRules, SavedRegs, Step};
pub use walk::{Doubts, MAX_FRAMES, MAX_STACKS, Unwinder};
