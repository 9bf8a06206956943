//! Memory: physical frames, the kernel's address space, the heap, and the pages behind stacks.
//!
//! ```text
//!   0x0000_0000_0000_0000  user half, one per process
//!   0xffff_8880_0000_0000  direct map: all physical memory, and the devices below 4 GiB
//!   0xffff_c900_0000_0000  arena of stacks
//!   0xffff_e000_0000_0000  per-CPU descriptor tables, a page each between unmapped pages
//!   0xffff_ffff_8000_0000  kernel image
//! ```
//!
//! The level-4 entries of the kernel half are all made at boot and never change, so every address space shares them and a
//! page mapped for one is there for all: a stack can be switched to under any of them.

pub mod frames;
pub mod heap;
pub mod slab;
pub mod stack_pages;

/// Where physical memory appears.
pub const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// Where the arena of stacks starts, about.
pub const ARENA: u64 = 0xffff_c900_0000_0000;
/// Where the per-CPU descriptor tables are.
pub const CPU_TABLES: u64 = 0xffff_e000_0000_0000;

/// Where the kernel's image is linked, less the physical address it is loaded at.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;

/// The kernel's pointer to a physical address.
#[inline(always)]
pub const fn direct<T>(physical: u64) -> *mut T {
    (DIRECT_MAP + physical) as *mut T
}
