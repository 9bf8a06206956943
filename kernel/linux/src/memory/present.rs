//! How many pages an address space has in its tables.

/// Pages in the tables of an address space.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Present {
    pub(crate) now: u64,
    /// The most there have been.
    pub(crate) peak: u64,
}

impl Present {
    /// So many more.
    pub(super) fn add(&mut self, pages: u64) {
        self.now += pages;
        self.peak = self.peak.max(self.now);
    }
}
