//! Page tables with physical address extension: three levels, entries of 64 bits, for the
//! no-execute bit. One kernel part shared by all address spaces.
//!
//! The four entries of the top level are read by the CPU when CR3 is loaded, and only then; so all
//! tables of the second level are made with the address space.

use super::layout::DIRECT_BYTES;
use super::sysenter_page::SYSENTER_CODE;
use super::walk::{KERNEL_ROOT, SYSENTER_FRAME, find, leaf, level2};
use crate::arch::cpu;
use crate::arch::pc::page_entry::{
    ADDRESS, GLOBAL, LARGE, LARGE_BYTES, NO_EXEC, PRESENT, UNCACHED, USER, WRITE, bits, entry,
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

/// The frame with the code for `sysenter`, which every address space maps.
fn make_sysenter_frame() -> Result<(), NoMemory> {
    let frame = frames::alloc_zeroed().ok_or(NoMemory)?;
    // SAFETY: (1) a frame of our own, in the direct map; the code is a few bytes.
    unsafe {
        core::ptr::copy_nonoverlapping(
            SYSENTER_CODE.as_ptr(),
            frame.bytes_ptr(),
            SYSENTER_CODE.len(),
        );
    }
    SYSENTER_FRAME.store(frame.addr(), Ordering::Relaxed);
    Ok(())
}

/// Builds the kernel's final tables. Called once, on the boot tables, with the frame allocator up.
pub fn set_up_kernel(
    regions: impl Iterator<Item = MemoryRegion>,
    image: &[(u64, u64, Access)],
) -> Result<(), NoMemory> {
    let root = frames::alloc_zeroed().ok_or(NoMemory)?.addr();
    let table = frames::alloc_zeroed().ok_or(NoMemory)?.addr();
    // No other flags: the top level has none of them.
    entry(root, memory::IMAGE >> 30).store(table | PRESENT, Ordering::Relaxed);
    KERNEL_ROOT.store(root as usize, Ordering::Relaxed);
    let map_large = |address: u64, physical: u64, flags: u64| {
        let flags = PRESENT | WRITE | LARGE | GLOBAL | NO_EXEC | flags;
        entry(table, address >> 21).store(physical | flags, Ordering::Relaxed);
    };
    for physical in super::layout::DEVICES {
        map_large(physical, physical, UNCACHED);
    }
    // Memory, and nothing next to it: what is reserved may be a device's, and must not be cached.
    for region in regions.filter(|region| region.is_ram) {
        in_pieces(
            region.lowest,
            region.top().min(DIRECT_BYTES),
            LARGE_BYTES,
            image,
            |physical, is_large, write| {
                let address = memory::DIRECT_MAP + physical;
                if is_large {
                    map_large(address, physical, 0);
                } else {
                    let flags = PRESENT | GLOBAL | bits(Access { write, exec: false });
                    leaf(root, address, PRESENT | WRITE)?
                        .store(physical | flags, Ordering::Relaxed);
                }
                Ok(())
            },
        )?;
    }
    for &(lowest, top, access) in image {
        for address in (lowest..top).step_by(4096) {
            let flags = PRESENT | GLOBAL | bits(access);
            leaf(root, address, PRESENT | WRITE)?
                .store((address - memory::IMAGE) | flags, Ordering::Relaxed);
        }
    }
    make_sysenter_frame()?;
    // SAFETY: (1) the tables map the image where it runs, and the direct map; (2) this CPU has not
    // turned interrupts on yet.
    unsafe { cpu::load_tables(root, &InterruptsOff::assume()) };
    Ok(())
}

/// Maps a page of the kernel part, writable, not executable, for all address spaces. It must not be
/// mapped yet.
pub(in crate::arch) fn map_kernel(address: u64, frame: Frame) -> Result<(), NoMemory> {
    set_kernel_leaf(kernel_leaf_or_new(address)?, frame);
    Ok(())
}

/// The entries for a kernel address, from the second level down, to the one that maps it or maps
/// nothing.
fn walk_kernel(address: u64) -> [u64; 2] {
    let Some(table) = level2(kernel_root(), address) else { return [0; 2] };
    let large = entry(table, address >> 21).load(Ordering::Acquire);
    if large & PRESENT == 0 || large & LARGE != 0 {
        return [large; 2];
    }
    [large, entry(large & ADDRESS, address >> 12).load(Ordering::Acquire)]
}

/// Whether a kernel address is mapped, as a query: walks the tables, touches nothing.
pub fn kernel_is_mapped(address: u64) -> bool {
    walk_kernel(address).iter().all(|value| value & PRESENT != 0)
}

/// The frame behind a page of the kernel's that is mapped as one, as a query.
pub fn kernel_frame(address: u64) -> Option<Frame> {
    leaf_frame(find(kernel_root(), address)?.load(Ordering::Acquire))
}

/// Whether user mode could read a kernel address. Always false, unless something is wrong.
pub fn user_can_reach(address: u64) -> bool {
    walk_kernel(address).iter().all(|value| value & PRESENT != 0 && value & USER != 0)
}
