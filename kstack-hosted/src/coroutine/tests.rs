//! Coroutines at the edges of what their stacks have room for.

use super::*;

/// The largest closure that a stack of a page takes.
const LARGEST: usize = (4096 - 16 - LEAST_LEFT - size_of::<Control>()) / 2;

fn runs<const BYTES: usize>(pool: StackPool) -> Result<u64, StackError> {
    let body = [1_u8; BYTES];
    let mut coroutine = Coroutine::<u64, (), u64>::on(pool, move |_, add| {
        // Next to nothing, by reference: the closure has been moved for the last time.
        add + u64::from(*std::hint::black_box(&body[BYTES - 1]))
    })?;
    Ok(coroutine.resume(5).expect("it fits").returned().expect("it returns"))
}

#[test]
fn n5_the_largest_closure_that_fits_is_taken_and_called_and_the_next_is_refused() {
    let builder = StackPool::builder().stack_size(ByteSize::PAGE).max_stacks(2);
    let pool = builder.build().expect("a pool");
    // A closure of bytes alone has no padding.
    assert_eq!(runs::<LARGEST>(pool), Ok(6));
    assert_eq!(runs::<{ LARGEST + 1 }>(pool), Err(StackError::ClosureTooLarge));
    assert_eq!(pool.census().live, 0);
}
