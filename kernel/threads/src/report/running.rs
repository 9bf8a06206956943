//! Where a thread is that runs on another CPU: that CPU is asked, and says it.
//!
//! ```text
//!   the caller                          the CPU that the thread runs on
//!   FREE ──▶ TAKEN ──▶ ASKED
//!   an NMI, or an interrupt   ───────▶  ASKED ──▶ ANSWERING: walks from what was interrupted
//!   waits, for LONGEST        ◀───────  ANSWERING ──▶ DONE
//!   DONE: reads the steps     ──▶ FREE
//!
//!   not in time:  ASKED ──▶ FREE        the CPU finds nothing to answer when it comes
//!                 ANSWERING ──▶ LEFT    the CPU makes it FREE when it is done
//! ```
//!
//! | a CPU that | is reached by |
//! | --- | --- |
//! | runs with interrupts on | either |
//! | runs with interrupts off | the NMI of a PC, the FIQ of arm32; elsewhere not: the caller gives up |
//!
//! Invariant: the steps are written by the CPU that made ASKED into ANSWERING, and read by the
//! caller that found DONE, and by no other. No lock is waited for, and nothing waits
//! longer than LONGEST.

use super::backtrace::{self, STEPS};
use crate::sched::{self, Thread};
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kstack::addr::CpuId;
use kstack::unwind::Backtrace;
use machine::arch::regs::SavedRegs;
use machine::arch::{irqchip, smp};
use machine::cpus;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const ASKED: u32 = 2;
const ANSWERING: u32 = 3;
const DONE: u32 = 4;
const LEFT: u32 = 5;

/// How long an answer may take, and the question of another caller before: in thousandths of a
/// second. A walk takes less than one.
pub const LONGEST: u64 = 100;

/// The one question at a time.
struct Question {
    state: AtomicU32,
    cpu: AtomicU32,
    thread: AtomicU64,
    /// Whether the thread was there.
    found: AtomicU32,
    steps: UnsafeCell<Backtrace<STEPS>>,
}

// SAFETY: (1) the steps have one party at a time, by the module's invariant.
unsafe impl Sync for Question {}

static QUESTION: Question = Question {
    state: AtomicU32::new(FREE),
    cpu: AtomicU32::new(0),
    thread: AtomicU64::new(0),
    found: AtomicU32::new(0),
    steps: UnsafeCell::new(Backtrace::empty()),
};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The thread runs there no more: it may have gone to sleep, or to another CPU.
    Moved,
    /// Others ask all the while.
    Busy,
    /// This CPU has not answered in time: it runs with interrupts off, and nothing else reaches it.
    Silent(CpuId),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved => f.write_str("running, and elsewhere each time it was asked for"),
            Self::Busy => f.write_str("running; too many ask for backtraces"),
            Self::Silent(cpu) => {
                write!(f, "running on CPU {cpu}, which did not answer within {LONGEST} ms")
            }
        }
    }
}

/// Whether a condition becomes true within LONGEST. By the counter of this CPU: the ticks of
/// another may be what does not come.
fn in_time(condition: impl Fn() -> bool) -> bool {
    let longest = irqchip::counter_per_second() / 1000 * LONGEST;
    let began = irqchip::counter();
    loop {
        if condition() {
            return true;
        }
        if irqchip::counter().wrapping_sub(began) > longest {
            return condition();
        }
        core::hint::spin_loop();
    }
}

fn change(from: u32, to: u32) -> bool {
    QUESTION.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Asks the CPU that a thread runs on where it is, and gives `read` the answer. Waits twice
/// [`LONGEST`] at most. Not for the caller's own thread. In a thread, interrupts on.
///
/// # Errors
///
/// Why there is none.
pub fn ask<R>(thread: &Thread, read: impl FnOnce(&Backtrace<STEPS>) -> R) -> Result<R, Refused> {
    if !in_time(|| change(FREE, TAKEN)) {
        return Err(Refused::Busy);
    }
    let cpu = thread.last_cpu();
    if !thread.is_on_cpu() || cpu == cpus::this().id() {
        QUESTION.state.store(FREE, Ordering::Release);
        return Err(Refused::Moved);
    }
    QUESTION.cpu.store(cpu.get(), Ordering::Relaxed);
    QUESTION.thread.store(thread.number(), Ordering::Relaxed);
    QUESTION.state.store(ASKED, Ordering::SeqCst);
    smp::interrupt_at_once(cpus::by_id(cpu));
    if !in_time(|| QUESTION.state.load(Ordering::Acquire) == DONE)
        && (change(ASKED, FREE) || change(ANSWERING, LEFT))
    {
        return Err(Refused::Silent(cpu));
    }
    // Nothing else leads away from here: the CPU was done.
    let found = QUESTION.found.load(Ordering::Relaxed) != 0;
    // SAFETY: (1) the state is DONE, and this is the caller that asked.
    let answer = found.then(|| read(unsafe { &*QUESTION.steps.get() }));
    QUESTION.state.store(FREE, Ordering::Release);
    answer.ok_or(Refused::Moved)
}

/// How often a thread is looked for that runs, sleeps and moves meanwhile.
const ATTEMPTS: usize = 8;

/// Prints where any thread is, running or not: a CPU that runs it is asked ([`ask`]), and the
/// text says so if it does not answer. The caller's own is printed from here. Never waits longer
/// than a second.
pub fn print_any(thread: &Thread, to: &mut dyn fmt::Write) -> fmt::Result {
    if core::ptr::eq(thread, sched::current()) {
        backtrace::print_here(to);
        return Ok(());
    }
    let mut refused = Refused::Moved;
    for _ in 0..ATTEMPTS {
        if backtrace::print_thread(thread, to) {
            return Ok(());
        }
        match ask(thread, |steps| backtrace::write_steps(steps, to)) {
            Ok(written) => return written,
            Err(Refused::Moved) if thread.state() == sched::State::Dead => break,
            Err(Refused::Moved) => {}
            Err(why) => {
                refused = why;
                break;
            }
        }
    }
    writeln!(to, "{refused}")
}

/// In an NMI or an interrupt that may be a question to this CPU: answers it. Takes no lock.
#[inline]
pub(crate) fn answer_if_asked(regs: &SavedRegs) {
    if QUESTION.state.load(Ordering::Relaxed) == ASKED {
        answer(regs);
    }
}

#[cold]
#[inline(never)]
fn answer(regs: &SavedRegs) {
    let is_mine = || QUESTION.cpu.load(Ordering::Relaxed) == cpus::this().id().get();
    // The second look is at the question that was taken: the first may have been at another.
    if !is_mine() || !change(ASKED, ANSWERING) {
        return;
    }
    let found = is_mine() && QUESTION.thread.load(Ordering::Relaxed) == sched::current().number();
    if found {
        // SAFETY: (1) this CPU has made ASKED into ANSWERING.
        backtrace::keep_steps_from_regs(regs, unsafe { &mut *QUESTION.steps.get() });
    }
    QUESTION.found.store(u32::from(found), Ordering::Relaxed);
    if !change(ANSWERING, DONE) {
        // The caller has left.
        QUESTION.state.store(FREE, Ordering::Release);
    }
}
