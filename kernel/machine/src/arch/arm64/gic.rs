//! The interrupt controller, version 2 or 3, whichever the device tree names (Arm IHI 0048 and IHI
//! 0069).
//!
//! | | version 2 | version 3 |
//! | --- | --- | --- |
//! | which interrupt | memory, one CPU interface, banked | system register |
//! | interrupts between CPUs | a bit per CPU interface | affinity, in a system register |
//! | a CPU's own lines | in the distributor, banked | in its redistributor, found by affinity |
//!
//! The machine runs without the secure state, so everything is in group 1 (version 2: group 0,
//! signalled as IRQ).

use super::board;
pub use crate::drivers::gic_v2::NONE_LOWEST;
use crate::drivers::gic_v2::{GicV2, SHARED_LOWEST};
use crate::memory::direct;
use core::arch::asm;

// Distributor.
const GICD_CTLR: u64 = 0x000;
/// In GICD_CTLR and GICR_CTLR of version 3: a write is not seen everywhere yet (IHI 0069, 12.9.4
/// and 12.11.2).
const GICD_WRITE_PENDING: u32 = 1 << 31;
const GICR_WRITE_PENDING: u32 = 1 << 3;
const GICD_TYPER: u64 = 0x004;
const GICD_IGROUPR: u64 = 0x080;
const GICD_ISENABLER: u64 = 0x100;
const GICD_ICENABLER: u64 = 0x180;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_IROUTER: u64 = 0x6000;
// Redistributor: two pages of 64 KiB for each CPU.
const GICR_CTLR: u64 = 0x00;
const GICR_TYPER: u64 = 0x08;
const GICR_WAKER: u64 = 0x14;
const GICR_FRAME: u64 = 0x1_0000;
const GICR_STRIDE: u64 = 0x2_0000;

/// Every interrupt has this priority; all with a lower number get through.
const PRIORITY: u32 = 0xa0a0_a0a0;
const MASK: u32 = 0xf0;

/// The controller, if it is of version 2. No interrupt arrives as FIQ.
static V2: GicV2 = GicV2::new(None);

#[inline(always)]
fn is_v3() -> bool {
    board::gic_is_v3()
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
    board::gic()[0] + register
}

/// The affinity of the CPU this runs on, levels 0 to 2.
pub fn affinity() -> u32 {
    let mpidr: u64;
    // SAFETY: (1) reading an identification register has no effect.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack, preserves_flags)) };
    mpidr as u32 & 0xff_ffff
}

/// Version 3: waits until what was written to the distributor's control register, or to its lines'
/// enable bits, holds.
fn until_distributor_is_written() {
    while read(distributor(GICD_CTLR)) & GICD_WRITE_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// The same for the redistributor whose second page this is.
fn until_redistributor_is_written(own: u64) {
    while read(own - GICR_FRAME + GICR_CTLR) & GICR_WRITE_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Version 3: the second page of this CPU's redistributor, where its own lines are set up.
fn own_lines() -> u64 {
    let [_, mut frame] = board::gic();
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
    if !is_v3() {
        let [distributor, interface] = board::gic();
        // SAFETY: (1) the device tree names a GICv2 there; (2) devices are in the direct map.
        unsafe { V2.place(distributor, interface) };
        return V2.set_up_shared();
    }
    write(distributor(GICD_CTLR), 0);
    // Off everywhere, before anything else changes.
    until_distributor_is_written();
    let lines = 32 * ((read(distributor(GICD_TYPER)) & 0x1f) + 1);
    for line in (SHARED_LOWEST..lines.min(NONE_LOWEST)).step_by(4) {
        if line % 32 == 0 {
            let bits = u64::from(line / 8);
            write(distributor(GICD_ICENABLER + bits), u32::MAX);
            write(distributor(GICD_IGROUPR + bits), u32::MAX);
        }
        write(distributor(GICD_IPRIORITYR + u64::from(line)), PRIORITY);
    }
    until_distributor_is_written();
    /// Affinity routing, then with group 1 on. Together they would be unpredictable (IHI 0069,
    /// 12.9.4).
    const AFFINITY_ROUTING: u32 = 1 << 4;
    const GROUP_1: u32 = 1 << 1;
    write(distributor(GICD_CTLR), AFFINITY_ROUTING);
    until_distributor_is_written();
    write(distributor(GICD_CTLR), AFFINITY_ROUTING | GROUP_1);
    until_distributor_is_written();
}

/// Sets up the part of the CPU this runs on: interrupts from other CPUs, and one line of its own.
pub fn set_up_own(line: u8) {
    if !is_v3() {
        return V2.set_up_own(affinity(), line);
    }
    let own = own_lines();
    // Whatever firmware left on is off before its group changes.
    write(own + GICD_ICENABLER, u32::MAX);
    until_redistributor_is_written(own);
    write(own + GICD_IGROUPR, u32::MAX);
    for line in (0..SHARED_LOWEST).step_by(4) {
        write(own + GICD_IPRIORITYR + u64::from(line), PRIORITY);
    }
    write(own + GICD_ISENABLER, 0xffff | 1 << line);
    // SAFETY: (1) the CPU has these registers, since the controller is of version 3; (2) the order
    // is the manual's: registers on, mask, group on.
    unsafe {
        asm!("mrs {x}, S3_0_C12_C12_5", "orr {x}, {x}, #1", "msr S3_0_C12_C12_5, {x}", "isb", // ICC_SRE_EL1
             "msr S3_0_C4_C6_0, {mask}",                                                       // ICC_PMR_EL1
             "msr S3_0_C12_C12_3, xzr",                                                        // ICC_BPR1_EL1
             "msr S3_0_C12_C12_4, xzr",                                                        // ICC_CTLR_EL1
             "msr S3_0_C12_C12_7, {one}", "isb",                                               // ICC_IGRPEN1_EL1
             x = out(reg) _, mask = in(reg) u64::from(MASK), one = in(reg) 1_u64,
             options(nostack, preserves_flags));
    }
}

/// Turns a shared line on, and routes it to the CPU with this affinity.
pub fn route(line: u32, affinity: u32) {
    if !is_v3() {
        return V2.route(line, affinity);
    }
    write(distributor(GICD_IROUTER + 8 * u64::from(line)), affinity);
    write(distributor(GICD_IROUTER + 8 * u64::from(line) + 4), 0);
    write(distributor(GICD_ISENABLER + u64::from(line / 32 * 4)), 1 << (line % 32));
}

/// Sends interrupt `number`, below 16, to the CPU with this affinity. What was stored before is
/// seen by its handler.
pub fn send(affinity: u32, number: u8) {
    // SAFETY: (1) a barrier changes nothing.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    if !is_v3() {
        return V2.send(affinity, number);
    }
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
}

/// The interrupt that the CPU is to handle: a word that [`end`] wants back; the number is its low
/// ten bits.
#[inline(always)]
pub fn acknowledge() -> u32 {
    if is_v3() {
        let word: u64;
        // SAFETY: (1) as in `set_up_own`; ICC_IAR1_EL1. The barrier orders it before what the
        // handler reads.
        unsafe {
            asm!("mrs {}, S3_0_C12_C12_0", "dsb sy", out(reg) word, options(nostack, preserves_flags))
        };
        word as u32
    } else {
        V2.acknowledge()
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
        V2.end(word);
    }
}
