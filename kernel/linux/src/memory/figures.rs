//! How much of an area is there, and with whom it is shared: for `smaps` and `statm`.

use super::areas::{Area, PAGE};
use super::space::Memory;
use machine::memory::frames::{self, Frame};

/// Bytes of an area.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) present: u64,
    /// Each page divided by how many have it.
    pub(crate) proportional: u64,
    pub(crate) proportional_dirty: u64,
    /// Of pages that no file has, and of those of files that are in memory only.
    pub(crate) proportional_anonymous: u64,
    pub(crate) proportional_shared: u64,
    pub(crate) shared_clean: u64,
    pub(crate) shared_dirty: u64,
    pub(crate) private_clean: u64,
    pub(crate) private_dirty: u64,
    /// What no file has.
    pub(crate) anonymous: u64,
}

impl Figures {
    /// Adds those of another area.
    pub(crate) fn add(&mut self, other: &Self) {
        self.present += other.present;
        self.proportional += other.proportional;
        self.proportional_dirty += other.proportional_dirty;
        self.proportional_anonymous += other.proportional_anonymous;
        self.proportional_shared += other.proportional_shared;
        self.shared_clean += other.shared_clean;
        self.shared_dirty += other.shared_dirty;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.anonymous += other.anonymous;
    }
}

/// Bytes that are in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    pub(crate) peak: u64,
    pub(crate) anonymous: u64,
    pub(crate) file: u64,
    pub(crate) shared: u64,
}

/// A page that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) frame: Frame,
    /// Mappings that have it, this one among them.
    pub(crate) users: u64,
    /// Whether it is its file's, and no copy.
    pub(crate) of_file: bool,
    /// Whether a store goes through without a fault.
    pub(crate) can_write: bool,
}

impl Memory {
    /// A page of an area; `None`: it is not there.
    pub(crate) fn page_of(&self, area: &Area, page: u64) -> Option<Page> {
        let (frame, access) = self.tables.lookup(page)?;
        let node = area.source.as_ref().map(|source| &source.object.node);
        let of_file = node.is_some_and(|node| node.is_page(area.number_at(page), frame));
        // The file is a user of its own.
        let users = u64::from(frames::refs(frame)).saturating_sub(u64::from(of_file)).max(1);
        Some(Page { frame, users, of_file, can_write: access.write })
    }

    /// Of one area.
    pub(crate) fn figures(&self, area: &Area) -> Figures {
        let mut sum = Figures::default();
        let node = area.source.as_ref().map(|source| &source.object.node);
        let is_in_archive = node.is_some_and(|node| node.in_archive().is_some());
        let mut from = area.lowest;
        while let Some(page) = self.tables.next_mapped(from, area.top) {
            from = page + PAGE;
            let Some(Page { users, of_file, can_write, .. }) = self.page_of(area, page) else {
                continue;
            };
            let is_dirty = !of_file || area.is_shared() && can_write;
            sum.present += PAGE;
            sum.proportional += PAGE / users;
            match of_file {
                false => sum.proportional_anonymous += PAGE / users,
                true if !is_in_archive => sum.proportional_shared += PAGE / users,
                true => {}
            }
            sum.proportional_dirty += if is_dirty { PAGE / users } else { 0 };
            *match (users > 1, is_dirty) {
                (true, true) => &mut sum.shared_dirty,
                (true, false) => &mut sum.shared_clean,
                (false, true) => &mut sum.private_dirty,
                (false, false) => &mut sum.private_clean,
            } += PAGE;
            sum.anonymous += if of_file { 0 } else { PAGE };
        }
        sum
    }

    /// The most bytes that there have been.
    pub(crate) const fn resident_peak(&self) -> u64 {
        self.present.peak * PAGE
    }

    /// Bytes that are there: of no file, of files of the archive, of files that are in memory only
    /// and of shared memory.
    pub(crate) fn resident(&self) -> Resident {
        let mut sum = Resident::default();
        for area in self.areas.iter() {
            let of_area = self.figures(area);
            sum.anonymous += of_area.anonymous;
            let of_file = of_area.present - of_area.anonymous;
            let node = area.source.as_ref().map(|source| &source.object.node);
            match node.and_then(|node| node.in_archive()) {
                Some(_) => sum.file += of_file,
                None => sum.shared += of_file,
            }
        }
        sum.now = self.present.now * PAGE;
        sum.peak = self.present.peak * PAGE;
        sum
    }
}
