//! What a program says of ranges of its memory: locked, sealed, not needed; and what it may ask
//! about them.

use super::areas::{Area, flag};
use super::space::{AccessError, Memory};
use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::limits::is_too_much;

/// The flags that an area can be given: what the kernel may drop is never locked.
const fn lockable(area: &Area) -> u32 {
    if area.has(flag::DROPPABLE) { !(flag::LOCKED | flag::LOCKED_ON_FAULT) } else { !0 }
}

impl Memory {
    /// Forgets the contents of a range: its pages read as zeros afterwards, or as what their file
    /// has. What the kernel put there stays. What is locked is given up only if the program says
    /// so.
    pub fn discard(&mut self, lowest: u64, top: u64, locked: bool) -> Result<(), Errno> {
        let is_covered = self.areas.is_covered(lowest, top);
        let mut from = lowest;
        while let Some(area) = self.areas.first_within(from, top) {
            if area.has(flag::LOCKED) && !locked {
                return Err(Errno::EINVAL);
            }
            if area.has(flag::SEALED) && !area.access.write && area.source.is_none() {
                return Err(Errno::EPERM);
            }
            let (here, end, kept) = (area.lowest.max(lowest), area.top, area.has(flag::KEPT));
            if !kept {
                self.release_pages(here, end.min(top));
            }
            from = end;
        }
        if is_covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Takes out what no other process has: no thread comes back to it, and the kernel meets
    /// nothing there instead of zeros that the program never wrote.
    pub(crate) fn reap(&mut self) -> Result<(), Errno> {
        let mut from = 0;
        while let Some(area) = self.areas.first_within(from, USER_TOP) {
            let (lowest, top) = (area.lowest, area.top);
            if !area.is_shared() && !area.has(flag::KEPT) {
                self.areas.prepare(lowest, top, 0)?;
                self.areas.carve(lowest, top);
                self.release_pages(lowest, top);
            }
            from = top;
        }
        Ok(())
    }

    /// Takes the pages of those areas of a range whose pages may be taken: MADV_PAGEOUT.
    pub(crate) fn drop_what_may_be(&mut self, lowest: u64, top: u64) -> Result<(), Errno> {
        let is_covered = self.areas.is_covered(lowest, top);
        let mut from = lowest;
        while let Some(area) = self.areas.first_within(from, top) {
            let (here, end) = (area.lowest.max(lowest), area.top);
            if area.has(flag::DROPPABLE) {
                self.release_pages(here, end.min(top));
            }
            from = end;
        }
        if is_covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Whether each area of a range is like this. Holes do not count.
    pub(crate) fn all_within(&self, lowest: u64, top: u64, is: impl Fn(&Area) -> bool) -> bool {
        self.areas.within(lowest, top).all(is)
    }

    /// Whether all of a range is mapped.
    pub(crate) fn is_covered(&self, lowest: u64, top: u64) -> bool {
        self.areas.is_covered(lowest, top)
    }

    /// Changes flags of the areas of a range; where there is a hole, what is there changes all the
    /// same.
    pub(crate) fn set_flags(
        &mut self,
        lowest: u64,
        top: u64,
        set: u32,
        clear: u32,
    ) -> Result<(), Errno> {
        self.marks |= set;
        let is_covered = self.areas.is_covered(lowest, top);
        self.areas.change_what_is_there(lowest, top, |area| {
            area.flags = area.flags & !clear | set & lockable(area);
        })?;
        if is_covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Flags that new areas get.
    pub(crate) const fn flags_to_come(&self) -> u32 {
        self.flags_to_come
    }

    /// Locks a range, and has it there.
    pub(crate) fn lock_range(
        &mut self,
        lowest: u64,
        top: u64,
        on_fault: bool,
    ) -> Result<(), Errno> {
        let locked = |area: &Area| {
            if area.has(flag::LOCKED) { area.top.min(top) - area.lowest.max(lowest) } else { 0 }
        };
        let already: u64 = self.areas.within(lowest, top).map(locked).sum();
        if !self.may_lock(top - lowest - already) {
            return Err(Errno::ENOMEM);
        }
        let also = if on_fault { flag::LOCKED_ON_FAULT } else { 0 };
        self.set_flags(lowest, top, flag::LOCKED | also, flag::LOCKED_ON_FAULT & !also)?;
        if on_fault {
            return Ok(());
        }
        self.populate(lowest, top).map_err(|bad| match bad {
            AccessError::NoMemory => Errno::EAGAIN,
            AccessError::Address | AccessError::Beyond => Errno::ENOMEM,
        })
    }

    /// mlockall: what there is, and what will be.
    pub(crate) fn lock_all(&mut self, now: bool, later: bool, on_fault: bool) -> Result<(), Errno> {
        if now && !self.limits.may_lock && self.bytes() > self.limits.locked {
            return Err(Errno::ENOMEM);
        }
        let also = if on_fault { flag::LOCKED_ON_FAULT } else { 0 };
        self.flags_to_come = if later { flag::LOCKED | also } else { 0 };
        if !now {
            return Ok(());
        }
        self.marks |= flag::LOCKED;
        let whole = (0, USER_TOP);
        self.areas.change_what_is_there(whole.0, whole.1, |area| {
            let locked = (flag::LOCKED | also) & lockable(area);
            area.flags = area.flags & !flag::LOCKED_ON_FAULT | locked;
        })?;
        let mut from = whole.0;
        while !on_fault && let Some(area) = self.areas.first_within(from, whole.1) {
            let (lowest, top) = (area.lowest, area.top);
            // What cannot be got at has no pages; mlockall ignores it.
            let _as_far_as_it_goes = self.populate(lowest, top);
            from = top;
        }
        Ok(())
    }

    /// munlockall.
    pub(crate) fn unlock_all(&mut self) -> Result<(), Errno> {
        self.flags_to_come = 0;
        let locked = flag::LOCKED | flag::LOCKED_ON_FAULT;
        let whole = (0, USER_TOP);
        self.areas.change_what_is_there(whole.0, whole.1, |area| area.flags &= !locked)
    }

    /// Nothing of a range that is sealed may be changed.
    pub(super) fn check_sealed(&self, lowest: u64, top: u64) -> Result<(), Errno> {
        let has_sealed = self.marks & flag::SEALED != 0
            && !self.all_within(lowest, top, |area| !area.has(flag::SEALED));
        if has_sealed { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Whether the part of an area in a range may become writable, after so many bytes of private
    /// memory did.
    pub(super) fn may_write(
        &self,
        area: &Area,
        lowest: u64,
        top: u64,
        data: &mut u64,
    ) -> Result<(), Errno> {
        if area.has(flag::NEVER_WRITE) {
            return Err(Errno::EACCES);
        }
        if area.access.write || area.is_shared() || area.grows {
            return Ok(());
        }
        let bytes = area.top.min(top) - area.lowest.max(lowest);
        *data += bytes;
        if !area.has(flag::NO_RESERVE) && is_too_much(bytes) {
            return Err(Errno::ENOMEM);
        }
        self.may_have_data(*data)
    }

    /// Whether a page is in memory, as mincore says; `None`: nothing is mapped there.
    pub(crate) fn is_present(&self, page: u64) -> Option<bool> {
        let area = self.areas.at(page)?;
        if self.tables.lookup(page).is_some() {
            return Some(true);
        }
        let source = area.source.as_ref();
        Some(source.is_some_and(|source| source.object.node.has_page(area.number_at(page))))
    }

    /// What a futex in a shared mapping is known by in every process: the file's number, and where
    /// in it.
    pub(crate) fn shared_place(&self, address: u64) -> Option<(u64, u64)> {
        if self.marks & flag::SHARED == 0 {
            return None;
        }
        let area = self.areas.at(address).filter(|area| area.is_shared())?;
        let source = area.source.as_ref()?;
        Some((source.object.node.inode, source.offset + (address - area.lowest)))
    }
}
