//! A buffer that is lent to a device together with its ownership, and memory of the heap to lend.

use super::device::Device;
use super::loan::{DmaError, Loan};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use kstack::dma::transfer::Direction;
use kstack::dma::{OffStack, OffStackMut};

/// A block of the heap: one piece of physical memory, since the heap is.
pub struct HeapBytes(Box<[u8]>);

impl fmt::Debug for HeapBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:p}", self.0.len(), self.0)
    }
}

impl HeapBytes {
    /// So many zeros.
    pub fn zeroed(bytes: usize) -> Result<Self, DmaError> {
        let mut block = Vec::new();
        block.try_reserve_exact(bytes).map_err(|_| DmaError::NoMemory)?;
        block.resize(bytes, 0);
        Ok(Self(block.into_boxed_slice()))
    }
}

impl From<Box<[u8]>> for HeapBytes {
    fn from(block: Box<[u8]>) -> Self {
        Self(block)
    }
}

impl Deref for HeapBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for HeapBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

// SAFETY: (1) a box's block stays where it is; (2) the heap has memory of its own, no stack's.
unsafe impl OffStack for HeapBytes {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::from(&*self.0)
    }
}

// SAFETY: (1) a box is its block's only owner.
unsafe impl OffStackMut for HeapBytes {}

/// A buffer that a device works on. Dropped, it takes the buffer back from the device and drops it;
/// [`Mapping::end`] gives it back.
///
/// The driver sees to it that the device is done before either: it is the driver that told the
/// device the address, and it stops the device before it lets go.
#[derive(Debug)]
pub struct Mapping<B: OffStack> {
    loan: Loan,
    /// Dropped after the loan.
    buffer: ManuallyDrop<B>,
}

/// What a failed mapping gives back: why, and the buffer.
pub type Failed<B> = (DmaError, B);

impl<B: OffStack> Mapping<B> {
    /// Lends a buffer that the device reads.
    pub fn to_device(device: &'static Device, buffer: B) -> Result<Self, Failed<B>> {
        Self::lend(device, buffer, Direction::ToDevice)
    }

    fn lend(device: &'static Device, buffer: B, direction: Direction) -> Result<Self, Failed<B>> {
        // SAFETY: (1) the buffer's owner is this mapping, until the loan has ended; (2) nothing
        // else reaches it if the device writes (`OffStackMut`), and nothing writes to it if the
        // device reads: it is owned, or shared for reading.
        match unsafe { Loan::lend(device, buffer.bytes(), direction) } {
            Ok(loan) => Ok(Self { loan, buffer: ManuallyDrop::new(buffer) }),
            Err(why) => Err((why, buffer)),
        }
    }

    /// What the device is told.
    pub const fn address(&self) -> u64 {
        self.loan.address()
    }

    /// Bytes of it.
    pub const fn length(&self) -> usize {
        self.loan.buffer().len()
    }

    /// Whether the device works on a copy.
    pub const fn is_copy(&self) -> bool {
        self.loan.is_copy()
    }

    /// Ends the loan; the buffer, with what the device wrote.
    pub fn end(self) -> B {
        let mut mapping = ManuallyDrop::new(self);
        // SAFETY: (1) the driver lets go of it: the device is done; (2) (3) the mapping is not used
        // or dropped after this.
        unsafe {
            mapping.loan.end();
            ManuallyDrop::take(&mut mapping.buffer)
        }
    }
}

impl<B: OffStackMut> Mapping<B> {
    /// Lends a buffer that the device writes.
    pub fn from_device(device: &'static Device, buffer: B) -> Result<Self, Failed<B>> {
        Self::lend(device, buffer, Direction::FromDevice)
    }

    /// Lends a buffer that the device reads and writes.
    pub fn both_ways(device: &'static Device, buffer: B) -> Result<Self, Failed<B>> {
        Self::lend(device, buffer, Direction::Both)
    }

    /// The CPU's turn, for as long as `work` runs: it finds what the device wrote, and the device
    /// finds what it leaves. The device is idle meanwhile.
    pub fn with_bytes<R>(&mut self, work: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: (1) the driver says that the device is done; (2) the buffer is this mapping's
        // alone, and initialised; (3) the CPU's turn is over when `work` is.
        unsafe {
            self.loan.take();
            let done = work(&mut *self.loan.buffer().as_ptr());
            self.loan.give();
            done
        }
    }
}

impl<B: OffStack> Drop for Mapping<B> {
    fn drop(&mut self) {
        // SAFETY: (1) as in `end`; (2) (3) neither is used after this.
        unsafe {
            self.loan.end();
            ManuallyDrop::drop(&mut self.buffer);
        }
    }
}
