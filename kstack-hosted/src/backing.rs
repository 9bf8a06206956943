//! What this process does for the pool's stacks: pages by `mprotect`, erasing by stores and
//! `madvise`.

use kstack_core::addr::{Addr, AddrRange, ByteSize};
use kstack_core::arena::Arena;
use kstack_core::erase::DirtyPages;
use kstack_core::pool::{Exhausted, OverLimit, Pages};
use kstack_core::record::AccountId;

/// What is done to a stack when it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Erase {
    /// It reads as zero when it is handed out again, and keeps no more memory than its topmost
    /// pages. Costs a system call each time, and page faults for owners that go deeper.
    #[default]
    Always,
    /// It is handed out again with what its former owner left there, and keeps all the memory that
    /// it ever needed.
    Never,
}

/// The address space of one pool. It is mapped without any right, and only the bodies of stacks get
/// some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    arena: Arena,
    erase: Erase,
    kept: ByteSize,
}

impl Process {
    /// # Safety
    ///
    /// 1. The arena's range is a mapping of private anonymous memory without rights, which nothing
    ///    else uses or unmaps.
    /// 2. `kept` is no more than a body.
    pub(crate) const unsafe fn new(arena: Arena, erase: Erase, kept: ByteSize) -> Self {
        Self { arena, erase, kept }
    }
}

const fn pointer(at: Addr) -> *mut libc::c_void {
    at.get() as *mut libc::c_void
}

impl Process {
    /// The whole stack that ends at `top`: the core's pool counts no more of one than it has bits
    /// for.
    const fn whole(&self, top: Addr) -> AddrRange {
        AddrRange { lowest: top.wrapping_sub(self.arena.geometry().body()), top }
    }
}

impl Pages for Process {
    fn charge(&mut self, _account: AccountId, _size: ByteSize) -> Result<(), OverLimit> {
        Ok(())
    }

    fn uncharge(&mut self, _account: AccountId, _size: ByteSize) {}

    /// The first page of a stack, its topmost, brings all others along: pools of this crate have
    /// whole bodies only, and one system call is cheaper than one per page. The memory itself comes
    /// with the first touch of each page.
    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        let kstack_core::arena::Place::Body { slot, depth } = self.arena.place(page) else {
            return Err(Exhausted::Frame);
        };
        if depth != ByteSize::PAGE {
            return Ok(());
        }
        let body = self.arena.body(slot);
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: (1) a body of this arena, by the promise of `new` used by nothing else; (2) the
        // pool maps a slot only while it is free.
        match unsafe { libc::mprotect(pointer(body.lowest), body.size().get(), rights) } {
            0 => Ok(()),
            // Too many mappings (vm.max_map_count), or no memory may be promised any more.
            _ => Err(Exhausted::Frame),
        }
    }

    fn unmap_pages(&mut self, range: AddrRange) {
        let range = self.whole(range.top);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let (at, size) = (pointer(range.lowest), range.size().get());
        // SAFETY: (1) as in `map_page`, a body that has no owner any more.
        let mapped = unsafe { libc::mmap(at, size, libc::PROT_NONE, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            // A limit on mappings forbids to merge this one with its neighbours' guards. Without
            // its memory it is as good as gone: it reads as zero, and a later `map_page` changes
            // nothing. SAFETY: (1) as above.
            unsafe { libc::madvise(at, size, libc::MADV_DONTNEED) };
        }
    }

    /// A process sees no dirty bits, so everything counts as written. The topmost pages, which
    /// nearly every owner needs, are erased by stores and stay; the others go back to the system,
    /// which is quick where they were never touched, and read as zero.
    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        if self.erase == Erase::Never {
            return 0;
        }
        let pages = plan(DirtyPages::topmost(body.size().in_pages() as u8)).count();
        let body = self.whole(body.top);
        let kept = body.top.wrapping_sub(self.kept);
        let below = kept.bytes_above(body.lowest).get();
        // SAFETY: (1) a mapped body without an owner; (2) `kept` is no more than the body, by the
        // promise of `new`.
        unsafe {
            pointer(kept).cast::<u8>().write_bytes(0, self.kept.get());
            if below != 0 && libc::madvise(pointer(body.lowest), below, libc::MADV_DONTNEED) != 0 {
                // Memory that is locked stays.
                pointer(body.lowest).cast::<u8>().write_bytes(0, below);
            }
        }
        pages
    }

    /// No translation is remembered here that the system has not taken back itself.
    fn flush_local(&mut self, _body: AddrRange) {}
}
