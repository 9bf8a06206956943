//! Bytes of the areas of a process, by kind: kept as areas come and go, so that no limit costs a
//! look at all of them.

use super::area::{Area, flag};

/// Bytes of areas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) all: u64,
    /// What RLIMIT_DATA counts: private, writable, no stack.
    pub(crate) data: u64,
    pub(crate) stack: u64,
    /// What can be executed, and not written.
    pub(crate) code: u64,
    pub(crate) locked: u64,
    /// The most there have been in all.
    pub(crate) peak: u64,
}

impl Totals {
    pub(crate) const NONE: Self = Self { all: 0, data: 0, stack: 0, code: 0, locked: 0, peak: 0 };

    /// Those of one area.
    pub(super) fn of(area: &Area) -> Self {
        let bytes = area.top - area.lowest;
        let of_kind = |is: bool| if is { bytes } else { 0 };
        let is_code = area.access.exec && !area.access.write && !area.grows;
        Self {
            all: bytes,
            data: of_kind(is_data(area)),
            stack: of_kind(area.grows),
            code: of_kind(is_code),
            locked: of_kind(area.has(flag::LOCKED)),
            peak: 0,
        }
    }

    /// Some bytes become others.
    pub(super) fn change(&mut self, before: &Self, after: &Self) {
        let change = |sum: &mut u64, before: u64, after: u64| *sum = *sum + after - before;
        change(&mut self.all, before.all, after.all);
        change(&mut self.data, before.data, after.data);
        change(&mut self.stack, before.stack, after.stack);
        change(&mut self.code, before.code, after.code);
        change(&mut self.locked, before.locked, after.locked);
        self.peak = self.peak.max(self.all);
    }
}

/// Whether an area is of what RLIMIT_DATA counts.
pub(super) fn is_data(area: &Area) -> bool {
    area.access.write && !area.is_shared() && !area.grows
}
