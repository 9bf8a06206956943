//! Each thread's cache of stacks, one per pool; and what the threads share.

use kstack_core::addr::CpuId;
use kstack_core::cache::CpuCache;
use kstack_core::pool::{Lock, PoolShared};
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

/// Pools that a process may make. They last as long as the process.
pub const MAX_POOLS: usize = 16;

/// What a pool's threads share, behind a lock.
pub(crate) struct Shared(Mutex<PoolShared>);

impl Shared {
    pub(crate) const fn new(shared: PoolShared) -> Self {
        Self(Mutex::new(shared))
    }

    pub(crate) fn end_period(&self) {
        whole(self.0.lock()).end_period();
    }
}

impl Lock for Shared {
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        let mut shared = whole(self.0.lock());
        f(&mut shared)
    }
}

/// A pool, as a cache of its stacks knows it.
pub(crate) trait Drains: Sync {
    /// Gives all that a cache has to the depot.
    fn drain(&self, cache: &mut CpuCache);
}

/// This thread's cache of a pool.
struct Cache {
    stacks: CpuCache,
    pool: &'static dyn Drains,
}

struct Caches([Option<Cache>; MAX_POOLS]);

thread_local! {
    static CACHES: RefCell<Caches> = const { RefCell::new(Caches([const { None }; MAX_POOLS])) };
}

impl Drop for Caches {
    /// The thread ends: its stacks go to the depots.
    fn drop(&mut self) {
        for cache in self.0.iter_mut().flatten() {
            cache.pool.drain(&mut cache.stacks);
        }
    }
}

/// Runs `f` with this thread's cache of the pool with this number. A thread that is past its end
/// has none left: it uses one for the moment.
#[inline]
pub(crate) fn with<R>(
    pool: &'static dyn Drains,
    number: usize,
    f: impl FnOnce(&mut CpuCache) -> R,
) -> R {
    let mut f = Some(f);
    let done = CACHES.try_with(|caches| {
        let Ok(mut caches) = caches.try_borrow_mut() else { return None };
        let fresh = || Cache { stacks: CpuCache::new(EVERY_THREAD), pool };
        let cache = caches.0[number].get_or_insert_with(fresh);
        f.take().map(|f| f(&mut cache.stacks))
    });
    if let Ok(Some(result)) = done {
        return result;
    }
    let mut cache = CpuCache::new(EVERY_THREAD);
    let Some(f) = f else { unreachable!("it is taken only where its result is returned") };
    let result = f(&mut cache);
    pool.drain(&mut cache);
    result
}

/// The CPU that the core's caches and records take every thread for: they tell CPUs apart for the
/// sake of translations that must be dropped, which is the system's affair here.
const EVERY_THREAD: CpuId = CpuId::new(0);

/// A lock whose holder cannot panic half-way: what it guards is whole.
pub(crate) fn whole<T>(guard: Result<T, PoisonError<T>>) -> T {
    guard.unwrap_or_else(PoisonError::into_inner)
}
