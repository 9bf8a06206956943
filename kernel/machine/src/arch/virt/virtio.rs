//! Virtio devices of boards with a device tree: a row of places for them in memory, most of them
//! empty (Virtio 1.2, 4.2).

use super::device_tree::Tree;
use crate::arch::DEVICES_SEE_CACHES;
use crate::memory::direct;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use fdt::node::FdtNode;
use virtio_drivers::Hal;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, SomeTransport, Transport};

/// Places that are kept at most: as many as QEMU's boards have.
const MOST: usize = 32;
/// Devices below this are in the direct map of every board here.
const MAPPED: u64 = 1 << 30;
/// Bytes of a place: its registers and the device's own.
const BYTES: usize = 0x200;

static PLACES: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static SEE_CACHES: AtomicBool = AtomicBool::new(true);

/// Keeps what a tree says: where the places are, and whether devices there see the CPUs' caches.
pub(in crate::arch) fn remember(tree: &Tree<'_>) {
    let below = |path: &str| tree.node(path).into_iter().flat_map(|node| node.children());
    for node in below("/").chain(below("/soc")) {
        let kinds = node.compatible().into_iter().flat_map(|kinds| kinds.all());
        if !kinds.into_iter().any(|kind| kind == "virtio,mmio") {
            continue;
        }
        let Some(place) = node.reg().and_then(|mut stretches| stretches.next()) else { continue };
        let at = place.starting_address as u64;
        let count = COUNT.load(Ordering::Relaxed);
        if at < MAPPED && count < MOST && place.size.is_some_and(|bytes| bytes >= BYTES) {
            PLACES[count].store(at, Ordering::Relaxed);
            COUNT.store(count + 1, Ordering::Relaxed);
        }
        if !node_sees_caches(node) {
            SEE_CACHES.store(false, Ordering::Relaxed);
        }
    }
}

/// Whether a device's transfers are coherent with the CPUs' caches: as the tree says, or as is
/// usual (Devicetree specification, 2.3.10): on Arm they are not, on RISC-V they are.
fn node_sees_caches(node: FdtNode<'_, '_>) -> bool {
    if DEVICES_SEE_CACHES {
        node.property("dma-noncoherent").is_none()
    } else {
        node.property("dma-coherent").is_some()
    }
}

/// Whether the devices see the CPUs' caches: all of them, or they count as if none did.
pub fn sees_caches() -> bool {
    SEE_CACHES.load(Ordering::Relaxed)
}

/// The first device of a kind.
pub fn find<H: Hal>(kind: DeviceType) -> Option<SomeTransport<'static>> {
    let count = COUNT.load(Ordering::Relaxed);
    PLACES[..count].iter().find_map(|place| {
        let header = NonNull::new(direct::<VirtIOHeader>(place.load(Ordering::Relaxed)))?;
        // SAFETY: (1) the device tree names such a place there; (2) devices are in the direct map
        // for as long as the kernel runs.
        let transport = unsafe { MmioTransport::new(header, BYTES) }.ok()?;
        if transport.device_type() == kind {
            return Some(transport.into());
        }
        // To drop it would reset a device that may be another driver's.
        core::mem::forget(transport);
        None
    })
}

/// The kernel's pointer to registers of a device; nothing if they are not mapped.
pub fn registers(physical: u64, bytes: usize) -> Option<NonNull<u8>> {
    let top = physical.checked_add(bytes as u64)?;
    if top <= MAPPED { NonNull::new(direct(physical)) } else { None }
}
