//! What a null system call costs, in instructions: prints the median of many `getppid`.
//!
//! In the emulator's counting mode the machine's counter advances by one per instruction. Two
//! readings apart cost something themselves; that is measured first and subtracted, as it was for
//! Linux's figure.

#![no_std]
#![no_main]

use user::arch::{counter, raw_getppid};

const ROUNDS: usize = 1001;

user::entry!(main);

fn main() -> i32 {
    // A kernel that refuses the call would make it cheap: it must really answer.
    if user::getppid() < 0 {
        return 1;
    }
    let empty = median(|| {});
    let call = median(raw_getppid);
    let Some(cost) = call.checked_sub(empty) else { return 2 };
    let mut digits = [0; 21];
    match user::write_all(1, decimal(cost, &mut digits)) {
        Ok(()) => 0,
        Err(_) => 3,
    }
}

/// The median of the instructions from one reading to the next with the work between.
#[inline(always)]
fn median(work: impl Fn()) -> u64 {
    let mut spans = [0; ROUNDS];
    for span in &mut spans {
        let before = counter();
        work();
        // A counter that began again in between gives a huge span, which is not the median.
        *span = counter().wrapping_sub(before);
    }
    spans.sort_unstable();
    spans[ROUNDS / 2]
}

/// A number in decimal with a newline.
fn decimal(mut number: u64, digits: &mut [u8; 21]) -> &[u8] {
    let mut at = digits.len() - 1;
    digits[at] = b'\n';
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
