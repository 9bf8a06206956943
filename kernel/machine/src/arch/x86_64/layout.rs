//! The address space.
//!
//! ```text
//!   0x0000_0000_0000_0000  user half, one per process
//!   0xffff_8880_0000_0000  direct map: all physical memory, and the interrupt controllers
//!   0xffff_c900_0000_0000  arena of stacks
//!   0xffff_c940_0000_0000  records of its stacks
//!   0xffff_e000_0000_0000  per-CPU descriptor tables between unmapped pages, and maps of I/O ports
//!   0xffff_e000_4000_0000  window through which the firmware's tables are read
//!   0xffff_e000_8000_0000  window through which devices of the PCI bus are reached
//!   0xffff_f520_0000_0000  shadow of the arena, in a kernel with the address sanitizer
//!   0xffff_ffff_8000_0000  kernel image
//! ```

/// Where physical memory appears.
pub const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// Bytes of memory that it can show.
pub const REACH: u64 = ARENA - DIRECT_MAP;
/// Where the arena of stacks starts, about.
pub const ARENA: u64 = 0xffff_c900_0000_0000;
/// Slots of the arena, for each CPU stack and each thread there can be: 64 bytes of record each.
pub const ARENA_SLOTS: u32 = 1 << 16;
/// Where their records are: near the arena, so that one table of the highest level leads to both.
pub const RECORDS: Option<u64> = Some(RECORDS_LOWEST);
pub(super) const RECORDS_LOWEST: u64 = ARENA + (256 << 30);
/// Where the per-CPU descriptor tables are.
pub(super) const CPU_TABLES: u64 = 0xffff_e000_0000_0000;
/// Where the kernel's image is linked, less the physical address it is loaded at.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// The image is loaded from this physical address on.
pub const IMAGE_LOWEST: u64 = 0x10_0000;
/// Physical memory up to here is in the direct map while the boot tables are active.
pub const EARLY_TOP: u64 = 4 << 30;
/// Where the interrupt controllers are, physically: pages of 2 MiB of the direct map, uncached.
pub(super) const DEVICES: [u64; 2] = [0xfec0_0000, 0xfee0_0000];
/// Where tables of the firmware appear while they are read.
pub const FIRMWARE_WINDOW: u64 = CPU_TABLES + (1 << 30);

/// Where registers of devices on the PCI bus appear.
pub const DEVICE_WINDOW: u64 = FIRMWARE_WINDOW + (1 << 30);

/// The kernel's pointer to a device register: those of [`DEVICES`] are in the direct map, uncached.
#[inline(always)]
pub(in crate::arch) const fn device<T>(physical: u64) -> *mut T {
    (DIRECT_MAP + physical) as *mut T
}
