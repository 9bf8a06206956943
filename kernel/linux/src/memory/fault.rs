//! Faults: how a page comes to be where a program uses it, and the kernel's own way to a program's
//! memory, which is the same.
//!
//! | area | nothing there | there, read-only, to be written |
//! | --- | --- | --- |
//! | zeros, private | a frame of zeros | its last user keeps it, others copy |
//! | a file's, private | the file's page, read-only; to be written: a copy | the same: the file is one user |
//! | a file's, shared | the file's page, writable if it is to be written | it becomes writable |
//!
//! A page of a shared mapping that was only read stays read-only, so that `smaps` knows which are
//! dirty.

use super::areas::{PAGE, flag};
use super::space::{AccessError, Memory, copied, page_of};
use crate::abi::USER_TOP;
use crate::abi::frame::Space;
use crate::error::Errno;
use machine::arch::paging::{self, Access};
use machine::memory::frames::{self, Frame, Stretch};

impl Memory {
    /// Makes the page at an address present for this use: fills it, copies it, or grows the stack.
    pub fn fault(&mut self, address: u64, write: bool, exec: bool) -> Result<Frame, AccessError> {
        let (limits, mapped) = (&self.limits, self.bytes());
        let grow = |area: &_, lowest| limits.may_grow(area, lowest, mapped);
        let area = self.areas.grown_to(address, grow).ok_or(AccessError::Address)?;
        let allowed = if write {
            area.access.write
        } else if exec {
            area.access.exec
        } else {
            area.read
        };
        if !allowed {
            return Err(AccessError::Address);
        }
        let page = page_of(address);
        if area.has(flag::SHADOW_STACK) {
            // Not even the kernel writes to it for a program.
            return if write { Err(AccessError::Address) } else { self.shadow_page(page, false) };
        }
        let shared = area.is_shared();
        let access = area.access;
        let Some((frame, now)) = self.tables.lookup(page) else {
            let (frame, access) = match &area.source {
                None => (frames::alloc_zeroed().ok_or(AccessError::NoMemory)?, access),
                Some(source) => {
                    let of_file = source.object.page(area.number_at(page))?;
                    if write && !shared {
                        (copied(of_file)?, access)
                    } else {
                        (of_file, Access { write, ..access })
                    }
                }
            };
            return match self.tables.map(page, frame, access) {
                Ok(()) => {
                    self.present.add(1);
                    Ok(frame)
                }
                Err(paging::NoMemory) => {
                    frames::release(frame);
                    Err(AccessError::NoMemory)
                }
            };
        };
        if !write || now.write {
            return Ok(frame);
        }
        // Shared since a fork, or made read-only by one: the last user keeps it, others copy.
        if shared || frames::refs(frame) == 1 {
            self.tables.protect(page, access);
            self.flush_one(page);
            return Ok(frame);
        }
        let copy = frames::alloc().ok_or(AccessError::NoMemory)?;
        copy.copy_from(frame);
        if self.tables.map(page, copy, access).is_err() {
            frames::release(copy);
            return Err(AccessError::NoMemory);
        }
        self.flush_one(page);
        frames::release(frame);
        Ok(copy)
    }

    /// Makes the page at an address present for a call, a return, or another instruction for shadow
    /// stacks.
    pub(crate) fn shadow_fault(&mut self, address: u64) -> Result<Frame, AccessError> {
        let area = self.areas.at(address).ok_or(AccessError::Address)?;
        if !area.has(flag::SHADOW_STACK) || !area.access.write {
            return Err(AccessError::Address);
        }
        self.shadow_page(page_of(address), true)
    }

    /// The page of a shadow stack. `own`: with a frame that no other space has, and as one;
    /// otherwise as it is.
    fn shadow_page(&mut self, page: u64, own: bool) -> Result<Frame, AccessError> {
        let there = self.tables.lookup(page);
        let frame = match there {
            None => frames::alloc_zeroed().ok_or(AccessError::NoMemory)?,
            Some((frame, now)) if !own || now.write => return Ok(frame),
            Some((frame, _)) if frames::refs(frame) == 1 => frame,
            Some((frame, _)) => {
                frames::share(frame);
                copied(frame)?
            }
        };
        let is_new = there.is_none_or(|(before, _)| before != frame);
        if self.tables.map_shadow(page, frame).is_err() {
            if is_new {
                frames::release(frame);
            }
            return Err(AccessError::NoMemory);
        }
        if let Some((before, _)) = there {
            self.flush_one(page);
            if is_new {
                frames::release(before);
            }
        }
        Ok(frame)
    }

    /// Reads a word of a shadow stack.
    pub(crate) fn read_shadow(&mut self, at: u64) -> Result<u64, AccessError> {
        let mut word = [0; 8];
        if !at.is_multiple_of(8) {
            return Err(AccessError::Address);
        }
        self.shadow_fault(at)?.read((at % PAGE) as usize, &mut word);
        Ok(u64::from_le_bytes(word))
    }

    /// Writes a word of a shadow stack.
    pub(crate) fn write_shadow(&mut self, at: u64, word: u64) -> Result<(), AccessError> {
        if !at.is_multiple_of(8) {
            return Err(AccessError::Address);
        }
        self.shadow_fault(at)?.write((at % PAGE) as usize, &word.to_le_bytes());
        Ok(())
    }

    /// The frame of the page at an address, for the kernel's own use of it: what a program could
    /// use without a fault, and most often that is there, needs no look at areas.
    #[inline]
    pub(crate) fn present_for(&mut self, address: u64, write: bool) -> Result<Frame, AccessError> {
        match self.tables.usable(page_of(address), write) {
            Some(frame) => Ok(frame),
            None => self.fault(address, write, false),
        }
    }

    /// Calls `each` with the pieces of a range, made present for this use: a frame, where in it,
    /// where in the range, how many bytes.
    fn pieces(
        &mut self,
        address: u64,
        length: usize,
        write: bool,
        mut each: impl FnMut(Frame, usize, usize, usize),
    ) -> Result<(), AccessError> {
        let top = address.checked_add(length as u64).ok_or(AccessError::Address)?;
        if top > USER_TOP {
            return Err(AccessError::Address);
        }
        let mut done = 0;
        while done < length {
            let at = address + done as u64;
            let frame = self.present_for(at, write)?;
            let offset = (at % PAGE) as usize;
            let piece = (PAGE as usize - offset).min(length - done);
            each(frame, offset, done, piece);
            done += piece;
        }
        Ok(())
    }

    /// Reads the program's memory.
    pub fn read(&mut self, address: u64, to: &mut [u8]) -> Result<(), AccessError> {
        let length = to.len();
        self.pieces(address, length, false, |frame, offset, at, piece| {
            frame.read(offset, &mut to[at..at + piece]);
        })
    }

    /// Writes the program's memory.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), AccessError> {
        self.pieces(address, from.len(), true, |frame, offset, at, piece| {
            frame.write(offset, &from[at..at + piece]);
        })
    }

    /// Makes the pages of a range present, as an access would; those that are to be written,
    /// copied.
    pub(crate) fn populate(&mut self, lowest: u64, top: u64) -> Result<(), AccessError> {
        let mut page = lowest;
        while page < top {
            let area = self.areas.at_or_after(page).filter(|area| area.lowest < top);
            let Some(area) = area else { return Err(AccessError::Address) };
            if area.lowest > page || !area.is_accessible() {
                return Err(AccessError::Address);
            }
            let writes = area.access.write && !area.is_shared() && !area.has(flag::SHADOW_STACK);
            let (write, end) = (writes, area.top.min(top));
            while page < end {
                if threads::sched::current().killed() {
                    return Ok(());
                }
                self.fault(page, write, false)?;
                page += PAGE;
            }
        }
        Ok(())
    }
}

impl Space for Memory {
    fn read(&mut self, at: u64, to: &mut [u8]) -> Result<(), Errno> {
        Ok(Self::read(self, at, to)?)
    }

    fn write(&mut self, at: u64, from: &[u8]) -> Result<(), Errno> {
        Ok(Self::write(self, at, from)?)
    }

    fn stretch(&mut self, at: u64, bytes: usize, write: bool) -> Result<Stretch, Errno> {
        if at.checked_add(bytes as u64).is_none_or(|top| top > USER_TOP) {
            return Err(Errno::EFAULT);
        }
        let offset = (at % PAGE) as usize;
        let first = self.present_for(at, write)?;
        let second = if offset + bytes > PAGE as usize {
            Some(self.present_for(at + PAGE, write)?)
        } else {
            None
        };
        Ok(Stretch::new(first, offset, second))
    }
}
