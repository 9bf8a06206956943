//! Stacks larger than what the core keeps dirtiness of, which is 128 KiB: whole in every respect.

use kstack_hosted::{ByteSize, Coroutine, Erase, PoolError, ResumeError, StackError, StackPool};
use std::hint::black_box;

/// A pool of stacks of this size, whose coroutines survive.
fn pool(size: ByteSize, erase: Erase) -> StackPool {
    let builder = StackPool::builder().stack_size(size).max_stacks(8).erase(erase);
    // SAFETY: (1) nothing refers to the frames of these tests' coroutines; (2) they overflow in
    // recursions of their own.
    unsafe { builder.survive_overflows() }.build().expect("a pool")
}

/// Recurses until SP is within a frame of `lowest`; how deep it came. Never, for 0.
#[inline(never)]
fn down_to(lowest: usize, depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if (frame.as_ptr() as usize).saturating_sub(lowest) < 8192 {
        return depth;
    }
    black_box(down_to(lowest, depth + 1) + black_box(frame)[0] - depth)
}

#[test]
fn n5_a_large_stack_is_usable_to_its_lowest_page_and_its_overflow_is_named() {
    for kib in [256, 1024, 8192] {
        let pool = pool(ByteSize::kib(kib), Erase::Always);
        assert_eq!(pool.geometry().body(), ByteSize::kib(kib));
        let mut fits =
            Coroutine::<usize, (), u64>::on(pool, |_, lowest| down_to(lowest, 0)).expect("a stack");
        let stack = fits.stack().expect("it waits");
        assert_eq!(stack.size(), ByteSize::kib(kib));
        let deep = fits.resume(stack.lowest.get()).expect("it fits").returned();
        assert!(deep.expect("it returns") as usize > (kib - 16) * 1024 / 4096, "{deep:?}");
        let mut deeper =
            Coroutine::<(), (), u64>::on(pool, |_, ()| down_to(0, 0)).expect("a stack");
        let stack = deeper.stack().expect("it waits");
        let Err(ResumeError::Overflow(overflow)) = deeper.resume(()) else {
            panic!("it did not overflow");
        };
        assert_eq!((overflow.coroutine(), overflow.stack().range), (deeper.id(), stack));
        assert!(overflow.distance() <= pool.geometry().guard_below());
        let text = overflow.to_string();
        assert!(text.contains(&format!("{stack:?} of {kib} KiB")), "{text}");
        assert_eq!(pool.census().live, 0);
    }
}

#[test]
fn n5_a_large_stack_is_erased_whole() {
    let pool = pool(ByteSize::kib(512), Erase::Always);
    let range = {
        let stack = pool.stack().expect("a stack");
        let range = stack.range();
        for address in (range.lowest.get()..range.top.get()).step_by(1024) {
            // SAFETY: (1) the stack is this test's.
            unsafe { (address as *mut u64).write_volatile(u64::MAX) };
        }
        range
    };
    let again = pool.stack().expect("a stack");
    assert_eq!(again.range(), range, "last back, first out");
    for address in (range.lowest.get()..range.top.get()).step_by(8) {
        // SAFETY: (1) the stack is this test's.
        assert_eq!(unsafe { (address as *const u64).read_volatile() }, 0, "{address:#x}");
    }
}

#[test]
fn n5_large_stacks_are_counted_and_unmapped_whole() {
    let pool = pool(ByteSize::kib(256), Erase::Never);
    let all: Vec<_> = (0..8).map(|_| pool.stack().expect("a stack")).collect();
    let lowest = all.iter().map(|stack| stack.range().lowest.get()).collect::<Vec<_>>();
    assert_eq!((pool.census().mapped_pages, pool.census().used_pages), (8 * 64, 8 * 64));
    assert!(lowest.iter().all(|&address| is_readable(address)));
    // Another thread's cache goes to the depot with it.
    std::thread::spawn(move || drop(all)).join().expect("it ends well");
    assert_eq!(pool.census().parked, 8);
    assert_eq!(pool.reclaim(8), 8);
    assert_eq!((pool.census().mapped_pages, pool.census().free), (0, 8));
    assert!(!lowest.iter().any(|&address| is_readable(address)));
}

/// Whether a byte can be read, asked of the system.
fn is_readable(address: usize) -> bool {
    let mut ends = [0; 2];
    // SAFETY: (1) `ends` has room for two; (2) the system reads the byte, or refuses.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let written = libc::write(ends[1], address as *const libc::c_void, 1);
        libc::close(ends[0]);
        libc::close(ends[1]);
        written == 1
    }
}

#[test]
fn n5_a_closure_larger_than_128_kib_has_its_place_on_a_large_stack() {
    let pool = pool(ByteSize::kib(1024), Erase::Always);
    // Built on this thread's stack, which has room for some copies.
    let body = [3_u8; 200 * 1024];
    let mut coroutine = Coroutine::<u8, u8, usize>::on(pool, move |yielder, add| {
        let again = yielder.suspend(body[body.len() - 1] + add);
        body.iter().map(|&byte| usize::from(byte)).sum::<usize>() + usize::from(again)
    })
    .expect("a stack");
    assert_eq!(coroutine.resume(4).expect("sound").yielded(), Some(7));
    assert_eq!(coroutine.resume(5).expect("sound").returned(), Some(3 * 200 * 1024 + 5));
}

#[test]
fn n5_a_closure_that_does_not_fit_twice_is_refused_and_one_that_does_is_called() {
    fn runs<const BYTES: usize>(pool: StackPool) -> Result<usize, StackError> {
        let body = [1_u8; BYTES];
        let mut coroutine =
            Coroutine::<(), (), usize>::on(pool, move |_, ()| black_box(&body).len())?;
        Ok(coroutine.resume(()).expect("it fits").returned().expect("it returns"))
    }
    let pool = pool(ByteSize::kib(64), Erase::Always);
    assert_eq!(runs::<{ 20 * 1024 }>(pool), Ok(20 * 1024));
    assert_eq!(runs::<{ 28 * 1024 }>(pool), Ok(28 * 1024));
    assert_eq!(runs::<{ 32 * 1024 }>(pool), Err(StackError::ClosureTooLarge));
    assert_eq!(runs::<{ 100 * 1024 }>(pool), Err(StackError::ClosureTooLarge));
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_sizes_beyond_128_kib_are_rounded_up_to_whole_128_kib() {
    for (asked, given) in [(127, 128), (128, 128), (129, 256), (256, 256), (300, 384), (640, 640)] {
        let pool = StackPool::builder().stack_size(ByteSize::kib(asked)).max_stacks(1).build();
        let geometry = pool.expect("a pool").geometry();
        assert_eq!(geometry.body(), ByteSize::kib(given), "{asked}");
        assert!(geometry.guard_below() >= ByteSize::kib(60));
        let stack = pool.expect("a pool").stack().expect("a stack").range();
        assert_eq!(stack.size(), ByteSize::kib(given));
    }
}

#[test]
fn n5_sizes_that_there_are_no_addresses_for_are_refused() {
    for size in [usize::MAX, usize::MAX / 2 + 2, 1 << 62] {
        let refused = StackPool::builder().stack_size(ByteSize::new(size)).max_stacks(1).build();
        assert!(
            matches!(refused, Err(PoolError::BadSize | PoolError::NoAddressSpace)),
            "{refused:?}"
        );
    }
    let refused = StackPool::builder().stack_size(ByteSize::ZERO).build();
    assert_eq!(refused.err(), Some(PoolError::BadSize));
}
