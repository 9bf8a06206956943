//! What a kernel does for its stacks: maps pages and unmaps them. Everything else has an answer
//! that is right everywhere, and that a kernel replaces where it knows a faster one.

use crate::target;
use core::ptr::write_bytes;
use kstack_core::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
use kstack_core::cache::CpuCache;
use kstack_core::erase::DirtyPages;
use kstack_core::pool::{self, Exhausted, OverLimit};
use kstack_core::record::AccountId;

/// The pages behind stacks, and who else may be in the way.
///
/// The methods are called with page addresses inside the [`Stacks`](crate::Stacks) that the backing
/// was made for, and with no others.
///
/// # Safety
///
/// An implementation promises that
///
/// 1. after [`map_page`](Backing::map_page) has said `Ok`, a frame that nothing else uses is at
///    that address, readable and writable, on every CPU and in every address space the kernel runs
///    in, until it is unmapped;
/// 2. [`unmap_pages`](Backing::unmap_pages) returns when no CPU can reach the frames through these
///    addresses any more;
/// 3. after [`erase`](Backing::erase) every byte of the body that was written since it was mapped
///    or last erased reads as zero; where that rests on dirty bits,
///    [`flush_local`](Backing::flush_local) drops this CPU's TLB entries for the body (the default
///    of `erase` needs no dirty bits);
/// 4. [`with_cache`](Backing::with_cache) gives each CPU a cache of its own, which no other pool
///    has, for as long as the closure runs, and never twice at the same time; the default wants
///    that the CPU has loaded its block ([`CpuLocal::load`](crate::local::CpuLocal::load)), and
///    that no other `Stacks` leaves it to the default;
/// 5. while the closure of [`without_interrupts`](Backing::without_interrupts) runs, nothing
///    interrupts this CPU that itself asks for a stack or lets go of one.
pub unsafe trait Backing: Sync + Sized + 'static {
    /// Whether [`map_page`](Backing::map_page) takes frames that are zeroed already. Otherwise each
    /// new page is zeroed here, through its own mapping.
    const FRAMES_ARE_ZEROED: bool = false;

    /// Whether a CPU may fault on a page that was absent after it has been mapped. Those of RISC-V
    /// and Arm may, unless they have an extension that says otherwise (Svvptc, FEAT_ETS2); x86's
    /// may not.
    const ABSENT_IS_REMEMBERED: bool = target::ABSENT_IS_REMEMBERED;

    /// Puts a frame at `page`, writable, present on every CPU and in every address space when it
    /// returns. On failure nothing is mapped at `page`; page tables that were made for it may stay
    /// (the crate `x86_64`'s mapper leaves them). Called where waiting is allowed.
    fn map_page(&self, page: Addr) -> Result<(), Exhausted>;

    /// Removes the mapping of `range`, makes every CPU forget it, then gives the frames back.
    /// Called where waiting is allowed.
    fn unmap_pages(&self, range: AddrRange);

    /// For [`Stacks::contiguous`](crate::Stacks::contiguous): frames that follow each other in
    /// physical memory, `pages` of them, zeroed, whose top is the top of a body of the arena; by
    /// their addresses there. It is a call of its own, so that a backing may serve both kinds.
    /// Called where waiting is allowed, without the pool's lock. By default there are none.
    ///
    /// What promise 1 says of mapped pages holds for these, until
    /// [`give_run`](Backing::give_run).
    fn take_run(&self, _pages: u8) -> Result<AddrRange, Exhausted> {
        Err(Exhausted::Frame)
    }

    /// The frames of a contiguous stack are the allocator's again. Called where waiting is allowed.
    fn give_run(&self, _stack: AddrRange) {}

    /// The memory node of the CPU this runs on. Asked only after
    /// [`Stacks::divide`](crate::Stacks::divide).
    fn node(&self) -> u32 {
        0
    }

    /// The memory node of a contiguous stack whose lowest byte is there.
    fn node_of(&self, _lowest: Addr) -> u32 {
        0
    }

    /// Counts `size` towards `account`. By default nothing is counted.
    fn charge(&self, _account: AccountId, _size: ByteSize) -> Result<(), OverLimit> {
        Ok(())
    }

    /// Ends a charge. Called where stacks are released, so possibly in an interrupt handler.
    fn uncharge(&self, _account: AccountId, _size: ByteSize) {}

    /// Makes what was written of a whole `body` zero again; returns how many pages that took.
    /// Interrupts are off.
    ///
    /// 1. Which pages were written? For each of them: clears the dirty bit, *then* drops this CPU's
    ///    TLB entry (see [`crate::erase`] for the order).
    /// 2. Asks `plan` which pages to erase, given those.
    /// 3. Zeroes them through another mapping, so that their dirty bits stay clear.
    ///
    /// By default it is not known what was written: all pages are zeroed, through the stack's own
    /// mapping.
    fn erase(&self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        let all = DirtyPages::topmost(body.size().in_pages() as u8);
        let pages = plan(all);
        for page in pages.addresses(body.top) {
            // SAFETY: (1) a page of the body, which is mapped and writable, by promise 1; nothing
            // runs on it any more.
            unsafe { zero(page) };
        }
        pages.count()
    }

    /// Drops this CPU's TLB entries for `body`.
    ///
    /// By default it does nothing, except where a CPU may remember that a page was absent
    /// (`sfence.vma` on RISC-V): no dirty bits are read by the default of
    /// [`erase`](Backing::erase), so that an entry which is older than they are does no harm.
    #[inline(always)]
    fn flush_local(&self, body: AddrRange) {
        target::forget_absence(body);
    }

    /// Writes [`END_WORD`](crate::end_word::END_WORD) to `end`, the lowest word of a stack that is
    /// mapped and that nothing runs on.
    ///
    /// By default through the stack's own mapping, which this CPU may remember as absent
    /// ([`ABSENT_IS_REMEMBERED`](Backing::ABSENT_IS_REMEMBERED)). That makes its lowest page dirty:
    /// a kernel that erases by dirty bits, and has another mapping of the frame, writes through
    /// that one.
    #[cfg(feature = "entry")]
    #[inline]
    fn mark_end(&self, end: Addr) {
        if Self::ABSENT_IS_REMEMBERED {
            // Its page may have been mapped a moment ago.
            let page = Addr::new(end.get() & !(PAGE_BYTES - 1));
            self.flush_local(AddrRange::sized(page, ByteSize::PAGE));
        }
        // SAFETY: (1) a word of a stack that is mapped and writable, by promise 1; nothing runs on
        // it.
        unsafe { (end.get() as *mut usize).write_volatile(crate::end_word::END_WORD) };
    }

    /// Stacks that are more than enough wait to be unmapped: whatever calls
    /// [`Stacks::shrink`](crate::Stacks::shrink) in this kernel should run soon. Called where
    /// stacks are released, so possibly in an interrupt handler. By default they stay mapped.
    fn on_surplus(&self) {}

    /// What a CPU does while another one has the pool's lock, over and over, with interrupts off.
    /// The lock is held for a few instructions, and never while pages are unmapped.
    #[inline(always)]
    fn relax(&self) {
        core::hint::spin_loop();
    }

    /// Runs `body` with interrupts off on this CPU.
    #[cfg(feature = "entry")]
    #[inline(always)]
    fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R {
        // SAFETY: (1) this CPU has loaded its block, by promise 4.
        unsafe { crate::interrupts::without(|_| body()) }
    }

    /// Runs `body` with interrupts off on this CPU.
    #[cfg(not(feature = "entry"))]
    fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R;

    /// Runs `body` on the cache of the CPU that this runs on, with interrupts off.
    #[cfg(feature = "entry")]
    #[inline(always)]
    fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        self.without_interrupts(|| {
            // SAFETY: (1) this CPU has loaded its block, by promise 4; (2) interrupts are off, and
            // the pool, which `body` belongs to, asks for the cache once at a time; no other pool
            // does.
            unsafe { crate::local::CpuLocal::this().with_cache(body) }
        })
    }

    /// Runs `body` on the cache of the CPU that this runs on, with interrupts off.
    #[cfg(not(feature = "entry"))]
    fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R;
}

/// # Safety
///
/// 1. `page` is the address of a mapped, writable page that nothing else uses.
#[inline]
unsafe fn zero(page: Addr) {
    // SAFETY: (1) by the caller's promise.
    unsafe { write_bytes(page.get() as *mut u8, 0, PAGE_BYTES) };
}

/// The pool's questions, answered by a backing.
#[derive(Debug)]
pub(crate) struct Answers<'b, B>(pub(crate) &'b B);

impl<B: Backing> pool::CpuLocal for Answers<'_, B> {
    #[inline(always)]
    fn with_cache<R>(&mut self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        self.0.with_cache(body)
    }
}

impl<B: Backing> pool::Pages for Answers<'_, B> {
    const ABSENT_IS_REMEMBERED: bool = B::ABSENT_IS_REMEMBERED;

    #[inline(always)]
    fn charge(&mut self, account: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        self.0.charge(account, size)
    }

    #[inline(always)]
    fn uncharge(&mut self, account: AccountId, size: ByteSize) {
        self.0.uncharge(account, size);
    }

    #[inline]
    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        self.0.map_page(page)?;
        if !B::FRAMES_ARE_ZEROED {
            if B::ABSENT_IS_REMEMBERED {
                self.0.flush_local(AddrRange::sized(page, ByteSize::PAGE));
            }
            // SAFETY: (1) mapped a moment ago, and not handed out yet.
            unsafe { zero(page) };
        }
        Ok(())
    }

    #[inline]
    fn unmap_pages(&mut self, range: AddrRange) {
        self.0.unmap_pages(range);
    }

    #[inline]
    fn take_run(&mut self, pages: u8) -> Result<AddrRange, Exhausted> {
        self.0.take_run(pages)
    }

    #[inline]
    fn give_run(&mut self, stack: AddrRange) {
        self.0.give_run(stack);
    }

    #[inline(always)]
    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        self.0.erase(body, plan)
    }

    #[inline(always)]
    fn flush_local(&mut self, body: AddrRange) {
        self.0.flush_local(body);
    }

    #[cfg(feature = "entry")]
    #[inline]
    fn mark_end(&mut self, lowest: Addr) {
        self.0.mark_end(crate::end_word::at(lowest));
    }
}
