//! The address space: 48 bits for each half, pages of 4 KiB.
//!
//! ```text
//!   0x0000_0000_0000_0000  user half, one per process           (TTBR0)
//!   0xffff_0000_0000_0000  direct map: devices and all memory   (TTBR1, from here on)
//!   0xffff_8000_0000_0000  arena of stacks
//!   0xffff_8040_0000_0000  records of its stacks
//!   0xffff_ec00_0000_0000  shadow of the arena, in a kernel with the address sanitizer
//!   0xffff_ffff_8000_0000  kernel image, at its physical address from here
//! ```
//!
//! What QEMU's `virt` machine has where: interrupt controller and serial port in the first GiB,
//! memory from the second on.

/// Where physical memory appears.
pub const DIRECT_MAP: u64 = 0xffff_0000_0000_0000;
/// Bytes of memory that it can show.
pub const REACH: u64 = ARENA - DIRECT_MAP - DEVICES_TOP;
/// Where the arena of stacks starts, about.
pub const ARENA: u64 = 0xffff_8000_0000_0000;
/// Slots of the arena, for each CPU stack and each thread there can be: 64 bytes of record each.
pub const ARENA_SLOTS: u32 = 1 << 16;
/// Where their records are: near the arena, so that one table of the highest level leads to both.
pub const RECORDS: Option<u64> = Some(RECORDS_LOWEST);
pub(super) const RECORDS_LOWEST: u64 = ARENA + (256 << 30);
/// Where the kernel's image is linked, less the physical address it is loaded at.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// The image is loaded from this physical address on; below lies what the firmware left, the device
/// tree among it.
pub const IMAGE_LOWEST: u64 = 0x4020_0000;
/// Physical memory up to here is in the direct map while the boot tables are active.
pub const EARLY_TOP: u64 = 0x8000_0000;
/// Physical addresses below this are devices.
pub(super) const DEVICES_TOP: u64 = 0x4000_0000;
/// Whether a device sees the CPUs' caches if its node in the device tree says nothing.
pub(in crate::arch) const DEVICES_SEE_CACHES: bool = false;
