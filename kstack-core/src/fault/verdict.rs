//! What an overflow was: which stack, whose, which side, how far, and what follows from it.
//!
//! Decided from arithmetic alone ([`Arena::place`]) and from the records of stacks; nothing on the
//! broken stack is read.
//!
//! | delivered | address | verdict |
//! | --- | --- | --- |
//! | on another stack, because this one could take no frame | in the guard below the stack SP is on | guard hit |
//! | likewise | SP is past that guard, in the neighbour's guard above | frame beyond the guard of the stack between |
//! | likewise | SP is in no known stack, or in another thread's or CPU's, yet one is running | frame beyond the guard, or above the stack: SP leads elsewhere |
//! | likewise | SP is well inside a stack that this CPU can be on | not an overflow |
//! | likewise | SP is on a stack without guards, and the room that was asked for reaches below it | guard hit, though there is none |
//! | on its own stack | in a guard | guard access: a stray read or write |
//! | on its own stack | elsewhere | not an overflow |
//!
//! Not judged but found: [`Cause::EndOverwritten`], by what looks at end words. The system stops:
//! no access failed, so nothing says what wrote there, when, and where else. A frame whose canary
//! was written over ([`judge_frame`]) is found by the function that owns it, before it returns:
//! what wrote there was called by it, so a thread that can be cut out is ended.
//!
//! SP may stand exactly on the lowest byte of the body while the push that failed was to the word
//! below; so SP on an edge counts with the byte below it.
//!
//! # Who may be cut out of what
//!
//! A thread is ended where nothing but itself is half done. The system stops everywhere else:
//!
//! | what overflowed | consequence | because |
//! | --- | --- | --- |
//! | a thread, interrupts on, no spinning lock, bottom halves enabled | the thread is ended | what it shares with others it shares under locks that come back |
//! | an entry that found no room on such a thread's stack | the thread is ended, the interrupt is handled | the entry tests for room before anything is begun |
//! | a thread with interrupts off, in the scheduler or the switch too | the system stops | the CPU's own words are half changed, and `running` may be the next thread already |
//! | a thread that holds a spinning lock or keeps bottom halves off | the system stops | what they guard may be half changed |
//! | an interrupt handler, a softirq, an NMI's handler, on whatever stack | the system stops | none of it is the thread's |
//! | SP is a program's: in the lower half | the system stops | an entry or a return path went wrong, and nothing says what else it left behind |
//! | a stack of a CPU's, the idle thread's among them | the system stops | a CPU cannot be ended |
//! | a stack without guards, SP below it | the system stops | what follows in memory is another's, and written over |
//! | whatever ran with an SP of the programs' half | the system stops | an entry or a return path went wrong, and what it left behind cannot be repaired |
//!
//! With interrupts off SP may stand on the stack of the thread that is leaving while the next one
//! is `running` already: there the thread on whose stack SP stands is named, never the one that
//! comes.

use crate::addr::{Addr, AddrRange, ByteSize, CpuId};
use crate::arena::{Arena, Place, SlotIndex};
use crate::kind::StackKind;
use crate::stacks::{StackId, ThreadId};
use crate::unwind::{Backtrace, Step};
use core::fmt;

/// Which end of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a stack has two")]
pub enum Side {
    /// The low end, to which stacks grow.
    Below,
    /// The high end.
    Above,
}

/// How the hardware delivered the fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// The exception was taken on the stack that was in use: that stack is sound.
    OwnStack,
    /// The exception could not be taken there (x86: double fault; elsewhere: the entry's test of
    /// SP).
    AnotherStack,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The stack grew into its guard.
    GuardHit,
    /// One frame was larger than what was left and the guard together.
    FrameBeyondGuard,
    /// A sound stack; something else read or wrote a guard.
    GuardAccess,
    /// No fault: when its thread left the CPU, the word at the far end of the stack was found
    /// overwritten, by what no guard has seen.
    EndOverwritten,
    /// No fault: a function found another value where its frame had the canary, and did not return.
    FrameSmashed,
    /// The sanitizer: an access past the end of a local, into a frame's red zone.
    OutOfFrame,
    /// The sanitizer: an access to a local whose function has returned, or whose block has ended.
    DeadFrame,
}

/// What must follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a handler must carry out each of them")]
pub enum Consequence {
    /// The running thread is ended; the system continues.
    EndThread,
    /// The system stops, with the report.
    StopSystem,
}

/// The context of the fault; see the module's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by a kernel, field by field or from the default"
)]
pub struct Context {
    /// The running thread, or [`ThreadId::NONE`].
    pub thread: ThreadId,
    /// Spinning locks held by this CPU.
    pub spinning_locks: u32,
    /// In an interrupt handler.
    pub in_interrupt: bool,
    /// In a softirq.
    pub in_softirq: bool,
    /// In an NMI.
    pub in_nmi: bool,
    /// The thread has kept softirqs off this CPU: what they share with it may be half changed.
    pub bottom_halves_disabled: bool,
    /// Interrupts were off where the fault happened, and not by an entry that had begun nothing
    /// yet.
    pub interrupts_off: bool,
    /// The lowest address of the kernel's half; 0: not known. An SP below it is a program's: the
    /// kernel ran on what a program chose, and no thread can be ended for that.
    pub kernel_lowest: Addr,
}

impl Context {
    /// Whether a thread was running, outside of interrupts, softirqs and NMIs.
    pub const fn in_thread_only(&self) -> bool {
        !self.in_interrupt && !self.in_softirq && !self.in_nmi
    }

    /// Whether the running thread can be given up where it stands.
    pub const fn may_abandon(&self) -> bool {
        !self.thread.is_none()
            && self.spinning_locks == 0
            && !self.bottom_halves_disabled
            && !self.interrupts_off
            && self.in_thread_only()
    }
}

/// The fault, as the hardware told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the handler: all that hardware tells")]
pub struct Fault {
    /// How it was delivered.
    pub delivery: Delivery,
    /// The address that was accessed, where the hardware says.
    pub address: Addr,
    /// SP at that moment.
    pub sp: Addr,
    /// The instruction.
    pub pc: Addr,
    /// The CPU.
    pub cpu: CpuId,
}

/// The judgement on a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a report is made of it by the crate kstack")]
pub struct Verdict {
    /// The stack whose guard was hit or touched.
    pub stack: StackId,
    /// On which side.
    pub side: Side,
    /// How far into the guard, in bytes from the stack's edge.
    pub distance: ByteSize,
    /// What happened.
    pub cause: Cause,
    /// What must follow.
    pub consequence: Consequence,
}

/// Finds stacks for the verdict: by slot, and the one a CPU was last known to run its thread on.
pub trait StackTable {
    /// The stack in a slot, if it is live. Its range is the part that is mapped.
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId>;
    /// The stack of the thread that runs on this CPU. `None` where it is not known: then an access
    /// to a guard is named, and no overflow of a thread's stack is.
    fn running_on(&self, cpu: CpuId) -> Option<StackId>;
}

/// Judges a fault in the kernel. `None`: no stack explains it.
pub fn judge(
    arena: &Arena,
    table: &impl StackTable,
    fault: &Fault,
    context: &Context,
) -> Option<Verdict> {
    let (stack, side, distance, cause) = match fault.delivery {
        Delivery::OwnStack => {
            let (stack, side, distance) = guard_at(arena, table, fault.address)?;
            (stack, side, distance, Cause::GuardAccess)
        }
        Delivery::AnotherStack => overflowed(arena, table, fault, context)?,
    };
    // A guard access ends the thread that accessed; an overflow ends the owner, if it can be ended.
    let containable = match cause {
        Cause::GuardAccess => true,
        _ => stack.kind.is_containable() && stack.owner == context.thread,
    };
    let is_kernels = fault.sp >= context.kernel_lowest;
    let harmed_another = !is_guarded(arena, &stack) && fault.sp <= stack.range.lowest;
    let consequence = if containable && is_kernels && !harmed_another && context.may_abandon() {
        Consequence::EndThread
    } else {
        Consequence::StopSystem
    };
    Some(Verdict { stack, side, distance, cause, consequence })
}

/// What follows from a frame on this stack that was written over past a local array: its function
/// found that out, and has not returned.
///
/// The thread is ended where it can be cut out; `sp` stands in that function's frame, or below it.
pub fn judge_frame(stack: StackId, sp: Addr, context: &Context) -> Verdict {
    let own = stack.kind.is_containable() && stack.owner == context.thread;
    let is_whole = stack.range.contains(sp);
    let consequence = if own && is_whole && context.may_abandon() {
        Consequence::EndThread
    } else {
        Consequence::StopSystem
    };
    // How far what wrote there got is not known: no further than the stack's top, or there is a
    // guard.
    let distance = stack.range.top.bytes_above(sp);
    Verdict { stack, side: Side::Above, distance, cause: Cause::FrameSmashed, consequence }
}

/// What follows from an access to an address on `stack` that the sanitizer refuses, before it is
/// made: the thread that would have made it is ended where it can be cut out.
pub fn judge_access(stack: StackId, address: Addr, cause: Cause, context: &Context) -> Verdict {
    let consequence =
        if context.may_abandon() { Consequence::EndThread } else { Consequence::StopSystem };
    let distance = stack.range.top.bytes_above(address);
    Verdict { stack, side: Side::Above, distance, cause, consequence }
}

/// Whether an overflow of this stack meets a guard: those of the arena have some.
pub const fn is_guarded(arena: &Arena, stack: &StackId) -> bool {
    !matches!(arena.place(stack.range.lowest), Place::Outside)
}

/// The live stack in whose guard the address lies, the side, and the distance from the edge.
fn guard_at(
    arena: &Arena,
    table: &impl StackTable,
    addr: Addr,
) -> Option<(StackId, Side, ByteSize)> {
    let slot = match arena.place(addr) {
        Place::Outside => return None,
        Place::GuardBelow { slot, .. }
        | Place::Body { slot, .. }
        | Place::GuardAbove { slot, .. } => slot,
    };
    // The record's range, not the body: a stack may be mapped in part, the rest is guard.
    let stack = table.stack_in(slot)?;
    if addr < stack.range.lowest {
        Some((stack, Side::Below, stack.range.lowest.bytes_above(addr)))
    } else if addr >= stack.range.top {
        Some((stack, Side::Above, addr.bytes_above(stack.range.top)))
    } else {
        None
    }
}

fn overflowed(
    arena: &Arena,
    table: &impl StackTable,
    fault: &Fault,
    context: &Context,
) -> Option<(StackId, Side, ByteSize, Cause)> {
    let below_sp = fault.sp.wrapping_sub(ByteSize::new(1));
    let from_address = guard_at(arena, table, fault.address);
    let running = table.running_on(fault.cpu);
    // In the switch `running` is the next thread already, and SP still stands on the stack of the
    // one that leaves.
    let may_be_leaving = |stack: StackId| context.interrupts_off && stack.kind.is_containable();
    // SP well inside a stack: the push that failed went to just below it, into the guard of the
    // same stack. If the stack is another thread's or CPU's, SP only landed there.
    for at in [below_sp, fault.sp] {
        let Place::Body { slot, .. } = arena.place(at) else { continue };
        let Some(stack) = table.stack_in(slot) else { continue };
        if stack.range.contains(at)
            && (running == Some(stack) || stack.cpu == Some(fault.cpu) || may_be_leaving(stack))
        {
            return match from_address {
                Some((hit, Side::Below, distance)) if hit == stack => {
                    Some((stack, Side::Below, distance, Cause::GuardHit))
                }
                _ => None,
            };
        }
    }
    // SP in a guard below: its owner overflowed, if it can have been on it. Otherwise SP is stray.
    let was_on = |stack: StackId| {
        // The handler of double faults runs with interrupts off; a thread whose SP strays to its
        // guard does not.
        let is_handlers = match stack.kind {
            StackKind::Overflow => true,
            StackKind::DoubleFault => context.interrupts_off,
            _ => false,
        };
        let cpu_was = !context.in_thread_only() || is_handlers;
        running == Some(stack) || stack.cpu == Some(fault.cpu) && cpu_was || may_be_leaving(stack)
    };
    let hit = guard_at(arena, table, below_sp).filter(|&(stack, ..)| was_on(stack));
    if let Some((stack, Side::Below, distance)) = hit {
        return Some((stack, Side::Below, distance, Cause::GuardHit));
    }
    // Past it, in the guard above the neighbour, or where the arena's first slot would have one: it
    // adjoins the guard below.
    let a_guard_up = below_sp.wrapping_add(arena.geometry().guard_above());
    let passed = match (arena.place(below_sp), arena.place(a_guard_up)) {
        (Place::GuardAbove { .. } | Place::Outside, Place::GuardBelow { slot, .. }) => {
            table.stack_in(slot).filter(|&stack| was_on(stack))
        }
        _ => None,
    };
    if let Some(stack) = passed {
        let distance = stack.range.lowest.bytes_above(below_sp);
        return Some((stack, Side::Below, distance, Cause::FrameBeyondGuard));
    }
    // Beyond its own guard, wherever that is; the access that failed may still name the guard that
    // stopped it.
    let named = from_address.filter(|&(stack, ..)| was_on(stack));
    if let Some((stack, Side::Below, distance)) = named {
        return Some((stack, Side::Below, distance, Cause::FrameBeyondGuard));
    }
    let stack = running?;
    // SP itself is compared: below an SP of 0 lies the highest address.
    let (side, distance) = if fault.sp <= stack.range.lowest {
        let distance = stack.range.lowest.bytes_above(fault.sp).get() + 1;
        (Side::Below, ByteSize::new(distance))
    } else if fault.sp > stack.range.top {
        (Side::Above, fault.sp.bytes_above(stack.range.top))
    } else {
        // Where a thread has no guard nothing fails; the entry has found no room.
        let distance = stack.range.lowest.bytes_above(fault.address);
        let asked_below = distance != ByteSize::ZERO && distance <= stack.range.size();
        let found = (stack, Side::Below, distance, Cause::GuardHit);
        let is_threads = stack.kind.is_containable();
        return (asked_below && is_threads && !is_guarded(arena, &stack)).then_some(found);
    };
    Some((stack, side, distance, Cause::FrameBeyondGuard))
}

/// Steps of a backtrace that a report keeps: 48, or 24 where stacks are half as large.
pub const REPORT_STEPS: usize = 6 * size_of::<usize>();

/// All that is known of an overflow: a structure first, text second.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the crate kstack")]
pub struct OverflowReport {
    /// The judgement.
    pub verdict: Verdict,
    /// The fault.
    pub fault: Fault,
    /// The context.
    pub context: Context,
    /// From the faulting instruction outwards.
    pub backtrace: Backtrace<REPORT_STEPS>,
    /// The function whose frame was touched, where the sanitizer knows; otherwise 0.
    pub frame: Addr,
}

impl Side {
    /// `below` or `above`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::Above => "above",
        }
    }
}

impl Cause {
    /// A word for tools.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GuardHit => "guard-hit",
            Self::FrameBeyondGuard => "frame-beyond-guard",
            Self::GuardAccess => "guard-access",
            Self::EndOverwritten => "end-overwritten",
            Self::FrameSmashed => "frame-smashed",
            Self::OutOfFrame => "out-of-frame",
            Self::DeadFrame => "dead-frame",
        }
    }
}

impl Consequence {
    /// A word for tools.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndThread => "end-thread",
            Self::StopSystem => "stop-system",
        }
    }
}

impl fmt::Display for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stack", self.kind)?;
        if !self.owner.is_none() {
            write!(f, " of thread {}", self.owner)?;
        }
        if let Some(cpu) = self.cpu {
            write!(f, " of CPU {cpu}")?;
        }
        let AddrRange { lowest, top } = self.range;
        write!(f, " [{lowest}..{top})")
    }
}

/// Everything of a report but the backtrace.
#[derive(Clone, Copy, Debug)]
pub struct Head<'r>(&'r OverflowReport);

/// A report as text, its backtrace with names of code.
#[derive(Clone, Copy, Debug)]
pub struct NamedReport<'r, F> {
    report: &'r OverflowReport,
    symbol: F,
}

impl OverflowReport {
    /// The report without the backtrace, as text: three lines.
    pub const fn head(&self) -> Head<'_> {
        Head(self)
    }

    /// The report as text; `symbol` names the function in which an address lies.
    pub fn with_symbols<S: fmt::Display, F: Fn(Addr) -> Option<S>>(
        &self,
        symbol: F,
    ) -> NamedReport<'_, F> {
        NamedReport { report: self, symbol }
    }
}

impl<S: fmt::Display, F: Fn(Addr) -> Option<S>> fmt::Display for NamedReport<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.report.head(), self.report.backtrace.with_symbols(&self.symbol))
    }
}

/// The whole report, with addresses instead of names.
impl fmt::Display for OverflowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.head(), self.backtrace)
    }
}

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OverflowReport { verdict, fault, context, .. } = self.0;
        let Verdict { stack, side, distance, cause, consequence } = *verdict;
        match cause {
            Cause::GuardHit => writeln!(f, "kernel stack overflow: {stack}")?,
            Cause::FrameBeyondGuard if side == Side::Above => {
                writeln!(f, "kernel stack left, by a stack pointer that leads elsewhere: {stack}")?;
            }
            Cause::FrameBeyondGuard => {
                writeln!(f, "kernel stack overflow, by one frame larger than the guard: {stack}")?;
            }
            Cause::GuardAccess => writeln!(f, "guard page accessed: {stack}")?,
            Cause::EndOverwritten => writeln!(f, "kernel stack end overwritten: {stack}")?,
            Cause::FrameSmashed => writeln!(f, "kernel stack frame smashed: {stack}")?,
            Cause::OutOfFrame => writeln!(f, "access past a local on a kernel stack: {stack}")?,
            Cause::DeadFrame => writeln!(f, "access to a dead frame of a kernel stack: {stack}")?,
        }
        match cause {
            Cause::EndOverwritten => {
                writeln!(f, "  its end word was found to be another on CPU {}", fault.cpu)?;
            }
            Cause::FrameSmashed => writeln!(
                f,
                "  the canary of a frame {} bytes below its top was written over, on CPU {}",
                distance.get(),
                fault.cpu
            )?,
            Cause::OutOfFrame | Cause::DeadFrame => {
                writeln!(f, "  {} bytes below its top, on CPU {}", distance.get(), fault.cpu)?;
            }
            _ => writeln!(
                f,
                "  {} byte{} {} its edge, on CPU {}",
                distance.get(),
                if distance.get() == 1 { "" } else { "s" },
                side.name(),
                fault.cpu
            )?,
        }
        writeln!(f, "  address {}  sp {}  pc {}", fault.address, fault.sp, fault.pc)?;
        match consequence {
            Consequence::EndThread => writeln!(f, "  thread {} is ended", context.thread),
            Consequence::StopSystem if cause == Cause::EndOverwritten => {
                writeln!(f, "  the system stops: what wrote there may have written elsewhere")
            }
            Consequence::StopSystem if stack.kind.is_containable() => writeln!(
                f,
                "  the system stops: thread {} cannot be abandoned ({} spinning locks{}{}{}{}{})",
                context.thread,
                context.spinning_locks,
                if context.interrupts_off { ", interrupts off" } else { "" },
                if context.bottom_halves_disabled { ", bottom halves disabled" } else { "" },
                if context.in_interrupt { ", in an interrupt" } else { "" },
                if context.in_softirq { ", in a softirq" } else { "" },
                if context.in_nmi { ", in an NMI" } else { "" },
            ),
            Consequence::StopSystem => {
                writeln!(f, "  the system stops: this stack belongs to the CPU")
            }
        }
    }
}

impl OverflowReport {
    /// Addresses of code in the backtrace, from the innermost out.
    pub fn code_addresses(&self) -> impl Iterator<Item = Addr> + '_ {
        self.backtrace.steps().iter().filter_map(|(step, _)| match step {
            Step::Caller(pc) => Some(*pc),
            Step::Interrupted(regs) => Some(regs.pc),
            _ => None,
        })
    }
}
