//! Mappings that change their size or their place.

use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::areas::{Area, PAGE, Source, flag};
use crate::memory::space::{BATCH, Memory, Wanted};

/// How a mapping may move.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Move {
    /// Whether it may at all.
    pub(crate) may: bool,
    /// Where it must go.
    pub(crate) to: Option<u64>,
    /// Where it would like to be, if its old place stays mapped and it need not go anywhere.
    pub(crate) near: u64,
    /// Its old place stays mapped, without its pages.
    pub(crate) leaves_area: bool,
}

use machine::arch::paging::Access;

impl Memory {
    /// Makes the mapping of a range larger or smaller, or moves it; returns where it is then.
    pub(crate) fn remap(
        &mut self,
        lowest: u64,
        old: u64,
        new: u64,
        how: Move,
    ) -> Result<u64, Errno> {
        let area = self.areas.at(lowest).ok_or(Errno::EFAULT)?.clone();
        let to = how.to;
        if let Some(at) = to.or(how.leaves_area.then_some(how.near)) {
            let is_there = at.is_multiple_of(PAGE) && new <= USER_TOP && at <= USER_TOP - new;
            // What moves does not move onto itself.
            if !is_there || at < lowest.saturating_add(old) && lowest < at + new {
                return Err(Errno::EINVAL);
            }
        }
        if old == 0 {
            // The same pages once more: only what is shared can be in two places.
            if !area.is_shared() {
                return Err(Errno::EINVAL);
            }
            if !how.may || new > USER_TOP {
                return Err(Errno::ENOMEM);
            }
            let wanted = to.map_or(Wanted::Anywhere(0), Wanted::Exactly);
            return self.map(wanted, new, area.from(lowest));
        }
        if to.is_none() && new > old && old > area.top - lowest {
            return Err(Errno::EFAULT);
        }
        let old = old.min(USER_TOP - lowest);
        self.check_sealed(lowest, lowest + old)?;
        if to.is_none() && new <= old && !how.leaves_area {
            // Linux takes what lies behind out, whatever that is.
            if new < old {
                self.unmap(lowest + new, lowest + old)?;
            }
            return Ok(lowest);
        }
        if old > area.top - lowest {
            return Err(Errno::EFAULT);
        }
        if new > USER_TOP {
            return Err(Errno::ENOMEM);
        }
        let (old_top, new_top) = (lowest + old, lowest + new);
        let kept = if how.leaves_area { 0 } else { old };
        self.may_have(&Area { top: new_top, ..area.from(lowest) }, kept.min(new))?;
        if to.is_none()
            && !how.leaves_area
            && old_top == area.top
            && new_top <= USER_TOP
            && self.areas.is_free(old_top, new_top)
        {
            let more = Area { top: new_top, ..area.clone() };
            self.areas.add(more.from(old_top))?;
            self.populate_locked(&area, old_top, new_top);
            return Ok(lowest);
        }
        if !how.may {
            return Err(Errno::ENOMEM);
        }
        let target = match to {
            Some(at) => self.place(Wanted::Exactly(at), new)?,
            None => self.place(Wanted::Anywhere(how.near), new)?,
        };
        self.check_sealed(target, target + new)?;
        self.move_pages(&area, (lowest, old), (target, new), how.leaves_area)?;
        self.populate_locked(&area, target + old.min(new), target + new);
        Ok(target)
    }

    /// Puts another part of the object of a shared mapping in a range of it (remap_file_pages): the
    /// one from `offset` on. `EINVAL`: the range is not all of one such mapping.
    pub(crate) fn show_other_part(
        &mut self,
        lowest: u64,
        top: u64,
        offset: u64,
    ) -> Result<(), Errno> {
        let first = self.areas.at(lowest).ok_or(Errno::EINVAL)?.clone();
        let source = first.source.as_ref().ok_or(Errno::EINVAL)?;
        if !first.is_shared() || first.has(flag::NEVER_WRITE) {
            return Err(Errno::EINVAL);
        }
        let mut end = first.top;
        while end < top {
            let next = self.areas.at(end).ok_or(Errno::EINVAL)?;
            let of = next.source.as_ref().ok_or(Errno::EINVAL)?;
            if !next.is_like(&first) || !of.object.is_same(&source.object) {
                return Err(Errno::EINVAL);
            }
            end = next.top;
        }
        let source = Some(Source { object: source.object.clone(), offset });
        self.map(Wanted::Exactly(lowest), top - lowest, Area { source, ..first })?;
        Ok(())
    }

    /// Has what a locked mapping got more in memory, as far as there is some.
    fn populate_locked(&mut self, area: &Area, lowest: u64, top: u64) {
        if area.has(flag::LOCKED) && !area.has(flag::LOCKED_ON_FAULT) {
            let _as_far_as_it_goes = self.populate(lowest, top);
        }
    }

    /// Moves what is mapped in one range, part of an area, to another one, in the place of what is
    /// there. A range that is to be smaller loses its end.
    fn move_pages(
        &mut self,
        area: &Area,
        (lowest, old): (u64, u64),
        (target, new): (u64, u64),
        leaves_area: bool,
    ) -> Result<(), Errno> {
        let kept = lowest + old.min(new);
        let mut from = lowest;
        while let Some(page) = self.tables.next_mapped(from, kept) {
            self.tables.prepare(page - lowest + target)?;
            from = page + PAGE;
        }
        if leaves_area {
            let locked = flag::LOCKED | flag::LOCKED_ON_FAULT;
            self.areas.change(lowest, lowest + old, |area| area.flags &= !locked)?;
            self.areas.prepare(target, target + new, 1)?;
        } else {
            self.areas.prepare_move((lowest, lowest + old), (target, target + new))?;
        }
        // Nothing fails from here on.
        self.areas.carve(target, target + new);
        self.release_pages(target, target + new);
        let moved = area.from(lowest);
        self.areas.put_and_merge(Area { lowest: target, top: target + new, grows: false, ..moved });
        let mut from = lowest;
        loop {
            let mut batch = [(0, None); BATCH];
            let mut taken = 0;
            while taken < BATCH
                && let Some(page) = self.tables.next_mapped(from, kept)
            {
                let there = self.tables.lookup(page);
                self.tables.unmap(page);
                batch[taken] = (page, there);
                taken += 1;
                from = page + PAGE;
            }
            if taken == 0 {
                break;
            }
            // No CPU may write to a page at its old place when it can be read at the new one.
            self.flush(batch[..taken].iter().map(|entry| entry.0));
            for &(page, there) in &batch[..taken] {
                if let Some((frame, access)) = there {
                    // That of a shadow stack comes back to it with the next call or return.
                    let write = access.write && !area.has(flag::SHADOW_STACK);
                    let access = Access { write, ..access };
                    self.place_page(page - lowest + target, frame, access, area.read);
                }
            }
        }
        if leaves_area {
            return Ok(());
        }
        self.areas.carve(lowest, lowest + old);
        // What a smaller mapping has no room for.
        self.release_pages(lowest, lowest + old);
        Ok(())
    }
}
