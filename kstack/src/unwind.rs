//! Backtraces: the core's unwinder, the frame rules of this target, and walks over this kernel's
//! own stacks.
//!
//! The unwinder itself reads what a closure lets it read, on stacks that a
//! [`StackLookup`](crate::stacks::StackLookup) knows: it serves a hypervisor that looks at a guest,
//! and a post-mortem tool, as well. The functions read this kernel's stacks where they are.

pub use crate::arch::current::regs::Rules;
pub use kstack_core::unwind::*;

#[cfg(feature = "entry")]
mod own;
#[cfg(feature = "entry")]
pub use own::{
    count, for_each, for_each_from_regs, for_each_of, frame_pointer, from_fp, from_regs, here,
};
