//! A process's memory: areas of address space, filled on demand, copied on write.
//!
//! ```text
//!   0x40_0000        image: copied from the file at execve
//!   above it         [heap]: grows with brk
//!   0x7f..           mmap, from MMAP_TOP down
//!   gap              1 MiB that nothing accessible comes nearer to the stack
//!   0x7fff_ffff_f000 [stack]: grows down on demand to RLIMIT_STACK
//! ```
//!
//! The kernel never follows a user pointer: reads and writes go page by page through these tables and the direct map, with
//! the same filling and copying that a fault does. So no page fault is ever taken in the kernel, and a bad pointer is
//! an error, nothing more.
//!
//! A call that fails has changed nothing: it checks, fetches the memory it may need, and then changes what cannot fail any
//! more. What it costs is the pages that are present, not the address space between them: [`UserTables::next_mapped`].

use crate::abi::{USER_LOWEST, USER_TOP};
use crate::error::Errno;
use crate::files::tree::Node;
use crate::memory::areas::{Area, Areas, PAGE, STACK_GUARD_GAP};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::paging::{self, Access, UserTables};
use machine::memory::frames::{self, Frame};

/// How large the stack may become: RLIMIT_STACK.
pub const STACK_LIMIT: u64 = 8 << 20;
/// Mappings whose place the kernel chooses lie below this, while there is room.
const MMAP_TOP: u64 = USER_TOP - STACK_LIMIT - STACK_GUARD_GAP - (64 << 20);
/// Address spaces that are gone.
static FREED: AtomicU64 = AtomicU64::new(0);
/// Pages whose translations are dropped together.
pub(crate) const BATCH: usize = 32;

/// What a program did to its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
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

impl From<paging::NoMemory> for Errno {
    fn from(_: paging::NoMemory) -> Self {
        Self::ENOMEM
    }
}

/// Where a new mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Where there is room; there if it is free.
    Anywhere(u64),
    /// There, in the place of what is there.
    Exactly(u64),
    /// There, if it is free.
    There(u64),
}

/// The first pages of a file, copied, on their way into a mapping.
#[derive(Debug, Default)]
pub struct Staged(Vec<Frame>);

impl Staged {
    /// Copies what a file has between an offset and `length` bytes further, in whole pages.
    pub fn copy(node: &Node, offset: u64, length: u64) -> Result<Self, Errno> {
        let there = node.bytes().saturating_sub(offset).min(length).div_ceil(PAGE);
        let pages = usize::try_from(there).map_err(|_| Errno::ENOMEM)?;
        if pages > frames::free_count() {
            return Err(Errno::ENOMEM);
        }
        let mut staged = Self::default();
        staged.0.try_reserve_exact(pages).map_err(|_| Errno::ENOMEM)?;
        for at in (offset..).step_by(PAGE as usize).take(pages) {
            let frame = frames::alloc_zeroed().ok_or(Errno::ENOMEM)?;
            // CANNOT FAIL: reserved above.
            staged.0.push(frame);
            frame.with_bytes(|bytes| node.read_at(at, bytes))?;
        }
        Ok(staged)
    }

    fn pages(&self, lowest: u64) -> impl Iterator<Item = u64> + use<> {
        (lowest..).step_by(PAGE as usize).take(self.0.len())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.0.drain(..).for_each(frames::release);
    }
}

/// How many address spaces have gone so far.
pub fn freed_count() -> u64 {
    FREED.load(Ordering::Relaxed)
}

/// The memory of one process.
#[derive(Debug)]
pub struct Memory {
    pub(crate) tables: UserTables,
    pub(crate) areas: Areas,
    /// Where the heap starts, and where it ends: see [`super::brk`].
    pub(super) brk_lowest: u64,
    pub(super) brk: u64,
    /// The SP with which the program started: what tells the stack in `maps`.
    pub start_stack: u64,
    /// Where the kernel's code for going back from signal handlers lies; 0: nowhere.
    pub(crate) trampoline: u64,
    /// Where the vDSO lies.
    pub(crate) vdso: u64,
    /// Whether more than one thread runs in it, so that other CPUs may too.
    pub has_threads: bool,
}

const fn page_of(address: u64) -> u64 {
    address & !(PAGE - 1)
}

impl Memory {
    /// Nothing but the stack's first pages.
    pub fn new() -> Result<Self, Errno> {
        let tables = UserTables::new().ok_or(Errno::ENOMEM)?;
        let mut memory = Self {
            tables,
            areas: Areas::new(),
            brk_lowest: 0,
            brk: 0,
            start_stack: USER_TOP,
            trampoline: 0,
            vdso: 0,
            has_threads: false,
        };
        memory.areas.add(Area {
            lowest: USER_TOP - 32 * PAGE,
            top: USER_TOP,
            read: true,
            access: Access { write: true, exec: false },
            grows: true,
            of_file: false,
        })?;
        Ok(memory)
    }

    pub fn tables_root(&self) -> u64 {
        self.tables.root()
    }

    /// Whether an address belongs to an area.
    pub(crate) fn is_mapped(&self, address: u64) -> bool {
        self.areas.at(address).is_some()
    }

    pub fn areas(&self) -> &Areas {
        &self.areas
    }

    /// Makes the page at an address present for this use: fills it with zeros, or copies it.
    pub fn fault(&mut self, address: u64, write: bool, exec: bool) -> Result<Frame, Bad> {
        let area = self.areas.grown_to(address, STACK_LIMIT).ok_or(Bad::Address)?;
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
            self.flush_one(page);
            return Ok(frame);
        }
        let copy = frames::alloc().ok_or(Bad::NoMemory)?;
        copy.copy_from(frame);
        if self.tables.map(page, copy, area.access).is_err() {
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

    /// Writes regardless of the area's permissions: for the loader.
    pub fn write_image(&mut self, address: u64, from: &[u8]) -> Result<(), Bad> {
        let mut done = 0;
        while done < from.len() {
            let at = address + done as u64;
            let area = self.areas.at(at).ok_or(Bad::Address)?;
            let page = page_of(at);
            let there = self.tables.lookup(page);
            let (frame, access) = match there {
                Some(there) => there,
                None => (frames::alloc_zeroed().ok_or(Bad::NoMemory)?, area.access),
            };
            let offset = (at % PAGE) as usize;
            let piece = (PAGE as usize - offset).min(from.len() - done);
            frame.write(offset, &from[done..done + piece]);
            // Only now, also where the page is there already: mapping is what makes instructions visible to the CPUs' fetches.
            if self.tables.map(page, frame, access).is_err() {
                if there.is_none() {
                    frames::release(frame);
                }
                return Err(Bad::NoMemory);
            }
            if !area.read {
                self.tables.forbid(page);
            }
            done += piece;
        }
        Ok(())
    }

    /// Maps the vDSO, in which the code for going back from signal handlers lies at an offset.
    pub(crate) fn map_vdso(&mut self, code: &[u8], trampoline: u64) -> Result<(), Errno> {
        let lowest = self.find_space(PAGE).ok_or(Errno::ENOMEM)?;
        self.add(Area {
            lowest,
            top: lowest + PAGE,
            read: true,
            access: Access { write: false, exec: true },
            grows: false,
            of_file: true,
        })?;
        self.write_image(lowest, code)?;
        self.vdso = lowest;
        self.trampoline = lowest + trampoline;
        Ok(())
    }

    /// Adds an area; it must not overlap another.
    pub fn add(&mut self, area: Area) -> Result<(), Errno> {
        self.areas.add(area)
    }

    /// Free address space for a mapping: below [`MMAP_TOP`], and if there is none, above.
    pub(crate) fn find_space(&self, length: u64) -> Option<u64> {
        let below = self.areas.find_space(length, MMAP_TOP);
        below.or_else(|| self.areas.find_space(length, USER_TOP))
    }

    /// Where a mapping of `length` bytes goes.
    pub(crate) fn place(&self, wanted: Wanted, length: u64) -> Result<u64, Errno> {
        let top = |at: u64| at.checked_add(length).filter(|&top| top <= USER_TOP);
        match wanted {
            Wanted::Anywhere(hint) => {
                let at = page_of(hint);
                let is_free = |top| at >= USER_LOWEST && self.areas.is_free_with_gap(at, top);
                match top(at).filter(|&top| is_free(top)) {
                    Some(_) => Ok(at),
                    None => self.find_space(length).ok_or(Errno::ENOMEM),
                }
            }
            Wanted::Exactly(at) | Wanted::There(at) => {
                let top = top(at).ok_or(Errno::ENOMEM)?;
                if at < USER_LOWEST {
                    return Err(Errno::EPERM);
                }
                if matches!(wanted, Wanted::There(_)) && !self.areas.is_free(at, top) {
                    return Err(Errno::EEXIST);
                }
                Ok(at)
            }
        }
    }

    /// Makes a mapping with these first pages; returns where.
    pub fn map(
        &mut self,
        wanted: Wanted,
        length: u64,
        like: Area,
        mut staged: Staged,
    ) -> Result<u64, Errno> {
        let lowest = self.place(wanted, length)?;
        let top = lowest + length;
        self.areas.prepare(lowest, top, 1)?;
        for page in staged.pages(lowest) {
            self.tables.prepare(page)?;
        }
        // Nothing fails from here on.
        self.areas.carve(lowest, top);
        self.release_pages(lowest, top);
        self.areas.put_and_merge(Area { lowest, top, ..like });
        let pages = staged.pages(lowest);
        for (page, frame) in pages.zip(staged.0.drain(..)) {
            self.place_page(page, frame, &like);
        }
        Ok(lowest)
    }

    /// Maps a page whose tables were prepared.
    pub(crate) fn place_page(&mut self, page: u64, frame: Frame, like: &Area) {
        self.tables.map(page, frame, like.access).expect("its tables were prepared");
        if !like.read {
            self.tables.forbid(page);
        }
    }

    /// Takes a range out, whatever is in it.
    pub fn unmap(&mut self, lowest: u64, top: u64) -> Result<(), Errno> {
        self.areas.prepare(lowest, top, 0)?;
        self.areas.carve(lowest, top);
        self.release_pages(lowest, top);
        Ok(())
    }

    /// Gives back the pages of a range: first out of the tables, then out of every CPU's mind, then to others.
    pub(crate) fn release_pages(&mut self, lowest: u64, top: u64) {
        let mut from = lowest;
        loop {
            let mut batch = [(0, None); BATCH];
            let mut taken = 0;
            while taken < BATCH
                && let Some(page) = self.tables.next_mapped(from, top)
            {
                batch[taken] = (page, self.tables.unmap(page));
                taken += 1;
                from = page + PAGE;
            }
            if taken == 0 {
                return;
            }
            self.flush(batch[..taken].iter().map(|entry| entry.0));
            batch[..taken].iter().filter_map(|entry| entry.1).for_each(frames::release);
        }
    }

    /// Makes every CPU that runs this process forget pages. A CPU that runs something else has loaded other tables since,
    /// and forgot everything then; so with one thread, that is this CPU.
    pub(crate) fn flush(&self, pages: impl Iterator<Item = u64>) {
        if self.has_threads {
            paging::flush_user_pages(pages);
        } else {
            machine::arch::cpu::flush_pages(pages);
        }
    }

    /// The same for one page.
    fn flush_one(&self, page: u64) {
        if self.has_threads {
            paging::flush_user_pages(core::iter::once(page));
        } else {
            machine::arch::cpu::flush_page(page);
        }
    }

    /// Changes what a range may be used for. All of it must be mapped.
    pub fn protect(
        &mut self,
        lowest: u64,
        top: u64,
        read: bool,
        access: Access,
    ) -> Result<(), Errno> {
        self.areas.protect(lowest, top, read, access)?;
        let mut from = lowest;
        loop {
            let mut batch = [0; BATCH];
            let mut changed = 0;
            while changed < BATCH
                && let Some(page) = self.tables.next_mapped(from, top)
            {
                if read {
                    // A shared frame stays read-only: the next write copies it.
                    let is_own = |frame| frames::refs(frame) == 1;
                    let is_own = self.tables.lookup(page).is_some_and(|(frame, _)| is_own(frame));
                    let write = access.write && is_own;
                    self.tables.protect(page, Access { write, exec: access.exec });
                } else {
                    // The contents stay for the day it is opened again.
                    self.tables.forbid(page);
                }
                batch[changed] = page;
                changed += 1;
                from = page + PAGE;
            }
            if changed == 0 {
                return Ok(());
            }
            self.flush(batch[..changed].iter().copied());
        }
    }

    /// The same memory for a child: every page shared until somebody writes.
    pub fn fork(&mut self) -> Result<Self, Errno> {
        let areas = self.areas.try_clone()?;
        let tables = UserTables::new().ok_or(Errno::ENOMEM)?;
        let mut child = Self {
            tables,
            areas,
            brk_lowest: self.brk_lowest,
            brk: self.brk,
            start_stack: self.start_stack,
            trampoline: self.trampoline,
            vdso: self.vdso,
            has_threads: false,
        };
        let shared = self.share_with(&mut child);
        // The parent's writable translations must go, once; also those of a child that will not be.
        threads::sched::forget_user_translations();
        if self.has_threads {
            machine::arch::smp::flush_others();
        }
        shared.map(|()| child)
    }

    /// Shares every page that is present.
    fn share_with(&mut self, child: &mut Self) -> Result<(), Errno> {
        let mut from = USER_LOWEST;
        while let Some(area) = self.areas.first_within(from, USER_TOP) {
            from = area.lowest;
            while let Some(page) = self.tables.next_mapped(from, area.top) {
                from = page + PAGE;
                let Some((frame, access)) = self.tables.lookup(page) else { continue };
                let shared = Access { write: false, exec: access.exec };
                child.tables.map(page, frame, shared)?;
                frames::share(frame);
                if area.read {
                    self.tables.protect(page, shared);
                } else {
                    child.tables.forbid(page);
                }
            }
            from = area.top;
        }
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // No thread runs under these tables any more, so no CPU has to forget. One that had them loaded would walk what is
        // somebody else's frames by then.
        let root = self.tables.root() as usize;
        let loaded = |cpu: &machine::cpus::Cpu| cpu.tables_root.load(Ordering::SeqCst) == root;
        assert!(
            !machine::cpus::online().any(loaded),
            "page tables are freed that a CPU has loaded"
        );
        FREED.fetch_add(1, Ordering::Relaxed);
        let mut from = USER_LOWEST;
        while let Some(page) = self.tables.next_mapped(from, USER_TOP) {
            if let Some(frame) = self.tables.unmap(page) {
                frames::release(frame);
            }
            from = page + PAGE;
        }
    }
}
