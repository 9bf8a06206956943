//! The interrupt controller, version 2 or 3, whichever the device tree names (Arm IHI 0048 and IHI 0069).
//!
//! | | version 2 | version 3 |
//! | --- | --- | --- |
//! | which interrupt | memory, one CPU interface, banked | system register |
//! | interrupts between CPUs | a bit per CPU interface | affinity, in a system register |
//! | a CPU's own lines | in the distributor, banked | in its redistributor, found by affinity |
//!
//! The machine runs without the secure state, so everything is in group 1 (version 2: group 0, signalled as IRQ).

use crate::arch::virt::device_tree::Tree;
use crate::memory::direct;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The highest number of a line that only one CPU has, plus one.
const SHARED_LOWEST: u32 = 32;
/// Numbers from here on mean "no interrupt".
pub const NONE_LOWEST: u32 = 1020;

// Distributor.
const GICD_CTLR: u64 = 0x000;
/// In GICD_CTLR and GICR_CTLR of version 3: a write is not seen everywhere yet (IHI 0069, 12.9.4 and 12.11.2).
const GICD_WRITE_PENDING: u32 = 1 << 31;
const GICR_WRITE_PENDING: u32 = 1 << 3;
const GICD_TYPER: u64 = 0x004;
const GICD_IGROUPR: u64 = 0x080;
const GICD_ISENABLER: u64 = 0x100;
const GICD_ICENABLER: u64 = 0x180;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_ITARGETSR: u64 = 0x800;
const GICD_SGIR: u64 = 0xf00;
const GICD_IROUTER: u64 = 0x6000;
// CPU interface of version 2.
const GICC_CTLR: u64 = 0x00;
const GICC_PMR: u64 = 0x04;
const GICC_IAR: u64 = 0x0c;
const GICC_EOIR: u64 = 0x10;
// Redistributor: two pages of 64 KiB for each CPU.
const GICR_CTLR: u64 = 0x00;
const GICR_TYPER: u64 = 0x08;
const GICR_WAKER: u64 = 0x14;
const GICR_FRAME: u64 = 0x1_0000;
const GICR_STRIDE: u64 = 0x2_0000;

/// Every interrupt has this priority; all with a lower number get through.
const PRIORITY: u32 = 0xa0a0_a0a0;
const MASK: u32 = 0xf0;

static IS_V3: AtomicBool = AtomicBool::new(false);
static DISTRIBUTOR: AtomicU64 = AtomicU64::new(0x0800_0000);
/// Version 2: the CPU interface. Version 3: the first redistributor.
static PER_CPU: AtomicU64 = AtomicU64::new(0x0801_0000);
/// Version 2: the affinity of the CPU behind each interface. Affinities of two clusters may be alike in their lowest level, so an
/// interface is found by the whole of it.
static INTERFACES: [AtomicU32; 8] = [const { AtomicU32::new(NO_CPU) }; 8];
/// No affinity: it has three levels of eight bits.
const NO_CPU: u32 = u32::MAX;

/// Keeps what the device tree says of it.
pub fn remember(tree: &Tree<'_>) {
    let kinds: [(bool, &[&str]); 2] =
        [(true, &["arm,gic-v3"]), (false, &["arm,cortex-a15-gic", "arm,gic-400"])];
    for (is_v3, compatible) in kinds {
        if let Some([distributor, per_cpu]) = tree.registers(compatible) {
            IS_V3.store(is_v3, Ordering::Relaxed);
            DISTRIBUTOR.store(distributor, Ordering::Relaxed);
            PER_CPU.store(per_cpu, Ordering::Relaxed);
        }
    }
}

#[inline(always)]
fn is_v3() -> bool {
    IS_V3.load(Ordering::Relaxed)
}

fn read(address: u64) -> u32 {
    // SAFETY: (1) the controller's pages are in the direct map as devices.
    unsafe { direct::<u32>(address).read_volatile() }
}

fn write(address: u64, value: u32) {
    // SAFETY: (1) as for `read`; (2) the values come from the functions below.
    unsafe { direct::<u32>(address).write_volatile(value) };
}

fn distributor(register: u64) -> u64 {
    DISTRIBUTOR.load(Ordering::Relaxed) + register
}

fn interface(register: u64) -> u64 {
    PER_CPU.load(Ordering::Relaxed) + register
}

/// The affinity of the CPU this runs on, levels 0 to 2.
pub fn affinity() -> u32 {
    let mpidr: u64;
    // SAFETY: (1) reading an identification register has no effect.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack, preserves_flags)) };
    mpidr as u32 & 0xff_ffff
}

/// Waits until what was written to the distributor's control register, or to its lines' enable bits, holds. Version 2 has nothing to wait for.
fn until_distributor_is_written() {
    while is_v3() && read(distributor(GICD_CTLR)) & GICD_WRITE_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// The same for the redistributor whose second page this is.
fn until_redistributor_is_written(own: u64) {
    while is_v3() && read(own - GICR_FRAME + GICR_CTLR) & GICR_WRITE_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Where this CPU's own lines are set up: its redistributor's second page; version 2: the distributor.
fn own_lines() -> u64 {
    if !is_v3() {
        return distributor(0);
    }
    let mut frame = PER_CPU.load(Ordering::Relaxed);
    loop {
        let (low, high) = (read(frame + GICR_TYPER), read(frame + GICR_TYPER + 4));
        if high & 0xff_ffff == affinity() {
            break;
        }
        assert!(low & 1 << 4 == 0, "no redistributor has this CPU's affinity");
        frame += GICR_STRIDE;
    }
    // Awake, before its second page means anything.
    write(frame + GICR_WAKER, read(frame + GICR_WAKER) & !2);
    while read(frame + GICR_WAKER) & 4 != 0 {
        core::hint::spin_loop();
    }
    frame + GICR_FRAME
}

/// Sets up the part that all CPUs share: every line off, group 1 on version 3.
pub fn set_up_shared() {
    write(distributor(GICD_CTLR), 0);
    // Off everywhere, before anything else changes.
    until_distributor_is_written();
    let lines = 32 * ((read(distributor(GICD_TYPER)) & 0x1f) + 1);
    for line in (SHARED_LOWEST..lines.min(NONE_LOWEST)).step_by(4) {
        if line % 32 == 0 {
            let bits = u64::from(line / 8);
            write(distributor(GICD_ICENABLER + bits), u32::MAX);
            if is_v3() {
                write(distributor(GICD_IGROUPR + bits), u32::MAX);
            }
        }
        write(distributor(GICD_IPRIORITYR + u64::from(line)), PRIORITY);
    }
    until_distributor_is_written();
    /// Version 3: affinity routing, then with group 1 on. Together they would be unpredictable (IHI 0069, 12.9.4).
    const AFFINITY_ROUTING: u32 = 1 << 4;
    const GROUP_1: u32 = 1 << 1;
    const ON: u32 = 1;
    if is_v3() {
        write(distributor(GICD_CTLR), AFFINITY_ROUTING);
        until_distributor_is_written();
        write(distributor(GICD_CTLR), AFFINITY_ROUTING | GROUP_1);
        until_distributor_is_written();
    } else {
        write(distributor(GICD_CTLR), ON);
    }
}

/// Sets up the part of the CPU this runs on: interrupts from other CPUs, and one line of its own.
pub fn set_up_own(line: u32) {
    let own = own_lines();
    if is_v3() {
        // Whatever firmware left on is off before its group changes.
        write(own + GICD_ICENABLER, u32::MAX);
        until_redistributor_is_written(own);
        write(own + GICD_IGROUPR, u32::MAX);
    }
    for line in (0..SHARED_LOWEST).step_by(4) {
        write(own + GICD_IPRIORITYR + u64::from(line), PRIORITY);
    }
    write(own + GICD_ISENABLER, 0xffff | 1 << line);
    if is_v3() {
        // SAFETY: (1) the CPU has these registers if the controller is of version 3; (2) the order is the manual's: registers
        // on, mask, group on.
        unsafe {
            asm!("mrs {x}, S3_0_C12_C12_5", "orr {x}, {x}, #1", "msr S3_0_C12_C12_5, {x}", "isb", // ICC_SRE_EL1
                 "msr S3_0_C4_C6_0, {mask}",                                                       // ICC_PMR_EL1
                 "msr S3_0_C12_C12_3, xzr",                                                        // ICC_BPR1_EL1
                 "msr S3_0_C12_C12_4, xzr",                                                        // ICC_CTLR_EL1
                 "msr S3_0_C12_C12_7, {one}", "isb",                                               // ICC_IGRPEN1_EL1
                 x = out(reg) _, mask = in(reg) u64::from(MASK), one = in(reg) 1_u64,
                 options(nostack, preserves_flags));
        }
    } else {
        // Its own bit, as the banked target register of its own lines has it. A machine with one CPU has no such register.
        let bit = read(distributor(GICD_ITARGETSR)) & 0xff;
        INTERFACES[bit.trailing_zeros() as usize % INTERFACES.len()]
            .store(affinity(), Ordering::Release);
        write(interface(GICC_PMR), MASK);
        write(interface(GICC_CTLR), 1);
    }
}

/// Turns a shared line on, and routes it to the CPU with this affinity.
pub fn route(line: u32, affinity: u32) {
    if is_v3() {
        write(distributor(GICD_IROUTER + 8 * u64::from(line)), affinity);
        write(distributor(GICD_IROUTER + 8 * u64::from(line) + 4), 0);
    } else {
        let at = distributor(GICD_ITARGETSR + u64::from(line & !3));
        let shift = 8 * (line % 4);
        write(at, read(at) & !(0xff << shift) | interface_bit(affinity) << shift);
    }
    write(distributor(GICD_ISENABLER + u64::from(line / 32 * 4)), 1 << (line % 32));
}

/// The bit of a CPU's interface; none for a CPU that has not set its own up.
fn interface_bit(affinity: u32) -> u32 {
    let interface = INTERFACES.iter().position(|cpu| cpu.load(Ordering::Acquire) == affinity);
    interface.map_or(0, |interface| 1 << interface)
}

/// Sends interrupt `number`, below 16, to the CPU with this affinity. What was stored before is seen by its handler.
pub fn send(affinity: u32, number: u32) {
    // SAFETY: (1) a barrier changes nothing.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    if is_v3() {
        let [level0, level1, level2, _] = affinity.to_le_bytes().map(u64::from);
        let value = 1 << (level0 % 16)
            | level1 << 16
            | u64::from(number) << 24
            | level2 << 32
            | (level0 / 16) << 44;
        // SAFETY: (1) as in `set_up_own`. ICC_SGI1R_EL1.
        unsafe {
            asm!("msr S3_0_C12_C11_5, {}", "isb", in(reg) value, options(nostack, preserves_flags))
        };
    } else {
        write(distributor(GICD_SGIR), interface_bit(affinity) << 16 | number);
    }
}

/// The interrupt that the CPU is to handle: a word that [`end`] wants back; the number is its low ten bits.
#[inline(always)]
pub fn acknowledge() -> u32 {
    if is_v3() {
        let word: u64;
        // SAFETY: (1) as in `set_up_own`; ICC_IAR1_EL1. The barrier orders it before what the handler reads.
        unsafe {
            asm!("mrs {}, S3_0_C12_C12_0", "dsb sy", out(reg) word, options(nostack, preserves_flags))
        };
        word as u32
    } else {
        read(interface(GICC_IAR))
    }
}

/// Tells the controller that the interrupt has been handled.
#[inline(always)]
pub fn end(word: u32) {
    if is_v3() {
        // SAFETY: (1) as in `set_up_own`; ICC_EOIR1_EL1.
        unsafe {
            asm!("msr S3_0_C12_C12_1, {}", "isb", in(reg) u64::from(word), options(nostack, preserves_flags))
        };
    } else {
        write(interface(GICC_EOIR), word);
    }
}
