//! How much memory a process has, held against its limits.

use super::areas::{Area, flag};
use super::limits::is_too_much;
use super::space::Memory;
use super::totals::is_data;
use crate::error::Errno;

impl Memory {
    /// Bytes of all areas.
    pub(crate) const fn bytes(&self) -> u64 {
        self.areas.totals().all
    }

    /// Bytes of areas in a range.
    pub(super) fn bytes_within(&self, lowest: u64, top: u64) -> u64 {
        let part = |area: &Area| area.top.min(top) - area.lowest.max(lowest);
        self.areas.within(lowest, top).map(part).sum()
    }

    /// Bytes that are locked.
    pub(crate) const fn locked_bytes(&self) -> u64 {
        self.areas.totals().locked
    }

    /// Whether so many bytes more may be locked.
    pub(crate) fn may_lock(&self, more: u64) -> bool {
        let limits = &self.limits;
        limits.may_lock || self.locked_bytes().saturating_add(more) <= limits.locked
    }

    /// Whether so many bytes more may be private and writable.
    pub(super) fn may_have_data(&self, more: u64) -> Result<(), Errno> {
        let data = self.areas.totals().data.saturating_add(more);
        if data > self.limits.data { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Whether an area may be added, in the place of `replaced` bytes of others.
    pub(super) fn may_have(&self, area: &Area, replaced: u64) -> Result<(), Errno> {
        let bytes = area.top - area.lowest;
        let limits = &self.limits;
        if limits.space != u64::MAX && self.bytes() - replaced + bytes > limits.space {
            return Err(Errno::ENOMEM);
        }
        if is_data(area) {
            self.may_have_data(bytes - replaced.min(bytes))?;
        }
        if area.has(flag::LOCKED) && !self.may_lock(bytes) {
            return Err(Errno::EAGAIN);
        }
        let is_promised = is_data(area) && !area.has(flag::NO_RESERVE);
        if is_promised && is_too_much(bytes) { Err(Errno::ENOMEM) } else { Ok(()) }
    }
}
