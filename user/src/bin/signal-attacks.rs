//! Handlers and frames at their limits: `signal-attacks NAME`. `overflows`: a stack that overflows
//! a thousand times, in four threads at once, and lives on by jumping out of the handler. `forged`:
//! frames that a program wrote itself or changed; status 0 if the kernel took from them what it
//! may.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, CONTEXT, THREAD_FLAGS};
use user::calls::{call, ended_within, sleep_milliseconds};
use user::draw::Draw;
use user::memory::{self, PAGE};
use user::must;
use user::signals::*;

user::entry!(main);

static NUMBERS: Shared = Shared::new();

/// Overflows of each.
const TIMES: usize = 1000;
const THREADS: usize = 4;
const STACK_BYTES: usize = 16 * PAGE;
const ALTERNATE_BYTES: usize = 4 * PAGE;

/// What each thread has: its stack, the alternate one, where it jumps to, and how often it did.
struct Own {
    lowest: AtomicUsize,
    alternate: AtomicUsize,
    place: AtomicUsize,
    survived: AtomicUsize,
}

static OWN: [Own; THREADS] = [const {
    Own {
        lowest: AtomicUsize::new(0),
        alternate: AtomicUsize::new(0),
        place: AtomicUsize::new(0),
        survived: AtomicUsize::new(0),
    }
}; THREADS];
static NEXT: Counter = Counter::new();
static DONE: Counter = Counter::new();
static WRONG: Counter = Counter::new();

/// The thread whose alternate stack an address is on.
fn owner(at: usize) -> Option<&'static Own> {
    OWN.iter().find(|own| {
        let lowest = own.alternate.load(Ordering::SeqCst);
        (lowest..lowest + ALTERNATE_BYTES).contains(&at)
    })
}

extern "C" fn jump_out(_signal: usize, info: usize, _context: usize) {
    let here = 0_usize;
    let Some(own) = owner((&raw const here).addr()) else {
        WRONG.add();
        exit_thread()
    };
    let fault = address_of(info);
    let lowest = own.lowest.load(Ordering::SeqCst);
    if !(lowest - PAGE..lowest).contains(&fault) {
        WRONG.add();
    }
    // The mask is the program's to restore, as siglongjmp does.
    NUMBERS.get().set_mask(0);
    arch::leave(own.place.as_ptr(), 1)
}

/// Calls itself until there is no stack.
#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = [depth; 40];
    core::hint::black_box(&frame);
    if depth == usize::MAX { 0 } else { recurse(depth + 1) + frame[depth % 40] }
}

extern "C" fn overflow(depth: usize) -> usize {
    recurse(depth);
    0
}

extern "C" fn overflowing() -> ! {
    let n = NUMBERS.get();
    let own = &OWN[NEXT.add()];
    n.set_stack(own.alternate.load(Ordering::SeqCst), ALTERNATE_BYTES, 0);
    for _ in 0..TIMES {
        if arch::try_call(own.place.as_ptr(), overflow, 1) != 1 {
            WRONG.add();
        }
        own.survived.fetch_add(1, Ordering::SeqCst);
        if n.stack_now().1 != 0 {
            WRONG.add();
        }
    }
    DONE.add();
    exit_thread()
}

fn overflows(n: &Numbers) -> i32 {
    must!(n.handle(SIGSEGV, jump_out, SA_ONSTACK, 0), "no handler");
    for own in &OWN {
        // A page without access below each stack.
        let area = memory::map(0, STACK_BYTES + ALTERNATE_BYTES + 2 * PAGE, memory::NONE, 0);
        must!(!memory::is_error(area), "no memory");
        let lowest = area as usize + PAGE;
        must!(
            memory::map(lowest, STACK_BYTES, memory::WRITE, memory::FIXED) as usize == lowest,
            "map"
        );
        let alternate = lowest + STACK_BYTES + PAGE;
        memory::map(alternate, ALTERNATE_BYTES, memory::WRITE, memory::FIXED);
        own.lowest.store(lowest, Ordering::SeqCst);
        own.alternate.store(alternate, Ordering::SeqCst);
    }
    // Threads count themselves: one after the other starts on the stack of its number.
    for own in &OWN {
        let before = NEXT.get();
        let end = own.lowest.load(Ordering::SeqCst) + STACK_BYTES;
        let thread = arch::clone_and_call(THREAD_FLAGS, end, [0; 3], overflowing);
        must!(thread > 0, "no thread");
        while NEXT.get() == before {
            user::yield_now();
        }
    }
    while DONE.get() + WRONG.get() < THREADS {
        sleep_milliseconds(5);
    }
    must!(WRONG.get() == 0, "a handler was on a wrong stack, or saw a wrong address");
    for own in &OWN {
        must!(own.survived.load(Ordering::SeqCst) == TIMES, "not every overflow was survived");
    }
    0
}

/// What a frame's words are changed to.
const VALUES: [usize; 16] = [
    0,
    1,
    usize::MAX,
    usize::MAX - 7,
    1 << (usize::BITS - 1),
    usize::MAX << (usize::BITS / 2 - 1),
    0x3000,
    0x2_0000,
    0x4100,
    8,
    0x10,
    0x1b,
    0xffff,
    0xd3,
    0x3c5,
    arch::BAD_ADDRESSES[1],
];

static SEED: AtomicUsize = AtomicUsize::new(0);

/// Changes some words of its own frame: registers, flags, selectors, floating point, masks.
extern "C" fn forge(_signal: usize, _info: usize, context: usize) {
    let mut draw = Draw::new(SEED.load(Ordering::SeqCst) as u64);
    let words = draw.below(4) + 1;
    for _ in 0..words {
        let value = if draw.below(4) == 0 { draw.any() as usize } else { draw.of(&VALUES) };
        let at = match draw.below(6) {
            0 => CONTEXT.pc,
            1 => CONTEXT.sp,
            2 => CONTEXT.flags,
            // Anywhere in the context and what follows it.
            3 => draw.below(1200) & !(size_of::<usize>() - 1),
            _ => draw.below(400) & !(size_of::<usize>() - 1),
        };
        set_word_at(context + at, value);
    }
}

/// What a program with a forged frame goes to: it has no more rights than before.
extern "C" fn landing() -> ! {
    user::exit(if arch::is_unprivileged() { 3 } else { 66 })
}

/// Only the flags, and where it continues: all of them set.
extern "C" fn forge_flags(_signal: usize, _info: usize, context: usize) {
    set_word_at(context + CONTEXT.flags, SEED.load(Ordering::SeqCst));
    set_word_at(context + CONTEXT.pc, (landing as *const ()).expose_provenance());
}

/// Where the handler was told that the program is, and the signal's code.
static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// It continues where it cannot be.
extern "C" fn send_away(_signal: usize, _info: usize, context: usize) {
    set_word_at(context + CONTEXT.pc, SEED.load(Ordering::SeqCst));
}

extern "C" fn arrived(_signal: usize, info: usize, context: usize) {
    SEEN[0].store(word_at(context + CONTEXT.pc), Ordering::SeqCst);
    SEEN[1].store(u32_at(info + 8) as usize, Ordering::SeqCst);
    set_word_at(context + CONTEXT.pc, (back as *const ()).expose_provenance());
}

/// The status says what was wrong.
extern "C" fn back() -> ! {
    let [at, code] = SEEN.each_ref().map(|seen| seen.load(Ordering::SeqCst));
    let wanted = SEED.load(Ordering::SeqCst);
    // Where an address is refused before it is gone to, that is no matter of mappings.
    let codes =
        if usize::BITS == 64 && wanted == 1 << (usize::BITS - 1) { [1, 0x80] } else { [1, 2] };
    user::exit(i32::from(at != wanted) + 2 * i32::from(!codes.contains(&code)))
}

/// A frame may lead anywhere: the program is sent SIGSEGV there, with all its registers.
fn anywhere(n: &Numbers) -> i32 {
    for at in [1 << (usize::BITS - 1), usize::MAX - 0xf_ffff, 0x1000] {
        let child = user::fork();
        if child == 0 {
            SEED.store(at, Ordering::SeqCst);
            n.handle(SIGSEGV, arrived, 0, 0);
            n.handle(SIGUSR1, send_away, 0, 0);
            n.raise(SIGUSR1);
            user::exit(66);
        }
        must!(child > 0, "no child");
        must!(ended_within(child, 500) == Some(0), "a frame that leads nowhere");
    }
    0
}

fn forged(n: &Numbers) -> i32 {
    const CHILDREN: usize = 400;
    let mut ended = [0_usize; 2];
    for seed in 0..CHILDREN {
        let child = user::fork();
        if child == 0 {
            SEED.store(seed + 1, Ordering::SeqCst);
            n.handle(SIGUSR1, forge, 0, 0);
            n.raise(SIGUSR1);
            user::exit(0);
        }
        must!(child > 0, "no child");
        let status = match ended_within(child, 50) {
            Some(status) => status,
            None => {
                // One that runs on somewhere, or waits for signals that it blocked itself.
                call(n.kill, [child as usize, SIGKILL]);
                call(n.kill, [child as usize, SIGCONT]);
                user::calls::status_of(child)
            }
        };
        must!(status != 66 << 8, "a forged frame gave a privilege");
        ended[usize::from(status & 0x7f != 0)] += 1;
    }
    must!(ended[0] > 10 && ended[1] > 10, "all forged frames ended alike");
    // Every single flag, and all of them.
    for flag in 0..=usize::BITS {
        let child = user::fork();
        if child == 0 {
            SEED.store(1_usize.checked_shl(flag).unwrap_or(usize::MAX), Ordering::SeqCst);
            n.handle(SIGUSR1, forge_flags, 0, 0);
            n.raise(SIGUSR1);
            user::exit(0);
        }
        must!(child > 0, "no child");
        let status = ended_within(child, 200);
        must!(status.is_some(), "a forged flag hangs the program");
        must!(status != Some(66 << 8), "a forged flag gave a privilege");
        must!(status != Some(0), "a frame was not taken");
    }
    // A frame out of nothing: at kernel addresses, at the end of memory, not aligned.
    for sp in [0, 8, 1, usize::MAX, usize::MAX - 7, usize::MAX - 4095, 1 << (usize::BITS - 1)]
        .into_iter()
        .chain(arch::BAD_ADDRESSES)
    {
        let child = user::fork();
        if child == 0 {
            arch::sigreturn_from(sp);
        }
        let status = ended_within(child, 500);
        must!(status.is_some_and(|status| status & 0x7f == SIGSEGV as i32), "a frame of nothing");
    }
    0
}

fn main() -> i32 {
    let Some(numbers) = Numbers::read() else { return 100 };
    let n = NUMBERS.keep(numbers);
    match user::only_argument() {
        Some(b"overflows") => overflows(n),
        Some(b"forged") => forged(n),
        Some(b"anywhere") => anywhere(n),
        _ => 99,
    }
}
