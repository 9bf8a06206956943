//! Mappings that change their size or their place, and contents that are given up.

use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::areas::{Area, PAGE};
use crate::memory::space::{BATCH, Memory, Wanted};

impl Memory {
    /// Forgets the contents of a range: its pages read as zeros afterwards, but for those that came from a file, which stay.
    pub fn discard(&mut self, lowest: u64, top: u64) -> Result<(), Errno> {
        let is_covered = self.areas.is_covered(lowest, top);
        let mut from = lowest;
        while let Some(area) = self.areas.first_within(from, top) {
            if !area.of_file {
                self.release_pages(area.lowest.max(lowest), area.top.min(top));
            }
            from = area.top;
        }
        if is_covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Makes the mapping of a range larger or smaller, or moves it; returns where it is then. `to`: a place to move to.
    pub fn remap(
        &mut self,
        lowest: u64,
        old: u64,
        new: u64,
        may_move: bool,
        to: Option<u64>,
    ) -> Result<u64, Errno> {
        let area = self.areas.at(lowest).ok_or(Errno::EFAULT)?;
        if to.is_none() && new <= old {
            // Linux takes what lies behind out, whatever that is.
            if new < old {
                self.unmap(lowest + new, lowest + old)?;
            }
            return Ok(lowest);
        }
        if old > area.top - lowest {
            return Err(Errno::EFAULT);
        }
        let (old_top, new_top) = (lowest + old, lowest.checked_add(new).ok_or(Errno::ENOMEM)?);
        if to.is_none()
            && old_top == area.top
            && new_top <= USER_TOP
            && self.areas.is_free(old_top, new_top)
        {
            self.areas.add(Area { lowest: old_top, top: new_top, ..area })?;
            return Ok(lowest);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let target = match to {
            Some(at) if at < lowest + old && lowest < at.saturating_add(new) => {
                return Err(Errno::EINVAL);
            }
            Some(at) => self.place(Wanted::Exactly(at), new)?,
            None => self.find_space(new).ok_or(Errno::ENOMEM)?,
        };
        self.move_pages(&area, (lowest, old), (target, new))?;
        Ok(target)
    }

    /// Moves what is mapped in one range, part of an area, to another one, in the place of what is there. A range that is to
    /// be smaller loses its end.
    fn move_pages(
        &mut self,
        area: &Area,
        (lowest, old): (u64, u64),
        (target, new): (u64, u64),
    ) -> Result<(), Errno> {
        let kept = lowest + old.min(new);
        let mut from = lowest;
        while let Some(page) = self.tables.next_mapped(from, kept) {
            self.tables.prepare(page - lowest + target)?;
            from = page + PAGE;
        }
        self.areas.prepare_move((lowest, lowest + old), (target, target + new))?;
        // Nothing fails from here on.
        self.areas.carve(target, target + new);
        self.release_pages(target, target + new);
        self.areas.put_and_merge(Area { lowest: target, top: target + new, grows: false, ..*area });
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
                    let like = Area { access, ..*area };
                    self.place_page(page - lowest + target, frame, &like);
                }
            }
        }
        self.areas.carve(lowest, lowest + old);
        // What a smaller mapping has no room for.
        self.release_pages(lowest, lowest + old);
        Ok(())
    }
}
