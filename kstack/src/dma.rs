//! Buffers for devices: what may be handed over, and the proof that it is no stack.
//!
//! ```text
//!   Box, static, frames   ──OffStack──▶ Proven::of       the types say that it is no stack
//!   any slice             ──check────▶ Proven::checked   its address says so, or names the stack
//!                                          │
//!                                          ▼
//!                              List<Proven> ─▶ Limits ─▶ a device
//! ```
//!
//! A driver that takes [`Proven`] entries cannot be given a buffer on a stack: not by type, since
//! `OffStack` is not for what a stack may have on it; not by address, since every stack of the
//! registry and every declared one ([`elsewhere`]) is known; and not by another address
//! of the same memory, if the kernel answers [`Memory::is_of_a_stack`].
//!
//! In a debug build a refused buffer stops the kernel, as a `BUG` does: it is a mistake of the code
//! that passed it. Elsewhere it is an error that names the stack.

use crate::{elsewhere, registry};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kstack_core::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
pub use kstack_core::dma::{entry, limits, list, on_stack, pieces, transfer};
use kstack_core::stacks::StackId;

use entry::{AsEntry, Entry};
use on_stack::{OnStack, Part};
use pieces::NotMapped;

/// Memory that is no stack's, by its type.
///
/// # Safety
///
/// 1. [`bytes`](OffStack::bytes) is the same memory for as long as the value lives, also when the
///    value is moved, and it is initialised.
/// 2. It lies in no stack of any kind: not in the arena, and in no other.
pub unsafe trait OffStack {
    /// The memory.
    fn bytes(&self) -> NonNull<[u8]>;
}

/// The same where the value's owner is the only one who can reach it, so that a device may write.
///
/// # Safety
///
/// 1. While the value is borrowed or moved, nothing else refers to its memory.
pub unsafe trait OffStackMut: OffStack {}

// SAFETY: (1) a reference's own; (2) nothing that lives on a stack can be borrowed indefinitely.
unsafe impl OffStack for &'static [u8] {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::from(*self)
    }
}

// SAFETY: (1) a reference's own; (2) nothing that lives on a stack can be borrowed indefinitely.
unsafe impl OffStack for &'static mut [u8] {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::from(&**self)
    }
}

// SAFETY: (1) an exclusive reference.
unsafe impl OffStackMut for &'static mut [u8] {}

/// What a kernel knows of its memory.
///
/// # Safety
///
/// 1. [`physical`](Memory::physical) is right for every address of the kernel's.
/// 2. [`is_of_a_stack`](Memory::is_of_a_stack) misses no memory that a stack is mapped to and that
///    has another address in the kernel besides, unless no safe code can come by that address.
pub unsafe trait Memory {
    /// Where a byte of the kernel's lies in physical memory; nothing if there is no memory.
    fn physical(addr: Addr) -> Option<u64>;

    /// Whether a stack is mapped to the memory at this physical address.
    fn is_of_a_stack(physical: u64) -> bool;
}

/// Why a buffer may not be handed to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// It has bytes of a stack.
    OnStack(OnStack),
    /// There is no memory behind all of it.
    NotMapped(NotMapped),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnStack(on_stack) => write!(
                f,
                "{on_stack}, whose pages lie anywhere in physical memory: it is not for devices"
            ),
            Self::NotMapped(missing) => missing.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}

impl From<OnStack> for Refused {
    fn from(on_stack: OnStack) -> Self {
        Self::OnStack(on_stack)
    }
}

impl From<NotMapped> for Refused {
    fn from(missing: NotMapped) -> Self {
        Self::NotMapped(missing)
    }
}

/// Whether these bytes meet no stack, by their addresses: two comparisons, and two more for each
/// stack outside of the arena. From any context, without a lock.
#[inline]
pub fn check(lowest: Addr, bytes: usize) -> Result<(), OnStack> {
    for registry in registry::all() {
        let arena = registry.arena();
        let stack_of = |slot| registry.record(slot).stack(arena, slot);
        if let Some(met) = on_stack::meets_arena(lowest, bytes, arena, stack_of) {
            return Err(met);
        }
    }
    match elsewhere::all().find_map(|stack| on_stack::meets(lowest, bytes, stack)) {
        Some(met) => Err(met),
        None => Ok(()),
    }
}

/// Stops a debug build; hands the refusal on elsewhere.
#[track_caller]
fn refuse(why: OnStack) -> Refused {
    if cfg!(debug_assertions) {
        panic!("{}", Refused::OnStack(why));
    }
    Refused::OnStack(why)
}

/// An entry of memory that is no stack's, for as long as that is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Proven<'b> {
    entry: Entry,
    memory: PhantomData<&'b [u8]>,
}

impl AsEntry for Proven<'_> {
    fn entry(&self) -> Entry {
        self.entry
    }
}

impl fmt::Display for Proven<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}

/// The entries of a buffer, in order. See [`Proven::of`] and [`Proven::checked`].
pub trait Entries<'b>: Iterator<Item = Result<Proven<'b>, NotMapped>> {}

impl<'b, I: Iterator<Item = Result<Proven<'b>, NotMapped>>> Entries<'b> for I {}

impl<'b> Proven<'b> {
    /// The entries of memory that is no stack's by its type. What may lie on a stack is refused by
    /// the compiler.
    pub fn of<M: Memory>(buffer: &'b (impl OffStack + ?Sized)) -> impl Entries<'b> {
        entries::<M>(range_of(buffer.bytes()))
    }

    /// The entries of any memory, if it is no stack's by its address.
    ///
    /// # Panics
    ///
    /// In a debug build, if it is.
    #[track_caller]
    pub fn checked<M: Memory>(buffer: &'b [u8]) -> Result<impl Entries<'b>, Refused> {
        // SAFETY: (1) it is borrowed for as long as the entries are used.
        unsafe { Self::checked_raw::<M>(NonNull::from(buffer)) }
    }

    /// The same of memory that is not borrowed.
    ///
    /// # Safety
    ///
    /// 1. The memory stays what it is for as long as the entries are used.
    ///
    /// # Panics
    ///
    /// In a debug build, if it is a stack's.
    #[track_caller]
    pub unsafe fn checked_raw<M: Memory>(
        buffer: NonNull<[u8]>,
    ) -> Result<impl Entries<'b>, Refused> {
        let range = range_of(buffer);
        judge::<M>(range).map_err(|why| match why {
            Refused::OnStack(on_stack) => refuse(on_stack),
            Refused::NotMapped(_) => why,
        })?;
        Ok(entries::<M>(range))
    }
}

/// Whether a buffer may be handed to a device: by its address, and by the memory behind it. Stops
/// nothing.
pub fn judge<M: Memory>(buffer: AddrRange) -> Result<(), Refused> {
    check(buffer.lowest, buffer.size().get())?;
    for piece in pieces::pieces(buffer, M::physical) {
        let piece = piece?;
        let pages = (piece.lowest()..=piece.last()).step_by(PAGE_BYTES);
        // The last page too, where the piece does not begin with a page.
        for physical in pages.chain(core::iter::once(piece.last())) {
            if M::is_of_a_stack(physical) {
                let stack = stack_behind::<M>(physical).map(|stack| (Part::Alias, stack));
                return Err(OnStack::new(buffer, stack).into());
            }
        }
    }
    Ok(())
}

/// The stack that is mapped to the page of this physical address.
#[cold]
fn stack_behind<M: Memory>(physical: u64) -> Option<StackId> {
    let page = |at: u64| at / PAGE_BYTES as u64;
    let is_behind = |stack: &StackId| {
        let pages = (stack.range.lowest.get()..stack.range.top.get()).step_by(PAGE_BYTES);
        pages.map(Addr::new).any(|at| M::physical(at).is_some_and(|at| page(at) == page(physical)))
    };
    let live = registry::all().flat_map(|registry| registry.live());
    live.map(|(_, stack)| stack).chain(elsewhere::all().copied()).find(is_behind)
}

fn range_of(bytes: NonNull<[u8]>) -> AddrRange {
    let lowest = Addr::new(bytes.cast::<u8>().as_ptr().expose_provenance());
    AddrRange::sized(lowest, ByteSize::new(bytes.len()))
}

fn entries<'b, M: Memory>(range: AddrRange) -> impl Entries<'b> {
    pieces::pieces(range, M::physical)
        .map(|piece| piece.map(|entry| Proven { entry, memory: PhantomData }))
}
