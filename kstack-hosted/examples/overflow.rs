//! An overflow that the process survives: an evaluator of nested input that is as deep as its
//! author likes.
//!
//! `RUSTFLAGS="-C force-frame-pointers=yes" cargo run -p kstack-hosted --example overflow`

use kstack_hosted::{ByteSize, Coroutine, ResumeError, Resumed, StackPool};
use std::error::Error;
use std::hint::black_box;

/// How deep parentheses are nested, by recursion.
#[inline(never)]
fn depth(input: &[u8]) -> usize {
    match black_box(input) {
        [b'(', rest @ ..] => 1 + depth(rest),
        _ => 0,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let builder = StackPool::builder().stack_size(ByteSize::kib(16));
    // SAFETY: (1) nothing refers to the frames of `depth`; (2) it changes nothing.
    let pool = unsafe { builder.survive_overflows() }.build()?;
    let mut survived = 0;
    for nesting in [3, 1_000_000, 5] {
        let input = "(".repeat(nesting);
        let mut task = Coroutine::<(), (), usize>::on(pool, move |_, ()| depth(input.as_bytes()))?;
        match task.resume(()) {
            Ok(Resumed::Returned(depth)) => println!("nested {depth} deep"),
            Ok(Resumed::Yielded(())) => unreachable!("it never yields"),
            Err(ResumeError::Overflow(overflow)) => {
                println!("input refused: {overflow}");
                survived += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(survived, 1);
    Ok(())
}
