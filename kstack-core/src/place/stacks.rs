//! Which stack an address is on.

use crate::addr::{Addr, AddrRange, CpuId};
use crate::kind::StackKind;

/// One stack, named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by a kernel that has a table of its own")]
pub struct StackId {
    /// What it is for.
    pub kind: StackKind,
    /// The CPU it belongs to, if it belongs to one.
    pub cpu: Option<CpuId>,
    /// The thread that owns it, as the kernel numbers threads; 0: none.
    pub owner: u64,
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
}
