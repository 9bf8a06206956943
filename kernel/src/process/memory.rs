//! A process's memory: areas of address space, filled on demand, copied on write.
//!
//! ```text
//!   0x40_0000        image: copied from the file at execve
//!   above it         [heap]: grows with brk
//!   0x7f..           mmap, from MMAP_TOP down
//!   gap              1 MiB that no mapping comes nearer to the stack
//!   0x7fff_ffff_f000 [stack]: grows down on demand to RLIMIT_STACK
//! ```
//!
//! The kernel never follows a user pointer: reads and writes go page by page through these tables and the direct map, with
//! the same filling and copying that a fault does. So no page fault is ever taken in the kernel, and a bad pointer is
//! an error, nothing more.

use super::abi::{USER_LOWEST, USER_TOP};
use super::error::Errno;
use crate::arch::paging::{self, Access, UserTables};
use crate::memory::frames::{self, Frame};
use alloc::vec::Vec;

const PAGE: u64 = 4096;
/// How large the stack may become: RLIMIT_STACK.
pub(crate) const STACK_LIMIT: u64 = 8 << 20;
/// How near to the stack a mapping may come.
const STACK_GUARD_GAP: u64 = 256 * PAGE;
/// Areas a process may have.
const MOST_AREAS: usize = 4096;

/// What an area is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// From the program's file, or mapped without one.
    Mapped,
    /// What brk has made.
    Heap,
    /// The first thread's stack; it grows.
    Stack,
}

/// A stretch of address space with one set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Area {
    pub(crate) lowest: u64,
    pub(crate) top: u64,
    pub(crate) read: bool,
    pub(crate) access: Access,
    pub(crate) kind: Kind,
}

/// What a program did to its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bad {
    /// Nothing is there, or not for this use.
    Address,
    /// It would be allowed, but there is no frame.
    NoMemory,
}

impl From<Bad> for Errno {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Address => Self::EFAULT,
            Bad::NoMemory => Self::ENOMEM,
        }
    }
}

/// The memory of one process.
#[derive(Debug)]
pub(crate) struct Memory {
    tables: UserTables,
    /// Sorted, not overlapping.
    areas: Vec<Area>,
    brk_lowest: u64,
    brk: u64,
    /// The SP with which the program started: what tells the stack in `maps`.
    pub(crate) start_stack: u64,
    /// Whether more than one thread runs in it, so that other CPUs may too.
    pub(crate) has_threads: bool,
}

const fn page_of(address: u64) -> u64 {
    address & !(PAGE - 1)
}

impl Memory {
    /// Nothing but the stack's first page.
    pub(crate) fn new() -> Result<Self, Errno> {
        let tables = UserTables::new().ok_or(Errno::ENOMEM)?;
        let mut memory = Self {
            tables,
            areas: Vec::new(),
            brk_lowest: 0,
            brk: 0,
            start_stack: USER_TOP,
            has_threads: false,
        };
        memory.insert(Area {
            lowest: USER_TOP - 32 * PAGE,
            top: USER_TOP,
            read: true,
            access: Access { write: true, exec: false },
            kind: Kind::Stack,
        })?;
        Ok(memory)
    }

    pub(crate) fn tables_root(&self) -> u64 {
        self.tables.root()
    }

    pub(crate) fn areas(&self) -> &[Area] {
        &self.areas
    }

    fn insert(&mut self, area: Area) -> Result<(), Errno> {
        if self.areas.len() >= MOST_AREAS {
            return Err(Errno::ENOMEM);
        }
        self.areas.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let at = self.areas.partition_point(|other| other.lowest < area.lowest);
        self.areas.insert(at, area);
        Ok(())
    }

    fn area_at(&self, address: u64) -> Option<&Area> {
        let at = self.areas.partition_point(|area| area.top <= address);
        self.areas.get(at).filter(|area| area.lowest <= address)
    }

    /// The area for an address, after growing the stack to it if that is what it takes.
    fn area_for(&mut self, address: u64) -> Option<Area> {
        if let Some(area) = self.area_at(address) {
            return Some(*area);
        }
        let at = self.areas.partition_point(|area| area.top <= address);
        let stack = *self.areas.get(at).filter(|area| area.kind == Kind::Stack)?;
        let lowest = page_of(address);
        let below = at.checked_sub(1).map_or(0, |below| self.areas[below].top);
        if stack.top - lowest > STACK_LIMIT || lowest < below + STACK_GUARD_GAP {
            return None;
        }
        self.areas[at].lowest = lowest;
        Some(self.areas[at])
    }

    /// Makes the page at an address present for this use: fills it with zeros, or copies it.
    pub(crate) fn fault(&mut self, address: u64, write: bool, exec: bool) -> Result<Frame, Bad> {
        let area = self.area_for(address).ok_or(Bad::Address)?;
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
        let Some((frame, now)) = self.tables.lookup(page) else {
            let frame = frames::alloc_zeroed().ok_or(Bad::NoMemory)?;
            return match self.tables.map(page, frame, area.access) {
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
        if frames::refs(frame) == 1 {
            self.tables.protect(page, area.access);
            self.flush(page);
            return Ok(frame);
        }
        let copy = frames::alloc().ok_or(Bad::NoMemory)?;
        // SAFETY: (1) two different frames in the direct map, the second one ours alone.
        unsafe {
            core::ptr::copy_nonoverlapping(frame.bytes_ptr(), copy.bytes_ptr(), PAGE as usize)
        };
        if self.tables.map(page, copy, area.access).is_err() {
            frames::release(copy);
            return Err(Bad::NoMemory);
        }
        self.flush(page);
        frames::release(frame);
        Ok(copy)
    }

    /// Calls `each` with the direct-map pieces of a range, made present for this use.
    fn pieces(
        &mut self,
        address: u64,
        length: usize,
        write: bool,
        mut each: impl FnMut(*mut u8, usize, usize),
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
            each(frame.bytes_ptr().wrapping_add(offset), done, piece);
            done += piece;
        }
        Ok(())
    }

    /// Reads the program's memory.
    pub(crate) fn read(&mut self, address: u64, to: &mut [u8]) -> Result<(), Bad> {
        let length = to.len();
        self.pieces(address, length, false, |from, at, piece| {
            // SAFETY: (1) `piece` bytes inside a frame that this memory holds; (2) inside `to`.
            unsafe { core::ptr::copy_nonoverlapping(from, to[at..at + piece].as_mut_ptr(), piece) };
        })
    }

    /// Writes the program's memory.
    pub(crate) fn write(&mut self, address: u64, from: &[u8]) -> Result<(), Bad> {
        self.pieces(address, from.len(), true, |to, at, piece| {
            // SAFETY: (1) `piece` bytes inside a frame that this memory holds, not shared; (2) inside `from`.
            unsafe { core::ptr::copy_nonoverlapping(from[at..at + piece].as_ptr(), to, piece) };
        })
    }

    /// Writes regardless of the area's permissions: for the loader.
    pub(crate) fn write_image(&mut self, address: u64, from: &[u8]) -> Result<(), Bad> {
        let mut done = 0;
        while done < from.len() {
            let at = address + done as u64;
            let area = *self.area_at(at).ok_or(Bad::Address)?;
            let page = page_of(at);
            let there = self.tables.lookup(page);
            let (frame, access) = match there {
                Some(there) => there,
                None => (frames::alloc_zeroed().ok_or(Bad::NoMemory)?, area.access),
            };
            let offset = (at % PAGE) as usize;
            let piece = (PAGE as usize - offset).min(from.len() - done);
            // SAFETY: (1) inside a frame that nobody else has yet; (2) inside `from`.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    from[done..].as_ptr(),
                    frame.bytes_ptr().add(offset),
                    piece,
                );
            }
            // Only now, also where the page is there already: mapping is what makes instructions visible to the CPUs' fetches.
            if self.tables.map(page, frame, access).is_err() {
                if there.is_none() {
                    frames::release(frame);
                }
                return Err(Bad::NoMemory);
            }
            done += piece;
        }
        Ok(())
    }

    /// Adds an area; it must not overlap another.
    pub(crate) fn add(&mut self, area: Area) -> Result<(), Errno> {
        let fits = USER_LOWEST <= area.lowest && area.lowest < area.top && area.top <= USER_TOP;
        if !fits
            || self.areas.iter().any(|other| other.lowest < area.top && area.lowest < other.top)
        {
            return Err(Errno::EINVAL);
        }
        self.insert(area)
    }

    /// Where the heap will start: above the image.
    pub(crate) fn set_brk_lowest(&mut self, address: u64) {
        self.brk_lowest = address.next_multiple_of(PAGE);
        self.brk = self.brk_lowest;
    }

    /// Moves the end of the heap; answers where it is then.
    pub(crate) fn brk(&mut self, wanted: u64) -> u64 {
        if wanted < self.brk_lowest || wanted > USER_TOP {
            return self.brk;
        }
        let (old, new) = (self.brk.next_multiple_of(PAGE), wanted.next_multiple_of(PAGE));
        if new < old {
            self.unmap(new, old);
        } else if new > old {
            let grown =
                self.areas.iter_mut().find(|area| area.kind == Kind::Heap).map(|area| area.lowest);
            self.areas.retain(|area| area.kind != Kind::Heap);
            let lowest = grown.unwrap_or(self.brk_lowest);
            let heap = |top| Area {
                lowest,
                top,
                read: true,
                access: Access { write: true, exec: false },
                kind: Kind::Heap,
            };
            if self.add(heap(new)).is_err() {
                if old > lowest {
                    // The old one fits: it was there.
                    let _restored = self.add(heap(old));
                }
                return self.brk;
            }
        }
        self.brk = wanted;
        self.brk
    }

    /// Free address space for a mapping, from the stack's reach down.
    pub(crate) fn find_space(&self, length: u64) -> Option<u64> {
        let mut top = USER_TOP - STACK_LIMIT - STACK_GUARD_GAP - (64 << 20);
        for area in self.areas.iter().rev() {
            if area.lowest >= top {
                continue;
            }
            if area.top <= top && top - area.top >= length {
                break;
            }
            top = area.lowest;
        }
        let lowest = top.checked_sub(length)?;
        (lowest >= USER_LOWEST
            && !self.areas.iter().any(|area| area.lowest < top && lowest < area.top))
        .then_some(lowest)
    }

    /// Cuts areas at an address, so that it is inside none.
    fn split_at(&mut self, address: u64) -> Result<(), Errno> {
        if let Some(area) = self.area_at(address).copied()
            && area.lowest < address
        {
            let at = self.areas.partition_point(|other| other.lowest < area.lowest);
            self.areas[at].top = address;
            self.insert(Area { lowest: address, ..area })?;
        }
        Ok(())
    }

    /// Takes a range out, whatever is in it.
    pub(crate) fn unmap(&mut self, lowest: u64, top: u64) {
        if self.split_at(lowest).is_err() || self.split_at(top).is_err() {
            return;
        }
        let is_gone = |area: &Area| lowest <= area.lowest && area.top <= top;
        while let Some(at) = self.areas.iter().position(is_gone) {
            let area = self.areas.remove(at);
            self.release_pages(area.lowest, area.top);
        }
    }

    fn release_pages(&mut self, lowest: u64, top: u64) {
        for page in (lowest..top).step_by(PAGE as usize) {
            if let Some(frame) = self.tables.unmap(page) {
                self.flush(page);
                frames::release(frame);
            }
        }
    }

    /// Makes every CPU that runs this process forget a page. A CPU that runs something else has loaded other tables since,
    /// and forgot everything then; so with one thread, that is this CPU.
    fn flush(&self, page: u64) {
        if self.has_threads {
            paging::flush_user_page(page);
        } else {
            crate::arch::cpu::flush_page(page);
        }
    }

    /// Changes what a range may be used for. All of it must be mapped.
    pub(crate) fn protect(
        &mut self,
        lowest: u64,
        top: u64,
        read: bool,
        access: Access,
    ) -> Result<(), Errno> {
        self.split_at(lowest)?;
        self.split_at(top)?;
        let mut covered = lowest;
        for area in self.areas.iter_mut().filter(|area| lowest <= area.lowest && area.top <= top) {
            if area.lowest != covered {
                return Err(Errno::ENOMEM);
            }
            covered = area.top;
            area.read = read;
            area.access = access;
        }
        for page in (lowest..top).step_by(PAGE as usize) {
            if let Some((frame, _)) = self.tables.lookup(page) {
                if read {
                    // A shared frame stays read-only: the next write copies it.
                    let write = access.write && frames::refs(frame) == 1;
                    self.tables.protect(page, Access { write, exec: access.exec });
                } else {
                    // What must not even be read: the page goes, its contents with it only if nobody can ask for them again.
                    self.tables.protect(page, Access { write: false, exec: false });
                }
                self.flush(page);
            }
        }
        if covered == top { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// The same memory for a child: every page shared until somebody writes.
    pub(crate) fn fork(&mut self) -> Result<Self, Errno> {
        let mut areas = Vec::new();
        areas.try_reserve(self.areas.len()).map_err(|_| Errno::ENOMEM)?;
        areas.extend_from_slice(&self.areas);
        let tables = UserTables::new().ok_or(Errno::ENOMEM)?;
        let mut child = Self {
            tables,
            areas,
            brk_lowest: self.brk_lowest,
            brk: self.brk,
            start_stack: self.start_stack,
            has_threads: false,
        };
        for area in &self.areas {
            for page in (area.lowest..area.top).step_by(PAGE as usize) {
                let Some((frame, access)) = self.tables.lookup(page) else { continue };
                let shared = Access { write: false, exec: access.exec };
                child.tables.map(page, frame, shared).map_err(|_| Errno::ENOMEM)?;
                frames::share(frame);
                self.tables.protect(page, shared);
            }
        }
        // The parent's writable translations must go, once.
        let root = self.tables.root();
        // SAFETY: (1) the tables that are loaded already: loading them again only forgets translations.
        unsafe { crate::arch::cpu::load_tables(root) };
        if self.has_threads {
            crate::arch::smp::flush_others();
        }
        Ok(child)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for area in core::mem::take(&mut self.areas) {
            for page in (area.lowest..area.top).step_by(PAGE as usize) {
                if let Some(frame) = self.tables.unmap(page) {
                    frames::release(frame);
                }
            }
        }
    }
}
