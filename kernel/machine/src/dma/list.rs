//! Several buffers, lent to a device as one scatter list: pages that lie anywhere, blocks of the
//! heap.

use super::device::Device;
use super::loan::{DmaError, Loan};
use super::memory::Physical;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use kstack::dma::entry::{AsEntry, Entry};
use kstack::dma::limits::Segment;
use kstack::dma::list::List;
use kstack::dma::transfer::Direction;
use kstack::dma::{OffStack, OffStackMut, Proven, Refused};

/// Buffers that a device works on, cut to what it takes. Dropped, it takes them back and drops
/// them; [`MappedList::end`] gives them back. As for [`Mapping`](super::Mapping), the driver sees
/// to it that the device is done before.
#[derive(Debug)]
pub struct MappedList<B: OffStack> {
    /// One for each piece of physical memory.
    loans: Vec<Loan>,
    segments: Vec<Segment>,
    bytes: u64,
    /// Dropped after the loans.
    buffers: ManuallyDrop<Vec<B>>,
}

/// What a failed mapping gives back: why, and the buffers.
pub type Failed<B> = (DmaError, Vec<B>);

impl<B: OffStack> MappedList<B> {
    /// Lends buffers that the device reads, in this order.
    pub fn to_device(device: &'static Device, buffers: Vec<B>) -> Result<Self, Failed<B>> {
        Self::lend(device, buffers, Direction::ToDevice)
    }

    fn lend(
        device: &'static Device,
        buffers: Vec<B>,
        direction: Direction,
    ) -> Result<Self, Failed<B>> {
        let buffers = ManuallyDrop::new(buffers);
        let mut list = Self { loans: Vec::new(), segments: Vec::new(), bytes: 0, buffers };
        match list.lend_all(device, direction) {
            Ok(()) => Ok(list),
            Err(why) => Err((why, list.end())),
        }
    }

    fn lend_all(&mut self, device: &'static Device, direction: Direction) -> Result<(), DmaError> {
        let mut entries = Vec::new();
        for buffer in self.buffers.iter() {
            let mut at = buffer.bytes().cast::<u8>();
            for piece in Proven::of::<Physical>(buffer) {
                let piece = piece.map_err(|why| DmaError::Refused(Refused::NotMapped(why)))?;
                let length = piece.entry().length();
                let part = NonNull::slice_from_raw_parts(at, length as usize);
                self.loans.try_reserve(1).map_err(|_| DmaError::NoMemory)?;
                entries.try_reserve(1).map_err(|_| DmaError::NoMemory)?;
                // SAFETY: (1) a part of a buffer that is this list's, which ends the loan before it
                // drops the buffer; nothing else reaches it if the device writes (`OffStackMut`),
                // and nothing writes to it if the device reads; (2) the type says that it is no
                // stack's, and pieces are in the order of the buffer.
                let loan = unsafe { Loan::lend_piece(device, part, piece.entry(), direction) }?;
                entries.push(Entry::at(loan.address(), length).map_err(|_| DmaError::NoMemory)?);
                self.loans.push(loan);
                // SAFETY: (1) inside the buffer, or its end: the pieces have its bytes once.
                at = unsafe { at.add(length as usize) };
            }
        }
        let whole = List::of(&entries).map_err(|_| DmaError::NoMemory)?;
        let count = device.limits.check(whole.walk())?;
        self.segments.try_reserve_exact(count).map_err(|_| DmaError::NoMemory)?;
        self.segments.extend(device.limits.segments(whole.walk()));
        self.bytes = whole.bytes();
        Ok(())
    }

    /// What the device is told.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes of all of them.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many pieces the device works on as copies.
    pub fn copies(&self) -> usize {
        self.loans.iter().filter(|loan| loan.is_copy()).count()
    }

    fn take_back(&mut self) {
        for loan in &mut self.loans {
            // SAFETY: (1) the driver lets go of it: the device is done; (2) the loans are dropped
            // right after.
            unsafe { loan.end() };
        }
        self.loans.clear();
    }

    /// Ends the loan; the buffers, with what the device wrote.
    pub fn end(self) -> Vec<B> {
        let mut list = ManuallyDrop::new(self);
        list.take_back();
        drop(core::mem::take(&mut list.loans));
        drop(core::mem::take(&mut list.segments));
        // SAFETY: (1) the list is not used or dropped after this.
        unsafe { ManuallyDrop::take(&mut list.buffers) }
    }
}

impl<B: OffStackMut> MappedList<B> {
    /// Lends buffers that the device writes, in this order.
    pub fn from_device(device: &'static Device, buffers: Vec<B>) -> Result<Self, Failed<B>> {
        Self::lend(device, buffers, Direction::FromDevice)
    }
}

impl<B: OffStack> Drop for MappedList<B> {
    fn drop(&mut self) {
        self.take_back();
        // SAFETY: (1) the list is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.buffers) };
    }
}
