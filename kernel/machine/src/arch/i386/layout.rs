//! The address space.
//!
//! ```text
//!   0x0000_0000  user part, one per process
//!   0xc000_0000  kernel image: physical memory from 0 on, as far as the image goes
//!   0xc400_0000  direct map: the first 704 MiB of physical memory
//!   0xf000_0000  arena of stacks, 128 MiB
//!   0xf900_0000  per-CPU descriptor tables between unmapped pages, and maps of I/O ports
//!   0xfa00_0000  window through which the firmware's tables are read
//!   0xfb00_0000  window through which devices of the PCI bus are reached
//!   0xfec0_0000  interrupt controllers, at their physical addresses
//!   0xffff_57ac  nothing: where unused stack pointers of the CPU point
//! ```
//!
//! Memory that the direct map does not reach is left unused; the boot code says how much.

/// Where physical memory appears.
pub const DIRECT_MAP: u64 = 0xc400_0000;
/// Bytes of physical memory that appear there.
pub(super) const DIRECT_BYTES: u64 = ARENA - DIRECT_MAP;
/// Bytes of memory that it can show.
pub const REACH: u64 = DIRECT_BYTES;
/// Where the arena of stacks starts, about.
pub const ARENA: u64 = 0xf000_0000;
/// Slots of the arena, for each CPU stack and each thread there can be: 16 KiB of address space
/// each.
pub const ARENA_SLOTS: u32 = 1 << 13;
/// Their records are in the kernel's heap: there is one memory node.
pub const RECORDS: Option<u64> = None;
/// Where the per-CPU descriptor tables are.
pub(super) const CPU_TABLES: u64 = 0xf900_0000;
/// Where tables of the firmware appear while they are read.
pub const FIRMWARE_WINDOW: u64 = 0xfa00_0000;
/// Where registers of devices on the PCI bus appear.
pub const DEVICE_WINDOW: u64 = 0xfb00_0000;
/// Where the kernel's image is linked, less the physical address it is loaded at.
pub const IMAGE: u64 = 0xc000_0000;
/// The image is loaded from this physical address on.
pub const IMAGE_LOWEST: u64 = 0x10_0000;
/// Physical memory up to here is in the direct map while the boot tables are active.
pub const EARLY_TOP: u64 = DIRECT_BYTES;
/// Where devices are, physically and in the kernel's part of every address space.
pub(super) const DEVICES: [u64; 2] = [0xfec0_0000, 0xfee0_0000];

/// The kernel's pointer to a device register.
#[inline(always)]
pub(in crate::arch) const fn device<T>(physical: u64) -> *mut T {
    physical as *mut T
}
