//! The address space.
//!
//! ```text
//!   0x0000_0000  user half, one per process: TTBR0
//!   0x8000_0000  direct map: physical 0 up to 1 GiB, where the devices are; the kernel half: TTBR1
//!   0xc000_0000  direct map, going on: RAM, from physical 1 GiB on, 768 MiB of it at most
//!   0xf000_0000  arena of stacks
//!   0xf800_0000  kernel image, 0xb800_0000 above its physical address
//!   0xff00_0000  the exception modes' words, a page for each CPU between unmapped pages
//! ```

/// Where physical memory appears.
pub const DIRECT_MAP: u64 = 0x8000_0000;
/// Where RAM starts on this board.
pub(super) const RAM: u64 = 0x4000_0000;
/// Bytes of memory that it can show.
pub const REACH: u64 = EARLY_TOP - RAM;
/// Where the arena of stacks starts, about; the direct map ends here.
pub const ARENA: u64 = 0xf000_0000;
/// Slots of the arena, for each CPU stack and each thread there can be: 64 bytes of record each.
pub const ARENA_SLOTS: u32 = 8000;
/// Their records are in the kernel's heap: there is one memory node.
pub const RECORDS: Option<u64> = None;
/// Where the per-CPU words are.
pub(super) const CPU_TABLES: u64 = 0xff00_0000;
/// Where the kernel's image is linked, less the physical address it is loaded at.
pub const IMAGE: u64 = 0xb800_0000;
/// The image is loaded from this physical address on.
pub const IMAGE_LOWEST: u64 = 0x4001_0000;
/// Physical memory up to here is in the direct map, under the boot tables and after.
pub const EARLY_TOP: u64 = ARENA - DIRECT_MAP;
/// Whether a device sees the CPUs' caches if its node in the device tree says nothing.
pub(in crate::arch) const DEVICES_SEE_CACHES: bool = false;
