//! Page tables: four levels, one kernel half shared by all address spaces.

use super::walk::{KERNEL_ROOT, find, leaf};
use crate::arch::cpu;
use crate::arch::pc::page_entry::{
    ADDRESS, GLOBAL, LARGE, LARGE_BYTES, NO_EXEC, PRESENT, UNCACHED, USER, WRITE, bits, entry,
    next_table,
};
use crate::boot_info::MemoryRegion;
use crate::memory;
use crate::memory::frames::{self, Frame};
use core::sync::atomic::Ordering;

use crate::arch::any::paging::in_pieces;
pub use crate::arch::any::paging::{Access, NoMemory};
pub use crate::arch::pc::page_entry::{
    is_dirty, leaf_frame, set_kernel_leaf, settle_dirty, take_dirty, without_dirty,
};
pub use crate::arch::pc::user_tables::{UserTables, flush_user_pages};
pub use crate::arch::walk::{kernel_leaf_or_new, kernel_root};
use kstack::interrupts::InterruptsOff;

/// Whether a CPU may remember that a page was absent.
pub const ABSENT_IS_REMEMBERED: bool = false;
/// Whether a CPU may keep dirty bits, and cache them with translations.
#[inline(always)]
pub const fn dirty_is_cached() -> bool {
    true
}

/// Builds the kernel's final tables. Called once, on the boot tables, with the frame allocator up.
pub fn set_up_kernel(
    regions: impl Iterator<Item = MemoryRegion>,
    image: &[(u64, u64, Access)],
) -> Result<(), NoMemory> {
    let root = frames::alloc_zeroed().ok_or(NoMemory)?.addr();
    KERNEL_ROOT.store(root, Ordering::Relaxed);
    // Every level-4 entry that the kernel half will ever use: none is added later (see memory's
    // head).
    for lowest in [memory::DIRECT_MAP, memory::ARENA, super::layout::CPU_TABLES, memory::IMAGE] {
        next_table(entry(root, lowest >> 39), PRESENT | WRITE)?;
    }
    #[cfg(feature = "address-sanitizer")]
    {
        let shadow =
            kstack::sanitizer::shadow_page(kstack::addr::Addr::new(memory::ARENA as usize));
        next_table(entry(root, shadow.get() as u64 >> 39), PRESENT | WRITE)?;
    }
    let map_large = |physical: u64, flags: u64| -> Result<(), NoMemory> {
        let address = memory::DIRECT_MAP + physical;
        let level3 = next_table(entry(root, address >> 39), PRESENT | WRITE)?;
        let level2 = next_table(entry(level3, address >> 30), PRESENT | WRITE)?;
        let flags = PRESENT | WRITE | LARGE | GLOBAL | NO_EXEC | flags;
        entry(level2, address >> 21).store(physical | flags, Ordering::Relaxed);
        Ok(())
    };
    for physical in super::layout::DEVICES {
        map_large(physical, UNCACHED)?;
    }
    // Memory, and nothing next to it: what is reserved may be a device's, and must not be cached.
    for region in regions.filter(|region| region.is_ram) {
        in_pieces(region.lowest, region.top(), LARGE_BYTES, image, |physical, is_large, write| {
            if is_large {
                return map_large(physical, 0);
            }
            let flags = PRESENT | GLOBAL | bits(Access { write, exec: false });
            leaf(root, memory::DIRECT_MAP + physical, PRESENT | WRITE)?
                .store(physical | flags, Ordering::Relaxed);
            Ok(())
        })?;
    }
    for &(lowest, top, access) in image {
        for address in (lowest..top).step_by(4096) {
            let flags = PRESENT | GLOBAL | bits(access);
            leaf(root, address, PRESENT | WRITE)?
                .store((address - memory::IMAGE) | flags, Ordering::Relaxed);
        }
    }
    // SAFETY: (1) the tables map the image where it runs, and the direct map; (2) this CPU has not
    // turned interrupts on yet.
    unsafe { cpu::load_tables(root, &InterruptsOff::assume()) };
    Ok(())
}

/// Maps a page of the kernel half, writable, not executable, for all address spaces. It must not be
/// mapped yet.
pub(in crate::arch) fn map_kernel(address: u64, frame: Frame) -> Result<(), NoMemory> {
    set_kernel_leaf(kernel_leaf_or_new(address)?, frame);
    Ok(())
}

/// Whether a kernel address is mapped, as a query: walks the tables, touches nothing.
pub fn kernel_is_mapped(address: u64) -> bool {
    let mut table = kernel_root();
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return false;
        }
        if value & LARGE != 0 {
            return true;
        }
        table = value & ADDRESS;
    }
    entry(table, address >> 12).load(Ordering::Acquire) & PRESENT != 0
}

/// The frame behind a page of the kernel's that is mapped as one, as a query.
pub fn kernel_frame(address: u64) -> Option<Frame> {
    leaf_frame(find(kernel_root(), address)?.load(Ordering::Acquire))
}

/// Whether user mode could read a kernel address. Always false, unless something is wrong.
pub fn user_can_reach(address: u64) -> bool {
    let mut table = kernel_root();
    for shift in [39, 30, 21, 12] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 || value & USER == 0 {
            return false;
        }
        if value & LARGE != 0 {
            break;
        }
        table = value & ADDRESS;
    }
    true
}
