//! The page tables of a process.
//!
//! How many levels there are, and what is in them from the start, is each tree's: `leaf`, `find`,
//! `fill_user` and `free_user` of its `walk`.

use super::page_entry::{DIRTY, NO_EXEC, PRESENT, USER, WRITE, bits, leaf_frame};
use super::shadow;
use crate::arch::any::flush;
use crate::arch::any::paging::{Access, NoMemory, next_mapped};
use crate::arch::cpu;
use crate::arch::walk::{absent_bytes, fill_user, find, free_user, leaf};
use crate::memory::frames::{self, Frame};
use core::sync::atomic::Ordering;

/// One process's tables. The kernel part is that of all address spaces; the user part is freed with
/// it, table pages only: the frames that leaves map are freed by the code that mapped them.
#[derive(Debug)]
pub struct UserTables {
    root: u64,
}

impl UserTables {
    /// Tables with an empty user part, but for what every program has there.
    pub fn new() -> Option<Self> {
        let tables = Self { root: frames::alloc_zeroed()?.addr() };
        fill_user(tables.root)?;
        Some(tables)
    }

    /// The physical address to load.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps a page of the user part; replaces what was there.
    pub fn map(&mut self, address: u64, frame: Frame, access: Access) -> Result<(), NoMemory> {
        leaf(self.root, address, PRESENT | WRITE | USER)?
            .store(frame.addr() | PRESENT | USER | bits(access), Ordering::Release);
        Ok(())
    }

    /// Takes a page out; the caller flushes and then owns the frame again.
    pub fn unmap(&mut self, address: u64) -> Option<Frame> {
        leaf_frame(find(self.root, address)?.swap(0, Ordering::AcqRel))
    }

    /// What is mapped at an address.
    pub fn lookup(&self, address: u64) -> Option<(Frame, Access)> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        // A page of a shadow stack is written, too: by calls. A CPU without may set the dirty bit
        // of a read-only entry, through an older translation.
        let writes = if shadow::is_there() { WRITE | DIRTY } else { WRITE };
        let access = Access { write: value & writes != 0, exec: value & NO_EXEC == 0 };
        leaf_frame(value).map(|frame| (frame, access))
    }

    /// The frame of a page that is there for this use: a program's own access would not fault.
    #[inline]
    pub fn usable(&self, address: u64, write: bool) -> Option<Frame> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        // A shadow stack's page has no WRITE.
        let wanted = PRESENT | USER | if write { WRITE } else { 0 };
        if value & wanted == wanted { leaf_frame(value) } else { None }
    }

    /// Changes what a mapped page may be used for, after [`UserTables::forbid`] too; the caller
    /// flushes.
    pub fn protect(&mut self, address: u64, access: Access) {
        if let Some(leaf) = find(self.root, address) {
            let value = leaf.load(Ordering::Acquire);
            if value & PRESENT != 0 {
                let dirty = if access.write { 0 } else { DIRTY };
                let kept = value & !(WRITE | NO_EXEC | dirty);
                leaf.store(kept | USER | bits(access), Ordering::Release);
            }
        }
    }

    /// Maps a page of a shadow stack, or makes one that is mapped that: calls, returns and the
    /// instructions for it write it, programs read it, and nothing else. Where there are none, it
    /// is read-only. The caller flushes.
    pub fn map_shadow(&mut self, address: u64, frame: Frame) -> Result<(), NoMemory> {
        let dirty = if shadow::is_there() { DIRTY } else { 0 };
        leaf(self.root, address, PRESENT | WRITE | USER)?
            .store(frame.addr() | PRESENT | USER | NO_EXEC | dirty, Ordering::Release);
        Ok(())
    }

    /// Makes the tables for a page, so that mapping it cannot fail.
    pub fn prepare(&mut self, address: u64) -> Result<(), NoMemory> {
        leaf(self.root, address, PRESENT | WRITE | USER).map(|_| ())
    }

    /// The first mapped page at or above `from` and below `top`.
    pub fn next_mapped(&self, from: u64, top: u64) -> Option<u64> {
        next_mapped(from, top, |address| absent_bytes(self.root, address))
    }

    /// Keeps a mapped page's frame and refuses every access of user mode, until
    /// [`UserTables::protect`]; the caller flushes.
    pub fn forbid(&mut self, address: u64) {
        if let Some(leaf) = find(self.root, address) {
            let value = leaf.load(Ordering::Acquire);
            if value & PRESENT != 0 {
                leaf.store(value & !(USER | WRITE | DIRTY) | NO_EXEC, Ordering::Release);
            }
        }
    }
}

impl Drop for UserTables {
    fn drop(&mut self) {
        free_user(self.root);
    }
}

/// Drops every CPU's cached translations of user pages that may have been used.
pub fn flush_user_pages(pages: impl Iterator<Item = u64>) {
    cpu::flush_pages(pages);
    flush::flush_others(core::hint::spin_loop);
}
