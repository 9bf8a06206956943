//! The vector registers that some processors have beyond those of every one: `wide-registers NAME`.
//! `switches`: each thread and process keeps its own, a child has its parent's, a new program none.
//! `handlers`: a handler begins without them and changes none of the interrupted program's.
//! `plain`: the same of the registers that a system call may change.
//! `frames`: what a frame says of them and gives back, and what a spoiled one does. Where the
//! processor has none, frames are the plain ones, and the other parts have nothing to show.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, WIDE_ROOM, Wide, nr};
use user::calls::{call, sleep_milliseconds, status_of};
use user::must;
use user::signals::*;

user::entry!(main);

const PATH: &core::ffi::CStr = c"/kstack/bin/wide-registers";
static NUMBERS: Shared = Shared::new();
static SEEN: Counter = Counter::new();
static WRONG: Counter = Counter::new();

/// A value of every byte of the registers.
fn values(seed: usize) -> [u8; WIDE_ROOM] {
    let mut values = [0; WIDE_ROOM];
    let mut word = seed as u32 ^ 0x9e37_79b9;
    for value in &mut values {
        word = word.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        *value = (word >> 24) as u8;
    }
    values
}

/// Whether the registers have these values.
fn are(wide: &Wide, expected: &[u8; WIDE_ROOM]) -> bool {
    let mut now = [0; WIDE_ROOM];
    (wide.store)(&mut now);
    (0..wide.bytes).all(|at| !wide.is_kept(at) || now[at] == expected[at])
}

fn are_empty(wide: &Wide) -> bool {
    are(wide, &[0; WIDE_ROOM])
}

/// Keeps values over time slices and calls that give the processor away.
fn keep(wide: &Wide, seed: usize, rounds: usize) -> bool {
    (0..rounds).all(|round| {
        let expected = values(seed + round);
        (wide.load)(&expected);
        if round % 8 == 0 {
            for _ in 0..100_000 {
                core::hint::spin_loop();
            }
        } else {
            user::yield_now();
        }
        are(wide, &expected)
    })
}

#[repr(align(16))]
struct Stack([AtomicUsize; 4096]);
static STACKS: [Stack; 2] = [const { Stack([const { AtomicUsize::new(0) }; 4096]) }; 2];
static READY: Counter = Counter::new();

/// What a thread begins with is its creator's; then it keeps its own.
extern "C" fn thread() -> ! {
    if let Some(wide) = arch::wide() {
        if !are(&wide, &values(7)) {
            WRONG.add();
        }
        if !keep(&wide, 0x1_0000 * (2 + READY.add()), 200) {
            WRONG.add();
        }
    }
    SEEN.add();
    exit_thread()
}

fn switches(wide: &Wide) -> i32 {
    // A program that starts has nothing in them.
    must!(are_empty(wide), "a program starts with a register in use");
    let inherited = values(7);
    (wide.load)(&inherited);
    let child = user::fork();
    if child == 0 {
        let fine = are(wide, &inherited) && keep(wide, 0x7_0000, 200);
        user::exit(i32::from(!fine));
    }
    must!(are(wide, &inherited), "fork changed a register of the parent");
    for stack in &STACKS {
        let top = stack.0.as_ptr_range().end.addr();
        (wide.load)(&inherited);
        must!(arch::clone_and_call(THREAD_FLAGS, top, [0; 3], thread) > 0, "no thread");
        must!(are(wide, &inherited), "clone changed a register");
    }
    must!(keep(wide, 0x8_0000, 200), "a register changed");
    must!(status_of(child) == 0, "the child's registers are not its own, or not its parent's");
    while SEEN.get() < 2 {
        sleep_milliseconds(5);
    }
    must!(WRONG.get() == 0, "a thread's registers are not its own, or not its creator's");
    // The next program looks again.
    (wide.load)(&inherited);
    let arguments = [PATH.as_ptr().addr(), c"fresh".as_ptr().addr(), 0];
    call(nr::EXECVE, [PATH.as_ptr().addr(), arguments.as_ptr().addr(), 0]);
    must!(false, "execve failed");
    0
}

extern "C" fn clobber(_signal: usize, _info: usize, _context: usize) {
    if let Some(wide) = arch::wide() {
        if !are_empty(&wide) {
            WRONG.add();
        }
        (wide.load)(&values(SEEN.add() ^ 0x5555));
    }
}

fn handlers(n: &Numbers, wide: &Wide) -> i32 {
    const TIMES: usize = 60;
    let me = call(n.getpid, [0; 0]) as usize;
    must!(n.handle(SIGUSR1, clobber, SA_RESTART, 0), "no handler");
    let child = user::fork();
    if child == 0 {
        loop {
            call(n.kill, [me, SIGUSR1]);
            user::yield_now();
        }
    }
    let mut round = 0;
    let mut fine = true;
    while fine && SEEN.get() < TIMES {
        fine = keep(wide, 0x3_0000 + round, 8);
        round += 8;
    }
    call(n.kill, [child as usize, SIGKILL]);
    must!(status_of(child) == SIGKILL as i32, "the sender did not die");
    must!(fine, "a handler changed a register of what it interrupted");
    must!(WRONG.get() == 0, "a handler began with a register of what it interrupted");
    0
}

static ENOUGH: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: usize, _info: usize, context: usize) {
    let flags = context + arch::CONTEXT.flags;
    set_word_at(flags, word_at(flags) & !arch::CONTEXT.resume);
    if SEEN.add() == 40 {
        ENOUGH.store(1, Ordering::Relaxed);
    }
}

/// What a signal interrupts gets back every register, those too that a system call, such as the
/// one at a handler's end, does not keep.
fn plain(n: &Numbers) -> i32 {
    let me = call(n.getpid, [0; 0]) as usize;
    must!(n.handle(SIGUSR1, count, SA_RESTART, 0), "no handler");
    let child = user::fork();
    if child == 0 {
        loop {
            call(n.kill, [me, SIGUSR1]);
            sleep_milliseconds(1);
        }
    }
    let fine = arch::spins_with_all_kept(&ENOUGH);
    call(n.kill, [child as usize, SIGKILL]);
    must!(status_of(child) == SIGKILL as i32, "the sender did not die");
    must!(fine, "a register of what a signal interrupted is another one");
    0
}

/// What the handler below does to its frame, and what it found.
static HOW: AtomicUsize = AtomicUsize::new(0);
static FOUND: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
const NOTHING: usize = 0;
const UPPER_CHANGED: usize = 1;
const UNKNOWN_STATE: usize = 2;
const OTHER_FORM: usize = 3;
const NO_FIRST_MARK: usize = 4;
const NO_SECOND_MARK: usize = 5;
const TOO_LARGE: usize = 6;
const TOO_SMALL: usize = 7;
const NO_AREA: usize = 8;
const RESERVED_CONTROL: usize = 9;
const NOT_NAMED: usize = 10;
const UNMAPPED: usize = 11;

/// Places in an area, as Linux's headers have them.
const CONTROL: usize = 24;
const MARK: usize = 464;
const ALL_BYTES: usize = 468;
const STATES: usize = 472;
const STATES_BYTES: usize = 480;
const HEADER: usize = 512;
const FIRST: u32 = 0x4650_5853;
const SECOND: u32 = 0x4650_5845;

fn set_u32(at: usize, to: u32) {
    // SAFETY: (1) a place of the frame, which is this program's.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(at).write_unaligned(to) };
}

/// What a frame is to say of its area.
fn frame_is_right(wide: &Wide, context: usize, area: usize) -> bool {
    let is_extended = wide.states != 0;
    let flags = word_at(context) & 1;
    if flags != usize::from(is_extended) {
        return false;
    }
    !is_extended
        || u32_at(area + MARK) == FIRST
            && u32_at(area + ALL_BYTES) as usize == wide.before + wide.area_bytes + 4
            && u32_at(area + STATES) as usize == wide.states
            && u32_at(area + STATES_BYTES) as usize == wide.area_bytes
            && u32_at(area + wide.area_bytes) == SECOND
            && u32_at(area + HEADER) as usize & !wide.states == 0
            && u32_at(area + HEADER) & 3 == 3
            && (4..64).step_by(4).all(|at| u32_at(area + HEADER + at) == 0)
}

extern "C" fn look(_signal: usize, _info: usize, context: usize) {
    let Some(wide) = arch::wide() else { return };
    let pointer = context + wide.area_at;
    let area = word_at(pointer) + wide.before;
    FOUND[0].store(usize::from(frame_is_right(&wide, context, area)), Ordering::SeqCst);
    FOUND[1].store(context, Ordering::SeqCst);
    match HOW.load(Ordering::SeqCst) {
        UPPER_CHANGED => set_u32(area + wide.upper_at, 0x1234_5678),
        UNKNOWN_STATE => set_u32(area + HEADER + 4, 1 << 29),
        OTHER_FORM => set_u32(area + HEADER + 12, 1 << 31),
        NO_FIRST_MARK => set_u32(area + MARK, 0),
        NO_SECOND_MARK => set_u32(area + wide.area_bytes, 0),
        TOO_LARGE => set_u32(area + STATES_BYTES, wide.area_bytes as u32 + 64),
        TOO_SMALL => set_u32(area + STATES_BYTES, 512),
        NO_AREA => set_word_at(pointer, 0),
        RESERVED_CONTROL => set_u32(area + CONTROL, 1 << 16 | 0x1f80),
        NOT_NAMED => set_u32(area + STATES, 3),
        UNMAPPED => set_word_at(pointer, 4096),
        _ => {}
    }
}

extern "C" fn count_one(_signal: usize, _info: usize, _context: usize) {
    // Twice: it would not end.
    if SEEN.add() > 0 {
        user::exit(8);
    }
}

/// One signal, whose handler does `how`: the registers afterwards.
fn after(n: &Numbers, wide: &Wide, how: usize, before: &[u8; WIDE_ROOM]) -> [u8; WIDE_ROOM] {
    HOW.store(how, Ordering::SeqCst);
    let mut now = [0; WIDE_ROOM];
    if wide.bytes != 0 {
        (wide.load)(before);
    }
    n.raise(SIGUSR1);
    if wide.bytes != 0 {
        (wide.store)(&mut now);
    }
    now
}

fn frames(n: &Numbers, wide: &Wide) -> i32 {
    must!(n.handle(SIGUSR1, look, 0, 0), "no handler");
    let before = values(11);
    let same = after(n, wide, NOTHING, &before);
    must!(FOUND[0].load(Ordering::SeqCst) == 1, "a frame does not say what it has");
    let all = wide.bytes;
    let is_as_before = (0..all).all(|at| !wide.is_kept(at) || same[at] == before[at]);
    must!(is_as_before, "a register is not as before");
    // Frames that Linux refuses: the signal is SIGSEGV, and nothing catches it.
    let refused: &[usize] = match wide.states {
        0 => &[RESERVED_CONTROL, UNMAPPED],
        _ => &[RESERVED_CONTROL, UNMAPPED, UNKNOWN_STATE, OTHER_FORM],
    };
    for &how in refused {
        let child = user::fork();
        if child == 0 {
            after(n, wide, how, &before);
            user::exit(9);
        }
        must!(status_of(child) & 0x7f == SIGSEGV as i32, "a spoiled frame was taken");
        // All else is given back before: a handler returns to what was interrupted.
        let child = user::fork();
        if child == 0 {
            n.handle(SIGSEGV, count_one, 0, 0);
            after(n, wide, how, &before);
            user::exit(if SEEN.get() == 1 { 0 } else { 9 });
        }
        must!(status_of(child) == 0, "a spoiled frame did not give back the rest");
    }
    if all == 0 {
        return 0;
    }
    // What a handler changes in its frame is what comes back: the upper half of the first register.
    let changed = after(n, wide, UPPER_CHANGED, &before);
    must!(changed[16..20] == 0x1234_5678_u32.to_le_bytes(), "a change in a frame is lost");
    must!(changed[..16] == before[..16], "the lower half changed with it");
    // Marks or sizes that do not fit: 512 bytes are taken, all else is as at a program's start; so
    // it is where the frame does not name the states.
    for how in [NO_FIRST_MARK, NO_SECOND_MARK, TOO_LARGE, TOO_SMALL, NOT_NAMED] {
        let plain = after(n, wide, how, &before);
        let each = plain.chunks(wide.register_bytes).zip(before.chunks(wide.register_bytes));
        for (now, before) in each.take(8) {
            must!(now[..16] == before[..16], "the lower half of a register is lost");
            must!(now[16..].iter().all(|&byte| byte == 0), "an upper half came from nowhere");
        }
    }
    let nothing = after(n, wide, NO_AREA, &before);
    must!(nothing[..all].iter().all(|&byte| byte == 0), "registers came from nowhere");
    0
}

/// A handler on an alternate stack of the size that programs are told.
fn least(n: &Numbers, wide: &Wide) -> i32 {
    /// In the auxiliary vector.
    const LEAST_STACK: usize = 51;
    let Some(told) = auxiliary(LEAST_STACK) else { return 4 };
    must!(told > wide.area_bytes && told < 16384, "the least stack is not told");
    must!(n.handle(SIGUSR1, look, SA_ONSTACK, 0), "no handler");
    HOW.store(NOTHING, Ordering::SeqCst);
    // The frame alone, wherever the stack ends: a handler needs a stack besides, below.
    let lowest = STACKS[0].0.as_ptr().addr();
    for shift in 0..64 {
        must!(n.set_stack(lowest + 2048 + shift, 16384, 0) == 0, "no stack");
        n.raise(SIGUSR1);
        let top = lowest + 2048 + shift + 16384;
        let context = FOUND[1].load(Ordering::SeqCst);
        must!(top - context + size_of::<usize>() <= told, "a frame is larger than told");
    }
    0
}

/// A value of the auxiliary vector.
fn auxiliary(key: usize) -> Option<usize> {
    let stack = user::first_stack();
    // SAFETY: (1) argc, the pointers and the pairs above them are as the kernel laid them out.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while at.read() != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while at.read() != 0 {
            if at.read() == key {
                return Some(at.add(1).read());
            }
            at = at.add(2);
        }
    }
    None
}

fn main() -> i32 {
    let Some(numbers) = Numbers::read() else { return 100 };
    let n = NUMBERS.keep(numbers);
    if user::only_argument() == Some(b"plain") {
        return plain(n);
    }
    let Some(wide) = arch::wide() else { return 98 };
    match user::only_argument() {
        Some(b"frames") => frames(n, &wide),
        Some(b"least") => least(n, &wide),
        Some(b"switches" | b"handlers" | b"fresh") if wide.bytes == 0 => 0,
        Some(b"switches") => switches(&wide),
        Some(b"handlers") => handlers(n, &wide),
        Some(b"fresh") => i32::from(!are_empty(&wide)),
        _ => 99,
    }
}
