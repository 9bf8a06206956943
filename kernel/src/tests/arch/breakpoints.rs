//! Samples by breakpoints: debug exceptions right before instructions that the load is known to
//! execute, on whichever CPU comes there first, whether interrupts are on or not.
//!
//! Known are: where an interrupt or an NMI has landed, where its callers go on, and the first
//! instruction of each function of these.

use crate::tests::arch::depth::SEND_NMI;
use crate::tests::samples::{self, Tally};
use crate::tests::{Outcome, check};
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack::unwind::{Backtrace, Step};
use machine::arch::cpu;
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::arch::step;
use machine::cpus;
use threads::entry::probes;
use threads::report::backtrace::STEPS;
use threads::report::symbols;

/// Breakpoints that must be hit: many on one architecture, and enough to come to every kind of
/// place on the others.
const HITS: usize = if cfg!(target_arch = "x86_64") { 1_000 } else { 300 };
/// Breakpoints that are set at most: the load need not come by again soon.
const MAX_SET: usize = 20_000;
/// Looks before one is moved.
const LOOKS: usize = 20_000;
/// Interrupts from which instructions are known.
const KNOWN: usize = 500;

static TARGET: AtomicUsize = AtomicUsize::new(0);
static SET: AtomicU32 = AtomicU32::new(0);
static IS_HIT: AtomicBool = AtomicBool::new(false);

fn on_debug(regs: &mut SavedRegs) {
    // The instruction is executed now: nothing stops there any more.
    step::set_breakpoint(None);
    if regs.pc().get() == TARGET.load(Ordering::Relaxed) && !IS_HIT.swap(true, Ordering::AcqRel) {
        samples::land(regs);
    }
}

fn set_here(_: &mut SavedRegs) {
    step::set_breakpoint(Some(TARGET.load(Ordering::Relaxed)).filter(|&at| at != 0));
    SET.fetch_add(1, Ordering::Release);
}

/// Sets the breakpoint on all CPUs but this one; 0 clears it. On this one it is cleared: it may be
/// another one than when the last was set. One that stays set behind the end of the test stops its
/// CPU for good.
fn set(target: usize) -> Outcome {
    TARGET.store(target, Ordering::Relaxed);
    SET.store(0, Ordering::Relaxed);
    let others = cpu::without_interrupts(|| {
        step::set_breakpoint(None);
        let others = samples::others();
        for &cpu in &others {
            irqchip::send_interrupt(cpu, vector::CALL);
        }
        others
    });
    let all = (0..100_000_000_u64).any(|_| {
        spin_loop();
        SET.load(Ordering::Acquire) as usize == others.len()
    });
    check!(all, "only {SET:?} CPUs have set the breakpoint");
    Ok(())
}

/// Whether a breakpoint may be there: not in what its own handler runs before it has cleared it.
fn may_be_at(pc: usize) -> bool {
    const OF_THE_HANDLER: [&str; 11] = [
        "kstack::",
        "::entry::",
        "hooks",
        "cpus::",
        "fn_cell",
        "tests::",
        "exceptions",
        "step::",
        // Copies of structures.
        "memcpy",
        "memmove",
        "memset",
    ];
    let symbol = symbols::lookup(pc as u64);
    symbol.is_some_and(|symbol| !OF_THE_HANDLER.iter().any(|part| symbol.name.contains(part)))
}

/// Adds the instructions that a sample knows of: none twice.
fn note(steps: &Backtrace<STEPS>, known: &mut Vec<usize>) {
    for (step, _) in steps.steps() {
        let (pc, call) = match step {
            Step::Interrupted(regs) => (regs.pc.get(), regs.pc.get()),
            Step::Caller(pc) => (pc.get(), pc.get() - 1),
            _ => continue,
        };
        let Some(symbol) = symbols::lookup(call as u64) else { continue };
        let first = call - symbol.offset as usize;
        for at in [pc, first] {
            if may_be_at(at) && !known.contains(&at) {
                known.push(at);
            }
        }
    }
}

/// Red as with interrupts: a record is taken for there before it is.
pub fn b3_breakpoints_on_random_instructions_under_load_unwind_to_the_outermost_frame() -> Outcome {
    check!(cpus::online_count() > 1, "one CPU: nothing to sample");
    let mut tally = Tally::default();
    let mut hits = 0;
    samples::under_load(|| {
        let mut known = Vec::new();
        let mut at_first = Tally::default();
        samples::take(samples::send_call, KNOWN, &mut at_first, |steps| note(steps, &mut known))?;
        if let Some(send) = SEND_NMI {
            probes::set_nmi_probe(Some(samples::land));
            let taken = samples::take(send, KNOWN, &mut at_first, |steps| note(steps, &mut known));
            probes::set_nmi_probe(None);
            taken?;
        }
        check!(known.len() > 20, "only {} instructions are known", known.len());
        probes::set_call(set_here);
        probes::set_debug_probe(Some(on_debug));
        let mut outcome = Ok(());
        for number in 0..MAX_SET {
            // Each waits for all CPUs twice, and those of a busy host for one another.
            if number % 10 == 0 {
                control!("alive");
            }
            if hits >= HITS || outcome.is_err() {
                break;
            }
            IS_HIT.store(false, Ordering::Relaxed);
            let before = samples::taken();
            outcome = set(known[number * 7919 % known.len()]);
            let was_hit = (0..LOOKS).any(|_| {
                spin_loop();
                samples::taken() != before
            });
            if was_hit {
                hits += samples::look_at_landed(&mut tally, |_| {});
            } else {
                // One that comes now is not looked at.
                IS_HIT.store(true, Ordering::Relaxed);
            }
        }
        let cleared = set(0);
        // A handler that had begun is over: the CPU has answered.
        probes::set_debug_probe(None);
        samples::look_at_landed(&mut at_first, |_| {});
        outcome.and(cleared)
    })?;
    tally.judge("breakpoints")?;
    check!(hits >= HITS, "only {hits} breakpoints were hit");
    let first = tally.without_record;
    check!(first > HITS / 50, "only {first} at instructions without a record");
    Ok(())
}
