//! Signals that are read from a file (signalfd(2)): those of a set that are pending for the reader,
//! opened by it or not.

use super::deliver;
use crate::abi::signals::{READ_BYTES, SignalSet};
use crate::error::Errno;
use crate::files::object::{How, Object};
use crate::files::readiness::{Readiness, event};
use crate::process::sending::readers;
use crate::process::{current, current_task};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct SignalFile {
    /// A [`SignalSet`].
    set: AtomicU64,
    _counted: readers::Counted,
}

impl SignalFile {
    pub(crate) fn new(set: SignalSet) -> Result<Arc<Self>, Errno> {
        let set = AtomicU64::new(set.without(SignalSet::UNBLOCKABLE).0);
        Ok(fallible::shared(Self { set, _counted: readers::Counted::new() })?)
    }

    /// Reads others from now on.
    pub(crate) fn set(&self, set: SignalSet) {
        self.set.store(set.without(SignalSet::UNBLOCKABLE).0, Ordering::Relaxed);
        readers::READINESS.wake();
    }

    fn signals(&self) -> SignalSet {
        SignalSet(self.set.load(Ordering::Relaxed))
    }
}

impl Object for SignalFile {
    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        let mut filled = 0;
        for place in to.as_chunks_mut::<READ_BYTES>().0 {
            let mut taken = None;
            // Only the first is waited for.
            let waited = readers::READINESS.wait(how.nonblocking || filled > 0, || {
                taken = deliver::take_of(self.signals());
                taken.is_some()
            });
            match (taken, waited) {
                (Some(info), _) => *place = info.for_reader(),
                (None, _) if filled > 0 => break,
                (None, Err(error)) => return Err(error),
                (None, Ok(())) => break,
            }
            filled += READ_BYTES;
        }
        if filled == 0 { Err(Errno::EINVAL) } else { Ok(filled) }
    }

    fn events(&self) -> u32 {
        let of_process = current().signals.lock().pending.set();
        let pending = of_process.union(current_task().signals.lock().pending.set());
        if pending.intersection(self.signals()).is_empty() { 0 } else { event::IN }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&readers::READINESS)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[signalfd]"
    }
}
