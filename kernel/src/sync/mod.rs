//! Locks: spinning with interrupts off, and sleeping.

mod mutex;
mod spin;

pub use mutex::{Mutex, MutexGuard, RawMutex};
pub use spin::{SpinGuard, SpinLock};
