//! The interface that drivers of the crate `virtio-drivers` ask for, over ours.
//!
//! Their `share` cannot refuse. It is asked for whatever buffers a driver has, and some have theirs
//! on the stack: the blocking calls of the block driver put the request's head and its status
//! there. So a buffer on a stack is refused here as everywhere, told and counted, and then the
//! device works on a copy. It never gets an address of a stack, and the bytes are right. Where
//! refusals stop the machine, this one does.

use super::coherent::Coherent;
use super::device::Device;
use super::loan::{DmaError, Loan};
use crate::arch::virtio;
use core::marker::PhantomData;
use core::mem::forget;
use core::ptr::NonNull;
use kstack::dma::Refused;
use kstack::dma::transfer::Direction;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// A device that a driver reaches.
pub trait Reaches: 'static {
    /// It.
    const DEVICE: &'static Device;
}

/// The interface for drivers of that device.
#[derive(Debug)]
pub struct Through<D>(PhantomData<D>);

const fn direction(of: BufferDirection) -> Direction {
    match of {
        BufferDirection::DriverToDevice => Direction::ToDevice,
        BufferDirection::DeviceToDriver => Direction::FromDevice,
        BufferDirection::Both => Direction::Both,
    }
}

// SAFETY: (1) pages of `dma_alloc` are zeroed, aligned and nothing else's until they are given
// back; (2) `mmio_phys_to_virt` is where the registers are mapped; (3) `share` is an address where
// the device finds the buffer's bytes, or a copy of them, until `unshare`.
unsafe impl<D: Reaches> Hal for Through<D> {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match Coherent::new(D::DEVICE, pages) {
            Ok(pages) => {
                let given = (pages.address(), pages.bytes().cast());
                forget(pages);
                given
            }
            // That there are none, as the crate wants to be told.
            Err(_) => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(address: PhysAddr, _at: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: (1) forgotten in `dma_alloc`; once, as the crate promises.
        drop(unsafe { Coherent::found(address, pages) });
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, bytes: usize) -> NonNull<u8> {
        virtio::registers(address, bytes).expect("a device's registers can be mapped")
    }

    unsafe fn share(buffer: NonNull<[u8]>, of: BufferDirection) -> PhysAddr {
        let direction = direction(of);
        // SAFETY: (1) (2) the buffer stays as it is until `unshare`, as the crate promises.
        let loan = unsafe {
            match Loan::lend(D::DEVICE, buffer, direction) {
                Err(DmaError::Refused(Refused::OnStack(_))) => {
                    Loan::lend_copy(D::DEVICE, buffer, direction)
                }
                lent => lent,
            }
        };
        match loan {
            // It is found again by its address.
            Ok(loan) => loan.address(),
            Err(why) => panic!("{}: {why}", D::DEVICE.name),
        }
    }

    unsafe fn unshare(address: PhysAddr, buffer: NonNull<[u8]>, of: BufferDirection) {
        // SAFETY: (1) lent in `share` and forgotten there.
        let mut loan = unsafe { Loan::found(D::DEVICE, buffer, direction(of), address) };
        // SAFETY: (1) the device has used it, as the crate promises; (2) it is dropped here.
        unsafe { loan.end() };
    }
}
