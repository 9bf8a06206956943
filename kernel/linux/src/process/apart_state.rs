//! What a thread has of what threads usually share: the state of [`super::apart`].

use super::place::Place;
use crate::files::open::Files;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::spin::SpinLock;

/// Something that a thread has of its own, or not.
#[derive(Debug)]
pub(super) struct Apart<T> {
    /// Looked at without the lock: most threads have nothing.
    is_there: AtomicBool,
    own: SpinLock<Option<Arc<T>>>,
}

impl<T> Apart<T> {
    pub(super) const fn new(own: Option<Arc<T>>) -> Self {
        Self { is_there: AtomicBool::new(own.is_some()), own: SpinLock::new(own) }
    }

    pub(super) fn get(&self) -> Option<Arc<T>> {
        if self.is_there.load(Ordering::Relaxed) { self.own.lock().clone() } else { None }
    }

    pub(super) fn set(&self, to: Option<Arc<T>>) -> Option<Arc<T>> {
        self.is_there.store(to.is_some(), Ordering::Relaxed);
        core::mem::replace(&mut *self.own.lock(), to)
    }
}

/// What a new thread gets apart from its process.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) files: Option<Arc<SpinLock<Files>>>,
    pub(crate) place: Option<Arc<Place>>,
}
