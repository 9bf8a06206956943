//! Pools of guarded stacks.

use crate::backing::{Erase, Process};
use crate::caches::{self, Drains, MAX_POOLS, Shared, whole};
use crate::error::{PoolError, StackError};
use core::fmt;
use core::mem::ManuallyDrop;
use kstack_core::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::erase::{DirtyPages, ErasePolicy};
use kstack_core::geometry::Geometry;
use kstack_core::pool::{Census, LiveStack, Pool, ReleaseOutcome, Request};
use kstack_core::record::SlotRecord;
use kstack_core::stacks::StackId;
use kstack_core::stacks::ThreadId;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How often the stock of parked stacks is adapted to how many were needed.
const PERIOD: Duration = Duration::from_secs(1);
/// Stacks that one release unmaps at most.
const MAX_SHRINK: u32 = 64;

/// What [`StackPool`] is a handle of.
pub(crate) struct Inner {
    pub(crate) number: usize,
    /// Over the part of each stack that the core counts, see [`counted`].
    pub(crate) pool: Pool<'static>,
    /// With whole stacks.
    arena: Arena,
    shared: Shared,
    process: Process,
    survives: bool,
    period_began: Mutex<Instant>,
}

impl Drains for Inner {
    fn drain(&self, cache: &mut kstack_core::cache::CpuCache) {
        self.pool.drain_cpu(cache, &self.shared);
    }
}

/// The pools, for the handler of overflows; a pool is in here before its first stack is handed out.
static POOLS: [AtomicPtr<Inner>; MAX_POOLS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_POOLS];
/// How many there are. Held while one is made, so that no addresses are taken for one too many.
static MADE: Mutex<usize> = Mutex::new(0);

/// All pools there are. Takes no lock.
pub(crate) fn all() -> impl Iterator<Item = StackPool> {
    POOLS.iter().filter_map(|pool| {
        // SAFETY: (1) null, or a leaked box that `build` stored.
        unsafe { pool.load(Ordering::Acquire).as_ref() }.map(StackPool)
    })
}

/// What a pool is to be like. Made by [`StackPool::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct Builder {
    stack_size: ByteSize,
    guard_size: ByteSize,
    max_stacks: u32,
    erase: Erase,
    kept: ByteSize,
    survives: bool,
}

impl Builder {
    /// Usable bytes of each stack: at least one page. Rounded up to whole pages, and beyond 128 KiB
    /// to whole 128 KiB. 64 KiB unless said otherwise.
    pub const fn stack_size(mut self, size: ByteSize) -> Self {
        self.stack_size = size;
        self
    }

    /// The least width of the guard below each stack, rounded up to whole pages. It costs
    /// addresses, not memory. 60 KiB unless said otherwise. Code that is compiled without stack
    /// probes, as C libraries often are, must have no frame larger than this.
    pub const fn guard_size(mut self, size: ByteSize) -> Self {
        self.guard_size = size;
        self
    }

    /// Stacks that can be in use at the same time. 8192 unless said otherwise. Each takes addresses
    /// for itself and its guards from the start, and two of the mappings that `vm.max_map_count`
    /// allows a process (65530 by default) while it is in use or parked.
    pub const fn max_stacks(mut self, stacks: u32) -> Self {
        self.max_stacks = stacks;
        self
    }

    /// What is done to a stack when it comes back.
    pub const fn erase(mut self, erase: Erase) -> Self {
        self.erase = erase;
        self
    }

    /// How much of a parked stack keeps its memory with [`Erase::Always`], counted from the top and
    /// rounded up to whole pages. 4 KiB unless said otherwise. More saves page faults to owners
    /// that go deeper, and costs its erasing each time.
    pub const fn kept(mut self, size: ByteSize) -> Self {
        self.kept = size;
        self
    }

    /// Makes overflows of the pool's coroutines errors of the coroutine: it ends there, its resumer
    /// gets [`ResumeError::Overflow`](crate::ResumeError::Overflow), and the process continues.
    /// Otherwise the process is told which stack overflowed and dies of the signal.
    ///
    /// The frames on the stack are cut off as they stand: no destructor runs, and what they own
    /// leaks. The stack is used again.
    ///
    /// # Safety
    ///
    /// An overflow can happen at any call and any access to the stack, also in the midst of code
    /// that is not the coroutine's own. For every coroutine of the pool that overflows, and
    /// wherever it does:
    ///
    /// 1. nothing outside of its stack refers to its frames: no thread of a `std::thread::scope` in
    ///    it, no value pinned there that is in a list elsewhere;
    /// 2. no memory that the rest of the process reaches afterwards is left half changed. What lies
    ///    behind a lock that stays locked is not reached, but a thread that waits for that lock
    ///    waits without end: the allocator's are such locks, so leave the calls to it room on the
    ///    stack.
    pub const unsafe fn survive_overflows(mut self) -> Self {
        self.survives = true;
        self
    }

    /// Reserves the addresses and makes the pool. It lasts as long as the process.
    pub fn build(self) -> Result<StackPool, PoolError> {
        // SAFETY: (1) asks for a number only.
        if unsafe { libc::sysconf(libc::_SC_PAGESIZE) } != PAGE_BYTES as libc::c_long {
            return Err(PoolError::PageSize);
        }
        if shadow_stack_is_on() {
            return Err(PoolError::ShadowStack);
        }
        let mut made = whole(MADE.lock());
        let number = *made;
        let place = POOLS.get(number).ok_or(PoolError::TooManyPools)?;
        let geometry = geometry(self.stack_size, self.guard_size)?;
        let kept = whole_pages(self.kept).ok_or(PoolError::BadSize)?;
        let kept = kept.min(geometry.body());
        let arena = reserve(geometry, self.max_stacks)?;
        let records = (0..self.max_stacks).map(|_| SlotRecord::new()).collect::<Vec<_>>();
        let counted = counted(&arena).ok_or(PoolError::BadSize)?;
        let parts = Pool::new(counted, Vec::leak(records), ErasePolicy::Full);
        let (pool, shared) = parts.map_err(|_| PoolError::BadSize)?;
        // SAFETY: (1) `reserve` made the mapping for this pool; (2) it was limited above.
        let process = unsafe { Process::new(arena, self.erase, kept) };
        let inner: &'static Inner = Box::leak(Box::new(Inner {
            number,
            pool,
            arena,
            shared: Shared::new(shared),
            process,
            survives: self.survives,
            period_began: Mutex::new(Instant::now()),
        }));
        place.store(core::ptr::from_ref(inner).cast_mut(), Ordering::Release);
        *made += 1;
        Ok(StackPool(inner))
    }
}

/// Stacks of one size, with guards on both sides, in one range of addresses that is theirs alone.
///
/// A handle: copies are the same pool. See the [crate's page](crate) for a picture.
#[derive(Clone, Copy)]
pub struct StackPool(pub(crate) &'static Inner);

impl PartialEq for StackPool {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for StackPool {}

impl fmt::Debug for StackPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StackPool({} in {:?})", self.0.number, self.arena().range())
    }
}

impl StackPool {
    /// A pool of your own.
    pub const fn builder() -> Builder {
        Builder {
            stack_size: ByteSize::kib(64),
            guard_size: ByteSize::kib(60),
            max_stacks: 8192,
            erase: Erase::Always,
            kept: ByteSize::PAGE,
            survives: false,
        }
    }

    /// The pool that [`Coroutine::new`](crate::Coroutine::new) takes stacks from: one as
    /// [`StackPool::builder`] has it, made when it is first asked for.
    pub fn shared() -> Result<Self, PoolError> {
        static SHARED: OnceLock<Result<StackPool, PoolError>> = OnceLock::new();
        *SHARED.get_or_init(|| Self::builder().build())
    }

    /// A stack: from this thread's cache, from the depot of all threads, or mapped anew.
    #[inline]
    pub fn stack(self) -> Result<Stack, StackError> {
        self.stack_for(ThreadId::NONE)
    }

    /// Not inlined, since it uses a thread-local value: see [`crate::arch`].
    #[inline(never)]
    pub(crate) fn stack_for(self, owner: ThreadId) -> Result<Stack, StackError> {
        let Inner { pool, shared, process, number, .. } = self.0;
        let live = caches::with(self.0, *number, |cache| {
            pool.acquire(&Request::thread(owner), cache, shared, &mut { *process })
        })?;
        let top = self.arena().body(live.slot()).top;
        Ok(Stack { live: ManuallyDrop::new(live), top, pool: self })
    }

    /// Not inlined, as [`Self::stack_for`].
    #[inline(never)]
    fn take_back(self, live: LiveStack) {
        let Inner { pool, shared, process, number, .. } = self.0;
        let outcome = caches::with(self.0, *number, |cache| {
            pool.release(live, cache, shared, &mut { *process })
        });
        if matches!(outcome, ReleaseOutcome::Flushed { .. }) {
            self.adapt();
        }
    }

    /// Ends the period if it is time, and unmaps some of what is too much then. What was enough in
    /// one period may be too much in the next, so that this does not wait for an excess.
    #[cold]
    fn adapt(self) {
        let Ok(mut began) = self.0.period_began.try_lock() else { return };
        if began.elapsed() < PERIOD {
            return;
        }
        *began = Instant::now();
        drop(began);
        self.0.shared.end_period();
        self.0.pool.shrink(MAX_SHRINK, &self.0.shared, &mut { self.0.process });
    }

    /// Unmaps up to `max` parked stacks of the depot, whether they are likely to be needed or not.
    /// Returns how many. Stacks in the caches of threads stay.
    pub fn reclaim(self, max: u32) -> u32 {
        self.0.pool.reclaim(max, &self.0.shared, &mut { self.0.process })
    }

    /// How many stacks are where.
    pub fn census(self) -> Census {
        let mut census = self.0.pool.census();
        // Of each stack all is mapped, or nothing.
        let counted = self.0.pool.arena().geometry().body().get();
        let times = (self.geometry().body().get() / counted) as u64;
        census.mapped_pages *= times;
        census.used_pages *= times;
        census
    }

    /// The addresses of all stacks and guards.
    pub fn range(self) -> AddrRange {
        self.arena().range()
    }

    /// Sizes of stacks and guards.
    pub fn geometry(self) -> Geometry {
        self.arena().geometry()
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        &self.0.arena
    }

    /// The stack in this slot, if it is in use.
    pub(crate) fn stack_in(self, slot: SlotIndex) -> Option<StackId> {
        let mut stack = self.0.pool.record(slot).stack(self.0.pool.arena(), slot)?;
        stack.range = self.arena().body(slot);
        Some(stack)
    }

    pub(crate) fn survives(self) -> bool {
        self.0.survives
    }
}

/// A stack in use. Goes back to its pool when it is dropped.
///
/// [`Coroutine`](crate::Coroutine)s have their own; take one by hand to run something else on it.
/// Every byte reads as zero at first, with [`Erase::Always`].
pub struct Stack {
    live: ManuallyDrop<LiveStack>,
    top: Addr,
    pool: StackPool,
}

impl Stack {
    /// Its bounds. A stack pointer starts at `top`. The memory is there and may be written for as
    /// long as this value lives.
    #[inline]
    pub fn range(&self) -> AddrRange {
        let size = self.pool.arena().geometry().body();
        AddrRange { lowest: self.top.wrapping_sub(size), top: self.top }
    }

    /// The pool it belongs to.
    #[inline]
    pub fn pool(&self) -> StackPool {
        self.pool
    }

    #[inline(always)]
    pub(crate) fn top(&self) -> Addr {
        self.top
    }
}

impl Drop for Stack {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: (1) taken once, here.
        let live = unsafe { ManuallyDrop::take(&mut self.live) };
        self.pool.take_back(live);
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({:?})", self.range())
    }
}

fn whole_pages(size: ByteSize) -> Option<ByteSize> {
    size.get().checked_next_multiple_of(PAGE_BYTES).map(ByteSize::new)
}

/// The most that the core counts of a stack: it keeps a bit per page.
const MAX_COUNTED: ByteSize = ByteSize::pages(DirtyPages::MAX);

/// The same slots as the core's pool sees them: of a stack that is larger than what it counts, the
/// topmost part alone. [`Process`] maps, unmaps and erases whole stacks all the same, and what asks
/// where an address lies asks the arena itself.
fn counted(arena: &Arena) -> Option<Arena> {
    let geometry = arena.geometry();
    let body = geometry.body().min(MAX_COUNTED);
    let below = geometry.stride().get() - geometry.guard_above().get() - body.get();
    let align = geometry.align().min(MAX_COUNTED);
    let counted = Geometry::new(body, ByteSize::new(below), geometry.guard_above(), align).ok()?;
    Arena::new(arena.range().lowest, arena.slots(), counted).ok()
}

/// The smallest slots that have what was asked for: bodies aligned to the next power of two, the
/// rest of the stride is guard.
fn geometry(stack: ByteSize, guard: ByteSize) -> Result<Geometry, PoolError> {
    let mut body = whole_pages(stack).ok_or(PoolError::BadSize)?;
    if body > MAX_COUNTED {
        // So that the part which the core counts is aligned to its size.
        let whole = body.get().checked_next_multiple_of(MAX_COUNTED.get());
        body = whole.map(ByteSize::new).ok_or(PoolError::BadSize)?;
    }
    let guard = whole_pages(guard).ok_or(PoolError::BadSize)?;
    let above = ByteSize::PAGE;
    let align = body.get().checked_next_power_of_two().ok_or(PoolError::BadSize)?;
    let least = body
        .checked_plus(guard.max(ByteSize::PAGE))
        .and_then(|size| size.checked_plus(above))
        .ok_or(PoolError::BadSize)?;
    let stride = least.get().checked_next_multiple_of(align).ok_or(PoolError::BadSize)?;
    let below = ByteSize::new(stride - body.get() - above.get());
    Geometry::new(body, below, above, ByteSize::new(align)).map_err(|_| PoolError::BadSize)
}

/// Address space for an arena, without rights.
fn reserve(geometry: Geometry, stacks: u32) -> Result<Arena, PoolError> {
    let stride = geometry.stride().get();
    let size = stride
        .checked_mul(stacks as usize)
        .and_then(|size| size.checked_add(geometry.align().get()))
        .ok_or(PoolError::NoAddressSpace)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: (1) a new mapping, where the system likes.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(PoolError::NoAddressSpace);
    }
    // A huge page would give a stack of 64 KiB two megabytes of memory. Without that choice in the
    // system there are none. SAFETY: (1) the mapping made above.
    unsafe { libc::madvise(at, size, libc::MADV_NOHUGEPAGE) };
    let made = Arena::lowest_from(Addr::new(at as usize), geometry)
        .and_then(|lowest| Arena::new(lowest, stacks, geometry).ok());
    made.ok_or_else(|| {
        // SAFETY: (1) the mapping made above, which nothing uses.
        unsafe { libc::munmap(at, size) };
        PoolError::BadSize
    })
}

/// Whether this thread has a hardware shadow stack (x86 CET, arm64 GCS), which a switch would leave
/// behind.
fn shadow_stack_is_on() -> bool {
    let mut status = 0_u64;
    #[cfg(target_arch = "x86_64")]
    {
        const ARCH_SHSTK_STATUS: libc::c_int = 0x5005;
        // SAFETY: (1) writes one word; systems that do not know it refuse.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SHSTK_STATUS, &raw mut status) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        const PR_GET_SHADOW_STACK_STATUS: libc::c_int = 74;
        // SAFETY: (1) as above.
        unsafe { libc::prctl(PR_GET_SHADOW_STACK_STATUS, &raw mut status, 0, 0, 0) };
    }
    status & 1 != 0
}

#[cfg(test)]
mod tests;
