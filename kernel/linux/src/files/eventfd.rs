//! A counter that is a file (eventfd(2)).

use super::object::{How, Object};
use super::readiness::{Readiness, event};
use crate::error::Errno;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// The highest value it can have.
const MAX: u64 = u64::MAX - 1;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct EventCounter {
    value: SpinLock<u64>,
    /// Each read takes one, instead of all.
    is_semaphore: bool,
    number: u32,
    readiness: Readiness,
}

impl EventCounter {
    pub(crate) fn new(value: u64, is_semaphore: bool) -> Result<Arc<Self>, Errno> {
        let (value, readiness) = (SpinLock::new(value), Readiness::new());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(fallible::shared(Self { value, is_semaphore, number, readiness })?)
    }
}

/// Numbers that fdinfo tells counters apart by.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl EventCounter {
    /// What fdinfo says of it.
    pub(crate) fn write(&self, to: &mut dyn Write) -> fmt::Result {
        let value = *self.value.lock();
        writeln!(to, "eventfd-count: {value:16x}\neventfd-id: {}", self.number)?;
        writeln!(to, "eventfd-semaphore: {}", u32::from(self.is_semaphore))
    }
}

impl Object for EventCounter {
    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        let to = to.get_mut(..8).ok_or(Errno::EINVAL)?;
        let mut taken = 0;
        self.readiness.wait(how.nonblocking, || {
            let mut value = self.value.lock();
            taken = if self.is_semaphore { 1.min(*value) } else { *value };
            *value -= taken;
            taken > 0
        })?;
        self.readiness.wake();
        to.copy_from_slice(&taken.to_le_bytes());
        Ok(8)
    }

    fn write(&self, from: &[u8], how: How) -> Result<usize, Errno> {
        let bytes = from.first_chunk::<8>().ok_or(Errno::EINVAL)?;
        let more = u64::from_le_bytes(*bytes);
        if more == u64::MAX {
            return Err(Errno::EINVAL);
        }
        self.readiness.wait(how.nonblocking, || {
            let mut value = self.value.lock();
            let fits = MAX - *value >= more;
            if fits {
                *value += more;
            }
            fits
        })?;
        self.readiness.wake();
        Ok(8)
    }

    fn events(&self) -> u32 {
        let value = *self.value.lock();
        let mut events = 0;
        if value > 0 {
            events |= event::IN;
        }
        if value < MAX {
            events |= event::OUT;
        }
        events
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.readiness)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[eventfd]"
    }
}
