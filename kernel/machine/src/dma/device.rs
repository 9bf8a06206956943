//! What is known of a device before it is given memory.

use crate::arch::{caches, virtio};
use kstack::dma::limits::Limits;

/// A device, as far as memory is concerned.
#[derive(Debug)]
pub struct Device {
    /// What it is called in messages.
    pub name: &'static str,
    /// What it takes.
    pub limits: Limits,
    /// Whether its transfers are coherent with the CPUs' caches.
    pub sees_caches: fn() -> bool,
}

impl Device {
    /// Any virtio device: its addresses have 64 bits, and a segment may be as long as it likes.
    pub const VIRTIO: Self =
        Self { name: "virtio", limits: Limits::NONE, sees_caches: virtio::sees_caches };

    /// Bytes of the lines that must be kept up for it; nothing if it sees caches.
    pub fn line(&self) -> Option<u32> {
        if (self.sees_caches)() { None } else { Some(caches::line()) }
    }
}
