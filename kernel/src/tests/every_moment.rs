//! The sweep in time: an interrupt at every moment of the entry, exit and switch paths, on one CPU
//! whose clock counts instructions.
//!
//! Something is done that runs through the paths, again and again; each time the timer interrupts a
//! little later, by less than an instruction takes, until it comes after the end. So the interrupt
//! is raised during every instruction that the work executes, once at least. Where interrupts are
//! off it stays pending, and is taken the moment they are on.
//!
//! ```text
//!   work     |--thread--|--entry------|--handler--|--exit---|--thread--|
//!   round 0  ^
//!   round 1   ^
//!   ...
//!   round n                ^ raised, interrupts off      ^ taken
//!   last                                                                 ^
//! ```
//!
//! What the interrupt finds is checked (the stack its handler stands on, where the backtrace from
//! there leads), and the work checks that no register of the worker has changed. That the steps
//! are fine enough is seen in [`kept_across`]: each of its instructions must have been hit.
//!
//! Neighbours: where there are NMIs, `arch::pc::every_instruction` lands them on the very
//! instruction, interrupts on or off.

use super::arch::registers::{self, Registers, kept_across};
use super::arch::user_code;
use super::samples;
use super::support::{kind_at, until};
use super::user_mode::{self, UserThread};
use super::{Outcome, check};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack::kind::StackKind;
use kstack::unwind::{Backtrace, End, Step};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, irqchip, step};
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::backtrace::{self, STEPS};
use threads::report::symbols;
use threads::sched;

/// From one round to the next. An instruction takes 512 ns in this boot, and a round may be off by
/// a tick of the clock, of which no machine's is longer than 100.
const STEP_NANOSECONDS: u64 = 400;
/// Rounds before the work is held to have no end.
const MAX_ROUNDS: u64 = 200_000;

/// Whether the work is under way.
static WORKING: AtomicBool = AtomicBool::new(false);
static LANDED: AtomicBool = AtomicBool::new(false);
static LANDING: SpinLock<Option<Landing>> = SpinLock::new(None);
/// The backtrace from there. In a place of its own: it is half of the stack that the handler stands
/// on.
static STEPS_THERE: SpinLock<Backtrace<STEPS>> = SpinLock::new(Backtrace::empty());
static SOFTIRQS: AtomicU32 = AtomicU32::new(0);

/// What was found where the interrupt landed.
struct Landing {
    regs: SavedRegs,
    /// Where the handler stands.
    handler: Option<StackKind>,
    thread_top: usize,
}

/// The timer's interrupt.
fn land(regs: &mut SavedRegs) {
    if LANDED.swap(true, Ordering::Relaxed) {
        return;
    }
    irqchip::start_timer();
    if !WORKING.load(Ordering::Relaxed) {
        return;
    }
    let mut steps = STEPS_THERE.lock();
    backtrace::keep_steps_from_regs(regs, &mut steps);
    *LANDING.lock() = Some(Landing {
        regs: *regs,
        handler: kind_at(cpu::stack_pointer()),
        thread_top: sched::current().stack_range().top.get(),
    });
}

/// Things to do that run through the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// An interrupt in a thread, with a softirq behind it: with a known value in every register,
    /// and where frame pointers lead on.
    Interrupt,
    /// A breakpoint in a thread, both ways, too.
    Breakpoint,
    /// A thread is made, runs, gives way, ends.
    Switch,
    /// System calls of a program, until it ends.
    Call,
    /// Two page faults of a program: it goes back from the first.
    Fault,
}

const EVERYTHING: [Work; 5] =
    [Work::Interrupt, Work::Breakpoint, Work::Switch, Work::Call, Work::Fault];

impl Work {
    /// Does it, once, and checks that every register of the worker is as it was. The timer is
    /// started so that it interrupts after so many nanoseconds of what is to be swept.
    fn perform(self, after: u64) -> Outcome {
        let begin = || {
            LANDED.store(false, Ordering::Relaxed);
            WORKING.store(true, Ordering::Relaxed);
            irqchip::start_timer_after(after);
        };
        irqchip::stop_timer();
        let outcome = match self {
            Self::Interrupt => interrupt(begin),
            Self::Breakpoint => breakpoint(begin),
            Self::Switch => switch(begin),
            Self::Call => program(begin, user_code::call_twice, user_mode::STACK_TOP, 3, |seen| {
                seen[..2].iter().try_for_each(|seen| {
                    user_code::check_call_twice(&seen.regs, user_mode::STACK_TOP)
                })
            }),
            Self::Fault => {
                user_mode::REPEATS.store(1, Ordering::Relaxed);
                program(begin, user_code::read_there, NOWHERE as u64, 2, |seen| {
                    let are_there = seen.iter().all(|seen| seen.fault == NOWHERE);
                    check!(are_there, "it faulted elsewhere: {seen:x?}");
                    Ok(())
                })
            }
        };
        WORKING.store(false, Ordering::Relaxed);
        outcome
    }
}

#[inline(never)]
fn interrupt(begin: impl FnOnce()) -> Outcome {
    let mut after = Registers::default();
    SOFTIRQS.store(0, Ordering::Relaxed);
    probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
    begin();
    registers::across_an_interrupt(&mut after);
    irqchip::software_interrupt();
    probes::set_probe(None);
    check!(after.are_known(), "registers afterwards: {after:x?}");
    check!(SOFTIRQS.load(Ordering::Relaxed) == 2, "{SOFTIRQS:?} softirqs, not two");
    Ok(())
}

#[inline(never)]
fn breakpoint(begin: impl FnOnce()) -> Outcome {
    let mut after = Registers::default();
    begin();
    registers::across_a_breakpoint(&mut after);
    cpu::breakpoint();
    check!(after.are_known(), "registers afterwards: {after:x?}");
    Ok(())
}

/// A thread is made, runs, gives way with known registers and without, and ends. `begin` is called
/// right before.
pub(super) fn switch(begin: impl FnOnce()) -> Outcome {
    static KEPT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn give_way() {
        sched::yield_now();
    }
    fn body(argument: usize) {
        KEPT.store(kept_across(give_way, argument), Ordering::Relaxed);
        sched::yield_now();
    }
    KEPT.store(0, Ordering::Relaxed);
    begin();
    let thread = sched::spawn_kernel("swept", body, 0x5a5a_1000);
    thread.map_err(|error| format!("{error:?}"))?.join();
    let all = KEPT.load(Ordering::Relaxed) == registers::KEPT;
    check!(all, "{KEPT:?} registers of {} were kept", registers::KEPT);
    Ok(())
}

/// Where no program has anything.
const NOWHERE: usize = 0x1000;

fn program(
    begin: impl FnOnce(),
    code: extern "C" fn(),
    argument: u64,
    entries: usize,
    check: impl FnOnce(&[user_mode::Seen]) -> Outcome,
) -> Outcome {
    user_mode::with_hooks(None, || {
        let thread = UserThread::start(code, argument)?;
        begin();
        thread.wait();
        WORKING.store(false, Ordering::Relaxed);
        thread.finish_unharmed()?;
        let seen = user_mode::seen();
        check!(seen.len() == entries, "it made {} entries", seen.len());
        check(&seen)
    })
}

/// What must be so of a landing.
fn check_landing(landing: &Landing, steps: &Backtrace<STEPS>) -> Outcome {
    let Landing { regs, handler, thread_top } = landing;
    let wanted = if regs.from_user() { StackKind::Thread } else { StackKind::Irq };
    check!(*handler == Some(wanted), "the handler stands on {handler:?}, not on {wanted}");
    let first = steps.steps().first().map(|(step, _)| *step);
    let starts_there = match first {
        Some(Step::Interrupted(first) | Step::UserBoundary(first)) => first.pc == regs.pc(),
        _ => false,
    };
    check!(starts_there, "the backtrace starts with {first:x?}");
    let end = steps.end();
    let leads_to = |pc: u64, names: &[&str]| {
        let symbol = symbols::lookup(pc);
        symbol.is_some_and(|symbol| names.iter().any(|name| symbol.name.contains(name)))
    };
    // Those have a known value in every register, the frame pointer among them.
    let through_known_values = steps.steps().iter().any(|(step, _)| match step {
        Step::Caller(pc) => leads_to(pc.get() as u64 - 1, &["::registers::"]),
        Step::Interrupted(regs) => leads_to(regs.pc.get() as u64, &["::registers::"]),
        _ => false,
    });
    let whole = end == Some(End::Reliable);
    let doubt = match end {
        Some(End::FrameMayBeMissing(of) | End::InnermostMayBeMissing(of)) => {
            samples::is_rightly_in_doubt(of)
        }
        _ => false,
    };
    check!(whole || doubt || through_known_values, "{end:x?}: {:x?}", steps.steps());
    if whole {
        // It leads to where tests are run, to a program, or to where a thread starts, perhaps
        // without a frame of its own yet; or there is nothing on the thread's stack but a program's
        // registers.
        // A word more is pushed to clear flags.
        let lowest = thread_top - size_of::<SavedRegs>() - size_of::<usize>();
        let empty = |sp: usize| (lowest..=*thread_top).contains(&sp);
        let known = empty(regs.sp().get())
            || steps.steps().iter().any(|(step, _)| match step {
                Step::UserBoundary(_) => true,
                Step::Caller(pc) => {
                    leads_to(pc.get() as u64 - 1, &["tests::run", "first_return", "idle"])
                }
                Step::Interrupted(regs) => leads_to(
                    regs.pc.get() as u64,
                    &["first_return", "switch::switch", "kernel_thread", "idle_loop"],
                ),
                _ => false,
            });
        check!(known, "the backtrace claims to be whole: {:x?}", steps.steps());
    }
    Ok(())
}

/// What the rounds of one work came to.
#[derive(Default)]
struct Swept {
    rounds: u64,
    in_user_mode: u32,
    whole: u32,
    /// Instructions of the kernel that were hit.
    hit: BTreeSet<usize>,
}

fn sweep(work: Work) -> Result<Swept, String> {
    let mut swept = Swept::default();
    loop {
        *LANDING.lock() = None;
        work.perform(swept.rounds * STEP_NANOSECONDS)?;
        until("the timer has interrupted", || LANDED.load(Ordering::Relaxed))?;
        let Some(landing) = LANDING.lock().take() else { return Ok(swept) };
        let steps = STEPS_THERE.lock();
        check_landing(&landing, &steps).map_err(|message| {
            let at = symbols::lookup(landing.regs.pc().get() as u64);
            let place = at.map_or(format!("{}", landing.regs.pc()), |at| format!("{at}"));
            format!("round {}, at {place}: {message}", swept.rounds)
        })?;
        swept.rounds += 1;
        // Thousands of rounds on a slow machine take longer than one that hangs may be silent.
        if swept.rounds.is_multiple_of(256) {
            control!("alive");
        }
        swept.whole += u32::from(steps.end() == Some(End::Reliable));
        if landing.regs.from_user() {
            swept.in_user_mode += 1;
        } else {
            swept.hit.insert(landing.regs.pc().get());
        }
        check!(swept.rounds < MAX_ROUNDS, "the interrupt never comes too late");
    }
}

/// Whether each instruction of [`kept_across`] was hit.
fn check_steps_are_fine(hit: &BTreeSet<usize>) -> Outcome {
    let start = kept_across as *const () as usize;
    let symbol = symbols::lookup(start as u64).ok_or("kept_across has no symbol")?;
    // SAFETY: (1) a function of this kernel, all of which is mapped.
    let code = unsafe { core::slice::from_raw_parts(start as *const u8, symbol.size as usize) };
    let (mut offset, mut instructions) = (0, 0);
    while offset < code.len() {
        let length = step::instruction_length(&code[offset..]);
        let length =
            length.ok_or_else(|| format!("unknown instruction at {symbol}+{offset:#x}"))?;
        check!(hit.contains(&(start + offset)), "never at kept_across+{offset:#x}");
        offset += length;
        instructions += 1;
    }
    check!(instructions >= 16, "only {instructions} instructions");
    Ok(())
}

/// Red if entry code enables interrupts a line too early or a switch is not one step, if a register
/// is lost, if a handler stands on the wrong stack, or if a landing leads the backtrace astray. Red
/// also if time does not count instructions. Tried: on riscv64, interrupts on from the load of sepc
/// to sret lose the machine; steps of two instructions miss some of `kept_across`.
pub fn s4_an_interrupt_at_every_moment_of_entries_exits_and_switches_disturbs_nothing() -> Outcome {
    check!(cpus::online().count() == 1, "time counts the instructions of one CPU only");
    probes::set_timer_probe(Some(land));
    probes::set_breakpoint_probe(Some(|_| {}));
    softirq::set_probe(|| {
        SOFTIRQS.fetch_add(1, Ordering::Relaxed);
    });
    let outcome = EVERYTHING.into_iter().try_for_each(|work| {
        let swept = sweep(work).map_err(|message| format!("{work:?}: {message}"))?;
        let Swept { rounds, in_user_mode, whole, hit } = &swept;
        log!(
            "  {work:?}: {rounds} interrupts, {in_user_mode} of them in user mode, at {} instructions of the kernel; {whole} whole backtraces",
            hit.len()
        );
        check!(*whole > 0, "no backtrace is whole");
        let of_a_program = matches!(work, Work::Call | Work::Fault);
        check!((*in_user_mode > 0) == of_a_program, "{work:?}: {in_user_mode} in user mode");
        if work == Work::Switch { check_steps_are_fine(hit) } else { Ok(()) }
    });
    probes::set_timer_probe(None);
    probes::set_breakpoint_probe(None);
    softirq::set_probe(|| {});
    irqchip::start_timer();
    outcome
}
