//! Files that signals are read from (signalfd(2)): who waits for one looks again at each signal
//! that is sent. What such a file is ready for depends on who asks, so all of them tell of changes
//! in one place.

use crate::files::readiness::Readiness;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Where all of them tell of changes.
pub(crate) static READINESS: Readiness = Readiness::new();
/// How many there are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One such file: counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A signal is pending. Without the lock of any signals: who looks takes those.
#[inline]
pub(in crate::process) fn wake() {
    if OPEN.load(Ordering::SeqCst) != 0 {
        READINESS.wake();
    }
}
