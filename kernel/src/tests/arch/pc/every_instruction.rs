//! The sweep: an NMI on every single instruction of the entry, exit and switch paths.
//!
//! For each instruction between `kstack_entry_lowest` and `kstack_entry_top` a breakpoint is set on
//! all CPUs, and something is done that executes it. The debug exception before the instruction
//! sees to it that an NMI is waiting, and goes back: it is taken right there, before the
//! instruction runs. What it finds is checked, and everything that was under way must end as if
//! nothing had been.
//!
//! Interrupts are swept in time, on every architecture: [`crate::tests::every_moment`].
//!
//! # How an NMI waits for the debug handler to return
//!
//! ```text
//!   instruction ----> debug handler: sends NMI 1 to itself
//!                        NMI 1: sends NMI 2, which is held back; goes back to the debug handler, but not by iret
//!                     debug handler: iret, which ends the holding back
//!   instruction <---- NMI 2 is here
//! ```
//!
//! Inside the NMI code itself NMIs are held back already: one is enough. After a breakpoint in an
//! NMI's handler they are not: there the NMI comes inside the debug handler, right before the
//! instruction, which is the same to the handler's body; in the exit window of x86_64 it would not
//! be, so the window is swept with NMIs held back. Left out there are the instructions that run
//! with SP on the NMI stack, the beginning of the NMI's own entry: the return from the breakpoint
//! would let the next NMI in over the frame of the first, which no handler can survive; so the
//! kernel has no breakpoints there. Nothing else on the paths is left out: of the 256 stubs, which
//! differ in a number only, those of three vectors are swept, with the CPU's error code and
//! without.

use super::entry_work::{self, IN_USER_MODE, OWN_NMIS, TWICE};
use super::work::{Work, send_nmi_to_this_cpu};
use crate::tests::arch::{entry_code, sweep};
use crate::tests::support::{kind_at, stack_at, until};
use crate::tests::user_mode::{self, STACK_TOP};
use crate::tests::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::kind::StackKind;
use kstack::unwind::{Backtrace, End, Step};
use machine::arch::cpu;
use machine::arch::cpu_tables;
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::arch::step;
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq;
use threads::report::backtrace::{self, STEPS};
use threads::report::symbols;
use threads::sched;

/// What the breakpoint is set for. The steps of one landing, in order.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is to happen.
    Idle,
    /// The breakpoint is set.
    Armed,
    /// NMI 1 is on its way.
    HoldBack,
    /// The NMI, or the interrupt, that counts is on its way.
    Coming,
    /// It has come.
    Landed,
}

static PHASE: AtomicU32 = AtomicU32::new(Phase::Idle as u32);
static TARGET: AtomicUsize = AtomicUsize::new(0);
static ARMED_CPUS: AtomicU32 = AtomicU32::new(0);
static TESTER: AtomicU64 = AtomicU64::new(0);
/// Interrupts that came while none was expected.
static STRAY: AtomicU32 = AtomicU32::new(0);
/// The instruction was reached with SP on the NMI stack.
static LEFT_OUT: AtomicBool = AtomicBool::new(false);
static LANDING: SpinLock<Option<Landing>> = SpinLock::new(None);

fn phase_is(phase: Phase) -> bool {
    PHASE.load(Ordering::Acquire) == phase as u32
}

fn set_phase(phase: Phase) {
    PHASE.store(phase as u32, Ordering::Release);
}

/// What was found where it landed.
#[derive(Clone)]
struct Landing {
    regs: SavedRegs,
    /// Where the handler stands.
    handler: Option<StackKind>,
    thread_top: usize,
}

/// The backtrace from there. In a place of its own: it is half of the stack that the handler stands
/// on.
static STEPS_THERE: SpinLock<Backtrace<STEPS>> = SpinLock::new(Backtrace::empty());

/// Whether the running thread is one of those that do the work.
fn is_worker() -> bool {
    let thread = sched::current();
    thread.id().get() == TESTER.load(Ordering::Relaxed)
        || ["swept", entry_work::WITHOUT_ROOM].contains(&thread.name())
        || user_mode::is_ours()
}

/// Whether a thread without room is being ended already, at the top of its stack: that is not the
/// work.
fn is_being_ended(sp: usize) -> bool {
    let thread = sched::current();
    let range = thread.stack_range();
    let half = range.lowest.get() + range.size().get() / 2;
    thread.name() == entry_work::WITHOUT_ROOM && (half..=range.top.get()).contains(&sp)
}

/// Right before the instruction.
fn on_debug(regs: &mut SavedRegs) {
    sweep::resume(regs);
    if !is_worker() || regs.pc().get() != TARGET.load(Ordering::Relaxed) {
        return;
    }
    if is_being_ended(regs.sp().get()) {
        return;
    }
    if kind_at(regs.sp().get()) == Some(StackKind::Nmi) {
        LEFT_OUT.store(true, Ordering::Relaxed);
        step::set_breakpoint(None);
        return;
    }
    let coming = |next: Phase| {
        PHASE
            .compare_exchange(Phase::Armed as u32, next as u32, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    };
    if let Some(what_follows) = held_back(regs.pc().get() as u64) {
        if coming(what_follows) {
            step::set_breakpoint(None);
            send_nmi_to_this_cpu();
        }
    } else if coming(Phase::HoldBack) {
        step::set_breakpoint(None);
        sweep::until_nmis_are_held_back();
    }
}

/// If an NMI is not over at this instruction, so that NMIs are held back or latched: what one that
/// is sent now leads to.
fn held_back(at: u64) -> Option<Phase> {
    let name = symbols::lookup(at)?.name;
    if sweep::handles_another_at_once(name) {
        return Some(Phase::Coming);
    }
    // The handler runs once more, for the first NMI.
    let active = cpu_tables::nmi_words(cpus::this()).is_active();
    (active || name.contains("::nmi::")).then_some(Phase::Landed)
}

fn land(regs: &SavedRegs) {
    backtrace::keep_steps_from_regs(regs, &mut STEPS_THERE.lock());
    let thread_top = sched::current().stack_range().top.get();
    let handler = kind_at(cpu::stack_pointer());
    *LANDING.lock() = Some(Landing { regs: *regs, handler, thread_top });
    set_phase(Phase::Landed);
}

fn on_nmi(regs: &mut SavedRegs) {
    entry_work::NMIS_TAKEN.fetch_add(1, Ordering::Release);
    if phase_is(Phase::HoldBack) {
        set_phase(Phase::Coming);
        send_nmi_to_this_cpu();
        // SAFETY: (1) this is the handler, and the next line leaves the body stack for good; (2)
        // nothing here faults.
        unsafe { cpu_tables::nmi_words(cpus::this()).abandon() };
        sweep::back_in_the_debug_handler();
    } else if phase_is(Phase::Coming) {
        // A free lock: the tester takes it only when it has landed.
        land(regs);
    } else if IN_USER_MODE.load(Ordering::Relaxed) && !(regs.from_user() && is_worker()) {
        // It was sent to a program, which is somewhere else.
    } else {
        let before = OWN_NMIS.fetch_add(1, Ordering::Relaxed);
        if before == 0 && TWICE.load(Ordering::Relaxed) {
            send_nmi_to_this_cpu();
            // Its iret lets the NMI in.
            cpu::breakpoint();
        }
    }
}

fn on_call(_regs: &mut SavedRegs) {
    if phase_is(Phase::Idle) {
        step::set_breakpoint(Some(TARGET.load(Ordering::Relaxed)).filter(|&at| at != 0));
        ARMED_CPUS.fetch_add(1, Ordering::Release);
    } else {
        STRAY.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sets the breakpoint on every CPU; 0 clears it.
fn arm(target: usize) -> Outcome {
    set_phase(Phase::Idle);
    TARGET.store(target, Ordering::Relaxed);
    LEFT_OUT.store(false, Ordering::Relaxed);
    ARMED_CPUS.store(0, Ordering::Relaxed);
    let cpus = cpus::online().count() as u32;
    for cpu in cpus::online() {
        irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::CALL);
    }
    let all = (0..100_000_000_u64).any(|_| {
        core::hint::spin_loop();
        ARMED_CPUS.load(Ordering::Acquire) == cpus
    });
    check!(all, "only {ARMED_CPUS:?} CPUs have set the breakpoint");
    if target != 0 {
        set_phase(Phase::Armed);
    }
    Ok(())
}

/// Landings that a failure names.
const NAMED: usize = 12;

/// The instruction that is undefined for good.
const UD2: [u8; 2] = [0x0f, 0x0b];

/// One instruction of the entry code, and what executes it.
struct Instruction {
    at: usize,
    function: &'static str,
}

/// The first instructions of a vector.
fn stub_of(number: usize) -> u64 {
    kstack::arch::current::vectors::vector(number as u8).get() as u64
}

/// Every instruction there is to sweep.
fn instructions() -> Result<Vec<Instruction>, String> {
    let swept_stubs = [usize::from(vector::SOFTWARE), 3, 14].map(stub_of);
    let mut all = Vec::new();
    for (start, symbol) in entry_code::functions() {
        let is_stub = symbol.name.contains("::stub");
        if symbol.size == 0 || is_stub && !swept_stubs.contains(&start) {
            continue;
        }
        // SAFETY: (1) a function of this kernel, all of which is mapped.
        let code = unsafe { core::slice::from_raw_parts(start as *const u8, symbol.size as usize) };
        let mut offset = 0;
        while offset < code.len() {
            let length = step::instruction_length(&code[offset..]).ok_or_else(|| {
                let bytes = &code[offset..code.len().min(offset + 8)];
                format!("unknown instruction {bytes:x?} in {}", symbol.name)
            })?;
            // It stands behind a call that does not return.
            if !code[offset..].starts_with(&UD2) {
                all.push(Instruction { at: start as usize + offset, function: symbol.name });
            }
            offset += length;
        }
        check!(offset == code.len(), "{} ends in an instruction", symbol.name);
    }
    Ok(all)
}

/// What must be so of a landing.
fn check_landing(landing: &Landing, steps: &Backtrace<STEPS>) -> Outcome {
    let Landing { regs, handler, thread_top } = landing;
    if !regs.from_user() {
        check!(*handler == Some(StackKind::NmiBody), "the handler stands on {handler:?}");
    } else {
        let right = matches!(handler, Some(StackKind::Thread | StackKind::Irq));
        check!(right, "the handler stands on {handler:?}");
    }
    let first = steps.steps().first().map(|(step, _)| *step);
    let end = steps.end();
    let starts_there = match first {
        Some(Step::Interrupted(first)) => first.pc == regs.pc(),
        Some(Step::UserBoundary(first)) => first.pc == regs.pc(),
        _ => false,
    };
    check!(starts_there, "the backtrace starts with {first:x?}");
    // The table of frames knows of every instruction here.
    check!(end == Some(End::Reliable), "{end:x?}: {:x?}", steps.steps());
    // It leads to this module, to a program, or to where a thread starts, perhaps without a
    // frame of its own yet; or there is nothing on the thread's stack but a program's
    // registers.
    let leads_to = |pc: u64, names: &[&str]| {
        let symbol = symbols::lookup(pc);
        symbol.is_some_and(|symbol| names.iter().any(|name| symbol.name.contains(name)))
    };
    // A word more is pushed to clear flags.
    let lowest = thread_top - size_of::<SavedRegs>() - size_of::<usize>();
    let empty = |sp: usize| (lowest..=*thread_top).contains(&sp);
    let is_programs = |sp: usize| sp <= STACK_TOP as usize && stack_at(sp).is_none();
    let known = empty(regs.sp().get())
        || steps.steps().iter().any(|(step, _)| match step {
            // An NMI that hit the first instructions of an entry, and is itself hit.
            Step::Interrupted(regs) if empty(regs.sp.get()) => true,
            Step::UserBoundary(_) => true,
            Step::Caller(pc) => {
                leads_to(pc.get() as u64 - 1, &["every_instruction", "first_return"])
            }
            // An entry that still has the program's SP, or a return path that has it again:
            // there is nothing below the program.
            Step::Interrupted(regs) if is_programs(regs.sp.get()) => true,
            Step::Interrupted(regs) => {
                // The first instruction of `sysenter`'s entry, on the entry stack.
                leads_to(
                    regs.pc.get() as u64,
                    &["first_return", "switch::switch", "sysenter_entry"],
                )
            }
            _ => false,
        });
    check!(known, "the backtrace claims to be whole: {:x?}", steps.steps());
    Ok(())
}

/// What one attempt came to.
enum Attempt {
    /// The work does not execute this instruction.
    NotReached,
    /// Right there.
    There,
    /// SP was on the NMI stack.
    LeftOut,
}

fn attempt(instruction: &Instruction, work: Work) -> Result<Attempt, String> {
    *LANDING.lock() = None;
    arm(instruction.at)?;
    work.perform()?;
    if phase_is(Phase::Armed) {
        let nmis = OWN_NMIS.load(Ordering::Relaxed);
        check!(work == Work::UserNmi || nmis == work.own_nmis(), "{nmis} NMIs without a landing");
        let left_out = LEFT_OUT.load(Ordering::Relaxed);
        return Ok(if left_out { Attempt::LeftOut } else { Attempt::NotReached });
    }
    until("it has come", || phase_is(Phase::Landed))?;
    check!(STRAY.load(Ordering::Relaxed) == 0, "{STRAY:?} interrupts came that nobody sent");
    let mut words = cpus::online().map(cpu_tables::nmi_words);
    let clean = words.all(|words| !words.is_active() && !words.is_latched());
    check!(clean, "an NMI is still marked as under way, or as waiting");
    let nmis = OWN_NMIS.load(Ordering::Relaxed);
    let Some(landing) = LANDING.lock().take() else {
        // An NMI during an NMI: handled once more, at the end of the first. A second one may have
        // merged with the third.
        let expected = work.own_nmis() + 1;
        // Of NMIs sent to a program, those that hit the kernel are not counted.
        let right = nmis == expected
            || work == Work::UserNmi
            || work == Work::NmiTwice && nmis + 1 == expected;
        check!(right, "{nmis} NMIs, not {expected}");
        return Ok(Attempt::There);
    };
    check!(work == Work::UserNmi || nmis == work.own_nmis(), "{nmis} NMIs of the work's own");
    check_landing(&landing, &STEPS_THERE.lock())?;
    let there = landing.regs.pc().get() == instruction.at;
    // After a breakpoint in an NMI's handler NMIs are not held back: it comes before the debug
    // handler goes back.
    let in_the_debug_handler = work == Work::NmiTwice;
    check!(there || in_the_debug_handler, "it landed at {}", landing.regs.pc());
    Ok(Attempt::There)
}

/// All instructions, all that executes them. Fails if one is never reached.
fn sweep() -> Outcome {
    TESTER.store(sched::current().id().get(), Ordering::Relaxed);
    probes::set_debug_probe(Some(on_debug));
    probes::set_breakpoint_probe(Some(|_| {}));
    probes::set_nmi_probe(Some(on_nmi));
    probes::set_call(on_call);
    softirq::set_probe(entry_work::count_softirq);
    let outcome = (|| {
        let instructions = instructions()?;
        let (mut landed, mut left_out) = (0, 0);
        let (mut never, mut wrong) = (Vec::new(), Vec::new());
        for instruction in &instructions {
            let name = |message| {
                let symbol = symbols::lookup(instruction.at as u64);
                let offset = symbol.map_or(0, |symbol| symbol.offset);
                format!("{}+{offset:#x}: {message}", instruction.function)
            };
            let mut reached = false;
            for &work in sweep::work_for(instruction.function) {
                let mut result = attempt(instruction, work);
                // On a busy host a program may be off its CPU whenever an NMI comes: one more try,
                // and it is said.
                if let (Work::UserNmi, Err(message)) = (work, &result) {
                    log!("  once more at {:#x}: {message}", instruction.at);
                    result = attempt(instruction, work);
                }
                match result {
                    Ok(Attempt::NotReached) => continue,
                    Ok(Attempt::There) => landed += 1,
                    Err(message) => {
                        wrong.push(name(format!("{work:?}: {message}")));
                        check!(wrong.len() < NAMED, "{wrong:#?}");
                    }
                    Ok(Attempt::LeftOut) => {
                        left_out += usize::from(!reached);
                        reached = true;
                        continue;
                    }
                }
                reached = true;
            }
            if !reached && sweep::is_on_nmi_stack(instruction.function) {
                left_out += 1;
            } else if !reached {
                never.push(name(String::new()));
            }
        }
        check!(never.is_empty() && wrong.is_empty(), "never reached: {never:?}; {wrong:#?}");
        log!("  {} instructions, {landed} landings right there", instructions.len());
        log!("  {left_out} left out: they run on the NMI stack");
        check!(instructions.len() > 200, "only {} instructions", instructions.len());
        check!(landed >= 200, "only {landed} landings at the very instruction");
        Ok(())
    })();
    let cleared = arm(0);
    probes::set_debug_probe(None);
    probes::set_breakpoint_probe(None);
    probes::set_nmi_probe(None);
    softirq::set_probe(|| {});
    outcome.and(cleared)
}

/// Red if the exit window is cut short by one instruction (the machine falls silent), if the
/// handler's body trusts GS where it is still the user's (the report of an overflow of the body
/// stack), if a switch is not one instruction, or if a register is lost.
pub fn s4_an_nmi_on_every_instruction_of_the_entry_and_switch_paths_disturbs_nothing() -> Outcome {
    sweep()
}
