//! Memory of a program as a debugger gets at it: whatever the pages may be used for, as long as
//! what is written stays the program's own (Linux's `FOLL_FORCE`).
//!
//! | area | read | written |
//! | --- | --- | --- |
//! | may be used so | as by the program | as by the program |
//! | private, no access or read-only | the page as it is | the program's own copy, which stays read-only to it |
//! | shared, no access or read-only | the page as it is | refused: the file or others would see it |
//! | a shadow stack | as by the program | the program's own page |

use super::areas::{Area, PAGE, flag};
use super::space::{AccessError, Memory, copied, page_of};
use crate::abi::USER_TOP;
use machine::arch::paging::Access;
use machine::memory::frames::{self, Frame};

impl Memory {
    /// Reads up to the end of a page, whatever the program may do there. Bytes read.
    pub(crate) fn read_forced(&mut self, at: u64, to: &mut [u8]) -> Result<usize, AccessError> {
        let length = piece(at, to.len())?;
        let frame = self.forced_page(at, false)?;
        frame.read((at % PAGE) as usize, &mut to[..length]);
        Ok(length)
    }

    /// The same for writing.
    pub(crate) fn write_forced(&mut self, at: u64, from: &[u8]) -> Result<usize, AccessError> {
        let length = piece(at, from.len())?;
        let frame = self.forced_page(at, true)?;
        frame.write((at % PAGE) as usize, &from[..length]);
        let page = page_of(at);
        let code = self.areas.at(page).filter(|area| area.access.exec);
        if let Some((read, access)) = code.map(|area| (area.read, area.access)) {
            // Mapping it again is what makes instructions visible to the CPUs' fetches.
            let now = self.tables.lookup(page).map_or(access, |there| there.1);
            self.map_as(page, frame, Access { write: now.write, ..access }, read)?;
        }
        Ok(length)
    }

    /// The page at an address, made present for this use.
    fn forced_page(&mut self, address: u64, write: bool) -> Result<Frame, AccessError> {
        let (limits, mapped) = (&self.limits, self.bytes());
        let grow = |area: &_, lowest| limits.may_grow(area, lowest, mapped);
        let area = self.areas.grown_to(address, grow).ok_or(AccessError::Address)?;
        let is_shadow = area.has(flag::SHADOW_STACK);
        let is_usual = if write { area.access.write && !is_shadow } else { area.read };
        if is_usual {
            return self.fault(address, write, false);
        }
        if write && area.is_shared() {
            return Err(AccessError::Address);
        }
        let page = page_of(address);
        if is_shadow && area.access.write {
            return self.shadow_fault(address);
        }
        let (read, access) = (area.read, Access { write: false, ..area.access });
        let Some((before, now)) = self.tables.lookup(page) else {
            let frame = fill(area, page, write)?;
            if let Err(error) = self.map_as(page, frame, access, read) {
                frames::release(frame);
                return Err(error);
            }
            self.present.add(1);
            return Ok(frame);
        };
        if !write || now.write || frames::refs(before) == 1 {
            return Ok(before);
        }
        frames::share(before);
        let copy = copied(before)?;
        if let Err(error) = self.map_as(page, copy, access, read) {
            frames::release(copy);
            return Err(error);
        }
        self.flush_one(page);
        frames::release(before);
        Ok(copy)
    }

    fn map_as(
        &mut self,
        page: u64,
        frame: Frame,
        access: Access,
        read: bool,
    ) -> Result<(), AccessError> {
        self.tables.map(page, frame, access).map_err(|_| AccessError::NoMemory)?;
        if !read {
            self.tables.forbid(page);
        }
        Ok(())
    }
}

/// How many bytes of `length` lie in the page of an address.
fn piece(at: u64, length: usize) -> Result<usize, AccessError> {
    let left = USER_TOP.checked_sub(at).filter(|&left| left > 0).ok_or(AccessError::Address)?;
    Ok(length.min((PAGE - at % PAGE).min(left) as usize))
}

/// A frame for a page of an area that nothing is in yet.
fn fill(area: &Area, page: u64, write: bool) -> Result<Frame, AccessError> {
    match &area.source {
        None => frames::alloc_zeroed().ok_or(AccessError::NoMemory),
        Some(source) => {
            let of_file = source.object.page(area.number_at(page))?;
            if write { copied(of_file) } else { Ok(of_file) }
        }
    }
}
