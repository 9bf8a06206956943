//! Pools as their users see them: names, equality, errors; and the memory that they keep, give back
//! and cannot get.

#[expect(dead_code, reason = "other tests use the rest of it")]
mod child;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod system;

use child::in_child;
use kstack_hosted::{
    AddrRange, ByteSize, Coroutine, Erase, MAX_POOLS, PoolError, ResumeError, StackError, StackPool,
};
use std::error::Error;
use std::sync::Barrier;
use system::{limited, pages_with_memory};

/// A pool of this test's own, of 64 KiB.
fn pool(erase: Erase) -> StackPool {
    let builder = StackPool::builder().max_stacks(8).erase(erase).kept(ByteSize::kib(8));
    builder.build().expect("a pool")
}

/// Writes every word of a stack.
fn fill(range: AddrRange) {
    for address in (range.lowest.get()..range.top.get()).step_by(8) {
        // SAFETY: (1) the callers have the stack.
        unsafe { (address as *mut u64).write_volatile(u64::MAX) };
    }
}

fn is_zero(range: AddrRange) -> bool {
    let mut words = (range.lowest.get()..range.top.get()).step_by(8);
    // SAFETY: (1) the callers have the stack.
    words.all(|address| unsafe { (address as *const u64).read_volatile() } == 0)
}

#[test]
fn n5_pools_are_told_apart_and_copies_of_one_are_the_same() {
    let (one, other) = (pool(Erase::Always), pool(Erase::Always));
    let copy = one;
    assert!(one == copy && one != other);
    let (texts, range) = ([one, copy, other].map(|pool| format!("{pool:?}")), one.range());
    assert!(texts[0] == texts[1] && texts[0] != texts[2], "{texts:?}");
    assert!(texts[0].starts_with("StackPool(") && texts[0].ends_with(&format!(" in {range:?})")));
    let stack = one.stack().expect("a stack");
    assert!(stack.pool() == one && stack.pool() != other);
    assert_eq!(format!("{stack:?}"), format!("Stack({:?})", stack.range()));
}

#[test]
fn n5_a_pools_range_has_all_of_its_stacks_and_guards_and_nothing_else() {
    let pool = pool(Erase::Never);
    let (range, geometry) = (pool.range(), pool.geometry());
    assert_eq!(range.size().get(), 8 * geometry.stride().get());
    let all: Vec<_> = (0..8).map(|_| pool.stack().expect("a stack")).collect();
    let lowest = all.iter().map(|stack| stack.range().lowest).min().expect("eight");
    let top = all.iter().map(|stack| stack.range().top).max().expect("eight");
    assert_eq!(range.lowest, lowest.wrapping_sub(geometry.guard_below()));
    assert_eq!(range.top, top.wrapping_add(geometry.guard_above()));
}

#[test]
fn n5_every_error_says_in_a_sentence_what_is_wrong() {
    let pools = [
        (PoolError::BadSize, "at least one stack of at least one page"),
        (PoolError::NoAddressSpace, "no range of addresses"),
        (PoolError::TooManyPools, "as many pools as it may"),
        (PoolError::PageSize, "not of 4 KiB"),
        (PoolError::ShadowStack, "hardware shadow stack is on"),
    ];
    for (error, words) in pools {
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(StackError::from(error).to_string(), error.to_string());
    }
    let stacks = [
        (StackError::AllInUse, "all stacks of the pool are in use"),
        (StackError::NoMemory, "no memory or no mapping"),
        (StackError::ClosureTooLarge, "does not fit twice"),
    ];
    for (error, words) in stacks {
        assert!(error.to_string().contains(words), "{error}");
    }
    let error: Box<dyn Error> = Box::new(ResumeError::Ended);
    assert_eq!(error.to_string(), "the coroutine has ended");
    let words = "no memory for this thread's signal stack";
    assert!(ResumeError::NoSignalStack.to_string().contains(words));
}

#[test]
fn n5_pools_that_cannot_be_are_refused_by_their_reason() {
    let none = StackPool::builder().max_stacks(0).build();
    assert_eq!(none, Err(PoolError::BadSize));
    let much = StackPool::builder().stack_size(ByteSize::new(1 << 40)).max_stacks(1 << 20).build();
    assert_eq!(much, Err(PoolError::NoAddressSpace));
}

#[test]
fn n5_a_process_makes_as_many_pools_as_it_may_whoever_asks() {
    in_child("n5_a_process_makes_as_many_pools_as_it_may_whoever_asks", || {
        let at_once = &*Box::leak(Box::new(Barrier::new(2 * MAX_POOLS)));
        let threads: Vec<_> = (0..2 * MAX_POOLS)
            .map(|_| {
                std::thread::spawn(|| {
                    at_once.wait();
                    StackPool::builder().max_stacks(1).build()
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().expect("it ends well"));
        let (made, refused): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        assert_eq!((made.len(), refused.len()), (MAX_POOLS, MAX_POOLS));
        assert!(refused.iter().all(|refused| *refused == Err(PoolError::TooManyPools)));
        // Each has its own stacks.
        let stacks: Vec<_> =
            made.iter().map(|pool| pool.expect("made").stack().expect("a stack")).collect();
        for (index, stack) in stacks.iter().enumerate() {
            let lower = &stacks[..index];
            assert!(lower.iter().all(|other| !other.range().contains(stack.range().lowest)));
        }
        assert_eq!(StackPool::shared(), Err(PoolError::TooManyPools));
        let refused = Coroutine::<(), (), ()>::new(|_, ()| ());
        assert_eq!(refused.err(), Some(StackError::Pool(PoolError::TooManyPools)));
        std::process::exit(7);
    })
    .exits_with(7, "");
}

#[test]
fn n5_a_parked_stack_keeps_its_topmost_pages_and_no_more() {
    let pool = pool(Erase::Always);
    let stack = pool.stack().expect("a stack");
    let range = stack.range();
    fill(range);
    assert_eq!(pages_with_memory(range), 16);
    drop(stack);
    assert_eq!(pages_with_memory(range), 2);
    let kept = AddrRange { lowest: range.top.wrapping_sub(ByteSize::kib(8)), ..range };
    assert_eq!(pages_with_memory(kept), 2);
}

#[test]
fn n5_a_stack_whose_memory_is_locked_reads_as_zero_when_it_is_used_again() {
    let pool = pool(Erase::Always);
    let stack = pool.stack().expect("a stack");
    let range = stack.range();
    let (at, size) = (range.lowest.get() as *const libc::c_void, range.size().get());
    // SAFETY: (1) changes no content.
    assert_eq!(unsafe { libc::mlock(at, size) }, 0, "64 KiB may be locked");
    fill(range);
    drop(stack);
    // The system takes no memory back that is locked.
    assert_eq!(pages_with_memory(range), 16);
    let again = pool.stack().expect("a stack");
    assert_eq!(again.range(), range, "last back, first out");
    assert!(is_zero(range));
    // SAFETY: (1) as above.
    assert_eq!(unsafe { libc::munlock(at, size) }, 0);
}

#[test]
fn n5_reclaimed_stacks_have_no_memory_and_may_be_used_again() {
    let pool = pool(Erase::Never);
    let range = parked_in_the_depot(pool);
    assert_eq!((pool.reclaim(1), pages_with_memory(range)), (1, 0));
    let again = pool.stack().expect("a stack");
    assert!(again.range() == range && is_zero(range));
}

/// A stack of a pool that does not erase, with memory everywhere, that no thread keeps.
fn parked_in_the_depot(pool: StackPool) -> AddrRange {
    let user = std::thread::spawn(move || {
        let stack = pool.stack().expect("a stack");
        fill(stack.range());
        stack.range()
    });
    let range = user.join().expect("it ends well");
    assert_eq!(pages_with_memory(range), 16);
    range
}

#[test]
fn n5_stacks_are_reclaimed_also_where_the_system_allows_no_mapping() {
    in_child("n5_stacks_are_reclaimed_also_where_the_system_allows_no_mapping", || {
        let pool = pool(Erase::Never);
        let range = parked_in_the_depot(pool);
        let mut reclaimed = 0;
        if limited(libc::RLIMIT_AS, 0, || reclaimed = pool.reclaim(1)) {
            assert_eq!((reclaimed, pages_with_memory(range)), (1, 0));
            let again = pool.stack().expect("a stack");
            assert!(again.range() == range && is_zero(range));
        }
        std::process::exit(8);
    })
    .exits_with(8, "");
}

#[test]
fn n5_without_memory_a_stack_is_refused_and_nothing_is_lost() {
    in_child("n5_without_memory_a_stack_is_refused_and_nothing_is_lost", || {
        let pool = pool(Erase::Always);
        let mut refused = Vec::with_capacity(20);
        // A page: with a limit of 0 the system counts otherwise.
        let is_limited = limited(libc::RLIMIT_DATA, 4096, || {
            refused.extend((0..20).map(|_| pool.stack().err()));
        });
        assert!(!is_limited || refused == [Some(StackError::NoMemory); 20]);
        assert_eq!(pool.census().free, 8);
        let all: Vec<_> = (0..8).map(|_| pool.stack().expect("a stack")).collect();
        all.iter().for_each(|stack| fill(stack.range()));
        assert_eq!(pool.stack().err(), Some(StackError::AllInUse));
        std::process::exit(9);
    })
    .exits_with(9, "");
}
