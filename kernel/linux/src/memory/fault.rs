//! Faults: how a page comes to be where a program uses it, and the kernel's own way to a program's memory, which is the same.
//!
//! | area | nothing there | there, read-only, to be written |
//! | --- | --- | --- |
//! | zeros, private | a frame of zeros | its last user keeps it, others copy |
//! | a file's, private | the file's page, read-only; to be written: a copy | the same: the file is one user |
//! | a file's, shared | the file's page, writable if it is to be written | it becomes writable |
//!
//! A page of a shared mapping that was only read stays read-only, so that `smaps` knows which are dirty.

use super::areas::PAGE;
use super::space::{Bad, Memory, copied, page_of};
use crate::abi::USER_TOP;
use machine::arch::paging::{self, Access};
use machine::memory::frames::{self, Frame};

impl Memory {
    /// Makes the page at an address present for this use: fills it, copies it, or grows the stack.
    pub fn fault(&mut self, address: u64, write: bool, exec: bool) -> Result<Frame, Bad> {
        let (limits, mapped) = (&self.limits, self.bytes_if_limited());
        let grow = |area: &_, lowest| limits.may_grow(area, lowest, mapped);
        let area = self.areas.grown_to(address, grow).ok_or(Bad::Address)?;
        let allowed = if write {
            area.access.write
        } else if exec {
            area.access.exec
        } else {
            area.read
        };
        if !allowed {
            return Err(Bad::Address);
        }
        let page = page_of(address);
        let shared = area.is_shared();
        let access = area.access;
        let Some((frame, now)) = self.tables.lookup(page) else {
            let (frame, access) = match &area.source {
                None => (frames::alloc_zeroed().ok_or(Bad::NoMemory)?, access),
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
                Ok(()) => Ok(frame),
                Err(paging::NoMemory) => {
                    frames::release(frame);
                    Err(Bad::NoMemory)
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
        let copy = frames::alloc().ok_or(Bad::NoMemory)?;
        copy.copy_from(frame);
        if self.tables.map(page, copy, access).is_err() {
            frames::release(copy);
            return Err(Bad::NoMemory);
        }
        self.flush_one(page);
        frames::release(frame);
        Ok(copy)
    }

    /// Calls `each` with the pieces of a range, made present for this use: a frame, where in it, where in the range, how many bytes.
    fn pieces(
        &mut self,
        address: u64,
        length: usize,
        write: bool,
        mut each: impl FnMut(Frame, usize, usize, usize),
    ) -> Result<(), Bad> {
        let top = address.checked_add(length as u64).ok_or(Bad::Address)?;
        if top > USER_TOP {
            return Err(Bad::Address);
        }
        let mut done = 0;
        while done < length {
            let at = address + done as u64;
            let frame = self.fault(at, write, false)?;
            let offset = (at % PAGE) as usize;
            let piece = (PAGE as usize - offset).min(length - done);
            each(frame, offset, done, piece);
            done += piece;
        }
        Ok(())
    }

    /// Reads the program's memory.
    pub fn read(&mut self, address: u64, to: &mut [u8]) -> Result<(), Bad> {
        let length = to.len();
        self.pieces(address, length, false, |frame, offset, at, piece| {
            frame.read(offset, &mut to[at..at + piece]);
        })
    }

    /// Writes the program's memory.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), Bad> {
        self.pieces(address, from.len(), true, |frame, offset, at, piece| {
            frame.write(offset, &from[at..at + piece]);
        })
    }

    /// Makes the pages of a range present, as an access would; those that are to be written, copied.
    pub(crate) fn populate(&mut self, lowest: u64, top: u64) -> Result<(), Bad> {
        let mut page = lowest;
        while page < top {
            let area = self.areas.at_or_after(page).filter(|area| area.lowest < top);
            let Some(area) = area else { return Err(Bad::Address) };
            if area.lowest > page || !area.is_accessible() {
                return Err(Bad::Address);
            }
            let (write, end) = (area.access.write && !area.is_shared(), area.top.min(top));
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
