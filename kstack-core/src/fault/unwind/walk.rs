//! The walk itself.

use super::frames::{Entered, Frame, Pointer};
use super::steps::{Backtrace, End, FrameRules, SavedRegs, Step};
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

/// How far below the top of a CPU's stack its outermost record may end: the first function's saved
/// registers lie above it.
const OUTERMOST_WITHIN: usize = 32 * WORD;

/// A walk under way.
#[derive(Debug)]
pub struct Unwinder<'l, L, R> {
    lookup: &'l L,
    read: R,
    fp: Addr,
    /// The stack `fp` must be on to continue without a lookup; empty before the first step.
    stack: Option<StackId>,
    /// What is left of that stack: above the frames already seen. Empty whenever something else
    /// than a frame comes next.
    rest: AddrRange,
    left: [AddrRange; MAX_STACKS],
    stacks: usize,
    frames: usize,
    pending: Option<Step>,
    /// `rest`, for after a pending caller.
    rest_after: AddrRange,
    /// The stack that an entry on an exception stack interrupted: this CPU goes back to it, so it
    /// stays mapped.
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

    /// Starts at saved registers: the first step is the interrupted instruction itself. The stack
    /// that SP is on stays mapped: it was interrupted on this CPU.
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

    /// Makes `rest` the part of a stack from `at` on that has `size` bytes, changing stacks if need
    /// be.
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

    /// Something else than the next frame comes next: no frame is in an empty rest. Out of line, as
    /// ends are rare.
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
                Step::Interrupted(regs) => {
                    self.rest = self.rest_after;
                    self.look_around::<F>(regs);
                }
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
            // A kernel thread, which was never in user mode: the registers are kept for it all the
            // same.
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

    /// Whether the last record ends right below the top of an idle or boot stack, where the first
    /// function begins.
    fn is_at_the_top_of_a_cpus_stack(&self) -> bool {
        self.is_on(|kind| matches!(kind, StackKind::Idle | StackKind::Boot))
            && self.rest.top != Addr::new(0)
            && self.rest.size().get() <= OUTERMOST_WITHIN
    }

    /// Whether registers at this place of the present stack are an entry's from another stack or
    /// from user mode: at the very top of a thread's stack, and near the top of a stack that
    /// exceptions change to.
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

    /// At an interrupted instruction of the kernel: is it the boundary to user mode, and is its
    /// function's frame record there?
    #[cold]
    fn look_around<F: FrameRules>(&mut self, regs: SavedRegs) {
        self.look_for_boundary::<F>(regs);
        if self.pending.is_some() {
            return;
        }
        let frame = self.lookup.frame_at(regs.pc).or_else(|| self.frame_by_code::<F>(&regs));
        let caller = match frame {
            Some(Frame::Record) => return,
            Some(Frame::Called { pc, fp }) => self.called(&regs, pc, fp),
            Some(Frame::Link) => regs.link,
            Some(Frame::Program) => return self.put_before_next(Step::End(self.reliable())),
            Some(Frame::Entered(entered)) => match self.entered(&regs, entered) {
                Some(step) => return self.put_before_next(step),
                // A program, and it still has its mark: the frame pointer leads to the boundary.
                None if F::saved_regs_at(regs.fp).is_some() => return,
                None if self.is_where_programs_are_saved::<F>(&regs, entered) => {
                    return self.put_before_next(Step::End(self.reliable()));
                }
                None => None,
            },
            None => None,
        };
        // What is no address of code is no return address, whatever the instructions say. The call
        // is right before it, and may be its function's last instruction; entry code is also where
        // threads begin, and before it may be none.
        let is_code = |pc: Addr| {
            let call = pc.wrapping_sub(ByteSize::new(1));
            let is_call = || self.lookup.code_at(call) != Code::Unknown;
            pc.get() != 0 && (is_call() || self.lookup.code_at(pc) == Code::Entry)
        };
        match caller.filter(|&pc| is_code(pc)) {
            Some(pc) => self.put_before_next(Step::Caller(pc)),
            None => {
                self.doubt.get_or_insert(End::InnermostMayBeMissing(regs.pc));
            }
        }
    }

    /// Where the caller is, as far as the code of the interrupted function tells.
    fn frame_by_code<F: FrameRules>(&self, regs: &SavedRegs) -> Option<Frame> {
        let state = match self.lookup.code_at(regs.pc) {
            Code::Function { lowest, code } => {
                F::frame_state(code, regs.pc.bytes_above(lowest).get())
            }
            // It has saved the registers and set the mark: it is what was entered, and has no
            // caller.
            Code::Entry if F::saved_regs_at(regs.fp).is_some() => FrameState::There,
            Code::Entry | Code::Unknown => FrameState::Unknown,
        };
        match state {
            FrameState::There => Some(Frame::Record),
            FrameState::OnStack(words) => {
                u16::try_from(words).ok().map(|pc| Frame::Called { pc, fp: None })
            }
            FrameState::InLink => Some(Frame::Link),
            FrameState::Unknown => None,
        }
    }

    /// The return address on the interrupted stack; the walk continues with the caller's frame
    /// pointer, if that is on the stack too.
    fn called(&mut self, regs: &SavedRegs, pc: u16, fp: Option<u8>) -> Option<Addr> {
        let caller = self.read_at_sp(regs, usize::from(pc))?;
        if let Some(words) = fp {
            self.fp = self.read_at_sp(regs, usize::from(words))?;
        }
        Some(caller)
    }

    /// What an entry interrupted that has not saved it all yet. Of a program's registers it makes
    /// nothing: those are no code of the kernel's.
    fn entered(&mut self, regs: &SavedRegs, entered: Entered) -> Option<Step> {
        let pc = self.read_at_sp(regs, usize::from(entered.pc))?;
        let sp = match entered.sp {
            Pointer::At(words) => self.read_at_sp(regs, usize::from(words))?,
            Pointer::Was(words) => regs.sp.wrapping_add(ByteSize::new(usize::from(words) * WORD)),
        };
        let fp = match entered.fp {
            Some(words) => self.read_at_sp(regs, usize::from(words))?,
            None => regs.fp,
        };
        let link = match entered.link {
            Some(words) => Some(self.read_at_sp(regs, usize::from(words))?),
            None => regs.link,
        };
        if self.frames == MAX_FRAMES || self.lookup.code_at(pc) == Code::Unknown {
            return None;
        }
        self.frames += 1;
        self.fp = fp;
        let further = SavedRegs { pc, sp, fp, link, from_user: false };
        // The CPU goes back there.
        if self.lookup.stack_at(sp) != self.lookup.stack_at(regs.sp) {
            self.keep_interrupted(&further);
        }
        Some(Step::Interrupted(further))
    }

    /// Whether an entry has put what it interrupted, or the CPU has, among the registers at the top
    /// of a thread's stack: they are a program's, whatever is pushed below them meanwhile.
    fn is_where_programs_are_saved<F: FrameRules>(
        &self,
        regs: &SavedRegs,
        entered: Entered,
    ) -> bool {
        let at = regs.sp.wrapping_add(ByteSize::new(usize::from(entered.pc) * WORD));
        self.lookup.stack_at(at).is_some_and(|stack| {
            let saved = stack.range.top.wrapping_sub(F::FREE_AT_TOP.plus(F::SAVED_REGS));
            stack.kind == StackKind::Thread && at >= saved
        })
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

    /// What was interrupted may be an entry's first or last instructions, with nothing on the
    /// thread's stack but registers of user mode that are being saved or loaded. The frame pointer
    /// may still, or again, be the program's: it is not looked at, and the walk is over.
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
            // Before the entry has moved SP to the kernel's: 0 is no outermost marker here, but a
            // program's.
            None if regs.fp.get() == 0 && self.lookup.frame_at(regs.pc) != Some(Frame::Program) => {
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

/// Looks at every caller of a walk: is its function known to set up a frame? Where it does not, the
/// frame pointer that the next one saved is that of a function further out, and a caller is missing
/// without a trace. The outermost function needs none.
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
        let call = pc.wrapping_sub(ByteSize::new(1));
        let keeps_frames = lookup.frame_at(call) == Some(Frame::Record)
            || match lookup.code_at(call) {
                Code::Entry => true,
                Code::Function { code, .. } => F::keeps_frames(code),
                Code::Unknown => false,
            };
        if !keeps_frames {
            self.doubt.get_or_insert(End::FrameMayBeMissing(pc));
        }
    }
}

impl<const N: usize> Backtrace<N> {
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
}
