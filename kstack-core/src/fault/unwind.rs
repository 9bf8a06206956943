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
//! Invariants, checked by tests with arbitrary memory: it reads only inside stacks the lookup knows, and only inside such that stay mapped
//! meanwhile; within a stack the frame pointer only moves up; a stack is entered once; so it ends.
//!
//! # Reliable is earned
//!
//! | the walk | ends |
//! | --- | --- |
//! | reached the registers at the top of a thread's stack, where entries from user mode put them | reliable |
//! | reached a frame pointer of 0 with the last record at the top of a stack that belongs to a CPU (idle, boot) | reliable |
//! | reached a frame pointer of 0 anywhere else | unknown stack: 0 is any value of a register that is no frame pointer |
//! | began, or crossed, at an interrupted instruction whose function's record is there | as above |
//! | likewise, but in the function's first or last instructions | as above, with the caller that SP or the link register names |
//! | likewise, and the code does not tell | innermost may be missing |
//! | went through a function that sets up no frame | frame may be missing |

mod display;

pub use display::{NamedBacktrace, NamedStep};

use crate::addr::{Addr, AddrRange, ByteSize};
use crate::kind::StackKind;
use crate::prologue::FrameState;
use crate::stacks::{Code, StackId, StackLookup};

/// Frames at most, in one backtrace.
pub const MAX_FRAMES: usize = 512;
/// Stacks at most, in one backtrace.
pub const MAX_STACKS: usize = 8;
const WORD: usize = size_of::<usize>();
/// A frame record: the previous frame pointer, and above it the return address.
const RECORD: ByteSize = ByteSize::new(2 * WORD);

/// Registers saved by an entry, as far as the unwinder needs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever saves registers: three of them")]
pub struct SavedRegs {
    /// The interrupted instruction.
    pub pc: Addr,
    /// The interrupted stack pointer.
    pub sp: Addr,
    /// The interrupted frame pointer.
    pub fp: Addr,
    /// The interrupted link register, where the CPU has one.
    pub link: Option<Addr>,
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
    /// Where the return address is before the instruction at `offset` in a function's code ([`crate::prologue`]).
    fn frame_state(_code: &[u8], _offset: usize) -> FrameState {
        FrameState::Unknown
    }
    /// Whether a function with this code sets up a frame record.
    fn keeps_frames(_code: &[u8]) -> bool {
        false
    }
}

/// How far below the top of a CPU's stack its outermost record may end: the first function's saved registers lie above it.
const OUTERMOST_WITHIN: usize = 32 * WORD;

/// Why a backtrace ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum End {
    /// At the outermost frame of a kernel thread, or at the boundary to user mode: every frame is there.
    Reliable,
    /// The same, but this instruction was interrupted, and its function's caller may be missing.
    InnermostMayBeMissing(Addr),
    /// The same, but the function that has this return address sets up no frame, or is not known: its caller may be missing.
    FrameMayBeMissing(Addr),
    /// A frame pointer leads to a stack that may be unmapped while it is read.
    NotKept(Addr),
    /// Saved registers of user mode lie where no entry puts them.
    NotAnEntry(Addr),
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

impl End {
    /// Whether the walk reached the outermost frame, or the boundary to user mode; inner frames may be missing all the same.
    pub const fn is_outermost(self) -> bool {
        matches!(self, Self::Reliable | Self::InnermostMayBeMissing(_) | Self::FrameMayBeMissing(_))
    }
}

/// One step outwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
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
    /// An entry from user mode: the boundary. The end follows.
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
    left: [AddrRange; MAX_STACKS],
    stacks: usize,
    frames: usize,
    pending: Option<Step>,
    /// `rest`, for after a pending caller.
    rest_after: AddrRange,
    /// The stack that an entry on an exception stack interrupted: this CPU goes back to it, so it stays mapped.
    interrupted: AddrRange,
    /// What an end that would be reliable is instead.
    doubt: Option<End>,
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
            left: [AddrRange::EMPTY; MAX_STACKS],
            stacks: 0,
            frames: 0,
            pending: None,
            rest_after: AddrRange::EMPTY,
            interrupted: AddrRange::EMPTY,
            doubt: None,
        }
    }

    /// Starts at saved registers: the first step is the interrupted instruction itself. The stack that SP is on stays mapped: it was
    /// interrupted on this CPU.
    pub fn from_regs(lookup: &'l L, read: R, regs: SavedRegs) -> Self {
        let mut unwinder = Self::new(lookup, read, regs.fp);
        unwinder.keep_interrupted(&regs);
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
        if self.stack.is_some_and(|stack| stack.range.contains(at)) {
            // On the same stack, but not above what was seen (or cut off by its top).
            return Err(End::NotOutwards(at));
        }
        let to = self.lookup.stack_at(at).ok_or(End::UnknownStack(at))?;
        if to.range != self.interrupted && !self.lookup.stays_mapped(&to) {
            return Err(End::NotKept(at));
        }
        if !to.range.contains_span(at, size) {
            return Err(End::NotOutwards(at));
        }
        if self.left[..self.stacks].contains(&to.range) {
            return Err(End::StackTwice(at));
        }
        if self.stacks == MAX_STACKS {
            return Err(End::TooLong);
        }
        self.left[self.stacks] = to.range;
        self.stacks += 1;
        self.rest = AddrRange { lowest: at, top: to.range.top };
        let from = self.stack.replace(to);
        Ok(from.map(|from| Step::Seam { from: from.kind, to }))
    }

    /// The end of a walk that has reached the outermost frame.
    fn reliable(&self) -> End {
        self.doubt.unwrap_or(End::Reliable)
    }

    fn keep_interrupted(&mut self, regs: &SavedRegs) {
        self.interrupted = self.lookup.stack_at(regs.sp).map_or(AddrRange::EMPTY, |to| to.range);
    }

    fn end(&mut self, why: End) -> Step {
        self.put_before_next(Step::End(why));
        Step::End(why)
    }

    /// Something else than the next frame comes next: no frame is in an empty rest. Out of line, as ends are rare.
    #[cold]
    fn put_before_next(&mut self, step: Step) {
        self.rest_after = self.rest;
        self.rest = AddrRange::EMPTY;
        self.pending = Some(step);
    }

    /// The next step. About 20 instructions for a frame on the stack that the walk is on.
    #[inline(always)]
    pub fn step<F: FrameRules>(&mut self) -> Step {
        let record = self.fp.wrapping_sub(F::RECORD_BELOW);
        if self.fp.get() % WORD == 0 && self.rest.contains_span(record, RECORD) {
            return self.frame(record);
        }
        self.step_elsewhere::<F>()
    }

    /// The frame whose record lies in the rest of the stack.
    #[inline(always)]
    fn frame(&mut self, record: Addr) -> Step {
        if self.frames == MAX_FRAMES {
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
                Step::Interrupted(regs) => self.look_around::<F>(regs),
                // It stays.
                Step::End(_) => self.pending = Some(step),
                Step::Caller(_) | Step::Seam { .. } => self.rest = self.rest_after,
            }
            return step;
        }
        let fp = self.fp;
        if fp.get() % WORD != 0 {
            return self.step_over_regs::<F>();
        }
        if fp.get() == 0 && self.is_at_the_top_of_a_cpus_stack() {
            return self.end(self.reliable());
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
        if self.frames == MAX_FRAMES {
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
        let is_entry = self.is_where_entries_save::<F>(at);
        if is_entry && self.is_on(|kind| kind == StackKind::Thread) && !has_run(&regs) {
            // A kernel thread, which was never in user mode: the registers are kept for it all the same.
            return self.end(self.reliable());
        }
        if regs.from_user {
            if !is_entry {
                return self.end(End::NotAnEntry(at));
            }
            self.put_before_next(Step::End(self.reliable()));
            return Step::UserBoundary(regs);
        }
        if is_entry {
            self.keep_interrupted(&regs);
        }
        self.look_around::<F>(regs);
        Step::Interrupted(regs)
    }

    fn is_on(&self, kind: impl Fn(StackKind) -> bool) -> bool {
        self.stack.is_some_and(|stack| kind(stack.kind))
    }

    /// Whether the last record ends right below the top of an idle or boot stack, where the first function begins.
    fn is_at_the_top_of_a_cpus_stack(&self) -> bool {
        self.is_on(|kind| matches!(kind, StackKind::Idle | StackKind::Boot))
            && self.rest.top != Addr::new(0)
            && self.rest.size().get() <= OUTERMOST_WITHIN
    }

    /// Whether registers at this place of the present stack are an entry's from another stack or from user mode: at the very top of a
    /// thread's stack, and near the top of a stack that exceptions change to.
    fn is_where_entries_save<F: FrameRules>(&self, at: Addr) -> bool {
        let Some(stack) = self.stack else { return false };
        let from_top = stack.range.top.bytes_above(at).get();
        match stack.kind {
            StackKind::Thread => from_top == F::FREE_AT_TOP.plus(F::SAVED_REGS).get(),
            StackKind::Idle | StackKind::Boot | StackKind::Irq | StackKind::Softirq => false,
            // What the entry keeps above them is little.
            _ => from_top <= 2 * F::SAVED_REGS.get() + OUTERMOST_WITHIN,
        }
    }

    /// At an interrupted instruction of the kernel: is it the boundary to user mode, and is its function's frame record there?
    #[cold]
    fn look_around<F: FrameRules>(&mut self, regs: SavedRegs) {
        self.look_for_boundary::<F>(regs);
        if self.pending.is_some() {
            return;
        }
        let state = match self.lookup.code_at(regs.pc) {
            Code::Function { lowest, code } => {
                F::frame_state(code, regs.pc.bytes_above(lowest).get())
            }
            // It has saved the registers and set the mark: it is what was entered, and has no caller.
            Code::Entry if F::saved_regs_at(regs.fp).is_some() => FrameState::There,
            Code::Entry | Code::Unknown => FrameState::Unknown,
        };
        let caller = match state {
            FrameState::There => return,
            FrameState::OnStack(words) => self.read_at_sp(&regs, words),
            FrameState::InLink => regs.link,
            FrameState::Unknown => None,
        };
        // What is no address of code is no return address, whatever the instructions say.
        match caller.filter(|&pc| self.lookup.code_at(pc) != Code::Unknown) {
            Some(pc) => self.put_before_next(Step::Caller(pc)),
            None => {
                self.doubt.get_or_insert(End::InnermostMayBeMissing(regs.pc));
            }
        }
    }

    /// A word of the interrupted stack, counted from SP.
    fn read_at_sp(&mut self, regs: &SavedRegs, words: usize) -> Option<Addr> {
        let at = regs.sp.wrapping_add(ByteSize::new(words.wrapping_mul(WORD)));
        let stack = self.lookup.stack_at(at)?;
        let kept = stack.range == self.interrupted || self.lookup.stays_mapped(&stack);
        let inside = stack.range.contains_span(at, ByteSize::new(WORD));
        if !kept || !inside || at.get() % WORD != 0 {
            return None;
        }
        (self.read)(at).map(Addr::new)
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
                    let entry = self.lookup.code_at(regs.pc) == Code::Entry;
                    let doubt = End::InnermostMayBeMissing(regs.pc);
                    self.put_before_next(Step::End(if entry { self.reliable() } else { doubt }));
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

/// Whether a thread with these registers at its stack's top has ever been in user mode.
fn has_run(regs: &SavedRegs) -> bool {
    regs.pc.get() != 0 || regs.sp.get() != 0
}

/// Looks at every caller of a walk: is its function known to set up a frame? Where it does not, the frame pointer that the next one
/// saved is that of a function further out, and a caller is missing without a trace. The outermost function needs none.
#[derive(Debug, Default)]
pub struct Doubts {
    last: Option<Addr>,
    doubt: Option<End>,
}

impl Doubts {
    /// The step, or the end that it should be.
    pub fn see<F: FrameRules>(&mut self, lookup: &impl StackLookup, step: Step) -> Step {
        match step {
            Step::Caller(pc) => {
                self.check_last::<F>(lookup);
                self.last = Some(pc);
                step
            }
            Step::Interrupted(_) => {
                self.check_last::<F>(lookup);
                step
            }
            Step::Seam { .. } | Step::UserBoundary(_) => step,
            Step::End(End::Reliable) => Step::End(self.doubt.unwrap_or(End::Reliable)),
            Step::End(_) => step,
        }
    }

    fn check_last<F: FrameRules>(&mut self, lookup: &impl StackLookup) {
        let Some(pc) = self.last.take() else { return };
        // The call is right before the return address; it may be the function's last instruction.
        let keeps_frames = match lookup.code_at(pc.wrapping_sub(ByteSize::new(1))) {
            Code::Entry => true,
            Code::Function { code, .. } => F::keeps_frames(code),
            Code::Unknown => false,
        };
        if !keeps_frames {
            self.doubt.get_or_insert(End::FrameMayBeMissing(pc));
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
        let mut doubts = Doubts::default();
        loop {
            let step = doubts.see::<F>(unwinder.lookup, unwinder.step::<F>());
            let is_end = matches!(step, Step::End(_));
            self.keep(step, is_end);
            if is_end {
                break;
            }
        }
    }

    fn keep(&mut self, step: Step, is_end: bool) {
        let last = self.length.checked_sub(1);
        if let Some(last) = last.filter(|&last| self.steps[last].0 == step) {
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
