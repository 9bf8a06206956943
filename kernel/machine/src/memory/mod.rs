//! Memory: physical frames, the kernel's address space, the heap, and the pages behind stacks.
//!
//! Where things are is the architecture's: [`crate::arch::layout`].
//!
//! The top-level entries of the kernel's part are all made at boot and never change, so every
//! address space shares them and a page mapped for one is there for all: a stack can be switched to
//! under any of them.

pub mod boot_map;
pub mod fallible;
pub mod frames;
pub mod heap;
pub mod image;
pub mod slab;

pub use crate::arch::layout::{ARENA, DIRECT_MAP, IMAGE};

/// The lowest address of the kernel's half.
pub const LOWEST: u64 = {
    let direct_or_arena = if DIRECT_MAP < ARENA { DIRECT_MAP } else { ARENA };
    if IMAGE < direct_or_arena { IMAGE } else { direct_or_arena }
};

/// The kernel's pointer to a physical address.
#[inline(always)]
pub const fn direct<T>(physical: u64) -> *mut T {
    (DIRECT_MAP + physical) as *mut T
}
