//! A row of the table of entries, which every machine has.

/// One kind of entry: where it lands, and how the CPU or the entry code finds that place.
#[derive(Debug)]
pub struct EntryRow {
    /// What arrives.
    pub entry: &'static str,
    /// The stack it runs on.
    pub lands_on: &'static str,
    /// How that stack is found.
    pub found_through: &'static str,
}

/// A row.
pub(in crate::arch) const fn row(
    entry: &'static str,
    lands_on: &'static str,
    found_through: &'static str,
) -> EntryRow {
    EntryRow { entry, lands_on, found_through }
}
