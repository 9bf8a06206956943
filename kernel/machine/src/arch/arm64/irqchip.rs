//! Interrupts as the kernel numbers them, the timer, and software interrupts.
//!
//! A vector is the controller's number of the line: 0 to 15 from other CPUs, 16 to 31 a CPU's own,
//! from 32 on shared.

use super::serial::CONSOLE_IRQ;
use super::{cpu, gic};
use crate::cpus::MAX_CPUS;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::arch::current::cause::FROM_CONTROLLER;

/// The vectors the kernel uses.
pub mod vector {
    /// Timer tick: the virtual timer.
    pub const TIMER: u8 = 27;
    /// Input on the console.
    pub const CONSOLE: u8 = super::CONSOLE_IRQ as u8;
    /// "Look at your run queue."
    pub const RESCHEDULE: u8 = 0;
    /// "Flush your TLB": never sent, since flushes are broadcast.
    pub const FLUSH: u8 = 1;
    /// "Run the function I left for you."
    pub const CALL: u8 = 2;
    /// Raised by tests and benches with the `svc` instruction: no interrupt controller involved.
    pub const SOFTWARE: u8 = 0xf6;
    /// An interrupt went away before it was asked for.
    pub const SPURIOUS: u8 = 0xfe;
}

/// Timer ticks per second.
pub const HZ: u64 = 250;

/// What each CPU has acknowledged and not yet ended, by its number; handlers do not nest.
static IN_SERVICE: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(gic::NONE_LOWEST) }; MAX_CPUS];

fn acknowledged() -> &'static AtomicU32 {
    &IN_SERVICE[crate::cpus::this().id().index()]
}

/// This CPU's affinity, which is what IPIs go by.
pub fn id() -> u32 {
    gic::affinity()
}

/// Sets up this CPU's part of the interrupt controller.
pub fn set_up_local() {
    gic::set_up_own(vector::TIMER);
}

/// Sets up what all CPUs share of the interrupt controller.
pub fn set_up_once() {
    gic::set_up_shared();
}

/// What the clock counts: the virtual counter, the same on every CPU.
#[inline(always)]
pub fn counter() -> u64 {
    cpu::time().0
}

/// How often that counts in a second. 0: the firmware did not say.
pub fn counter_per_second() -> u64 {
    cpu::time().1
}

fn ticks_apart() -> u64 {
    cpu::time().1 / HZ
}

fn set_timer(at: u64, enable: u64) {
    // SAFETY: (1) the virtual timer is the kernel's alone.
    unsafe {
        asm!("msr cntv_cval_el0, {at}", "msr cntv_ctl_el0, {enable}", "isb", at = in(reg) at, enable = in(reg) enable,
             options(nostack, preserves_flags));
    }
}

/// Starts this CPU's periodic timer.
pub fn start_timer() {
    set_timer(cpu::time().0 + ticks_apart(), 1);
}

/// Lets this CPU's timer interrupt so many nanoseconds from now. For more ticks, call
/// [`start_timer`] then.
pub fn start_timer_after(nanoseconds: u64) {
    let (now, frequency) = cpu::time();
    set_timer(now + nanoseconds * frequency / 1_000_000_000, 1);
}

/// Stops this CPU's timer.
pub fn stop_timer() {
    set_timer(u64::MAX, 0);
}

/// The next tick, a tick after the last; after a long gap, a tick from now.
fn rearm_timer() {
    let last: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrs {}, cntv_cval_el0", out(reg) last, options(nomem, nostack, preserves_flags))
    };
    let apart = ticks_apart();
    let now = cpu::time().0;
    let next = last.wrapping_add(apart);
    set_timer(if next > now { next } else { now + apart }, 1);
}

/// Which interrupt it is: the controller knows, unless it was a software interrupt.
#[inline(always)]
pub fn acknowledge(vector: u8) -> u8 {
    if vector != FROM_CONTROLLER {
        return vector;
    }
    let word = gic::acknowledge();
    let number = word & 0x3ff;
    if number >= gic::NONE_LOWEST {
        return vector::SPURIOUS;
    }
    acknowledged().store(word, Ordering::Relaxed);
    if number == vector::TIMER.into() {
        rearm_timer();
    }
    u8::try_from(number).unwrap_or(vector::SPURIOUS)
}

/// The interrupt that the CPU has taken and whose handler has not begun: the controller knows of
/// none. It hears of one from [`acknowledge`], and until then the interrupt stays pending.
pub const fn in_service() -> Option<u8> {
    None
}

/// Tells the controller that the interrupt has been handled.
#[inline(always)]
pub fn end_of_interrupt() {
    gic::end(acknowledged().load(Ordering::Relaxed));
}

/// Acknowledges an NMI, and returns whether it was one: there are none.
#[inline(always)]
pub const fn acknowledge_nmi() -> bool {
    true
}

/// Sends an interrupt to a CPU.
pub fn send_interrupt(hardware_id: u32, vector: u8) {
    gic::send(hardware_id, vector);
}

/// Routes the console's line to a CPU.
pub fn route_console(hardware_id: u32) {
    gic::route(CONSOLE_IRQ, hardware_id);
}

/// Takes an interrupt with [`vector::SOFTWARE`] right here, whether interrupts are on or not. No
/// interrupt controller is involved.
#[inline(always)]
pub fn software_interrupt() {
    // SAFETY: (1) the vector's handler returns with everything as it was.
    unsafe { asm!("svc #{}", const vector::SOFTWARE) };
}
