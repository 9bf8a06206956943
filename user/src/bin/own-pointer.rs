//! Keeps a thread pointer of its own, and so does its child: what it leads to is always the own
//! word, across system calls and time slices. Status 0 if it was. Run several at a time.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::{arch, must};

user::entry!(main);

static WORDS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Looks at the word again and again, mostly after giving the processor away.
fn keeps(word: &'static AtomicUsize, value: usize) -> bool {
    word.store(value, Ordering::Relaxed);
    arch::point_to(word);
    (0..300_usize).all(|round| {
        if round.is_multiple_of(10) {
            // Long enough for a tick now and then.
            (0..20_000).for_each(|_| core::hint::spin_loop());
        } else {
            user::yield_now();
        }
        arch::pointed_at() == value
    })
}

fn main() -> i32 {
    let drawn = arch::counter() as usize | 1;
    must!(keeps(&WORDS[0], drawn), "the thread pointer was another one's");
    let child = user::fork();
    if child == 0 {
        let inherited = arch::pointed_at() == drawn;
        user::exit(if inherited && keeps(&WORDS[1], drawn ^ 0x5555_0000) { 0 } else { 1 });
    }
    must!(keeps(&WORDS[0], drawn ^ 0x2222), "the thread pointer was another one's, beside a child");
    must!(user::wait() == Ok(0), "the child's thread pointer was another one's");
    0
}
