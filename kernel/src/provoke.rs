//! Overflows and guard accesses on purpose: for the console, for tests, and for programs through
//! /proc/kstack/provoke.

use alloc::string::String;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack::end_word;
use kstack::verdict::Side;
use machine::arch::cpu;
use machine::arch::irqchip::software_interrupt;
use machine::arch::regs::SavedRegs;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
#[cfg(any(feature = "stack-protector", feature = "address-sanitizer"))]
pub use threads::report::on_purpose::smash_frame;
pub use threads::report::on_purpose::{
    How, one_giant_frame, overflow_here, recurse_until_overflow,
};
use threads::sched;
use threads::stacks;

/// In a thread made for it; returns when the thread has been ended and its stack is back.
pub fn in_thread(how: How) {
    fn body(how: usize) {
        overflow_here(if how == 0 { How::Recursion } else { How::GiantFrame });
    }
    match sched::spawn_kernel("overflowing", body, how as usize) {
        Ok(thread) => thread.join(),
        Err(error) => log!("no thread to overflow: {error:?}"),
    }
}

/// In a system call of a program made for it; returns the program's status.
pub fn in_syscall(how: How) -> Result<i32, String> {
    let word: &[u8] = match how {
        How::Recursion => b"echo recurse > /proc/kstack/provoke",
        How::GiantFrame => b"echo frame > /proc/kstack/provoke",
    };
    linux::run("/bin/busybox", &[b"sh", b"-c", word]).map_err(|error| alloc::format!("{error}"))
}

static HOW: AtomicUsize = AtomicUsize::new(0);

fn chosen() -> How {
    if HOW.load(Ordering::Relaxed) == 0 { How::Recursion } else { How::GiantFrame }
}

/// In an interrupt handler, on the IRQ stack. The machine stops.
#[inline(never)]
pub fn in_interrupt(how: How) {
    HOW.store(how as usize, Ordering::Relaxed);
    probes::set_probe(Some(|_| overflow_here(chosen())));
    software_interrupt();
}

/// In an interrupt handler, on the IRQ stack: a frame is smashed there. The machine stops, if the
/// kernel is built with the stack protector.
#[cfg(any(feature = "stack-protector", feature = "address-sanitizer"))]
#[inline(never)]
pub fn smash_in_interrupt() {
    probes::set_probe(Some(|_| {
        black_box(smash_frame(black_box(0x41), black_box(size_of::<usize>())));
    }));
    software_interrupt();
}

/// In a softirq on the way out of an interrupt, on the IRQ stack. The machine stops.
#[inline(never)]
pub fn in_softirq(how: How) {
    HOW.store(how as usize, Ordering::Relaxed);
    softirq::set_probe(|| overflow_here(chosen()));
    probes::set_probe(Some(|_: &mut SavedRegs| softirq::raise(Softirq::Probe)));
    software_interrupt();
}

/// In this thread, while it keeps softirqs off its CPU. The machine stops.
#[inline(never)]
pub fn with_bottom_halves_disabled(how: How) {
    softirq::disable_bottom_halves();
    overflow_here(how);
    softirq::enable_bottom_halves();
}

/// In this thread, while it holds a spinning lock. The machine stops.
#[inline(never)]
pub fn with_a_spinning_lock_held(how: How) {
    static LOCK: SpinLock<u32> = SpinLock::new(0);
    let mut value = LOCK.lock();
    overflow_here(how);
    *value += 1;
}

/// In this thread, with interrupts off. The machine stops.
#[inline(never)]
pub fn with_interrupts_off(how: How) {
    cpu::without_interrupts(|| overflow_here(how));
}

/// Reads a byte of a guard of its own stack, in a thread made for it.
pub fn touch_guard(side: Side) {
    fn body(side: usize) {
        let range = sched::current().stack_range();
        let below = side == Side::Below as usize;
        let address = if below { range.lowest.get() - 1 } else { range.top.get() };
        // SAFETY: (1) none: the address is never mapped, so the read faults and ends the thread.
        // That is the purpose.
        black_box(unsafe { (address as *const u8).read_volatile() });
    }
    match sched::spawn_kernel("touching", body, side as usize) {
        Ok(thread) => thread.join(),
        Err(error) => log!("no thread to touch a guard: {error:?}"),
    }
}

static DEEPEST: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

/// Uses at least `bytes` of the stack of a thread made for it, and less than 512 more; says what
/// the samples saw. More than there is overflows.
pub fn go_deep(bytes: usize) -> String {
    /// Until SP is at `floor` or lower.
    fn down(floor: usize) -> usize {
        let frame = black_box([1_u8; 128]);
        if cpu::stack_pointer() <= floor {
            // An interrupt here samples the depth.
            software_interrupt();
            return usize::from(frame[0]);
        }
        down(floor) + usize::from(black_box(frame)[1])
    }
    fn body(bytes: usize) {
        let thread = sched::current();
        let top = thread.stack_range().top;
        black_box(down(top.get().saturating_sub(bytes)));
        let lowest = thread.lowest_seen();
        let deepest = lowest.map_or(0, |sp| top.bytes_above(sp).get());
        DEEPEST.store(deepest, Ordering::Relaxed);
        DONE.store(true, Ordering::Release);
    }
    probes::set_probe(None);
    DONE.store(false, Ordering::Relaxed);
    match sched::spawn_kernel("diving", body, bytes) {
        Ok(thread) => thread.join(),
        Err(error) => return alloc::format!("no thread to go deep: {error:?}"),
    }
    if !DONE.load(Ordering::Acquire) {
        return String::from("the thread overflowed and has been ended; the machine goes on");
    }
    let size = stacks::arena().geometry().body().get();
    let deepest = DEEPEST.load(Ordering::Relaxed);
    alloc::format!(
        "went {deepest} bytes deep; the stack has {size}, {} were left",
        size.saturating_sub(deepest)
    )
}

/// A thread that writes `value` over the end word of its stack and sleeps; or ends, for the value
/// 0. The machine stops.
pub fn overwrite_end(value: usize) {
    fn body(value: usize) {
        let end = end_word::at(sched::current().stack_range().lowest).get() as *mut usize;
        // SAFETY: (1) none: the word is no owner's to write. That is the purpose.
        unsafe { end.write_volatile(value) };
        if value != 0 {
            static NEVER: sched::WaitQueue = sched::WaitQueue::new();
            let _killed = NEVER.wait_until(|| false);
        }
    }
    match sched::spawn_kernel("scribbler", body, value) {
        Ok(thread) => thread.join(),
        Err(error) => log!("no thread to write over its end: {error:?}"),
    }
}
