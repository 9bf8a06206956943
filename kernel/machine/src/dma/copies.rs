//! Memory for copies that a device works on (bounce buffers).
//!
//! From the heap, where the device reaches it. Otherwise from a reserve in the image, which lies at
//! the lowest memory that the kernel has: what a device cannot reach there, it can hardly reach
//! anywhere.

use super::memory::Physical;
use crate::memory::direct;
use crate::spin::SpinLock;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::sync::atomic::AtomicU8;
use kstack::addr::Addr;
use kstack::dma::Memory;
use kstack::dma::entry::Entry;
use kstack::dma::limits::Limits;

/// A copy is alone in its cache lines, whatever CPU: no line of a cache is longer.
const UNIT: usize = 2048;
/// Units of the reserve, a bit each.
const UNITS: usize = 32;

#[repr(C, align(4096))]
struct Reserve([AtomicU8; UNIT * UNITS]);

static RESERVE: Reserve = Reserve([const { AtomicU8::new(0) }; UNIT * UNITS]);
/// The units in use.
static TAKEN: SpinLock<u32> = SpinLock::new(0);

fn physical(at: *const u8) -> Option<u64> {
    Physical::physical(Addr::new(at.addr()))
}

fn layout_of(bytes: usize) -> Option<Layout> {
    let bytes = bytes.checked_next_multiple_of(UNIT).filter(|&bytes| bytes > 0)?;
    Layout::from_size_align(bytes, UNIT).ok()
}

/// Whether a device takes these bytes as one segment.
fn is_taken(limits: &Limits, address: u64, bytes: usize) -> bool {
    let length = u32::try_from(bytes).ok();
    let entry = length.and_then(|length| Entry::at(address, length).ok());
    entry.is_some_and(|entry| limits.at_most(1).check([entry]).is_ok())
}

/// The physical address of memory for a copy of so many bytes, one segment for this device.
pub(super) fn take(bytes: usize, limits: &Limits) -> Option<u64> {
    let layout = layout_of(bytes)?;
    // SAFETY: (1) the size is not zero.
    let block = unsafe { alloc_zeroed(layout) };
    if !block.is_null() {
        if let Some(address) = physical(block).filter(|&at| is_taken(limits, at, bytes)) {
            return Some(address);
        }
        // SAFETY: (1) allocated above with this layout.
        unsafe { dealloc(block, layout) };
    }
    let units = layout.size() / UNIT;
    let first = physical(RESERVE.0.as_ptr().cast())?;
    let mut taken = TAKEN.lock();
    (0..=UNITS.checked_sub(units)?).find_map(|unit| {
        let mask = mask(unit, units);
        let address = first + (unit * UNIT) as u64;
        if *taken & mask != 0 || !is_taken(limits, address, bytes) {
            return None;
        }
        *taken |= mask;
        Some(address)
    })
}

/// The bits of `units` units from `unit` on.
const fn mask(unit: usize, units: usize) -> u32 {
    ((((1_u64 << units) - 1) << unit) & u32::MAX as u64) as u32
}

/// Gives the memory of a copy back.
///
/// # Safety
///
/// 1. [`take`] gave it for so many bytes; it is not used any more.
pub(super) unsafe fn give_back(address: u64, bytes: usize) {
    let Some(layout) = layout_of(bytes) else { return };
    let reserve = physical(RESERVE.0.as_ptr().cast()).unwrap_or(u64::MAX);
    let offset = address.wrapping_sub(reserve);
    if offset < size_of::<Reserve>() as u64 {
        *TAKEN.lock() &= !mask(offset as usize / UNIT, layout.size() / UNIT);
        return;
    }
    // SAFETY: (1) not of the reserve, so allocated by `take` with this layout.
    unsafe { dealloc(direct(address), layout) };
}
