//! Virtio devices by the crate `virtio-drivers`, which knows their registers and rings; what it
//! asks of a kernel is [`crate::dma`]'s.

use crate::arch::virtio;
use crate::dma::{Device, Reaches, Through};
use virtio_drivers::device::blk::VirtIOBlk;
use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::{DeviceType, SomeTransport};

pub use virtio_drivers;

/// A disk.
#[derive(Debug)]
pub struct OfDisk;

impl Reaches for OfDisk {
    const DEVICE: &'static Device = &Device { name: "virtio-blk", ..Device::VIRTIO };
}

/// A source of random bytes.
#[derive(Debug)]
pub struct OfRandom;

impl Reaches for OfRandom {
    const DEVICE: &'static Device = &Device { name: "virtio-rng", ..Device::VIRTIO };
}

/// How a disk is reached.
pub type Disk = VirtIOBlk<Through<OfDisk>, SomeTransport<'static>>;
/// How a source of random bytes is reached.
pub type Random = VirtIORng<Through<OfRandom>, SomeTransport<'static>>;

/// The way to the machine's first disk, for a driver of the caller's; nothing if it has none.
pub fn way_to_disk() -> Option<SomeTransport<'static>> {
    virtio::find::<Through<OfDisk>>(DeviceType::Block)
}

/// The machine's first disk. One driver at a time: dropping it resets the device.
pub fn disk() -> Option<Disk> {
    VirtIOBlk::new(way_to_disk()?).ok()
}

/// The machine's source of random bytes. One driver at a time.
pub fn random() -> Option<Random> {
    VirtIORng::new(virtio::find::<Through<OfRandom>>(DeviceType::EntropySource)?).ok()
}
