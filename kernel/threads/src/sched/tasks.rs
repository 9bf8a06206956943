//! Where threads lie: a slab cache of their own, which the heap serves this one layout from.

use super::thread::Thread;
use machine::memory::fallible;
use machine::memory::slab::Slab;

/// What an `Arc<Thread>` allocates, two counters and the thread. The heap is told of it at boot,
/// before the first thread.
pub static TASKS: Slab = Slab::new(fallible::shared_layout::<Thread>());
