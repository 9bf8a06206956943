//! The local APIC (interrupts, timer, IPIs) and the I/O APIC (the console's line).
//!
//! Registers as in Intel SDM vol. 3, chapter 12, where the architecture maps devices.

use super::ports::{in8, out8};
use super::{acpi, serial, slit, srat};
use crate::arch::cpu;
use crate::arch::layout::device;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const LOCAL_APIC: u64 = 0xfee0_0000;
/// Where it is unless the firmware's tables say otherwise.
const IO_APIC: u64 = 0xfec0_0000;

const ID: u64 = 0x20;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
/// The first of eight registers, 16 bytes apart, with a bit for each vector.
const IN_SERVICE: u64 = 0x100;
const IN_SERVICE_APART: u64 = 0x10;
const COMMAND_LOW: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const TIMER: u64 = 0x320;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;

/// The vectors the kernel uses.
pub mod vector {
    /// Timer tick.
    pub const TIMER: u8 = 0x20;
    /// Input on the console.
    pub const CONSOLE: u8 = 0x24;
    /// "Look at your run queue."
    pub const RESCHEDULE: u8 = 0xf0;
    /// "Flush your TLB."
    pub const FLUSH: u8 = 0xf1;
    /// "Run the function I left for you."
    pub const CALL: u8 = 0xf2;
    /// Raised by tests and benches with the `int` instruction: no interrupt controller involved.
    pub const SOFTWARE: u8 = 0xf6;
    /// The APIC raises it when an interrupt went away.
    pub const SPURIOUS: u8 = 0xff;
}

/// Timer ticks per second.
pub const HZ: u64 = 250;

static TIMER_COUNT: AtomicU32 = AtomicU32::new(0);
/// What the time stamp counter counts in a second.
static COUNTER_PER_SECOND: AtomicU64 = AtomicU64::new(0);

fn read(register: u64) -> u32 {
    // SAFETY: (1) the local APIC's page is mapped uncached; every CPU sees its own.
    unsafe { device::<u32>(LOCAL_APIC + register).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: (1) as for `read`; (2) the values come from the functions below.
    unsafe { device::<u32>(LOCAL_APIC + register).write_volatile(value) };
}

/// This CPU's local APIC number.
pub fn id() -> u32 {
    read(ID) >> 24
}

/// Says what is wrong if this CPU's local APIC is not where the kernel uses it.
fn check_local() {
    /// IA32_APIC_BASE (Intel SDM vol. 3, 12.4.4): address, on, and whether registers are MSRs
    /// instead (x2APIC).
    const BASE: u32 = 0x1b;
    const X2APIC: u64 = 1 << 10;
    const ON: u64 = 1 << 11;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let (low, high): (u32, u32);
    // SAFETY: (1) every CPU with a local APIC has the register, and the boot code has checked for
    // one; reading has no effect.
    unsafe {
        core::arch::asm!("rdmsr", in("ecx") BASE, out("eax") low, out("edx") high,
                         options(nomem, nostack, preserves_flags));
    }
    let base = u64::from(high) << 32 | u64::from(low);
    assert!(
        base & ON != 0,
        "the firmware has turned this CPU's local APIC off, and interrupts come through it"
    );
    assert!(
        base & X2APIC == 0,
        "the firmware left this CPU's local APIC in x2APIC mode, which the kernel does not use"
    );
    assert!(
        base & ADDRESS == LOCAL_APIC,
        "this CPU's local APIC is at {:#x} instead of {LOCAL_APIC:#x}",
        base & ADDRESS
    );
}

/// Turns this CPU's local APIC on.
pub fn set_up_local() {
    check_local();
    write(SPURIOUS, 0x100 | u32::from(vector::SPURIOUS));
}

/// Gives the old interrupt controllers, two 8259s, vectors of their own and masks them. Masked
/// lines raise nothing, but an interrupt that goes away before it is taken becomes the last line of
/// its controller, masked or not; and firmware leaves the first one on vectors 8 to 15, which are
/// exceptions. Of the eight vectors here the last is [`vector::SPURIOUS`], where nothing is done,
/// which is right for it.
fn set_up_old_controllers() {
    const FIRST: u16 = 0x20;
    const SECOND: u16 = 0xa0;
    const BASE: u8 = vector::SPURIOUS - 7;
    /// Starts over, four words follow.
    const INITIALISE: u8 = 0x11;
    /// The second one is on this line of the first.
    const CASCADE: u8 = 2;
    /// The processor is an 8086 or later.
    const MODE: u8 = 1;
    // SAFETY: (1) both controllers are ours: data is one port above commands; (2) what they are
    // told is what their data sheet wants, in its order (Intel 8259A, "Initialization command
    // words").
    unsafe {
        for (controller, place) in [(FIRST, 1 << CASCADE), (SECOND, CASCADE)] {
            out8(controller, INITIALISE);
            for word in [BASE, place, MODE, ALL_MASKED] {
                out8(controller + 1, word);
            }
        }
    }
}

/// No line of an old controller raises anything.
const ALL_MASKED: u8 = 0xff;

/// Puts the old interrupt controllers out of the way, and finds out how fast the timer runs.
pub fn set_up_once() {
    srat::read();
    slit::read();
    set_up_old_controllers();
    write(TIMER_DIVIDE, 0b1011); // by 1
    write(TIMER, 1 << 16 | u32::from(vector::TIMER));
    TIMER_COUNT.store((measured_per_second() / HZ) as u32, Ordering::Relaxed);
    COUNTER_PER_SECOND.store(measured_counter(), Ordering::Relaxed);
}

/// Counts of the local APIC's timer in a second: as many as pass while channel 0 of the 8254 counts
/// 10 ms down (1,193,182 Hz). That one needs no gate, which is another device; its interrupt is
/// masked.
fn measured_per_second() -> u64 {
    const CHANNEL: u16 = 0x40;
    const COMMAND: u16 = 0x43;
    /// Channel 0, both bytes, mode 0: the output is low until the count is over.
    const COUNT_DOWN: u8 = 0b0011_0000;
    /// Latch the status of channel 0, whose highest bit is the output.
    const READ_BACK: u8 = 0b1110_0010;
    const OUTPUT: u8 = 0x80;
    const HUNDREDTH: u16 = 11_932;
    /// An access to a port takes less than ten microseconds: what is not over after so many never
    /// will be.
    const MAX_LOOKS: u32 = 10_000_000;
    const MAX_TRIES: u32 = 10;
    /// A timer that counts slower than this in 10 ms is none.
    const LEAST_COUNT: u32 = 1000;
    let is_over = || {
        // SAFETY: (1) the timer's ports are ours.
        unsafe {
            out8(COMMAND, READ_BACK);
            in8(CHANNEL) & OUTPUT != 0
        }
    };
    let count_down = |from: u16| {
        // SAFETY: (1) as above.
        unsafe {
            out8(COMMAND, COUNT_DOWN);
            out8(CHANNEL, from as u8);
            out8(CHANNEL, (from >> 8) as u8);
        }
    };
    // The longest count lasts 55 ms. An output that is high right after it has begun, whenever one
    // looks, is no timer's.
    let is_there = (0..MAX_TRIES).any(|_| {
        count_down(u16::MAX);
        !is_over()
    });
    assert!(
        is_there,
        "this machine has no 8254 timer, by which the kernel finds out how fast its own timer runs"
    );
    let measure = || {
        count_down(HUNDREDTH);
        write(TIMER_INITIAL, u32::MAX);
        assert!((0..MAX_LOOKS).any(|_| is_over()), "the 8254 timer of this machine does not run");
        u32::MAX - read(TIMER_CURRENT)
    };
    // What keeps the CPU from looking (firmware, or an emulator on a busy host) only makes it more.
    let count = measure().min(measure()).min(measure());
    assert!(count >= LEAST_COUNT, "the local APIC's timer does not run");
    u64::from(count) * 100
}

/// Counts of the time stamp counter in a second, against channel 0 of the 8254, which is there and
/// runs: two looks at both, 20 ms apart. Of several looks the one that took least time counts, so
/// that what keeps the CPU meanwhile (firmware, a busy host) makes no difference. 0: it stands.
fn measured_counter() -> u64 {
    const CHANNEL: u16 = 0x40;
    const COMMAND: u16 = 0x43;
    const COUNT_DOWN: u8 = 0b0011_0000;
    const LATCH: u8 = 0;
    const PER_SECOND: u64 = 1_193_182;
    const APART: u16 = 23_864;
    const LOOKS: usize = 8;
    const MAX_LOOKS: u32 = 10_000_000;
    const MAX_TRIES: u32 = 20;
    /// As in `measured_per_second`.
    const READ_BACK: u8 = 0b1110_0010;
    const OUTPUT: u8 = 0x80;
    // SAFETY: (1) the timer's ports are ours; (2) a latched count is read as two bytes, low first.
    let count = || unsafe {
        out8(COMMAND, LATCH);
        let low = in8(CHANNEL);
        u16::from_le_bytes([low, in8(CHANNEL)])
    };
    let look = || {
        let looks = (0..LOOKS).map(|_| {
            let before = cpu::cycles();
            let count = count();
            let took = cpu::cycles().wrapping_sub(before);
            (took, count, before.wrapping_add(took / 2))
        });
        looks.min().unwrap_or_default()
    };
    let measure = || {
        // SAFETY: (1) as above.
        unsafe {
            out8(COMMAND, COUNT_DOWN);
            out8(CHANNEL, u8::MAX);
            out8(CHANNEL, u8::MAX);
        }
        // The count is the timer's own from its first step on.
        let _first = (0..MAX_LOOKS).any(|_| count() < u16::MAX - 1);
        let (_, from, began) = look();
        let _passed = (0..MAX_LOOKS).any(|_| count() <= from.saturating_sub(APART));
        let (_, to, ended) = look();
        // SAFETY: (1) as above.
        let is_over = unsafe {
            out8(COMMAND, READ_BACK);
            in8(CHANNEL) & OUTPUT != 0
        };
        let steps = u64::from(from.saturating_sub(to)).max(1);
        (is_over, ended.wrapping_sub(began) * PER_SECOND / steps)
    };
    // Once the count is over, after 55 ms, it starts anew, and steps are lost: the rate is too
    // high.
    let mut best = u64::MAX;
    for _ in 0..MAX_TRIES {
        let (is_over, rate) = measure();
        best = best.min(rate);
        if !is_over {
            return rate;
        }
    }
    best
}

/// What the clock counts: this CPU's time stamp counter.
#[inline(always)]
pub fn counter() -> u64 {
    cpu::cycles()
}

/// How often that counts in a second. 0: it does not.
pub fn counter_per_second() -> u64 {
    COUNTER_PER_SECOND.load(Ordering::Relaxed)
}

/// Starts this CPU's periodic timer.
pub fn start_timer() {
    write(TIMER_DIVIDE, 0b1011);
    write(TIMER, 1 << 17 | u32::from(vector::TIMER));
    write(TIMER_INITIAL, TIMER_COUNT.load(Ordering::Relaxed));
}

/// Lets this CPU's timer interrupt so many nanoseconds from now. For more ticks, call
/// [`start_timer`] then.
pub fn start_timer_after(nanoseconds: u64) {
    let per_second = u64::from(TIMER_COUNT.load(Ordering::Relaxed)) * HZ;
    write(TIMER_DIVIDE, 0b1011);
    write(TIMER, u32::from(vector::TIMER));
    // 0 would stop it.
    write(TIMER_INITIAL, (nanoseconds * per_second / 1_000_000_000 + 1) as u32);
}

/// Stops this CPU's timer.
pub fn stop_timer() {
    write(TIMER_INITIAL, 0);
}

/// Which interrupt it is: the vector says so already.
#[inline(always)]
pub const fn acknowledge(vector: u8) -> u8 {
    vector
}

/// The interrupt that the CPU has taken and not been told the end of: the local APIC knows it from
/// the moment the CPU took it, before any instruction of its handler.
pub fn in_service() -> Option<u8> {
    (0..u8::BITS).rev().find_map(|word| {
        let bits = read(IN_SERVICE + u64::from(word) * IN_SERVICE_APART);
        bits.checked_ilog2().map(|bit| (word * u32::BITS + bit) as u8)
    })
}

/// Tells the local APIC that the interrupt has been handled.
#[inline(always)]
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Sends a command: to whom, in one register, then what, in the other. What can come between the
/// two in spite of interrupts being off, an NMI, a debug exception or a machine check, may send one
/// of its own: so each leaves the first register as it found it.
fn send(hardware_id: u32, command: u32) {
    cpu::without_interrupts(|| {
        let interrupted = read(COMMAND_HIGH);
        write(COMMAND_HIGH, hardware_id << 24);
        write(COMMAND_LOW, command);
        while read(COMMAND_LOW) & 1 << 12 != 0 {
            core::hint::spin_loop();
        }
        write(COMMAND_HIGH, interrupted);
    });
}

/// Acknowledges an NMI, and says whether it was one: the CPU does all of it.
#[inline(always)]
pub const fn acknowledge_nmi() -> bool {
    true
}

/// Sends an interrupt to a CPU.
pub fn send_interrupt(hardware_id: u32, vector: u8) {
    send(hardware_id, u32::from(vector));
}

/// Sends an NMI to a CPU, which may be the sender: then it arrives before the next instruction, or
/// after the next `iretq`.
pub fn send_nmi(hardware_id: u32) {
    send(hardware_id, 0x400);
}

/// Resets a CPU.
pub(super) fn send_init(hardware_id: u32) {
    send(hardware_id, 0x4500);
}

/// Starts a reset CPU in real mode at `page`, below 1 MiB.
pub(super) fn send_startup(hardware_id: u32, page: u64) {
    send(hardware_id, 0x4600 | (page >> 12) as u32);
}

/// Routes the console's line of the old ISA bus to a CPU.
pub fn route_console(hardware_id: u32) {
    const VERSION: u32 = 1;
    let at = acpi::io_apic().unwrap_or(IO_APIC);
    // What the final tables map of devices.
    let is_mapped = at >> 21 == IO_APIC >> 21;
    let select = |register: u32| {
        // SAFETY: (1) the I/O APIC's page is mapped uncached and ours; index first, then data.
        unsafe { device::<u32>(at).write_volatile(register) };
        device::<u32>(at + 0x10)
    };
    // SAFETY: (1) as above; where nothing answers, all bits are set.
    if !is_mapped || unsafe { select(VERSION).read_volatile() } == u32::MAX {
        log!("no I/O APIC at {at:#x}: the console takes no input");
        return;
    }
    let register = 0x10 + 2 * serial::CONSOLE_IRQ;
    // SAFETY: (1) as above.
    unsafe {
        select(register + 1).write_volatile(hardware_id << 24);
        select(register).write_volatile(u32::from(vector::CONSOLE));
    }
}

/// Takes an interrupt with [`vector::SOFTWARE`] right here, whether interrupts are on or not. No
/// interrupt controller is involved.
#[inline(always)]
pub fn software_interrupt() {
    // SAFETY: (1) the vector's handler returns with everything as it was.
    unsafe { core::arch::asm!("int {}", const vector::SOFTWARE) };
}
