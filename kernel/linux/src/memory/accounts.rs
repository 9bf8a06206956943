//! How much memory a process has, held against its limits.

use super::areas::{Area, flag};
use super::limits::is_too_much;
use super::space::Memory;
use crate::error::Errno;

/// Whether an area is of what RLIMIT_DATA counts.
fn is_data(area: &Area) -> bool {
    area.access.write && !area.is_shared() && !area.grows
}

impl Memory {
    /// Bytes of all areas.
    pub(crate) fn bytes(&self) -> u64 {
        self.areas.iter().map(|area| area.top - area.lowest).sum()
    }

    /// The same, where it matters.
    pub(super) fn bytes_if_limited(&self) -> u64 {
        if self.limits.space == u64::MAX { 0 } else { self.bytes() }
    }

    /// Bytes of areas in a range.
    pub(super) fn bytes_within(&self, lowest: u64, top: u64) -> u64 {
        let part = |area: &Area| area.top.min(top) - area.lowest.max(lowest);
        self.areas.within(lowest, top).map(part).sum()
    }

    /// Bytes that are locked.
    pub(crate) fn locked_bytes(&self) -> u64 {
        if self.marks & flag::LOCKED == 0 {
            return 0;
        }
        let locked = self.areas.iter().filter(|area| area.has(flag::LOCKED));
        locked.map(|area| area.top - area.lowest).sum()
    }

    /// Whether so many bytes more may be locked.
    pub(crate) fn may_lock(&self, more: u64) -> bool {
        let limits = &self.limits;
        limits.may_lock || self.locked_bytes().saturating_add(more) <= limits.locked
    }

    /// Whether an area may be added, in the place of `replaced` bytes of others.
    pub(super) fn may_have(&self, area: &Area, replaced: u64) -> Result<(), Errno> {
        let bytes = area.top - area.lowest;
        let limits = &self.limits;
        if limits.space != u64::MAX && self.bytes() - replaced + bytes > limits.space {
            return Err(Errno::ENOMEM);
        }
        if limits.data != u64::MAX && is_data(area) {
            let data = self.areas.iter().filter(|area| is_data(area));
            let data: u64 = data.map(|area| area.top - area.lowest).sum();
            if data.saturating_add(bytes) > limits.data {
                return Err(Errno::ENOMEM);
            }
        }
        if area.has(flag::LOCKED) && !self.may_lock(bytes) {
            return Err(Errno::EAGAIN);
        }
        let is_promised = is_data(area) && !area.has(flag::NO_RESERVE);
        if is_promised && is_too_much(bytes) { Err(Errno::ENOMEM) } else { Ok(()) }
    }
}
