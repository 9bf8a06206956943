//! Each thread's cache of stacks, one per pool; and what the threads share.

use crate::pool::{MAX_POOLS, StackPool, all, next_thread_number, whole};
use kstack_core::cache::CpuCache;
use kstack_core::pool::{Lock, PoolShared};
use std::cell::RefCell;
use std::sync::Mutex;

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

struct Caches([Option<CpuCache>; MAX_POOLS]);

thread_local! {
    static CACHES: RefCell<Caches> = const { RefCell::new(Caches([const { None }; MAX_POOLS])) };
}

impl Drop for Caches {
    /// The thread ends: its stacks go to the depots.
    fn drop(&mut self) {
        for pool in all() {
            if let Some(cache) = &mut self.0[pool.0.number] {
                pool.drain(cache);
            }
        }
    }
}

/// Runs `f` with this thread's cache of the pool with this number. A thread that is past its end
/// has none left: it uses one for the moment.
#[inline]
pub(crate) fn with<R>(pool: StackPool, number: usize, f: impl FnOnce(&mut CpuCache) -> R) -> R {
    let mut f = Some(f);
    let done = CACHES.try_with(|caches| {
        let Ok(mut caches) = caches.try_borrow_mut() else { return None };
        let cache = caches.0[number].get_or_insert_with(|| CpuCache::new(next_thread_number()));
        f.take().map(|f| f(cache))
    });
    if let Ok(Some(result)) = done {
        return result;
    }
    let mut cache = CpuCache::new(next_thread_number());
    let Some(f) = f else { unreachable!("it is taken only where its result is returned") };
    let result = f(&mut cache);
    pool.drain(&mut cache);
    result
}
