//! A process's memory: areas of address space, filled on demand, copied on write.
//!
//! ```text
//!   0x40_0000        image: the file's pages
//!   above it         [heap]: grows with brk
//!   0x7f..           mmap, from the top down
//!   gap              1 MiB that nothing accessible comes nearer to the stack
//!   0x7fff_ffff_f000 [stack]: grows down on demand to RLIMIT_STACK
//! ```
//!
//! Where exactly is drawn for each program: [`Layout`].
//!
//! The kernel never follows a user pointer: reads and writes go page by page through these tables
//! and the direct map, with the same filling and copying that a fault does. So no page fault is
//! ever taken in the kernel, and a bad pointer is an error, nothing more.
//!
//! A call that fails has changed nothing: it checks, fetches the memory it may need, and then
//! changes what cannot fail any more. (mprotect, madvise and mlock change what lies below a hole,
//! or around one, and are errors then: as on Linux.) What it costs is the pages that are present,
//! not the address space between them: [`UserTables::next_mapped`].

use crate::abi::{USER_LOWEST, USER_TOP};
use crate::error::Errno;
use crate::files::tree::Node;
use crate::memory::areas::{Area, Areas, PAGE, flag};
use crate::memory::layout::{Extents, Layout};
use crate::memory::limits::Limits;
pub(crate) use crate::memory::object::AccessError;
use crate::memory::present::Present;
use crate::memory::spaces::{self, Maps};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::extras::LocalSegments;
use machine::arch::paging::{self, Access, UserTables};
use machine::memory::fallible;
use machine::memory::frames::{self, Frame};
use threads::sched::{self, Mutex};

/// Address spaces that are gone.
static FREED: AtomicU64 = AtomicU64::new(0);
/// Pages whose translations are dropped together.
pub(crate) const BATCH: usize = 32;

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
    /// The same, but below 2 GiB.
    Low(u64),
    /// There, in the place of what is there.
    Exactly(u64),
    /// There, if it is free.
    There(u64),
}

/// What a range may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    pub read: bool,
    pub access: Access,
    /// Whether reading was asked for: what can be written or executed can be read all the same.
    pub is_asked: bool,
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
    pub(crate) extents: Extents,
    /// Where the kernel's code for going back from signal handlers lies; 0: nowhere.
    pub(crate) trampoline: u64,
    /// Where the vDSO lies.
    pub(crate) vdso: u64,
    /// Whether more than one thread runs in it, so that other CPUs may too.
    pub has_threads: bool,
    /// How much of it there may be.
    pub(crate) limits: Limits,
    /// Where its parts begin.
    pub(crate) layout: Layout,
    /// Flags that areas of it have had; what none has need not be looked for.
    pub(super) marks: u32,
    /// Flags of areas to come: mlockall.
    pub(super) flags_to_come: u32,
    /// Its number among all address spaces; 0: none yet.
    pub(super) number: u64,
    /// Pages in its tables.
    pub(super) present: Present,
    /// Segments that its program described.
    pub(crate) segments: Option<Arc<LocalSegments>>,
}

pub(super) const fn page_of(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// A copy of a frame, which has one user less then.
pub(super) fn copied(frame: Frame) -> Result<Frame, AccessError> {
    let copy = frames::alloc().ok_or(AccessError::NoMemory);
    if let Ok(copy) = copy {
        copy.copy_from(frame);
    }
    frames::release(frame);
    copy
}

impl Maps for Mutex<Memory> {
    fn forget_pages_of(&self, node: &Node, first: u64, end: u64) {
        self.lock().forget_pages_of(node, first, end);
    }
}

/// The page of a hint, none lower than the lowest there is; 0: no hint.
const fn hinted(hint: u64) -> u64 {
    match page_of(hint) {
        0 => 0,
        at if at < USER_LOWEST => USER_LOWEST,
        at => at,
    }
}

impl Memory {
    /// Nothing but the stack's first pages. It is on the heap from the start, and in no frame that
    /// loading a program, or copying a process, lies on top of.
    pub fn new(limits: &Limits, layout: &Layout) -> Result<Arc<Mutex<Self>>, Errno> {
        let memory = Self::empty(limits, layout)?;
        let top = layout.stack_top;
        let stack =
            Area::anonymous(top - 32 * PAGE, top, true, Access { write: true, exec: false });
        memory.lock().areas.add(Area { grows: true, ..stack })?;
        Ok(memory)
    }

    /// Nothing at all.
    #[inline(never)]
    pub(super) fn empty(limits: &Limits, layout: &Layout) -> Result<Arc<Mutex<Self>>, Errno> {
        let tables = UserTables::new().ok_or(Errno::ENOMEM)?;
        let memory = Mutex::new(Self {
            tables,
            areas: Areas::new(),
            brk_lowest: 0,
            brk: 0,
            start_stack: layout.stack_top,
            extents: Extents::default(),
            trampoline: 0,
            vdso: 0,
            has_threads: false,
            limits: *limits,
            layout: *layout,
            marks: 0,
            flags_to_come: 0,
            number: 0,
            present: Present::default(),
            segments: None,
        });
        Ok(fallible::shared(memory)?)
    }

    /// Gives it a number, above those of all others, and a place among them. What became shorter in
    /// the meantime is looked at here.
    pub(crate) fn enter(memory: &Arc<Mutex<Self>>) -> Result<(), Errno> {
        let number = spaces::next_number();
        memory.lock().number = number;
        spaces::enter(number, Arc::downgrade(memory) as Weak<dyn Maps>)?;
        memory.lock().forget_what_files_lost();
        Ok(())
    }

    /// Takes the pages of a file from one number up to another one out of the tables: also copies
    /// of them.
    fn forget_pages_of(&mut self, node: &Node, first: u64, end: u64) {
        let mut from = 0;
        while let Some(area) = self.areas.at_or_after(from) {
            let (lowest, top) = (area.lowest, area.top);
            from = top;
            let Some(source) = area.source.as_ref() else { continue };
            if !core::ptr::eq(&*source.object.node, node) {
                continue;
            }
            // Where a page with a number lies in it, or its end.
            let offset = source.offset;
            let place = |number: u64| {
                let up = number.saturating_mul(PAGE).saturating_sub(offset);
                lowest.saturating_add(up).min(top)
            };
            self.release_pages(place(first), place(end));
        }
    }

    /// The same for every file that is shorter now than its mapping is.
    fn forget_what_files_lost(&mut self) {
        let mut from = 0;
        while let Some(area) = self.areas.at_or_after(from) {
            let (lowest, top) = (area.lowest, area.top);
            from = top;
            let Some(source) = area.source.as_ref().filter(|_| area.has_file()) else { continue };
            let end =
                source.object.node.bytes().next_multiple_of(PAGE).saturating_sub(source.offset);
            let end = lowest.saturating_add(end);
            if end < top {
                self.release_pages(end, top);
            }
        }
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

    /// Writes regardless of the area's permissions: for the loader.
    pub fn write_image(&mut self, address: u64, from: &[u8]) -> Result<(), AccessError> {
        let mut done = 0;
        while done < from.len() {
            let at = address + done as u64;
            let area = self.areas.at(at).ok_or(AccessError::Address)?;
            let page = page_of(at);
            let there = self.tables.lookup(page);
            let (access, read) = (area.access, area.read);
            let (frame, access) = match (there, &area.source) {
                // A file's page is not written to: a copy is.
                (Some((frame, _)), Some(_)) if frames::refs(frame) > 1 => {
                    frames::share(frame);
                    (copied(frame)?, access)
                }
                (Some(there), _) => there,
                (None, Some(source)) => {
                    (copied(source.object.page(area.number_at(page))?)?, access)
                }
                (None, None) => (frames::alloc_zeroed().ok_or(AccessError::NoMemory)?, access),
            };
            let offset = (at % PAGE) as usize;
            let piece = (PAGE as usize - offset).min(from.len() - done);
            frame.write(offset, &from[done..done + piece]);
            // Only now, also where the page is there already: mapping is what makes instructions
            // visible to the CPUs' fetches.
            if self.tables.map(page, frame, access).is_err() {
                if there.is_none_or(|(before, _)| before != frame) {
                    frames::release(frame);
                }
                return Err(AccessError::NoMemory);
            }
            self.present.add(u64::from(there.is_none()));
            if let Some((before, _)) = there.filter(|&(before, _)| before != frame) {
                frames::release(before);
            }
            if !read {
                self.tables.forbid(page);
            }
            done += piece;
        }
        Ok(())
    }

    /// Maps the vDSO, in which the code for going back from signal handlers lies at an offset.
    pub(crate) fn map_vdso(&mut self, code: &[u8], trampoline: u64) -> Result<(), Errno> {
        let lowest = self.find_space(PAGE).ok_or(Errno::ENOMEM)?;
        let access = Access { write: false, exec: true };
        let code_area = Area::anonymous(lowest, lowest + PAGE, true, access);
        self.add(Area { flags: flag::KEPT, ..code_area })?;
        self.write_image(lowest, code)?;
        self.vdso = lowest;
        self.trampoline = lowest + trampoline;
        Ok(())
    }

    /// Adds an area; it must not overlap another.
    pub fn add(&mut self, area: Area) -> Result<(), Errno> {
        self.marks |= area.flags;
        self.areas.add(area)
    }

    /// Free address space for a mapping: below where mappings begin, and if there is none, above.
    pub(crate) fn find_space(&self, length: u64) -> Option<u64> {
        let below = self.areas.find_space(length, self.layout.mmap_top);
        below.or_else(|| self.areas.find_space(length, USER_TOP))
    }

    /// Maps a shadow stack, anywhere or at an address where nothing is, with a page below it that
    /// the kernel gives to nothing else.
    pub(crate) fn map_shadow_stack(&mut self, at: Option<u64>, length: u64) -> Result<u64, Errno> {
        let wanted = match at {
            Some(at) => Wanted::There(at),
            None => {
                let with_gap = length.checked_add(PAGE).ok_or(Errno::ENOMEM)?;
                Wanted::There(self.find_space(with_gap).ok_or(Errno::ENOMEM)? + PAGE)
            }
        };
        let access = Access { write: true, exec: false };
        let like = Area { flags: flag::SHADOW_STACK, ..Area::anonymous(0, 0, true, access) };
        self.map(wanted, length, like)
    }

    /// Where a mapping of `length` bytes goes.
    pub(crate) fn place(&self, wanted: Wanted, length: u64) -> Result<u64, Errno> {
        let top = |at: u64| at.checked_add(length).filter(|&top| top <= USER_TOP);
        match wanted {
            Wanted::Anywhere(hint) => {
                let at = hinted(hint);
                match top(at).filter(|&top| at != 0 && self.areas.is_free_with_gap(at, top)) {
                    Some(_) => Ok(at),
                    None => self.find_space(length).ok_or(Errno::ENOMEM),
                }
            }
            Wanted::Low(hint) => {
                const LOW: core::ops::Range<u64> = 0x4000_0000..0x8000_0000;
                let at = hinted(hint);
                let is_free =
                    |top| at != 0 && top <= LOW.end && self.areas.is_free_with_gap(at, top);
                match top(at).filter(|&top| is_free(top)) {
                    Some(_) => Ok(at),
                    None => {
                        let found = self.areas.find_space(length, LOW.end);
                        found.filter(|&at| at >= LOW.start).ok_or(Errno::ENOMEM)
                    }
                }
            }
            Wanted::Exactly(at) | Wanted::There(at) => {
                let top = top(at).ok_or(Errno::ENOMEM)?;
                if at < USER_LOWEST && !self.limits.may_lie_lowest {
                    return Err(Errno::EPERM);
                }
                if matches!(wanted, Wanted::There(_)) && !self.areas.is_free(at, top) {
                    return Err(Errno::EEXIST);
                }
                Ok(at)
            }
        }
    }

    /// Makes a mapping; returns where.
    pub fn map(&mut self, wanted: Wanted, length: u64, like: Area) -> Result<u64, Errno> {
        let lowest = self.place(wanted, length)?;
        let top = lowest + length;
        let area = Area { lowest, top, flags: like.flags | self.flags_to_come, ..like };
        self.check_sealed(lowest, top)?;
        self.may_have(&area, self.bytes_within(lowest, top))?;
        self.areas.prepare(lowest, top, 1)?;
        // Nothing fails from here on.
        self.areas.carve(lowest, top);
        self.release_pages(lowest, top);
        self.marks |= area.flags;
        self.areas.put_and_merge(area);
        Ok(lowest)
    }

    /// Maps a page whose tables were prepared.
    pub(crate) fn place_page(&mut self, page: u64, frame: Frame, access: Access, read: bool) {
        self.tables.map(page, frame, access).expect("its tables were prepared");
        if !read {
            self.tables.forbid(page);
        }
    }

    /// Takes a range out, whatever is in it.
    pub fn unmap(&mut self, lowest: u64, top: u64) -> Result<(), Errno> {
        self.check_sealed(lowest, top)?;
        self.areas.prepare(lowest, top, 0)?;
        self.areas.carve(lowest, top);
        self.release_pages(lowest, top);
        Ok(())
    }

    /// Gives back the pages of a range: first out of the tables, then out of every CPU's mind, then
    /// to others.
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
            self.present.now -= taken as u64;
            batch[..taken].iter().filter_map(|entry| entry.1).for_each(frames::release);
        }
    }

    /// Whether other CPUs may remember pages of it. One that runs something else has loaded other
    /// tables since, and forgot everything then; so with one thread that can only be if another
    /// process changes this memory: it cuts a file, or writes to it.
    fn is_elsewhere(&self) -> bool {
        self.has_threads || sched::are_tables_elsewhere(self.tables_root())
    }

    /// Makes every CPU that runs this process forget pages.
    pub(crate) fn flush(&self, pages: impl Iterator<Item = u64>) {
        if self.is_elsewhere() {
            paging::flush_user_pages(pages);
        } else {
            machine::arch::cpu::flush_pages(pages);
        }
    }

    /// The same for one page.
    pub(super) fn flush_one(&self, page: u64) {
        if self.is_elsewhere() {
            paging::flush_user_pages(core::iter::once(page));
        } else {
            machine::arch::cpu::flush_page(page);
        }
    }

    /// Changes what a range may be used for. Where an area may not be used for it, and where there
    /// is none, this ends with an error: what lies below has changed, as on Linux.
    pub fn protect(&mut self, lowest: u64, top: u64, rights: Rights) -> Result<(), Errno> {
        self.check_sealed(lowest, top)?;
        let (end, refused) = self.protectable(lowest, top, rights.access);
        if lowest < end {
            self.protect_mapped(lowest, end, rights)?;
        }
        refused
    }

    /// How far from `lowest` on areas may be protected anew, and what is wrong with what comes
    /// then.
    fn protectable(&self, lowest: u64, top: u64, access: Access) -> (u64, Result<(), Errno>) {
        let mut end = lowest;
        let mut data = 0;
        for area in self.areas.within(lowest, top) {
            if area.lowest > end {
                break;
            }
            if access.exec && area.has(flag::SHADOW_STACK) {
                return (end, Err(Errno::EINVAL));
            }
            if access.write
                && let Err(error) = self.may_write(area, lowest, top, &mut data)
            {
                return (end, Err(error));
            }
            end = area.top.min(top);
        }
        (end, if end < top { Err(Errno::ENOMEM) } else { Ok(()) })
    }

    /// The same for a range that is mapped whole and may be used for it.
    fn protect_mapped(
        &mut self,
        lowest: u64,
        top: u64,
        Rights { read, access, is_asked }: Rights,
    ) -> Result<(), Errno> {
        let unasked = if read && !is_asked { flag::READ_UNASKED } else { 0 };
        self.areas.change(lowest, top, |area| {
            area.read = read;
            area.access = access;
            area.flags = area.flags & !flag::READ_UNASKED | unasked;
        })?;
        let mut from = lowest;
        loop {
            let mut batch = [0; BATCH];
            let mut changed = 0;
            while changed < BATCH
                && let Some(page) = self.tables.next_mapped(from, top)
            {
                if read {
                    // A frame that others have stays read-only: the next write copies it, or finds
                    // that it need not.
                    let is_own = |frame| frames::refs(frame) == 1;
                    let is_own = self.tables.lookup(page).is_some_and(|(frame, _)| is_own(frame));
                    // A page of a shadow stack comes back to it with the next call or return.
                    let is_shadow = |area: &Area| area.has(flag::SHADOW_STACK);
                    let write =
                        access.write && is_own && !self.areas.at(page).is_some_and(is_shadow);
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
}

impl Drop for Memory {
    fn drop(&mut self) {
        // No thread runs under these tables any more, so no CPU has to forget. One that had them
        // loaded would walk what is another space's frames by then.
        let root = self.tables.root() as usize;
        let loaded = |cpu: &machine::cpus::Cpu| cpu.tables_root.load(Ordering::SeqCst) == root;
        assert!(
            !machine::cpus::online().any(loaded),
            "page tables are freed that a CPU has loaded"
        );
        FREED.fetch_add(1, Ordering::Relaxed);
        spaces::leave(self.number);
        // No page is mapped outside of an area, and between areas lie whole tables.
        let Self { areas, tables, .. } = self;
        for area in areas.iter() {
            let mut from = area.lowest;
            while let Some(page) = tables.next_mapped(from, area.top) {
                if let Some(frame) = tables.unmap(page) {
                    frames::release(frame);
                }
                from = page + PAGE;
            }
        }
    }
}
