//! Whether a buffer lies on a stack, and on which: why it is not handed to a device.
//!
//! Every kind of stack counts, a thread's as well as those of interrupts, exceptions and idle
//! threads, and so does what crosses an edge of one, by a byte, from either side:
//!
//! ```text
//!            guard        body                 guard above
//!   |--------------|======================|---------|
//!         [ guard ]
//!                [ crosses the lowest edge ]
//!                     [ inside ]
//!                                     [ crosses the top ]
//!              [          around              ]
//! ```
//!
//! In the arena of stacks, where nothing else is, that is arithmetic and one record. A stack that
//! lies elsewhere (the boot stack, one of contiguous memory) is compared by its bounds.

use crate::addr::{Addr, AddrRange, ByteSize};
use crate::arena::{Arena, SlotIndex};
use crate::stacks::StackId;
use core::fmt;

/// How a buffer meets a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// All of it is on the stack.
    Inside,
    /// It begins below the stack and ends on it.
    CrossesLowest,
    /// It begins on the stack and ends above it.
    CrossesTop,
    /// It begins below the stack and ends above it.
    Around,
    /// It touches what belongs to the stack and is not mapped.
    Guard,
    /// It lies elsewhere, and the same physical memory is behind both.
    Alias,
}

/// A buffer that may not be handed to a device, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OnStack {
    /// The buffer.
    pub buffer: AddrRange,
    /// The stack; nothing if the place has none now: it may have one before the device is done.
    pub stack: Option<(Part, StackId)>,
}

impl OnStack {
    /// A buffer, and the stack that it meets.
    pub const fn new(buffer: AddrRange, stack: Option<(Part, StackId)>) -> Self {
        Self { buffer, stack }
    }
}

impl fmt::Display for OnStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the buffer {:?} ", self.buffer)?;
        let Some((part, stack)) = self.stack else {
            return f.write_str("lies where stacks are mapped");
        };
        f.write_str(match part {
            Part::Inside => "is on",
            Part::CrossesLowest => "crosses the lowest edge of",
            Part::CrossesTop => "crosses the top of",
            Part::Around => "has in it",
            Part::Guard => "touches a guard of",
            Part::Alias => "is another address of",
        })?;
        write!(f, " the {} stack {:?}", stack.kind, stack.range)?;
        if let Some(cpu) = stack.cpu {
            write!(f, " of CPU {cpu}")?;
        }
        if !stack.owner.is_none() {
            write!(f, " of thread {}", stack.owner)?;
        }
        Ok(())
    }
}

impl core::error::Error for OnStack {}

/// How the bytes from `lowest` to `last` meet a stack with these bounds.
const fn part(lowest: Addr, last: Addr, stack: AddrRange) -> Option<Part> {
    let (lowest, last) = (lowest.get(), last.get());
    let (from, to) = (stack.lowest.get(), stack.top.get());
    if from == to || last < from || lowest >= to {
        return None;
    }
    Some(match (lowest < from, last >= to) {
        (false, false) => Part::Inside,
        (true, false) => Part::CrossesLowest,
        (false, true) => Part::CrossesTop,
        (true, true) => Part::Around,
    })
}

/// The last byte of a buffer. One that is empty, or ends where addresses do, is judged by what it
/// has.
const fn last_byte(lowest: Addr, bytes: usize) -> Addr {
    let more = bytes.saturating_sub(1);
    match lowest.checked_add(ByteSize::new(more)) {
        Some(last) => last,
        None => Addr::new(usize::MAX),
    }
}

/// Whether a buffer of `bytes` bytes meets a stack that lies outside of the arena.
#[inline]
pub fn meets(lowest: Addr, bytes: usize, stack: &StackId) -> Option<OnStack> {
    let last = last_byte(lowest, bytes);
    let part = part(lowest, last, stack.range)?;
    let buffer = AddrRange::sized(lowest, ByteSize::new(bytes));
    Some(OnStack { buffer, stack: Some((part, *stack)) })
}

/// Whether a buffer of `bytes` bytes meets the arena of stacks. `stack_of` answers which stack a
/// slot has now. The usual case, that it does not, is two comparisons.
#[inline]
pub fn meets_arena(
    lowest: Addr,
    bytes: usize,
    arena: &Arena,
    stack_of: impl FnMut(SlotIndex) -> Option<StackId>,
) -> Option<OnStack> {
    let last = last_byte(lowest, bytes);
    part(lowest, last, arena.range())?;
    let met = name(lowest, last, bytes, arena, stack_of);
    // Between contiguous stacks is other memory.
    let is_stacks = met.stack.is_some_and(|(part, _)| part != Part::Guard);
    (is_stacks || arena.geometry().has_guards()).then_some(met)
}

/// Names the first stack that the buffer has a byte of; if there is none, the first one that it
/// touches a guard of.
#[cold]
fn name(
    lowest: Addr,
    last: Addr,
    bytes: usize,
    arena: &Arena,
    mut stack_of: impl FnMut(SlotIndex) -> Option<StackId>,
) -> OnStack {
    let buffer = AddrRange::sized(lowest, ByteSize::new(bytes));
    let range = arena.range();
    let slot_bytes = arena.slot(SlotIndex::new(0)).size().get();
    let first = lowest.get().saturating_sub(range.lowest.get()) / slot_bytes;
    let highest = if last.get() < range.top.get() { last.get() } else { range.top.get() - 1 };
    let end = (highest - range.lowest.get()) / slot_bytes;
    let mut guard = None;
    for slot in first..=end {
        // Below the number of slots, which has 32 bits.
        let Some(stack) = stack_of(SlotIndex::new(slot as u32)) else { continue };
        match part(lowest, last, stack.range) {
            Some(part) => return OnStack { buffer, stack: Some((part, stack)) },
            None => guard = guard.or(Some((Part::Guard, stack))),
        }
    }
    OnStack { buffer, stack: guard }
}

#[cfg(test)]
mod tests;
