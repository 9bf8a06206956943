//! The interrupt controller, a GIC of version 2, and each CPU's virtual timer.
//!
//! Registers as in Arm's GIC architecture specification, version 2, and the ARMv7-A manual, part B8; through the direct map.
//!
//! A vector is the controller's number of the interrupt: 0 to 15 are sent by CPUs, 16 to 31 are each CPU's own, the rest
//! are shared. The CPU itself has one line for all of them; [`acknowledge`] asks the controller which it is.
//!
//! The CPU has a second line, FIQ, which masking interrupts does not keep out. The controller raises it for its group 0, if there is
//! one (there is not for a kernel of the non-secure world, whose view the groups are hidden from): [`vector::NMI`] alone is in that
//! group. Both groups are acknowledged in the same register, so each handler looks whether it is the other's.

use super::{cpu, serial};
use crate::cpus::{self, MAX_CPUS};
use crate::memory::direct;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::arch::current::cause;

/// Where the distributor and the CPU interface are: physical, from the device tree.
static PLACES: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Says where the distributor and the CPU interface are.
pub(super) fn set_places(places: [u64; 2]) {
    for (place, at) in PLACES.iter().zip(places) {
        place.store(at as u32, Ordering::Relaxed);
    }
}

const D_CONTROL: u64 = 0x000;
const D_GROUP: u64 = 0x080;
const D_ENABLE: u64 = 0x100;
const D_PRIORITY: u64 = 0x400;
const D_TARGETS: u64 = 0x800;
const D_SEND: u64 = 0xf00;
const C_CONTROL: u64 = 0x00;
const C_PRIORITY_MASK: u64 = 0x04;
const C_ACKNOWLEDGE: u64 = 0x0c;
const C_END: u64 = 0x10;
const C_HIGHEST_PENDING: u64 = 0x18;

/// In both control registers: group 0 on, group 1 on.
const BOTH_GROUPS: u32 = 0b11;
/// In the CPU interface's: one register acknowledges both groups; group 0 raises FIQ.
const FIQ_FOR_GROUP_0: u32 = 0b1100;
/// The lowest ten bits of what is acknowledged or pending: the number.
const NUMBER: u32 = 0x3ff;

/// The vectors the kernel uses.
pub mod vector {
    /// Timer tick: the virtual timer's own interrupt.
    pub const TIMER: u8 = 27;
    /// Input on the console.
    pub const CONSOLE: u8 = super::serial::CONSOLE_IRQ;
    /// "Look at your run queue."
    pub const RESCHEDULE: u8 = 1;
    /// "Flush your TLB." The hardware does that by itself here: nobody sends it.
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

/// The affinity of the CPU behind each interface. Affinities of two clusters may be alike in their lowest level, and need not be numbers of
/// interfaces, so an interface is found by the whole of it.
static INTERFACES: [AtomicU32; 8] = [const { AtomicU32::new(NO_CPU) }; 8];
/// No affinity: it has three levels of eight bits.
const NO_CPU: u32 = u32::MAX;

/// The bit of a CPU's interface; none for a CPU that has not set its own up.
fn interface_bit(affinity: u32) -> u32 {
    let interface = INTERFACES.iter().position(|cpu| cpu.load(Ordering::Acquire) == affinity);
    interface.map_or(0, |interface| 1 << interface)
}

#[inline(always)]
fn register<T>(part: usize, register: u64) -> *mut T {
    direct(u64::from(PLACES[part].load(Ordering::Relaxed)) + register)
}

/// Reads a register of this CPU's interface.
fn read_cpu(at: u64) -> u32 {
    // SAFETY: (1) the controller's pages are mapped as devices; the interface is each CPU's own.
    unsafe { register::<u32>(1, at).read_volatile() }
}

fn write_cpu(at: u64, value: u32) {
    // SAFETY: (1) as for `read_cpu`; (2) the values come from the functions below.
    unsafe { register::<u32>(1, at).write_volatile(value) };
}

fn read(at: u64) -> u32 {
    // SAFETY: (1) the distributor's pages are mapped as devices; reading these registers has no effect.
    unsafe { register::<u32>(0, at).read_volatile() }
}

fn write(at: u64, value: u32) {
    // SAFETY: (1) as for `read`; (2) the values come from the functions below.
    unsafe { register::<u32>(0, at).write_volatile(value) };
}

fn write_byte(at: u64, value: u8) {
    // SAFETY: (1) as for `write`; the registers used allow bytes.
    unsafe { register::<u8>(0, at).write_volatile(value) };
}

fn enable(interrupt: u8) {
    let priority = if interrupt == vector::NMI { 0x20 } else { 0xa0 };
    write_byte(D_PRIORITY + u64::from(interrupt), priority);
    write(D_ENABLE + u64::from(interrupt / 32) * 4, 1 << (interrupt % 32));
}

/// This CPU's number at the controller.
pub fn id() -> u32 {
    cpu::affinity()
}

/// Turns this CPU's part of the controller on, and its own interrupts; says who may read its counters.
pub fn set_up_local() {
    // Each CPU has the first word of the groups to itself.
    write(D_GROUP, !(1 << vector::NMI));
    let has_groups = read(D_GROUP) != 0;
    for own in [vector::RESCHEDULE, vector::FLUSH, vector::CALL, vector::TIMER] {
        enable(own);
    }
    if has_groups {
        enable(vector::NMI);
    }
    /// Programs may read the virtual counter, as under Linux, but no other.
    const USER_READS_VIRTUAL_COUNTER: u32 = 1 << 1;
    // SAFETY: (1) the register says only what user mode may read.
    unsafe {
        asm!("mcr p15, 0, {}, c14, c1, 0", in(reg) USER_READS_VIRTUAL_COUNTER,
             options(nostack, preserves_flags));
    }
    // Its own bit, as the banked target register of its own lines has it. A machine with one CPU has no such register.
    let bit = read(D_TARGETS) & 0xff;
    INTERFACES[bit.trailing_zeros() as usize % INTERFACES.len()].store(id(), Ordering::Release);
    write_cpu(C_PRIORITY_MASK, 0xf0);
    write_cpu(C_CONTROL, if has_groups { BOTH_GROUPS | FIQ_FOR_GROUP_0 } else { 1 });
}

/// Turns the distributor on, shared interrupts in group 1.
pub fn set_up_once() {
    /// All that a vector, of eight bits, can name.
    const WORDS: u64 = 8;
    for word in 1..WORDS {
        write(D_GROUP + 4 * word, u32::MAX);
    }
    let has_groups = read(D_GROUP + 4) != 0;
    write(D_CONTROL, if has_groups { BOTH_GROUPS } else { 1 });
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

/// Lets this CPU's timer interrupt so many nanoseconds from now. Who wants more ticks calls [`start_timer`] then.
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
    let acknowledged = read_cpu(C_ACKNOWLEDGE);
    let number = acknowledged & NUMBER;
    if number == u32::from(vector::NMI) {
        // It came between the CPU's taking the interrupt and here, and would have arrived as FIQ: once more, then.
        write_cpu(C_END, acknowledged);
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

/// The interrupt that the CPU has taken and whose handler has not begun: the controller knows of none. It hears of one from
/// [`acknowledge`], and until then the interrupt stays pending.
pub const fn in_service() -> Option<u8> {
    None
}

/// Tells the controller that the interrupt has been handled.
#[inline(always)]
pub fn end_of_interrupt() {
    write_cpu(C_END, acknowledged_here().load(Ordering::Relaxed));
}

/// Acknowledges and ends what raised FIQ. Says whether that was an NMI; otherwise it has been acknowledged as an interrupt, and
/// comes again.
pub fn acknowledge_nmi() -> bool {
    if read_cpu(C_HIGHEST_PENDING) & NUMBER != u32::from(vector::NMI) {
        return false;
    }
    // Nothing has a higher priority, so this is the same one.
    let acknowledged = read_cpu(C_ACKNOWLEDGE);
    write_cpu(C_END, acknowledged);
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
    write(D_SEND, interface_bit(hardware_id) << 16 | u32::from(vector));
}

/// Routes the console's interrupt to a CPU.
pub fn route_console(hardware_id: u32) {
    write_byte(D_TARGETS + u64::from(vector::CONSOLE), interface_bit(hardware_id) as u8);
    enable(vector::CONSOLE);
}

/// Takes an interrupt with [`vector::SOFTWARE`] right here, whether interrupts are on or not. No interrupt controller is involved.
#[inline(always)]
pub fn software_interrupt() {
    // SAFETY: (1) the vector's handler returns with everything as it was, but LR.
    unsafe { asm!("svc #0", out("lr") _) };
}
