//! What a walk is told, and what it answers.

use crate::addr::{Addr, ByteSize};
use crate::kind::StackKind;
use crate::prologue::FrameState;
use crate::stacks::StackId;

/// Registers saved by an entry, as far as the unwinder needs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by what saves registers: three of them")]
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
    /// Bytes at the top of a thread stack that nothing uses: the registers saved from user mode end
    /// there.
    const FREE_AT_TOP: ByteSize = ByteSize::ZERO;
    /// Where the frame record, previous frame pointer and return address, lies: this far below what
    /// the frame pointer says.
    const RECORD_BELOW: ByteSize = ByteSize::ZERO;
    /// Reads what is needed of the registers saved at `at`, through `read` only.
    fn read_saved_regs(at: Addr, read: &mut impl FnMut(Addr) -> Option<usize>)
    -> Option<SavedRegs>;
    /// Where the return address is before the instruction at `offset` in a function's code
    /// ([`crate::prologue`]).
    fn frame_state(_code: &[u8], _offset: usize) -> FrameState {
        FrameState::Unknown
    }
    /// Whether a function with this code sets up a frame record.
    fn keeps_frames(_code: &[u8]) -> bool {
        false
    }
}

/// Why a backtrace ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum End {
    /// At the outermost frame of a kernel thread, or at the boundary to user mode: every frame is
    /// there.
    Reliable,
    /// The same, but this instruction was interrupted, and its function's caller may be missing.
    InnermostMayBeMissing(Addr),
    /// The same, but the function that has this return address sets up no frame, or is not known:
    /// its caller may be missing.
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
    /// Whether the walk reached the outermost frame, or the boundary to user mode; inner frames may
    /// be missing all the same.
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

/// A backtrace kept in a fixed place, for where nothing may be allocated. Equal steps in a row (a
/// recursion) are kept once, with their number, so that the outermost frames fit too.
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

    pub(super) fn keep(&mut self, step: Step, is_end: bool) {
        // What was left out came after the last one that is here.
        let last = if self.dropped == 0 { self.length.checked_sub(1) } else { None };
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
