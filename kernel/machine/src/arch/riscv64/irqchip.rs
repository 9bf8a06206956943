//! What interrupts a hart: its timer and its software interrupt, both through the firmware, and the
//! PLIC (the console's line).
//!
//! A hart has one software interrupt, so what is sent is multiplexed: the sender sets a bit in the
//! receiver's word `sent` and raises the interrupt; the receiver takes one bit, handles it as the
//! vector it stands for, and interrupts itself for the next.
//!
//! | cause of the CPU | vectors |
//! | --- | --- |
//! | 1, software | that of a bit that is set in `sent` |
//! | 5, timer | `TIMER`; the next tick is asked for first |
//! | 9, external | `CONSOLE`, if the PLIC says it is the console's line |
//! | a marked `ebreak` | `SOFTWARE` |

use super::board::{self, MACHINE};
use super::cpu;
use super::sbi;
use super::serial;
use crate::cpus::{self, Cpu};
use crate::memory::direct;
use core::arch::asm;
use core::sync::atomic::Ordering;

pub use kstack::arch::current::cause::software_interrupt;

/// The vectors the kernel uses.
pub mod vector {
    /// Timer tick.
    pub const TIMER: u8 = 5;
    /// Input on the console.
    pub const CONSOLE: u8 = 9;
    /// "Look at your run queue."
    pub const RESCHEDULE: u8 = SENT_LOWEST;
    /// "Flush your TLB."
    pub const FLUSH: u8 = SENT_LOWEST + 1;
    /// "Run the function I left for you."
    pub const CALL: u8 = SENT_LOWEST + 2;
    /// Raised by tests and benches with an instruction: no interrupt controller involved.
    pub const SOFTWARE: u8 = kstack::arch::current::cause::SOFTWARE;
    /// An interrupt that went away, or whose vector was taken already.
    pub const SPURIOUS: u8 = 0xff;

    /// The vector of bit 0 of a CPU's word `sent`.
    pub(super) const SENT_LOWEST: u8 = 16;
}

/// Timer ticks per second.
pub const HZ: u64 = 250;

/// Causes of interrupts, as `scause` has them; as bits of `sie` and `sip`.
const SOFTWARE_CAUSE: u8 = 1;
const TIMER_CAUSE: u8 = 5;
const EXTERNAL_CAUSE: u8 = 9;

/// This CPU's hart number.
pub fn id() -> u32 {
    match cpus::this().hardware_id.load(Ordering::Relaxed) {
        // Only the first CPU asks before it knows: supervisor mode cannot read the number.
        u32::MAX => board::boot_hart(),
        known => known,
    }
}

/// Lets all three kinds of interrupts through to this CPU, as far as interrupts are on.
pub fn set_up_local() {
    let all = 1_u64 << SOFTWARE_CAUSE | 1 << TIMER_CAUSE | 1 << EXTERNAL_CAUSE;
    sbi::set_timer(u64::MAX);
    // SAFETY: (1) the kernel has a handler for each of them, and interrupts are still off.
    unsafe { asm!("csrw sie, {}", in(reg) all, options(nostack)) };
}

/// Silences all lines of the PLIC: a line without priority interrupts no hart.
pub fn set_up_once() {
    for line in 1..=MAX_LINES {
        plic_write(PRIORITY + 4 * u64::from(line), 0);
    }
}

/// What the clock counts: the time counter, the same on every hart.
#[inline(always)]
pub fn counter() -> u64 {
    cpu::time()
}

/// How often that counts in a second. 0: the device tree does not say.
pub fn counter_per_second() -> u64 {
    MACHINE.timebase.load(Ordering::Relaxed)
}

/// Time between two ticks.
fn period() -> u64 {
    MACHINE.timebase.load(Ordering::Relaxed) / HZ
}

/// Starts this CPU's periodic timer.
pub fn start_timer() {
    let first = cpu::time() + period();
    cpus::this().arch.next_tick.store(first, Ordering::Relaxed);
    sbi::set_timer(first);
}

/// Lets this CPU's timer interrupt so many nanoseconds from now. For more ticks, call
/// [`start_timer`] then.
pub fn start_timer_after(nanoseconds: u64) {
    let ticks = nanoseconds * MACHINE.timebase.load(Ordering::Relaxed) / 1_000_000_000;
    let first = cpu::time() + ticks;
    cpus::this().arch.next_tick.store(first, Ordering::Relaxed);
    sbi::set_timer(first);
}

/// Waits, with interrupts off and before this CPU's periodic timer is started.
pub(super) fn wait_milliseconds(milliseconds: u64) {
    let end = cpu::time() + milliseconds * MACHINE.timebase.load(Ordering::Relaxed) / 1000;
    while cpu::time() < end {
        sbi::set_timer(end);
        cpu::wait_for_pending();
    }
    sbi::set_timer(u64::MAX);
}

/// Stops this CPU's timer.
pub fn stop_timer() {
    cpus::this().arch.next_tick.store(u64::MAX, Ordering::Relaxed);
    sbi::set_timer(u64::MAX);
}

/// Asks for the next tick; ticks that were missed are not made up for.
fn ask_for_next_tick() {
    let next_tick = &cpus::this().arch.next_tick;
    let due = next_tick.load(Ordering::Relaxed);
    if due == u64::MAX {
        return sbi::set_timer(u64::MAX);
    }
    let now = cpu::time();
    let next = if due + period() > now { due + period() } else { now + period() };
    next_tick.store(next, Ordering::Relaxed);
    sbi::set_timer(next);
}

/// Which vector an interrupt of the CPU stands for. Interrupts off. If there are more, the CPU is
/// interrupted again for the next.
#[inline(always)]
pub fn acknowledge(cause: u8) -> u8 {
    match cause {
        vector::SOFTWARE => vector::SOFTWARE,
        TIMER_CAUSE => {
            ask_for_next_tick();
            vector::TIMER
        }
        SOFTWARE_CAUSE => take_sent(),
        EXTERNAL_CAUSE => take_external(),
        _ => vector::SPURIOUS,
    }
}

/// Takes one bit of what has been sent.
fn take_sent() -> u8 {
    // First the interrupt, then the word: a bit that is set in between raises it again. The hart
    // may read the word before it has cleared the bit of the CSR, for which it counts as a device,
    // and so lose what was sent in between: hence the fence (unprivileged manual, "Zicsr", CSR
    // access ordering).
    // SAFETY: (1) clears this hart's own software interrupt; (2) a fence.
    unsafe {
        asm!("csrc sip, {}", "fence iorw, iorw", in(reg) 1_u64 << SOFTWARE_CAUSE, options(nostack));
    }
    let word = &cpus::this().arch.sent;
    let sent = word.load(Ordering::Acquire);
    if sent == 0 {
        return vector::SPURIOUS;
    }
    let bit = sent.trailing_zeros();
    if word.fetch_and(!(1 << bit), Ordering::AcqRel) & !(1 << bit) != 0 {
        // SAFETY: (1) raises this hart's own software interrupt: taken once this one has been
        // handled.
        unsafe { asm!("csrs sip, {}", in(reg) 1_u64 << SOFTWARE_CAUSE, options(nostack)) };
    }
    vector::SENT_LOWEST + bit as u8
}

/// The interrupt that the CPU has taken and whose handler has not begun: the controller knows of
/// none. It hears of one from [`acknowledge`], and until then the interrupt stays pending.
pub const fn in_service() -> Option<u8> {
    None
}

/// Tells the PLIC that the line has been handled, if that is what it was.
#[inline(always)]
pub fn end_of_interrupt() {
    let claimed = &cpus::this().arch.claimed;
    let line = claimed.load(Ordering::Relaxed);
    if line != 0 {
        claimed.store(0, Ordering::Relaxed);
        if let Some((_, context)) = context_registers(id()) {
            plic_write(context + CLAIM, line);
        }
    }
}

/// Acknowledges an NMI, and returns whether it was one: there are none.
#[inline(always)]
pub const fn acknowledge_nmi() -> bool {
    true
}

/// Sends an interrupt to a CPU.
pub fn send_interrupt(hardware_id: u32, vector: u8) {
    let is_receiver = |cpu: &&Cpu| cpu.hardware_id.load(Ordering::Relaxed) == hardware_id;
    if let Some(receiver) = cpus::all().find(is_receiver) {
        receiver.arch.sent.fetch_or(1 << (vector - vector::SENT_LOWEST), Ordering::AcqRel);
        // The bit, and all that was stored before, is there when the interrupt is, which is raised
        // by a device.
        // SAFETY: (1) a fence.
        unsafe { asm!("fence w, o", options(nostack, preserves_flags)) };
        // The firmware refuses only harts that do not exist.
        let _exists = sbi::send_interrupt(hardware_id as usize);
    }
}

// The PLIC's registers: RISC-V PLIC specification 1.0, chapter 3.
const PRIORITY: u64 = 0;
const ENABLE: u64 = 0x2000;
const ENABLE_BYTES: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_BYTES: u64 = 0x1000;
const CLAIM: u64 = 4;
/// The highest line that the machine `virt` has.
const MAX_LINES: u32 = 95;

fn plic(register: u64) -> *mut u32 {
    direct(MACHINE.plic.load(Ordering::Relaxed) + register)
}

fn plic_write(register: u64, value: u32) {
    if MACHINE.plic.load(Ordering::Relaxed) != 0 {
        // SAFETY: (1) the controller's registers are in the direct map.
        unsafe { plic(register).write_volatile(value) };
    }
}

/// Where the registers of the context of a hart's supervisor mode are.
fn context_registers(hart: u32) -> Option<(u64, u64)> {
    let context = MACHINE.context_of(hart)? as u64;
    Some((ENABLE + context * ENABLE_BYTES, CONTEXT + context * CONTEXT_BYTES))
}

/// Routes the console's line to a CPU.
pub fn route_console(hardware_id: u32) {
    let Some((enable, context)) = context_registers(hardware_id) else { return };
    plic_write(PRIORITY + 4 * u64::from(serial::CONSOLE_IRQ), 1);
    // The threshold: everything with a priority.
    plic_write(context, 0);
    let word = u64::from(serial::CONSOLE_IRQ / 32) * 4;
    plic_write(enable + word, 1 << (serial::CONSOLE_IRQ % 32));
    // Every context that has it enabled is told: no other one keeps it.
    let others = cpus::online().map(|cpu| cpu.hardware_id.load(Ordering::Relaxed));
    for other in others.filter(|&other| other != hardware_id) {
        if let Some((enable, _)) = context_registers(other) {
            plic_write(enable + word, 0);
        }
    }
}

/// Takes the line that the PLIC has for this CPU. While one is being handled, the PLIC holds that
/// line back, and it comes again if there is another.
fn take_external() -> u8 {
    let Some((_, context)) = context_registers(id()) else { return vector::SPURIOUS };
    // SAFETY: (1) as for `plic_write`; an interrupt from the PLIC means that there is one.
    let line = unsafe { plic(context + CLAIM).read_volatile() };
    if line == serial::CONSOLE_IRQ {
        cpus::this().arch.claimed.store(line, Ordering::Relaxed);
        return vector::CONSOLE;
    }
    if line != 0 {
        plic_write(context + CLAIM, line);
    }
    vector::SPURIOUS
}
