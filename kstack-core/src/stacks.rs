//! Which stack an address is on.

use crate::addr::{Addr, AddrRange, CpuId};
use crate::kind::StackKind;

/// One stack, named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// Answers which stack an address lies on. Must not wait for anything: it is asked in NMIs and overflow handlers.
pub trait StackLookup {
    /// The stack that has this address in its bounds. Guards belong to no stack.
    fn stack_at(&self, addr: Addr) -> Option<StackId>;
}
