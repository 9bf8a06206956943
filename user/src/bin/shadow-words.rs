//! Words on shadow stacks, where a processor has them: `shadow-words NAME`, each part in a process
//! of its own. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{nr, shadow_pointer, sigreturn_above, store_shadow, switch_shadow};
use user::calls::call;
use user::holds;
use user::memory::{self, PAGE};
use user::must;
use user::shadow::*;
use user::signals::*;

user::entry!(main);

static SEEN: AtomicUsize = AtomicUsize::new(0);
static PLACE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(signal: usize, _info: usize, _context: usize) {
    let seen = SEEN.fetch_add(1, Ordering::SeqCst);
    depth(30);
    if seen < 3 {
        // Nested: the signal is not blocked.
        NUMBERS.get().raise(signal);
    }
}

extern "C" fn signals(_: usize) -> usize {
    let n = NUMBERS.get();
    holds!(n.handle(SIGUSR1, handler, SA_NODEFER, 0), "no handler");
    for turn in 1..50 {
        let before = shadow_pointer();
        SEEN.store(if turn % 7 == 0 { 0 } else { 10 }, Ordering::SeqCst);
        n.raise(SIGUSR1);
        holds!(shadow_pointer() == before, "a handler leaves the pointer elsewhere");
        holds!(SEEN.load(Ordering::SeqCst) == if turn % 7 == 0 { 4 } else { 11 }, "handlers");
        depth(turn);
    }
    0
}

/// Where the frame of the handler that runs says its shadow stack's pointer is: behind the head of
/// the record.
fn pointer_in_frame(context: usize) -> Option<usize> {
    const RECORDS: usize = 464;
    const MAGIC: u32 = 0x4743_5300;
    let mut at = context + RECORDS;
    for _ in 0..16 {
        let (magic, bytes) = (u32_at(at), u32_at(at + 4));
        if magic == MAGIC {
            return Some(at + 8);
        }
        if bytes == 0 {
            return None;
        }
        at += bytes as usize;
    }
    None
}

/// What a frame of arm64 names is moved.
extern "C" fn moving_handler(_signal: usize, _info: usize, context: usize) {
    let Some(at) = pointer_in_frame(context) else { user::exit(3) };
    match SEEN.load(Ordering::SeqCst) {
        // The first time nothing; then to where no word of the kernel's is, above and below.
        0 => {
            PLACE.store(word_at(at), Ordering::SeqCst);
            let word = memory::read(word_at(at));
            if word != word_at(at) & !(PAGE - 1) || word_at(at) != shadow_pointer() + 8 {
                user::exit(4);
            }
        }
        1 => set_word_at(at, word_at(at) + 8),
        2 => set_word_at(at, word_at(at) - 8),
        // To the word of a handler that has ended: used up.
        3 => set_word_at(at, PLACE.load(Ordering::SeqCst)),
        _ => set_word_at(at, 0),
    }
}

/// The highest bit: a signal pushed the word.
const PUSHED: usize = 1 << (usize::BITS - 1);
/// A bit that no address of a program has.
const NOT_CANONICAL: usize = PUSHED >> 1;
/// The first address beyond what a program has.
const TOP: usize = 0x7fff_ffff_f000_u64 as usize;

/// The words of x86_64 are changed, by a program that may store to them, or the pointer is moved.
extern "C" fn storing_handler(_signal: usize, _info: usize, context: usize) {
    let at = shadow_pointer() + 8;
    let pointer = at + 8;
    match SEEN.load(Ordering::SeqCst) {
        0 if memory::read(at) != pointer | PUSHED || memory::read(at - 8) == 0 => user::exit(4),
        0 => {}
        1 => store_shadow(at, pointer),
        2 => store_shadow(at, (pointer + 4) | PUSHED),
        3 => store_shadow(at, NOT_CANONICAL | PUSHED),
        4 => store_shadow(at, TOP | PUSHED),
        // What the handler returns to is still there, or the word was passed.
        5 => sigreturn_above(context, 0),
        6 => sigreturn_above(context, 2),
        _ => {
            // At the top of a shadow stack: the word is ordinary memory's.
            switch_shadow(PLACE.load(Ordering::SeqCst));
            sigreturn_above(context, 0);
        }
    }
}

/// A shadow stack with a word to switch by at its end, and above it a page where the program wrote
/// what a signal would push.
fn stack_below_a_word() -> usize {
    let lowest = memory::map(0, 8 * PAGE, memory::WRITE, 0) as usize;
    call(nr::MUNMAP, [lowest, 6 * PAGE]);
    memory::write(lowest + 6 * PAGE, shadow_pointer() | PUSHED);
    map_shadow(lowest + 5 * PAGE, PAGE, SET_WORD);
    lowest + 6 * PAGE - 8
}

extern "C" fn forges(_: usize) -> usize {
    let n = NUMBERS.get();
    let handler = if IS_ARM64 { moving_handler } else { storing_handler };
    holds!(n.handle(SIGUSR1, handler, 0, 0), "no handler");
    if !IS_ARM64 && SEEN.load(Ordering::SeqCst) == BEYOND {
        PLACE.store(stack_below_a_word(), Ordering::SeqCst);
    }
    let kind = SEEN.swap(0, Ordering::SeqCst);
    n.raise(SIGUSR1);
    if kind == 3 {
        deeper(64);
    }
    SEEN.store(kind, Ordering::SeqCst);
    n.raise(SIGUSR1);
    0
}

/// A handler that ends deep below leaves its word, used up, where nothing writes afterwards.
#[inline(never)]
fn deeper(left: usize) {
    if left == 0 {
        NUMBERS.get().raise(SIGUSR1);
    } else {
        deeper(left - 1);
    }
    core::hint::black_box(left);
}

/// The kind of forgery that reads beyond a shadow stack.
const BEYOND: usize = 7;

/// Fills whatever is free above a shadow stack page by page, until a page is below it: not where it
/// ends, but a page further down.
extern "C" fn others_keep_away(_: usize) -> usize {
    const STACK: usize = 4 * PAGE;
    let room = memory::map(0, 64 * PAGE, memory::WRITE, 0) as usize;
    holds!(call(nr::MUNMAP, [room, 64 * PAGE]) == 0, "munmap");
    let stack = room + 40 * PAGE;
    holds!(map_shadow(stack, STACK, 0) == stack as isize, "a shadow stack there");
    for _ in 0..200 {
        let page = memory::map(0, PAGE, memory::WRITE, 0);
        holds!(!memory::is_error(page), "a page");
        let page = page as usize;
        holds!(!(stack - PAGE..stack + STACK).contains(&page), "a page in the gap");
        if page < stack {
            holds!(page == stack - 2 * PAGE, "a gap of another size");
            return 0;
        }
    }
    1
}

/// Places shadow stacks until one is below a page: none lies directly on something else.
extern "C" fn they_keep_away(_: usize) -> usize {
    let room = memory::map(0, 64 * PAGE, memory::WRITE, 0) as usize;
    holds!(call(nr::MUNMAP, [room, 63 * PAGE]) == 0, "munmap");
    let page = room + 10 * PAGE;
    holds!(memory::map(page, PAGE, memory::WRITE, memory::FIXED) == page as isize, "a page there");
    for _ in 0..200 {
        let stack = map_shadow(0, PAGE, 0);
        holds!(!memory::is_error(stack), "map_shadow_stack");
        holds!(stack as usize != page + PAGE, "a shadow stack directly on a page");
        let mut is_there = 0_u8;
        let below = [stack as usize - PAGE, PAGE, (&raw mut is_there).addr()];
        holds!(call(nr::MINCORE, below) == ENOMEM, "something is below a shadow stack");
        if (stack as usize) < page {
            // However many it leaves behind.
            return (AS_EXPECTED >> 8) as usize;
        }
    }
    1
}

/// Calls until a shadow stack of one page is full: what is below is not mapped, and as no word for
/// a handler fits there, the process ends.
extern "C" fn overflows(_: usize) -> usize {
    let below = map_shadow(0, PAGE, SET_WORD) as usize;
    let above = map_shadow(0, PAGE, SET_WORD) as usize;
    holds!(above.abs_diff(below) >= 2 * PAGE, "two without a gap");
    switch_shadow(above.max(below) + PAGE - 8);
    depth(PAGE / 8 + 8);
    1
}

fn main() -> i32 {
    if !begin() {
        return 100;
    }
    if !are_there() {
        // How it is refused, `shadow-stacks` tells.
        must!(shadow_stacks() == 0, "one without a shadow stack has one");
        return 0;
    }
    match user::only_argument() {
        Some(b"signals") => {
            must!(in_child(ON, signals) == 0, "signals");
            let mode = if IS_ARM64 { ON } else { ON | WITH_STORES };
            SEEN.store(0, Ordering::SeqCst);
            must!(in_child(mode, forges) == 0, "words as they are");
            let kinds = if IS_ARM64 { 4 } else { BEYOND };
            for kind in 1..=kinds {
                SEEN.store(kind, Ordering::SeqCst);
                let status = in_child(mode, forges);
                must!(
                    status & 0x7f == SIGSEGV as i32 || status == (1 + FROM_KERNEL) << 8,
                    "a forged word"
                );
            }
            0
        }
        Some(b"gaps") => {
            leaves_behind(1);
            must!(in_child(ON, others_keep_away) == 0, "what is placed below a shadow stack");
            must!(in_child(ON, overflows) & 0x7f == SIGSEGV as i32, "a shadow stack that is full");
            must!(in_child(ON, they_keep_away) == AS_EXPECTED, "where shadow stacks go");
            0
        }
        _ => 99,
    }
}
