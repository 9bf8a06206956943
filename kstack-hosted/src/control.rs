//! What a coroutine keeps at the top of its stack, for the switch and for the handler of overflows.

use crate::pool::StackPool;
use core::mem::{align_of, offset_of, size_of};
use kstack_core::addr::{Addr, AddrRange};
use kstack_core::kind::StackKind;
use kstack_core::stacks::{StackId, ThreadId};

/// The block at the top of a coroutine's stack; its last two words are a frame record. A thread
/// that runs coroutines has one as well, outside of any stack, for the frames below its first
/// coroutine.
///
/// ```text
///   0x7f12_3402_0000  top       +--------------------------+
///   0x7f12_3401_fff8            | code                     |  frame record of the coroutine's first frame
///   0x7f12_3401_fff0            | link: P, see `arch`      |
///                               | parent, entry, …         |
///   0x7f12_3401_ffb0  Control   +--------------------------+
///                               | the closure, until it is |
///                               | called; then frames      |
/// ```
#[repr(C, align(16))]
pub(crate) struct Control {
    /// The block of what resumed this coroutine last; its own before the first time, null in a
    /// thread's.
    pub(crate) parent: *mut Control,
    /// The function that [`crate::arch`] calls first.
    pub(crate) entry: usize,
    /// The coroutine's number; 0: a thread.
    pub(crate) id: u64,
    /// Its stack; for a thread, what is known of its stack.
    pub(crate) range: AddrRange,
    /// Where its stack comes from; `None`: a thread.
    pub(crate) pool: Option<StackPool>,
    /// What it continues for is to be unwound.
    pub(crate) unwinds: bool,
    /// The size is a multiple of 16, and the frame record is last.
    pub(crate) padding: usize,
    /// P of the resume under way; 0 before the first.
    pub(crate) link: usize,
    /// The return address that stands for the coroutine's beginning.
    pub(crate) code: usize,
}

const _: () = assert!(offset_of!(Control, code) == offset_of!(Control, link) + size_of::<usize>());
const _: () = assert!(offset_of!(Control, code) + size_of::<usize>() == size_of::<Control>());
const _: () = assert!(size_of::<Control>().is_multiple_of(16) && align_of::<Control>() == 16);

impl Control {
    /// Where the block of a stack that ends at `top` lies.
    pub(crate) const fn below(top: Addr) -> *mut Self {
        (top.get() - size_of::<Self>()) as *mut Self
    }

    /// The stack, as reports and backtraces name it. A thread's is called its boot stack: what it
    /// ran on before it had one of a pool.
    pub(crate) fn stack(&self) -> StackId {
        let kind = if self.pool.is_some() { StackKind::Thread } else { StackKind::Boot };
        StackId { kind, cpu: None, owner: ThreadId::new(self.id), range: self.range }
    }
}
