//! Stacks that lie outside of the arena: the boot stack, one in a block of the heap, a stretch of
//! contiguous memory that stacks are cut from. The arena's are known by arithmetic; these are known
//! because their kernel said so.
//!
//! A table of references, read from any context without a lock.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use kstack_core::stacks::StackId;

/// Stacks that can be declared at one time.
pub const MOST: usize = 64;

static PLACES: [AtomicPtr<StackId>; MOST] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MOST];
/// No place from this one on was ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// A stack is known as one for as long as this is there.
#[derive(Debug)]
#[must_use = "a declaration that is dropped is withdrawn"]
pub struct Declared {
    place: usize,
}

/// There are [`MOST`] declared already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to add")]
pub struct Full;

/// Makes a stack known that is not of the arena.
pub fn declare(stack: &'static StackId) -> Result<Declared, Full> {
    let new = core::ptr::from_ref(stack).cast_mut();
    for (place, held) in PLACES.iter().enumerate() {
        let taken =
            held.compare_exchange(core::ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed);
        if taken.is_ok() {
            USED.fetch_max(place + 1, Ordering::Release);
            return Ok(Declared { place });
        }
    }
    Err(Full)
}

impl Declared {
    /// Keeps the stack known for as long as the kernel runs.
    pub fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        PLACES[self.place].store(core::ptr::null_mut(), Ordering::Release);
    }
}

/// Every declared stack.
#[inline]
pub fn all() -> impl Iterator<Item = &'static StackId> {
    let used = USED.load(Ordering::Acquire);
    PLACES.iter().take(used).filter_map(|place| {
        // SAFETY: (1) null, or a reference to a static that `declare` stored.
        unsafe { place.load(Ordering::Acquire).as_ref() }
    })
}
