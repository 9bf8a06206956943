//! The address space: four levels (Sv48).
//!
//! ```text
//!   0x0000_0000_0000_0000  user half, one per process
//!   0xffff_8880_0000_0000  direct map: all physical memory, and the devices below 2 GiB
//!   0xffff_c900_0000_0000  arena of stacks
//!   0xffff_c940_0000_0000  records of its stacks
//!   0xffff_f520_0000_0000  shadow of the arena, in a kernel with the address sanitizer
//!   0xffff_ffff_0000_0000  plus the physical address: kernel image, from 0xffff_ffff_8020_0000 on
//! ```

/// Where physical memory appears.
pub const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// Bytes of memory that it can show.
pub const REACH: u64 = ARENA - DIRECT_MAP - IMAGE_LOWEST;
/// Where the arena of stacks starts, about.
pub const ARENA: u64 = 0xffff_c900_0000_0000;
/// Slots of the arena, for each CPU stack and each thread there can be: 64 bytes of record each.
pub const ARENA_SLOTS: u32 = 1 << 15;
/// Where their records are: near the arena, so that one table of the highest level leads to both.
pub const RECORDS: Option<u64> = Some(RECORDS_LOWEST);
pub(super) const RECORDS_LOWEST: u64 = ARENA + (256 << 30);
/// Where the kernel's image is linked, less the physical address it is loaded at.
pub const IMAGE: u64 = 0xffff_ffff_0000_0000;
/// The image is loaded from this physical address on; below is the firmware's.
pub const IMAGE_LOWEST: u64 = 0x8020_0000;
/// Physical memory up to here is in the direct map while the boot tables are active.
pub const EARLY_TOP: u64 = 512 << 30;
/// Whether a device sees the CPUs' caches if its node in the device tree says nothing.
pub(in crate::arch) const DEVICES_SEE_CACHES: bool = true;
