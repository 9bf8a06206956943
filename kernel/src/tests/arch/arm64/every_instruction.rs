//! The sweep: a debug exception, and an interrupt, on every single instruction of the entry, exit
//! and switch paths that anything can land on.
//!
//! For each instruction between `kstack_entry_lowest` and `kstack_entry_top` a hardware breakpoint
//! is set on all CPUs, and things are done that execute it. The debug exception is the first thing
//! that lands, whether interrupts are on or not; its handler sends an interrupt to its own CPU,
//! which lands right there if interrupts are on, and as soon as they are if not. What each finds is
//! checked, and everything that was under way must end as if nothing had been.
//!
//! Where an entry has not saved the interrupted registers yet, or a return path has begun to load
//! them, the CPU masks everything: nothing can land. Which instructions these are is read from the
//! code (from the start of an entry to `daifclr` or a call; from `daifset` of everything on), and
//! the breakpoint must *not* be hit there. The vectors' own slots and the overflow entries are
//! masked throughout.

use super::registers::{self, Registers};
use super::user_code;
use crate::tests::arch::entry_code;
use crate::tests::every_moment;
use crate::tests::support::{kind_at, until};
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack::kind::StackKind;
use kstack::unwind::{Backtrace, End, Step};
use kstack::{registry, unwind};
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, step};
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::symbols;

/// The steps of one landing, in order.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is to happen.
    Idle,
    /// The breakpoint is set.
    Armed,
    /// It has been hit; the interrupt is on its way.
    Coming,
    /// That has come too.
    Landed,
}

static PHASE: AtomicU32 = AtomicU32::new(Phase::Idle as u32);
static TARGET: AtomicUsize = AtomicUsize::new(0);
static ARMED_CPUS: AtomicU32 = AtomicU32::new(0);
static SOFTIRQS: AtomicU32 = AtomicU32::new(0);
/// Of the debug exception, then of the interrupt.
static LANDINGS: SpinLock<[Option<Landing>; 2]> = SpinLock::new([None, None]);

fn phase_is(phase: Phase) -> bool {
    PHASE.load(Ordering::Acquire) == phase as u32
}

/// Steps of a backtrace that are kept: enough for its end, whatever is left out before.
const STEPS: usize = 16;

/// What was found where it landed.
struct Landing {
    regs: SavedRegs,
    /// Where the handler stands.
    handler: Option<StackKind>,
    steps: Backtrace<STEPS>,
}

/// Notes a landing, in place: a copy of it on the stack would be worth a frame of its own.
fn land(number: usize, regs: &SavedRegs) {
    let mut landings = LANDINGS.lock();
    let landing = landings[number].insert(Landing {
        regs: *regs,
        handler: kind_at(cpu::stack_pointer()),
        steps: Backtrace::empty(),
    });
    if let Some(registry) = registry::get() {
        // SAFETY: (1) this is the handler that was given `regs`.
        unsafe { unwind::from_regs(registry, regs, &mut landing.steps) };
    }
}

fn send_to_this_cpu(vector: u8) {
    irqchip::send_interrupt(cpus::this().hardware_id.load(Ordering::Relaxed), vector);
}

/// Right before the instruction, in whatever thread executes it first.
fn on_debug(regs: &mut SavedRegs) {
    let target = TARGET.load(Ordering::Relaxed);
    if step::has_stepped(regs) {
        step::set_breakpoint(Some(target).filter(|&at| at != 0));
        return;
    }
    if phase_is(Phase::Idle) {
        // The interrupt that sets the breakpoint is on its way out, perhaps over the instruction
        // itself.
        step::step_over(regs);
        return;
    }
    // Or it would be hit again at once.
    step::set_breakpoint(None);
    let armed = (Phase::Armed as u32, Phase::Coming as u32);
    let mine = regs.pc as usize == target
        && PHASE.compare_exchange(armed.0, armed.1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if mine {
        // No other code takes this lock before it has landed.
        land(0, regs);
        send_to_this_cpu(vector::CALL);
    }
}

fn on_call(regs: &mut SavedRegs) {
    if phase_is(Phase::Coming) {
        land(1, regs);
        PHASE.store(Phase::Landed as u32, Ordering::Release);
    } else if phase_is(Phase::Idle) {
        step::set_breakpoint(Some(TARGET.load(Ordering::Relaxed)).filter(|&at| at != 0));
        ARMED_CPUS.fetch_add(1, Ordering::Release);
    }
}

/// Sets the breakpoint on every CPU; 0 clears it.
fn arm(target: usize) -> Outcome {
    PHASE.store(Phase::Idle as u32, Ordering::Release);
    TARGET.store(target, Ordering::Relaxed);
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
        PHASE.store(Phase::Armed as u32, Ordering::Release);
    }
    Ok(())
}

/// Things to do that execute the entry code.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// A software interrupt in a thread, with a softirq behind it, and a breakpoint instruction.
    Software,
    /// An interrupt of the controller in a thread.
    Interrupt,
    /// A thread is made, runs, gives way, ends.
    Switch,
    /// A system call, a breakpoint and an abort of a program.
    User,
    /// An interrupt in user mode.
    UserInterrupt,
}

impl Work {
    /// Does it, once, and checks that every register of the worker is as it was.
    fn perform(self) -> Outcome {
        match self {
            Self::Software => in_a_thread(),
            Self::Interrupt => {
                let before =
                    cpus::online().map(|cpu| cpu.ipis.load(Ordering::Relaxed)).sum::<u64>();
                cpu::without_interrupts(|| send_to_this_cpu(vector::RESCHEDULE));
                until("an interrupt of this CPU's own has come", || {
                    cpus::online().map(|cpu| cpu.ipis.load(Ordering::Relaxed)).sum::<u64>() > before
                })
            }
            Self::Switch => every_moment::switch(|| {}),
            Self::User => program(),
            Self::UserInterrupt => interrupted_program(),
        }
    }
}

#[inline(never)]
fn in_a_thread() -> Outcome {
    let mut after = Registers::default();
    SOFTIRQS.store(0, Ordering::Relaxed);
    probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
    registers::across_an_interrupt_in_a_frame(&mut after);
    probes::set_probe(None);
    check!(after.are_known_in_a_frame(), "registers afterwards: {after:x?}");
    check!(SOFTIRQS.load(Ordering::Relaxed) == 1, "{SOFTIRQS:?} softirqs, not one");
    let mut after = Registers::default();
    registers::across_a_breakpoint_in_a_frame(&mut after);
    check!(after.are_known_in_a_frame(), "registers after a breakpoint: {after:x?}");
    Ok(())
}

fn program() -> Outcome {
    let word = user_mode::STACK_TOP - 8;
    user_mode::with_hooks(None, || {
        let thread = UserThread::start(user_code::known_program, word)?;
        user_mode::end_spin(&thread);
        thread.finish();
        let seen = user_mode::seen();
        let vectors: Vec<u8> = seen.iter().map(|seen| seen.vector).collect();
        check!(vectors == [0x3c, 0x24, 0x80, 0x80], "it made {vectors:x?}");
        seen[..3].iter().try_for_each(|seen| {
            user_code::check_known_program(&seen.regs, word, user_mode::STACK_TOP)
        })
    })
}

fn interrupted_program() -> Outcome {
    user_mode::with_hooks(None, || {
        let thread = UserThread::start(user_code::spin, user_mode::STACK_TOP - 8)?;
        let mut times = 0;
        let send = |hardware_id| irqchip::send_interrupt(hardware_id, vector::RESCHEDULE);
        let hit = thread.hit(send, || {
            times += 1;
            times > 3 || !phase_is(Phase::Armed)
        });
        user_mode::end_spin(&thread);
        thread.finish();
        hit
    })
}

/// One instruction of the entry code.
struct Instruction {
    at: usize,
    function: &'static str,
    /// Whether debug exceptions can come there.
    masked: bool,
}

/// `msr daifset, #imm` and `msr daifclr, #imm`: everything but the immediate; and `bl`.
const DAIFSET: u32 = 0xd503_40df;
const DAIFCLR: u32 = 0xd503_40ff;
const CALL: u32 = 0x9400_0000;
/// `b`: after it code continues that was branched to before, with everything masked still.
const BRANCH: u32 = 0x1400_0000;

/// Every instruction of a function, with whether debug exceptions are masked there.
fn instructions_of(start: u64, symbol: &symbols::Symbol) -> Vec<Instruction> {
    let is = |name: &str| symbol.name.contains(name);
    let is_overflow = is("overflow::");
    let is_entry = is_overflow || ["_sync", "_irq"].iter().any(|end| is(end));
    let mut masked = is_entry;
    // SAFETY: (1) a function of this kernel, all of which is mapped.
    let code = unsafe { core::slice::from_raw_parts(start as *const u8, symbol.size as usize) };
    let mut all = Vec::new();
    let mut offset = 0;
    while let Some(length) = step::instruction_length(&code[offset..]) {
        let at = start as usize + offset;
        let word = code[offset..offset + length].iter().rev();
        let word = word.fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        offset += length;
        let plain = word & !0xf00;
        let debug = word & 0x800 != 0;
        // What unmasks is itself reached masked.
        let here = masked || plain == DAIFCLR && debug && !is("first_return");
        all.push(Instruction { at, function: symbol.name, masked: here });
        let opcode = word & 0xfc00_0000;
        if plain == DAIFSET && debug || opcode == BRANCH && is_entry {
            masked = true;
        } else if (plain == DAIFCLR && debug || opcode == CALL) && !is_overflow {
            masked = false;
        }
    }
    all
}

/// What executes a function's instructions.
fn work_for(function: &str) -> &'static [Work] {
    let is = |name: &str| function.contains(name);
    if is("user_irq") {
        &[Work::UserInterrupt]
    } else if is("user_sync") || is("return_to_user") {
        &[Work::User]
    } else if is("first_return") {
        &[Work::Switch, Work::User]
    } else if is("switch") {
        &[Work::Switch]
    } else if is("kernel_irq") {
        &[Work::Interrupt]
    } else {
        &[Work::Software]
    }
}

/// What must be so of a landing.
fn check_landing(landing: &Landing) -> Outcome {
    let Landing { regs, handler, steps } = landing;
    let right = matches!(handler, Some(StackKind::Thread | StackKind::Idle | StackKind::Irq));
    check!(right, "the handler stands on {handler:?}");
    let first = steps.steps().first().map(|(step, _)| *step);
    let starts_there = match first {
        Some(Step::Interrupted(first) | Step::UserBoundary(first)) => {
            first.pc.get() as u64 == regs.pc
        }
        _ => false,
    };
    check!(starts_there, "the backtrace starts with {first:x?}");
    let end = steps.end();
    // The table of frames knows of every instruction here.
    check!(end == Some(End::Reliable), "{end:x?}: {:x?}", steps.steps());
    Ok(())
}

/// Where an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Nothing stopped there.
    Not,
    /// The exception landed there, the interrupt later.
    ByException,
    /// Both landed there.
    ByBoth,
}

/// Whether the breakpoint was hit. Checks what was found there, and that everything went on.
fn attempt(instruction: &Instruction, work: Work) -> Result<Reached, String> {
    *LANDINGS.lock() = [None, None];
    arm(instruction.at)?;
    work.perform()?;
    if phase_is(Phase::Armed) {
        return Ok(Reached::Not);
    }
    until("the interrupt has come", || phase_is(Phase::Landed))?;
    let landings = LANDINGS.lock();
    let [Some(exception), Some(interrupt)] = &*landings else {
        return Err("nothing was kept of a landing".into());
    };
    check!(exception.regs.pc as usize == instruction.at, "the exception is elsewhere");
    check_landing(exception).map_err(|message| format!("exception: {message}"))?;
    check_landing(interrupt).map_err(|message| format!("interrupt: {message}"))?;
    let both = interrupt.regs.pc as usize == instruction.at;
    Ok(if both { Reached::ByBoth } else { Reached::ByException })
}

/// Red if entry code unmasks a line too early or masks one too late, if a switch is not one
/// instruction, if a register is lost, or if a landing leads the backtrace astray.
pub fn s4_an_exception_and_an_interrupt_on_every_instruction_of_the_entry_and_switch_paths_disturb_nothing()
-> Outcome {
    probes::set_debug_probe(Some(on_debug));
    probes::set_breakpoint_probe(Some(|_| {}));
    probes::set_call(on_call);
    softirq::set_probe(|| {
        SOFTIRQS.fetch_add(1, Ordering::Relaxed);
    });
    let outcome = sweep();
    let cleared = arm(0);
    probes::set_debug_probe(None);
    probes::set_breakpoint_probe(None);
    softirq::set_probe(|| {});
    outcome.and(cleared)
}

fn sweep() -> Outcome {
    let (mut all, mut hit, mut exactly) = (0, 0, 0);
    for (start, symbol) in entry_code::functions() {
        for instruction in instructions_of(start, &symbol) {
            all += 1;
            let name = |message| {
                let offset = instruction.at - start as usize;
                format!("{}+{offset:#x}: {message}", instruction.function)
            };
            let mut reached = false;
            for &work in work_for(instruction.function) {
                let landed = attempt(&instruction, work);
                let landed = landed.map_err(|message| name(format!("{work:?}: {message}")))?;
                reached |= landed != Reached::Not;
                hit += usize::from(landed != Reached::Not);
                exactly += usize::from(landed == Reached::ByBoth);
            }
            let right = reached != instruction.masked;
            check!(
                right,
                "{}",
                name(format!("reached: {reached}, masked: {}", instruction.masked))
            );
        }
    }
    log!("  {all} instructions, {hit} exceptions right there, {exactly} interrupts right there");
    check!(all > 300 && hit > 40 && exactly >= 4, "{all}, {hit}, {exactly}");
    Ok(())
}
