//! A stack overflow, on purpose.

use core::hint::black_box;

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(level: u64) -> u64 {
    let frame = black_box([level; 16]);
    deeper(level + 1) + frame[0]
}

pub fn overflow() {
    black_box(deeper(0));
}
