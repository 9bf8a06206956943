//! Which stack an address is on.

use crate::addr::{Addr, AddrRange, CpuId};
use crate::kind::StackKind;
use crate::place::frames::Frame;
use core::fmt;

/// The number of a thread, as the kernel counts its threads. It names the owner of a stack in
/// records, reports and backtraces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ThreadId(u64);

impl ThreadId {
    /// No thread: the owner of a stack that belongs to a CPU.
    pub const NONE: Self = Self(0);

    /// The thread with this number; 0 is [`ThreadId::NONE`].
    #[inline(always)]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether it is [`ThreadId::NONE`].
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl From<u64> for ThreadId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stack, named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by a kernel that has a table of its own")]
pub struct StackId {
    /// What it is for.
    pub kind: StackKind,
    /// The CPU it belongs to, if it belongs to one.
    pub cpu: Option<CpuId>,
    /// The thread that owns it, or [`ThreadId::NONE`].
    pub owner: ThreadId,
    /// Its bounds.
    pub range: AddrRange,
}

/// What is known of an instruction's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Code {
    /// Nothing.
    Unknown,
    /// It is the library's own assembly, which leaves a frame record or a mark whenever it calls.
    Entry,
    /// It lies in a function.
    Function {
        /// The function's first instruction.
        lowest: Addr,
        /// The function's machine code.
        code: &'static [u8],
    },
}

/// Answers which stack an address lies on, and what a walk must know besides. Must not wait for
/// anything: it is asked in NMIs and overflow handlers.
pub trait StackLookup {
    /// The stack that has this address in its bounds. Guards belong to no stack.
    fn stack_at(&self, addr: Addr) -> Option<StackId>;

    /// Whether this stack stays mapped until the walk is over: it is borrowed for it, or this CPU
    /// runs on it, or it belongs to a CPU.
    fn stays_mapped(&self, _stack: &StackId) -> bool {
        true
    }

    /// The code that an instruction lies in.
    fn code_at(&self, _pc: Addr) -> Code {
        Code::Unknown
    }

    /// Where the caller of an instruction is, by the image's table ([`crate::unwind::frames`]).
    /// `None` where there is no table, or it does not say: then the code is read.
    fn frame_at(&self, _pc: Addr) -> Option<Frame> {
        None
    }
}
