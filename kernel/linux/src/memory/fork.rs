//! The memory of a child: private pages shared until one of both writes, shared mappings shared for
//! good.

use super::areas::flag;
use super::space::Memory;
use crate::abi::USER_TOP;
use crate::error::Errno;
use alloc::sync::Arc;
use machine::arch::paging::Access;
use machine::memory::frames;
use threads::sched::Mutex;

impl Memory {
    /// The same memory for a child: every private page shared until one of both writes.
    pub fn fork(&mut self) -> Result<Arc<Mutex<Self>>, Errno> {
        let made = Self::empty(&self.limits, &self.layout)?;
        {
            let child = &mut *made.lock();
            child.areas = self.areas.try_clone()?;
            child.brk_lowest = self.brk_lowest;
            child.brk = self.brk;
            child.start_stack = self.start_stack;
            child.extents = self.extents;
            child.trampoline = self.trampoline;
            child.vdso = self.vdso;
            child.marks = self.marks;
            child.segments = self.segments.as_ref().map(|own| own.fork()).transpose()?;
            self.fill(child)?;
        }
        Self::enter(&made)?;
        Ok(made)
    }

    /// Gives a child its pages.
    #[inline(never)]
    fn fill(&mut self, child: &mut Self) -> Result<(), Errno> {
        if self.marks & (flag::LOCKED | flag::NOT_INHERITED) != 0 {
            child.become_inherited()?;
        }
        let shared = self.share_with(child);
        // The parent's writable translations must go, once; also those of a child that will not be.
        threads::sched::forget_user_translations();
        if self.has_threads {
            machine::arch::smp::flush_others();
        }
        shared
    }

    /// Lets go of what a child does not get, and of what is locked.
    fn become_inherited(&mut self) -> Result<(), Errno> {
        let mut from = 0;
        while let Some(area) = self.areas.first_within(from, USER_TOP) {
            let (lowest, top, is_inherited) =
                (area.lowest, area.top, !area.has(flag::NOT_INHERITED));
            if !is_inherited {
                self.areas.prepare(lowest, top, 0)?;
                self.areas.carve(lowest, top);
            }
            from = top;
        }
        let locked = flag::LOCKED | flag::LOCKED_ON_FAULT;
        self.areas.change_what_is_there(0, USER_TOP, |area| area.flags &= !locked)
    }

    /// Shares every page that is present. Those of shared mappings the child finds where they are.
    fn share_with(&mut self, child: &mut Self) -> Result<(), Errno> {
        let not_copied = flag::SHARED | flag::NOT_INHERITED | flag::WIPED_ON_FORK;
        let mut from = 0;
        while let Some(area) = self.areas.first_within(from, USER_TOP) {
            let (read, top) = (area.read, area.top);
            if area.has(not_copied) {
                from = top;
                continue;
            }
            from = area.lowest;
            while let Some(page) = self.tables.next_mapped(from, top) {
                from = page + super::areas::PAGE;
                let Some((frame, access)) = self.tables.lookup(page) else { continue };
                let shared = Access { write: false, exec: access.exec };
                child.tables.map(page, frame, shared)?;
                child.present.add(1);
                frames::share(frame);
                if read {
                    self.tables.protect(page, shared);
                } else {
                    child.tables.forbid(page);
                }
            }
            from = top;
        }
        Ok(())
    }
}
