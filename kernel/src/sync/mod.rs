//! Locks: spinning with interrupts off, and sleeping.

mod mutex;
mod spin;

pub use mutex::{Mutex, RawMutex};
pub use spin::SpinLock;
