//! All address spaces, for what concerns each of them: a file that becomes shorter.

use crate::error::Errno;
use crate::files::tree::Node;
use crate::sorted::{Item, Sorted};
use alloc::sync::Weak;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::spin::SpinLock;

/// What has pages of files in its tables.
pub(super) trait Maps: Send + Sync {
    /// Takes the pages of a file from one number up to another one out.
    fn forget_pages_of(&self, node: &Node, first: u64, end: u64);
}

#[derive(Clone)]
struct Space {
    number: u64,
    memory: Weak<dyn Maps>,
}

impl Item for Space {
    fn key(&self) -> u64 {
        self.number
    }
}

static SPACES: SpinLock<Sorted<Space>> = SpinLock::new(Sorted::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number above those of all others.
pub(super) fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// From now on it is looked at.
pub(super) fn enter(number: u64, memory: Weak<dyn Maps>) -> Result<(), Errno> {
    Ok(SPACES.lock().insert(Space { number, memory })?)
}

/// It has gone.
pub(super) fn leave(number: u64) {
    let gone = {
        let mut spaces = SPACES.lock();
        let place = spaces.at_or_below(number);
        let place = place.filter(|&at| spaces.get(at).is_some_and(|one| one.number == number));
        place.map(|place| spaces.remove(place))
    };
    drop(gone);
}

/// Takes the pages of a file from one number up to another one out of every address space.
pub(super) fn forget(node: &Node, first: u64, end: u64) {
    let mut number = 0;
    loop {
        let next = {
            let spaces = SPACES.lock();
            spaces.at_or_above(number).and_then(|place| spaces.get(place).cloned())
        };
        let Some(space) = next else { return };
        number = space.number + 1;
        if let Some(memory) = space.memory.upgrade() {
            memory.forget_pages_of(node, first, end);
        }
    }
}
