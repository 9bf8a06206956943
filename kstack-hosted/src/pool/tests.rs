//! What a pool keeps and gives back, with periods that end when a test says so.

use super::*;
use kstack_core::pool::Lock;

const STACKS: u32 = 300;
/// More than one release may unmap at a time, twice.
const MANY: u32 = 3 * MAX_SHRINK;
/// As many as a thread must return at once for some to go to the depot.
const A_FLUSH: u32 = 2 * kstack_core::cache::CACHE_STACKS as u32;

fn pool() -> StackPool {
    StackPool::builder().stack_size(ByteSize::PAGE).max_stacks(STACKS).build().expect("a pool")
}

/// Has the period begun an hour before, or after: it is over, or far from it.
fn set_period(pool: StackPool, is_over: bool) {
    let hour = Duration::from_secs(3600);
    let now = Instant::now();
    // A clock that began less than an hour ago has no such moment: a period is shorter.
    let past = now.checked_sub(hour).or_else(|| now.checked_sub(PERIOD)).expect("a moment");
    *pool.0.period_began.lock().expect("whole") = if is_over { past } else { now + hour };
}

/// Takes and returns as many stacks.
fn use_of(pool: StackPool, stacks: u32) {
    let all: Vec<_> = (0..stacks).map(|_| pool.stack().expect("a stack")).collect();
    drop(all);
}

fn target(pool: StackPool) -> u32 {
    pool.0.shared.with(|shared| shared.depot().target())
}

#[test]
fn n5_stacks_that_were_needed_once_go_back_to_the_system_in_time() {
    let pool = pool();
    set_period(pool, false);
    use_of(pool, MANY);
    assert_eq!((pool.census().parked, target(pool)), (MANY, 16), "the period is not over");
    // All that were needed in a period are enough in the next.
    set_period(pool, true);
    use_of(pool, A_FLUSH);
    assert_eq!(pool.census().parked, MANY);
    assert!(target(pool) >= MANY - A_FLUSH);
    // From then on what is enough gets less, as long as so few are in use.
    let mut parked = vec![MANY];
    for _ in 0..30 {
        set_period(pool, true);
        use_of(pool, A_FLUSH);
        // A period lasts: what comes back in it unmaps nothing.
        let within = pool.census().parked;
        use_of(pool, A_FLUSH);
        assert_eq!(pool.census().parked, within);
        parked.push(within);
    }
    assert!(parked.is_sorted_by(|before, after| after <= before), "{parked:?}");
    assert!(*parked.last().expect("one") <= 2 * A_FLUSH, "{parked:?}");
    let census = pool.census();
    assert_eq!((census.parked + census.free, census.live), (STACKS, 0));
    assert_eq!(census.mapped_pages, u64::from(census.parked));
}

#[test]
fn n5_one_return_unmaps_a_limited_number_of_stacks() {
    let pool = pool();
    set_period(pool, false);
    use_of(pool, MANY);
    // Long without use: nothing of it is wanted.
    for _ in 0..40 {
        pool.0.shared.end_period();
    }
    set_period(pool, true);
    let all: Vec<_> = (0..A_FLUSH).map(|_| pool.stack().expect("a stack")).collect();
    let (parked, mut unmapped) = (pool.census().free, Vec::new());
    let mut free = parked;
    for stack in all {
        drop(stack);
        unmapped.push(pool.census().free - free);
        free = pool.census().free;
    }
    assert_eq!(unmapped.iter().max(), Some(&MAX_SHRINK), "{unmapped:?}");
    assert_eq!(unmapped.iter().sum::<u32>(), MAX_SHRINK, "once in a period: {unmapped:?}");
}

#[test]
fn n5_a_thread_that_ends_leaves_its_stacks_to_the_others() {
    let pool = pool();
    std::thread::spawn(move || {
        use_of(pool, 3);
        assert_eq!(pool.reclaim(u32::MAX), 0, "they are the thread's");
    })
    .join()
    .expect("it ends well");
    assert_eq!((pool.census().parked, pool.0.shared.with(|shared| shared.depot().count())), (3, 3));
    // None is mapped anew for another thread.
    use_of(pool, 3);
    assert_eq!(pool.census().parked, 3);
}

#[test]
fn n5_every_pool_is_found_by_its_addresses() {
    let (one, other) = (pool(), pool());
    for pool in [one, other] {
        let middle = pool.range().lowest.wrapping_add(ByteSize::new(pool.range().size().get() / 2));
        let found: Vec<_> = all().filter(|found| found.range().contains(middle)).collect();
        assert_eq!(found, [pool]);
    }
}
