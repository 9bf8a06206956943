//! The unwinder: from a frame pointer to the outermost frame, across stacks, over a closure that reads.
//!
//! ```text
//!   IRQ stack                         thread stack of 12
//!   | ...            |                | ...              |
//!   | return address |                | return address   |
//!   | fp  -----------+--- seam ------>| fp               |   call_on_stack's frame record
//!   | return address |                | saved registers  |   fp marked: an interrupt; from the kernel: goes on
//!   | fp             |                | return address   |
//!                                     | fp = marked      |   saved registers of user mode: the end, reliable
//! ```
//!
//! Invariants, checked by tests with arbitrary memory: it reads only inside stacks the lookup knows; within a stack the
//! frame pointer only moves up; a stack is entered once; so it ends.

use crate::addr::{Addr, AddrRange, ByteSize};
use crate::kind::StackKind;
use crate::stacks::{StackId, StackLookup};

/// Frames at most, in one backtrace.
pub const MOST_FRAMES: usize = 512;
/// Stacks at most, in one backtrace.
pub const MOST_STACKS: usize = 8;
const WORD: usize = size_of::<usize>();
/// A frame record: the previous frame pointer, and above it the return address.
const RECORD: ByteSize = ByteSize::new(2 * WORD);

/// Registers saved by an entry, as far as the unwinder needs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedRegs {
    /// The interrupted instruction.
    pub pc: Addr,
    /// The interrupted stack pointer.
    pub sp: Addr,
    /// The interrupted frame pointer.
    pub fp: Addr,
    /// Whether user mode was interrupted.
    pub from_user: bool,
}

/// What an architecture's frame pointers mean.
pub trait FrameRules {
    /// If this frame pointer marks saved registers, where they are.
    fn saved_regs_at(fp: Addr) -> Option<Addr>;
    /// Bytes of saved registers.
    const SAVED_REGS: ByteSize;
    /// Bytes at the top of a thread stack that nothing uses: the registers saved from user mode end there.
    const FREE_AT_TOP: ByteSize = ByteSize::ZERO;
    /// Where the frame record, previous frame pointer and return address, lies: this far below what the frame pointer says.
    const RECORD_BELOW: ByteSize = ByteSize::ZERO;
    /// Reads what is needed of the registers saved at `at`, through `read` only.
    fn read_saved_regs(at: Addr, read: &mut impl FnMut(Addr) -> Option<usize>)
    -> Option<SavedRegs>;
}

/// Why a backtrace ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// At the outermost frame of a kernel thread, or at the boundary to user mode: every frame is there.
    Reliable,
    /// A frame pointer is not aligned.
    Misaligned(Addr),
    /// A frame pointer leads to no stack that is known.
    UnknownStack(Addr),
    /// A frame pointer does not lead outwards.
    NotOutwards(Addr),
    /// A frame pointer leads to a stack that was left before.
    StackTwice(Addr),
    /// The memory could not be read.
    Unreadable(Addr),
    /// More frames or stacks than allowed.
    TooLong,
}

/// One step outwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A function that called the one before, by its return address.
    Caller(Addr),
    /// From one stack to another.
    Seam {
        /// The kind of the stack that is left.
        from: StackKind,
        /// The stack the next frames are on.
        to: StackId,
    },
    /// An entry interrupted this instruction of the kernel.
    Interrupted(SavedRegs),
    /// An entry from user mode: the boundary. [`End::Reliable`] follows.
    UserBoundary(SavedRegs),
    /// The end. Nothing follows.
    End(End),
}

/// A walk under way.
#[derive(Debug)]
pub struct Unwinder<'l, L, R> {
    lookup: &'l L,
    read: R,
    fp: Addr,
    /// The stack `fp` must be on to go on without a lookup; empty before the first step.
    stack: Option<StackId>,
    /// What is left of that stack: above the frames already seen. Empty whenever something else than a frame comes next.
    rest: AddrRange,
    left: [AddrRange; MOST_STACKS],
    stacks: usize,
    frames: usize,
    pending: Option<Step>,
}

impl<'l, L: StackLookup, R: FnMut(Addr) -> Option<usize>> Unwinder<'l, L, R> {
    /// Starts at a frame pointer.
    #[inline]
    pub fn new(lookup: &'l L, read: R, fp: Addr) -> Self {
        Self {
            lookup,
            read,
            fp,
            stack: None,
            rest: AddrRange::EMPTY,
            left: [AddrRange::EMPTY; MOST_STACKS],
            stacks: 0,
            frames: 0,
            pending: None,
        }
    }

    /// Starts at saved registers: the first step is the interrupted instruction itself.
    pub fn from_regs(lookup: &'l L, read: R, regs: SavedRegs) -> Self {
        let mut unwinder = Self::new(lookup, read, regs.fp);
        unwinder.pending =
            Some(if regs.from_user { Step::UserBoundary(regs) } else { Step::Interrupted(regs) });
        unwinder
    }

    /// The stack the walk is on.
    pub fn stack(&self) -> Option<StackId> {
        self.stack
    }

    /// Makes `rest` the part of a stack from `at` on that has `size` bytes, changing stacks if need be.
    #[cold]
    fn enter(&mut self, at: Addr, size: ByteSize) -> Result<Option<Step>, End> {
        if let Some(stack) = self.stack
            && stack.range.contains(at)
        {
            // On the same stack, but not above what was seen (or cut off by its top).
            return Err(End::NotOutwards(at));
        }
        let to = self.lookup.stack_at(at).ok_or(End::UnknownStack(at))?;
        if !to.range.contains_span(at, size) {
            return Err(End::NotOutwards(at));
        }
        if self.left[..self.stacks].contains(&to.range) {
            return Err(End::StackTwice(at));
        }
        if self.stacks == MOST_STACKS {
            return Err(End::TooLong);
        }
        self.left[self.stacks] = to.range;
        self.stacks += 1;
        self.rest = AddrRange { lowest: at, top: to.range.top };
        let from = self.stack.replace(to);
        Ok(from.map(|from| Step::Seam { from: from.kind, to }))
    }

    fn end(&mut self, why: End) -> Step {
        self.put_before_next(Step::End(why));
        Step::End(why)
    }

    /// Something else than the next frame comes next: no frame is in an empty rest. Out of line, as ends are rare.
    #[cold]
    fn put_before_next(&mut self, step: Step) {
        self.rest = AddrRange::EMPTY;
        self.pending = Some(step);
    }

    /// The next step. About 20 instructions for a frame on the stack that the walk is on.
    #[inline(always)]
    pub fn step<F: FrameRules>(&mut self) -> Step {
        let record = self.fp.wrapping_sub(F::RECORD_BELOW);
        if self.fp.get().is_multiple_of(WORD) && self.rest.contains_span(record, RECORD) {
            return self.frame(record);
        }
        self.step_elsewhere::<F>()
    }

    /// The frame whose record lies in the rest of the stack.
    #[inline(always)]
    fn frame(&mut self, record: Addr) -> Step {
        if self.frames == MOST_FRAMES {
            return self.end(End::TooLong);
        }
        self.frames += 1;
        let return_at = record.wrapping_add(ByteSize::new(WORD));
        let (Some(next), Some(pc)) = ((self.read)(record), (self.read)(return_at)) else {
            return self.end(End::Unreadable(record));
        };
        self.fp = Addr::new(next);
        self.rest.lowest = record.wrapping_add(RECORD);
        Step::Caller(Addr::new(pc))
    }

    /// Any step but a plain frame: a pending one, the end, another stack, saved registers.
    #[cold]
    #[inline(never)]
    fn step_elsewhere<F: FrameRules>(&mut self) -> Step {
        if let Some(step) = self.pending.take() {
            match step {
                Step::UserBoundary(_) => self.put_before_next(Step::End(End::Reliable)),
                Step::Interrupted(regs) => self.look_for_boundary::<F>(regs),
                // It stays.
                Step::End(_) => self.pending = Some(step),
                Step::Caller(_) | Step::Seam { .. } => {}
            }
            return step;
        }
        let fp = self.fp;
        if !fp.get().is_multiple_of(WORD) {
            return self.step_over_regs::<F>();
        }
        if fp.get() == 0 {
            return self.end(End::Reliable);
        }
        let record = fp.wrapping_sub(F::RECORD_BELOW);
        match self.enter(record, RECORD) {
            Ok(Some(seam)) => seam,
            Ok(None) => self.frame(record),
            Err(why) => self.end(why),
        }
    }

    /// A marked frame pointer: an entry's saved registers.
    #[cold]
    fn step_over_regs<F: FrameRules>(&mut self) -> Step {
        let fp = self.fp;
        let Some(at) = F::saved_regs_at(fp) else { return self.end(End::Misaligned(fp)) };
        if !self.rest.contains_span(at, F::SAVED_REGS) {
            match self.enter(at, F::SAVED_REGS) {
                Ok(Some(seam)) => return seam,
                Ok(None) => {}
                Err(why) => return self.end(why),
            }
        }
        if self.frames == MOST_FRAMES {
            return self.end(End::TooLong);
        }
        self.frames += 1;
        let range = self.rest;
        let read = &mut self.read;
        let mut bounded = |addr: Addr| {
            if range.contains_span(addr, ByteSize::new(WORD)) { read(addr) } else { None }
        };
        let Some(regs) = F::read_saved_regs(at, &mut bounded) else {
            return self.end(End::Unreadable(at));
        };
        self.rest.lowest = at.wrapping_add(F::SAVED_REGS);
        self.fp = regs.fp;
        if regs.from_user {
            self.put_before_next(Step::End(End::Reliable));
            Step::UserBoundary(regs)
        } else {
            self.look_for_boundary::<F>(regs);
            Step::Interrupted(regs)
        }
    }

    /// What was interrupted may be an entry's first or last instructions, with nothing on the thread's stack but registers of
    /// user mode that are being saved or loaded. The frame pointer may still, or again, be the program's: it is not looked
    /// at, and the walk is over.
    fn look_for_boundary<F: FrameRules>(&mut self, regs: SavedRegs) {
        match self.lookup.stack_at(regs.sp) {
            Some(stack) => {
                let saved = stack.range.top.wrapping_sub(F::FREE_AT_TOP.plus(F::SAVED_REGS));
                let marked = F::saved_regs_at(regs.fp) == Some(saved);
                if stack.kind == StackKind::Thread && regs.sp >= saved && !marked {
                    self.put_before_next(Step::End(End::Reliable));
                }
            }
            // Before the entry has moved SP to the kernel's: 0 is no outermost marker here, but a program's.
            None if regs.fp.get() == 0 => {
                self.put_before_next(Step::End(End::UnknownStack(regs.sp)));
            }
            None => {}
        }
    }
}

/// A backtrace kept in a fixed place, for where nothing may be allocated. Equal steps in a row (a recursion) are kept once,
/// with their number, so that the outermost frames fit too.
#[derive(Clone, Copy, Debug)]
pub struct Backtrace<const N: usize> {
    steps: [(Step, u32); N],
    length: usize,
    dropped: usize,
}

impl<const N: usize> Backtrace<N> {
    /// None yet.
    pub const fn empty() -> Self {
        const { assert!(N > 0, "a backtrace keeps its end at least") };
        Self { steps: [(Step::End(End::TooLong), 0); N], length: 0, dropped: 0 }
    }

    /// None any more.
    pub const fn clear(&mut self) {
        self.length = 0;
        self.dropped = 0;
    }

    /// Walks to the end and keeps what fits, the end always.
    pub fn collect<F: FrameRules, L: StackLookup, R: FnMut(Addr) -> Option<usize>>(
        &mut self,
        unwinder: &mut Unwinder<'_, L, R>,
    ) {
        loop {
            let step = unwinder.step::<F>();
            let is_end = matches!(step, Step::End(_));
            self.keep(step, is_end);
            if is_end {
                break;
            }
        }
    }

    fn keep(&mut self, step: Step, is_end: bool) {
        if let Some(last) = self.length.checked_sub(1)
            && self.steps[last].0 == step
        {
            self.steps[last].1 += 1;
        } else if self.length < N - 1 || is_end && self.length < N {
            self.steps[self.length] = (step, 1);
            self.length += 1;
        } else {
            self.dropped += 1;
        }
    }

    /// The steps, from the innermost out, each with how many times in a row it came.
    pub fn steps(&self) -> &[(Step, u32)] {
        &self.steps[..self.length]
    }

    /// Steps that did not fit.
    pub const fn dropped(&self) -> usize {
        self.dropped
    }

    /// Frames of code seen, repetitions counted.
    pub fn frames(&self) -> usize {
        let is_code = |step: &Step| matches!(step, Step::Caller(_) | Step::Interrupted(_));
        let kept = self.steps().iter().filter(|(step, _)| is_code(step));
        kept.map(|&(_, times)| times as usize).sum::<usize>() + self.dropped
    }

    /// Why it ended.
    pub fn end(&self) -> Option<End> {
        match self.steps().last() {
            Some((Step::End(end), _)) => Some(*end),
            _ => None,
        }
    }

    /// Whether every frame is there.
    pub fn is_reliable(&self) -> bool {
        self.end() == Some(End::Reliable) && self.dropped == 0
    }
}
