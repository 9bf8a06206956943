//! Virtio devices of a PC: on the first PCI bus, where the firmware has given them a place for
//! their registers (Virtio 1.2, 4.1).

use super::page_entry::{GLOBAL, NO_EXEC, PRESENT, UNCACHED, WRITE};
use super::ports::{in32, out32};
use crate::arch::layout::DEVICE_WINDOW;
use crate::arch::walk;
use crate::memory::frames::FRAME_BYTES;
use crate::spin::SpinLock;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use virtio_drivers::Hal;
use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::transport::pci::{PciTransport, virtio_device_type};
use virtio_drivers::transport::{DeviceType, SomeTransport};

/// One word of configuration space at a time: its address goes to one port, it comes by another
/// (PCI Local Bus Specification 3.0, 3.2.2.3.2).
static CONFIGURATION: SpinLock<Configuration> = SpinLock::new(Configuration);

#[derive(Debug)]
struct Configuration;

impl Configuration {
    const ADDRESS: u16 = 0xcf8;
    const DATA: u16 = 0xcfc;

    /// Says which word is meant.
    fn choose(&mut self, of: DeviceFunction, register: u8) {
        const ENABLE: u32 = 1 << 31;
        let place = u32::from(of.bus) << 16
            | u32::from(of.device) << 11
            | u32::from(of.function) << 8
            | u32::from(register & !3);
        // SAFETY: (1) the ports of the PCI bus; nothing else here uses them.
        unsafe { out32(Self::ADDRESS, ENABLE | place) };
    }

    fn read(&mut self, of: DeviceFunction, register: u8) -> u32 {
        self.choose(of, register);
        // SAFETY: (1) as above.
        unsafe { in32(Self::DATA) }
    }

    fn write(&mut self, of: DeviceFunction, register: u8, value: u32) {
        self.choose(of, register);
        // SAFETY: (1) as above.
        unsafe { out32(Self::DATA, value) };
    }
}

/// The same, as the crate asks for it.
struct Bus;

impl ConfigurationAccess for Bus {
    fn read_word(&self, device_function: DeviceFunction, register_offset: u8) -> u32 {
        CONFIGURATION.lock().read(device_function, register_offset)
    }

    fn write_word(&mut self, device_function: DeviceFunction, register_offset: u8, data: u32) {
        CONFIGURATION.lock().write(device_function, register_offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Whether the devices see the CPUs' caches: on a PC they do.
pub const fn sees_caches() -> bool {
    true
}

/// The first device of a kind.
pub fn find<H: Hal>(kind: DeviceType) -> Option<SomeTransport<'static>> {
    let mut root = PciRoot::new(Bus);
    let mut on_bus = root.enumerate_bus(0);
    let (at, _) = on_bus.find(|(_, info)| virtio_device_type(info) == Some(kind))?;
    // It may read and write memory; its interrupts are not used.
    let command = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
    root.set_command(at, command);
    let transport = PciTransport::new::<H, _>(&mut root, at);
    transport.inspect_err(|why| log!("the virtio device at {at}: {why}")).ok().map(Into::into)
}

/// Pages of the window.
const WINDOW_PAGES: usize = 64;

/// Which page of physical memory each page of the window shows; they are used from the first on,
/// and stay.
static WINDOW: SpinLock<([u64; WINDOW_PAGES], usize)> = SpinLock::new(([0; WINDOW_PAGES], 0));

/// The kernel's pointer to registers of a device, uncached; nothing if the window is full.
pub fn registers(physical: u64, bytes: usize) -> Option<NonNull<u8>> {
    let offset = physical % FRAME_BYTES;
    let first = physical - offset;
    let count = (offset + bytes as u64).div_ceil(FRAME_BYTES) as usize;
    let mut window = WINDOW.lock();
    let (shown, used) = &mut *window;
    let wanted = |page: usize| first + page as u64 * FRAME_BYTES;
    let is_there = |at: &usize| (0..count).all(|page| shown[at + page] == wanted(page));
    let place = match (0..=used.saturating_sub(count)).find(is_there).filter(|_| *used >= count) {
        Some(place) => place,
        None => {
            let place = *used;
            let new = shown.get_mut(place..place + count)?;
            for (page, shows) in new.iter_mut().enumerate() {
                let at = DEVICE_WINDOW + ((place + page) as u64) * FRAME_BYTES;
                let leaf = walk::kernel_leaf_or_new(at).ok()?;
                let flags = PRESENT | WRITE | GLOBAL | UNCACHED | NO_EXEC;
                leaf.store(wanted(page) | flags, Ordering::Release);
                *shows = wanted(page);
            }
            *used += count;
            place
        }
    };
    NonNull::new((DEVICE_WINDOW + place as u64 * FRAME_BYTES + offset) as *mut u8)
}
