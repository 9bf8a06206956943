//! Pages that CPU and device use at the same time: rings, tables. From the heap, which is one piece
//! of physical memory.

use super::device::Device;
use super::loan::DmaError;
use super::memory::Physical;
use crate::memory::direct;
use crate::memory::frames::FRAME_BYTES;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use kstack::addr::Addr;
use kstack::dma::Memory;
use kstack::dma::entry::Entry;

/// Zeroed pages without gaps, seen by CPU and device alike.
#[derive(Debug)]
pub struct Coherent {
    address: u64,
    pages: usize,
}

fn layout_of(pages: usize) -> Option<Layout> {
    let bytes = pages.checked_mul(FRAME_BYTES as usize)?;
    Layout::from_size_align(bytes, FRAME_BYTES as usize).ok().filter(|layout| layout.size() > 0)
}

impl Coherent {
    /// So many pages for a device. A device that does not see the CPUs' caches gets none: they
    /// would have to be mapped without caches, which the direct map is not.
    pub fn new(device: &Device, pages: usize) -> Result<Self, DmaError> {
        if device.line().is_some() {
            return Err(DmaError::Incoherent);
        }
        let layout = layout_of(pages).ok_or(DmaError::NoMemory)?;
        // SAFETY: (1) the size is not zero.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(DmaError::NoMemory)?;
        let place = Physical::physical(Addr::new(block.as_ptr().addr())).ok_or(DmaError::NoMemory);
        let taken = place.and_then(|address| {
            let entry = Entry::at(address, layout.size() as u32).map_err(|_| DmaError::NoMemory)?;
            device.limits.at_most(1).check([entry])?;
            Ok(Self { address, pages })
        });
        if taken.is_err() {
            // SAFETY: (1) allocated above with this layout, and not given out.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
        taken
    }

    /// Pages that were forgotten, by what they said of themselves.
    ///
    /// # Safety
    ///
    /// 1. Such pages were forgotten, once.
    pub unsafe fn found(address: u64, pages: usize) -> Self {
        Self { address, pages }
    }

    /// What the device is told.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// The pages. Both sides read and write them: accesses are volatile, or atomic.
    pub fn bytes(&self) -> NonNull<[u8]> {
        let first = NonNull::new(direct::<u8>(self.address)).unwrap_or(NonNull::dangling());
        NonNull::slice_from_raw_parts(first, self.pages * FRAME_BYTES as usize)
    }
}

// SAFETY: (1) the pages are its own, wherever it is dropped.
unsafe impl Send for Coherent {}

impl Drop for Coherent {
    fn drop(&mut self) {
        if let Some(layout) = layout_of(self.pages) {
            // SAFETY: (1) allocated by `new` with this layout; the device is done: its driver lets
            // go of it.
            unsafe { dealloc(direct(self.address), layout) };
        }
    }
}
