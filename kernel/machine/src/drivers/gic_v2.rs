//! Arm's interrupt controller, version 2 (Arm IHI 0048).
//!
//! A distributor that all CPUs share, and an interface for each CPU, at one address for all of
//! them. Interrupts 0 to 15 are sent by CPUs, 16 to 31 are each CPU's own lines, the others are
//! shared.
//!
//! # Groups
//!
//! One number may be an NMI: it alone is in group 0, which the interface raises as FIQ, and all
//! others are in group 1. A kernel of the non-secure world sees no groups; then the number stays
//! off, and everything arrives as IRQ. Both groups are acknowledged in one register. Without an NMI
//! everything stays in group 0, signalled as IRQ.

use crate::memory::direct;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The lowest number of a line that is not one CPU's own.
pub const SHARED_LOWEST: u32 = 32;
/// Numbers from here on mean "no interrupt".
pub const NONE_LOWEST: u32 = 1020;
/// The bits of what is acknowledged or pending that are the number.
pub const NUMBER: u32 = 0x3ff;

// Distributor.
const GICD_CTLR: u64 = 0x000;
const GICD_TYPER: u64 = 0x004;
const GICD_IGROUPR: u64 = 0x080;
const GICD_ISENABLER: u64 = 0x100;
const GICD_ICENABLER: u64 = 0x180;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_ITARGETSR: u64 = 0x800;
const GICD_SGIR: u64 = 0xf00;
// CPU interface.
const GICC_CTLR: u64 = 0x00;
const GICC_PMR: u64 = 0x04;
const GICC_IAR: u64 = 0x0c;
const GICC_EOIR: u64 = 0x10;
const GICC_HPPIR: u64 = 0x18;

/// In both control registers: group 0 on; group 1 on.
const GROUP_0: u32 = 1;
const BOTH_GROUPS: u32 = 0b11;
/// In the interface's: one register acknowledges both groups; group 0 raises FIQ.
const FIQ_FOR_GROUP_0: u32 = 0b1100;
/// The priority of every interrupt but an NMI, four of them in a word; that of an NMI; what gets
/// through has a lower number.
const PRIORITY: u32 = 0xa0a0_a0a0;
const NMI_PRIORITY: u8 = 0x20;
const MASK: u32 = 0xf0;

/// Interfaces of a controller.
const MAX_INTERFACES: usize = 8;
/// No affinity: it has three levels of eight bits.
const NO_CPU: u32 = u32::MAX;

/// A controller.
#[derive(Debug)]
pub struct GicV2 {
    /// Physical addresses.
    distributor: AtomicUsize,
    interface: AtomicUsize,
    /// The affinity of the CPU behind each interface. Affinities of two clusters may be alike in
    /// their lowest level, and need not be numbers of interfaces, so an interface is found by the
    /// whole of it.
    cpus: [AtomicU32; MAX_INTERFACES],
    nmi: Option<u8>,
}

impl GicV2 {
    /// A controller that has no place yet. `nmi`: the number, below 16, that is to arrive as FIQ.
    pub const fn new(nmi: Option<u8>) -> Self {
        Self {
            distributor: AtomicUsize::new(0),
            interface: AtomicUsize::new(0),
            cpus: [const { AtomicU32::new(NO_CPU) }; MAX_INTERFACES],
            nmi,
        }
    }

    /// Says where distributor and interface are.
    ///
    /// # Safety
    ///
    /// 1. A GICv2 answers at these physical addresses.
    /// 2. They are in the direct map as devices whenever another function is called.
    pub unsafe fn place(&self, distributor: u64, interface: u64) {
        self.distributor.store(distributor as usize, Ordering::Relaxed);
        self.interface.store(interface as usize, Ordering::Relaxed);
    }

    #[inline(always)]
    fn distributor<T>(&self, register: u64) -> *mut T {
        direct(self.distributor.load(Ordering::Relaxed) as u64 + register)
    }

    #[inline(always)]
    fn interface(&self, register: u64) -> *mut u32 {
        direct(self.interface.load(Ordering::Relaxed) as u64 + register)
    }

    fn read(&self, register: u64) -> u32 {
        // SAFETY: (1) by the promise of `place`; reading these registers has no effect.
        unsafe { self.distributor::<u32>(register).read_volatile() }
    }

    fn write(&self, register: u64, value: u32) {
        // SAFETY: (1) by the promise of `place`; (2) the values come from the functions below.
        unsafe { self.distributor::<u32>(register).write_volatile(value) };
    }

    fn read_interface(&self, register: u64) -> u32 {
        // SAFETY: (1) by the promise of `place`; the interface is each CPU's own.
        unsafe { self.interface(register).read_volatile() }
    }

    fn write_interface(&self, register: u64, value: u32) {
        // SAFETY: (1) as for `read_interface`; (2) the values come from the functions below.
        unsafe { self.interface(register).write_volatile(value) };
    }

    /// Sets up the part that all CPUs share: every shared line off, the distributor on.
    pub fn set_up_shared(&self) {
        self.write(GICD_CTLR, 0);
        let lines = 32 * ((self.read(GICD_TYPER) & 0x1f) + 1);
        for line in (SHARED_LOWEST..lines.min(NONE_LOWEST)).step_by(4) {
            if line % 32 == 0 {
                let word = u64::from(line / 32 * 4);
                self.write(GICD_ICENABLER + word, u32::MAX);
                if self.nmi.is_some() {
                    self.write(GICD_IGROUPR + word, u32::MAX);
                }
            }
            self.write(GICD_IPRIORITYR + u64::from(line), PRIORITY);
        }
        let has_groups = self.nmi.is_some() && self.read(GICD_IGROUPR + 4) != 0;
        self.write(GICD_CTLR, if has_groups { BOTH_GROUPS } else { GROUP_0 });
    }

    /// Sets up the part of the CPU this runs on, which has this affinity: interrupts from other
    /// CPUs, and one line of its own.
    pub fn set_up_own(&self, affinity: u32, line: u8) {
        // The first words of the distributor's registers are banked: each CPU has its own.
        for line in (0..SHARED_LOWEST).step_by(4) {
            self.write(GICD_IPRIORITYR + u64::from(line), PRIORITY);
        }
        let (mut on, mut control) = (0xffff | 1 << line, GROUP_0);
        if let Some(nmi) = self.nmi {
            self.write(GICD_IGROUPR, !(1 << nmi));
            if self.read(GICD_IGROUPR) != 0 {
                // SAFETY: (1) by the promise of `place`; this register allows bytes.
                unsafe {
                    self.distributor::<u8>(GICD_IPRIORITYR + u64::from(nmi))
                        .write_volatile(NMI_PRIORITY);
                }
                control = BOTH_GROUPS | FIQ_FOR_GROUP_0;
            } else {
                on &= !(1 << nmi);
            }
        }
        self.write(GICD_ISENABLER, on);
        // Its own bit, as the banked target register of its own lines has it. A machine with one
        // CPU has no such register.
        let bit = self.read(GICD_ITARGETSR) & 0xff;
        self.cpus[bit.trailing_zeros() as usize % MAX_INTERFACES]
            .store(affinity, Ordering::Release);
        self.write_interface(GICC_PMR, MASK);
        self.write_interface(GICC_CTLR, control);
    }

    /// The bit of a CPU's interface; none for a CPU that has not set its own up.
    fn interface_bit(&self, affinity: u32) -> u32 {
        let interface = self.cpus.iter().position(|cpu| cpu.load(Ordering::Acquire) == affinity);
        interface.map_or(0, |interface| 1 << interface)
    }

    /// Turns a shared line on, and routes it to the CPU with this affinity.
    pub fn route(&self, line: u32, affinity: u32) {
        let at = GICD_ITARGETSR + u64::from(line & !3);
        let shift = 8 * (line % 4);
        let targets = self.read(at) & !(0xff << shift) | self.interface_bit(affinity) << shift;
        self.write(at, targets);
        self.write(GICD_ISENABLER + u64::from(line / 32 * 4), 1 << (line % 32));
    }

    /// Sends interrupt `number`, below 16, to the CPU with this affinity. The caller orders what
    /// its handler is to see before this.
    pub fn send(&self, affinity: u32, number: u8) {
        self.write(GICD_SGIR, self.interface_bit(affinity) << 16 | u32::from(number));
    }

    /// The interrupt that the CPU is to handle: a word that [`GicV2::end`] wants back, with the
    /// number in its [`NUMBER`] bits.
    #[inline(always)]
    pub fn acknowledge(&self) -> u32 {
        self.read_interface(GICC_IAR)
    }

    /// Tells the controller that an interrupt has been handled.
    #[inline(always)]
    pub fn end(&self, word: u32) {
        self.write_interface(GICC_EOIR, word);
    }

    /// The number that [`GicV2::acknowledge`] would return now.
    pub fn pending(&self) -> u32 {
        self.read_interface(GICC_HPPIR) & NUMBER
    }
}
