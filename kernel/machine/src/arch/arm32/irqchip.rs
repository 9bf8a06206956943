//! The interrupt controller, a GIC of version 2, and each CPU's virtual timer.
//!
//! The timer's registers: ARMv7-A manual, part B8.
//!
//! A vector is the controller's number of the interrupt: 0 to 15 are sent by CPUs, 16 to 31 are
//! each CPU's own, the rest are shared. The CPU itself has one line for all of them;
//! [`acknowledge`] asks the controller which it is.
//!
//! The CPU has a second line, FIQ, which masking interrupts does not keep out. The controller
//! raises it for [`vector::NMI`] alone, if it has groups (`drivers::gic_v2`). FIQ and IRQ are
//! acknowledged in the same register, so each handler looks whether it is the other's.

use super::{board, cpu, serial};
use crate::cpus::{self, MAX_CPUS};
use crate::drivers::gic_v2::{GicV2, NUMBER};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::arch::current::cause;

/// The controller.
static GIC: GicV2 = GicV2::new(Some(vector::NMI));

/// The vectors the kernel uses.
pub mod vector {
    /// Timer tick: the virtual timer's own interrupt.
    pub const TIMER: u8 = 27;
    /// Input on the console.
    pub const CONSOLE: u8 = super::serial::CONSOLE_IRQ as u8;
    /// "Look at your run queue."
    pub const RESCHEDULE: u8 = 1;
    /// "Flush your TLB." Never sent: the hardware does that by itself here.
    pub const FLUSH: u8 = 2;
    /// "Run the function I left for you."
    pub const CALL: u8 = 3;
    /// The only one that arrives as FIQ, whether interrupts are masked or not.
    pub(super) const NMI: u8 = 4;
    /// Raised by tests and benches with the `svc` instruction: no interrupt controller involved.
    pub const SOFTWARE: u8 = kstack::arch::current::cause::SOFTWARE;
    /// The interrupt went away before it was acknowledged.
    pub const SPURIOUS: u8 = 0xff;
}

/// Timer ticks per second.
pub const HZ: u64 = 250;

/// What each CPU acknowledged last: the end of interrupt wants it back as it was.
static ACKNOWLEDGED: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

#[inline(always)]
fn acknowledged_here() -> &'static AtomicU32 {
    &ACKNOWLEDGED[cpus::this().id().index()]
}

/// This CPU's number at the controller.
pub fn id() -> u32 {
    cpu::affinity()
}

/// Turns this CPU's part of the controller on, and its own interrupts; says who may read its
/// counters.
pub fn set_up_local() {
    GIC.set_up_own(id(), vector::TIMER);
    /// Programs may read the virtual counter, as under Linux, but no other.
    const USER_READS_VIRTUAL_COUNTER: u32 = 1 << 1;
    // SAFETY: (1) the register says only what user mode may read.
    unsafe {
        asm!("mcr p15, 0, {}, c14, c1, 0", in(reg) USER_READS_VIRTUAL_COUNTER,
             options(nostack, preserves_flags));
    }
}

/// Sets up what all CPUs share of the controller.
pub fn set_up_once() {
    let [distributor, interface] = board::gic();
    // SAFETY: (1) the device tree names a GICv2 there; (2) devices are in the direct map.
    unsafe { GIC.place(distributor, interface) };
    GIC.set_up_shared();
}

/// The counter's ticks in a second.
fn frequency() -> u32 {
    let frequency: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrc p15, 0, {}, c14, c0, 0", out(reg) frequency, options(nomem, nostack, preserves_flags));
    }
    frequency
}

/// What the clock counts: the virtual counter, the same on every CPU.
#[inline(always)]
pub fn counter() -> u64 {
    cpu::time()
}

/// How often that counts in a second. 0: the firmware did not say.
pub fn counter_per_second() -> u64 {
    frequency().into()
}

/// The counter's ticks from one timer interrupt to the next.
fn period() -> u32 {
    frequency() / HZ as u32
}

fn set_timer_control(value: u32) {
    // SAFETY: (1) the virtual timer of this CPU is the kernel's.
    unsafe {
        asm!("mcr p15, 0, {}, c14, c3, 1", "isb", in(reg) value, options(nostack, preserves_flags));
    }
}

/// Starts this CPU's timer: [`acknowledge`] keeps it going.
pub fn start_timer() {
    let first = cpu::time() + u64::from(period());
    set_compare(first);
    set_timer_control(1);
}

fn set_compare(at: u64) {
    // SAFETY: (1) as for `set_timer_control`.
    unsafe {
        asm!("mcrr p15, 3, {}, {}, c14", "isb", in(reg) at as u32, in(reg) (at >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// The next tick: a period after the last one, or after now if some were missed.
fn rearm() {
    let (low, high): (u32, u32);
    // SAFETY: (1) as for `set_timer_control`.
    unsafe {
        asm!("mrrc p15, 3, {}, {}, c14", out(reg) low, out(reg) high, options(nostack, preserves_flags));
    }
    let period = u64::from(period());
    let next = (u64::from(high) << 32 | u64::from(low)) + period;
    let now = cpu::time();
    set_compare(if next > now { next } else { now + period });
}

/// Lets this CPU's timer interrupt so many nanoseconds from now. For more ticks, call
/// [`start_timer`] then.
pub fn start_timer_after(nanoseconds: u64) {
    let ticks = nanoseconds * u64::from(frequency()) / 1_000_000_000;
    set_compare(cpu::time() + ticks);
    set_timer_control(1);
}

/// Stops this CPU's timer.
pub fn stop_timer() {
    set_timer_control(0);
}

/// Which interrupt it is, when the entry code says only that there is one.
#[inline(always)]
pub fn acknowledge(number: u8) -> u8 {
    if number != cause::LINE {
        return number;
    }
    let acknowledged = GIC.acknowledge();
    let number = acknowledged & NUMBER;
    if number == u32::from(vector::NMI) {
        // It came between the CPU's taking the interrupt and here, and would have arrived as FIQ:
        // once more, then.
        GIC.end(acknowledged);
        send_nmi(id());
        return vector::SPURIOUS;
    }
    // 1023: none is left.
    if number > 0xf0 {
        return vector::SPURIOUS;
    }
    acknowledged_here().store(acknowledged, Ordering::Relaxed);
    if number == u32::from(vector::TIMER) {
        rearm();
    }
    number as u8
}

/// The interrupt that the CPU has taken and whose handler has not begun: the controller knows of
/// none. It hears of one from [`acknowledge`], and until then the interrupt stays pending.
pub const fn in_service() -> Option<u8> {
    None
}

/// Tells the controller that the interrupt has been handled.
#[inline(always)]
pub fn end_of_interrupt() {
    GIC.end(acknowledged_here().load(Ordering::Relaxed));
}

/// Acknowledges and ends what raised FIQ. Returns whether that was an NMI; otherwise it has been
/// acknowledged as an interrupt, and comes again.
pub fn acknowledge_nmi() -> bool {
    if GIC.pending() != u32::from(vector::NMI) {
        return false;
    }
    // Nothing has a higher priority, so this is the same one.
    let acknowledged = GIC.acknowledge();
    GIC.end(acknowledged);
    true
}

/// Sends an NMI to a CPU, which may be the sender. If the controller has groups.
pub fn send_nmi(hardware_id: u32) {
    send_interrupt(hardware_id, vector::NMI);
}

/// Sends an interrupt to a CPU.
pub fn send_interrupt(hardware_id: u32, vector: u8) {
    // What was written before is there when the interrupt is.
    // SAFETY: (1) a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    GIC.send(hardware_id, vector);
}

/// Routes the console's interrupt to a CPU.
pub fn route_console(hardware_id: u32) {
    GIC.route(serial::CONSOLE_IRQ, hardware_id);
}

/// Takes an interrupt with [`vector::SOFTWARE`] right here, whether interrupts are on or not. No
/// interrupt controller is involved.
#[inline(always)]
pub fn software_interrupt() {
    // SAFETY: (1) the vector's handler returns with everything as it was, but LR.
    unsafe { asm!("svc #0", out("lr") _) };
}
