//! Signal handlers: `signals NAME`. `registers`: nothing of an interrupted program changes, wherever
//! it is interrupted. `frame`: what a handler begins with. `alternate`: the alternate stack, and
//! every error of `sigaltstack`. `masks`: what is blocked when, and what the flags of an action do.
//! `queue`: what is pending, in order and with values, and waiting for it.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, CONTEXT, HANDLER_ENTRY, HANDLER_SP};
use user::calls::{call, sleep_milliseconds, status_of};
use user::must;
use user::signals::*;

user::entry!(main);

static SEEN: Counter = Counter::new();
static WRONG: Counter = Counter::new();
/// What a handler leaves for the program to look at.
static LEFT: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

#[repr(align(64))]
struct Stack([AtomicUsize; 4096]);
const STACK_BYTES: usize = size_of::<Stack>();
static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 4096]);

fn left(at: usize) -> usize {
    LEFT[at].load(Ordering::SeqCst)
}

fn leave_word(at: usize, word: usize) {
    LEFT[at].store(word, Ordering::SeqCst);
}

fn is_on(sp: usize, stack: &Stack) -> bool {
    let lowest = stack.0.as_ptr().addr();
    (lowest..=lowest + STACK_BYTES).contains(&sp)
}

/// A calculation that keeps more numbers than there are registers, and compares and carries in every
/// step: ChaCha's rounds, with the 64-bit sum of all steps.
#[inline(never)]
fn calculate(seed: u32, rounds: u32) -> (u64, u32) {
    let mut words = [0_u32; 16];
    for (word, at) in words.iter_mut().zip(1..) {
        *word = seed.wrapping_mul(0x9e37_79b9).wrapping_add(at);
    }
    let (mut sum, mut carries) = (0_u64, 0);
    for _ in 0..rounds {
        for [a, b, c, d] in [
            [0, 4, 8, 12],
            [1, 5, 9, 13],
            [2, 6, 10, 14],
            [3, 7, 11, 15],
            [0, 5, 10, 15],
            [1, 6, 11, 12],
            [2, 7, 8, 13],
            [3, 4, 9, 14],
        ] {
            words[a] = words[a].wrapping_add(words[b]);
            words[d] = (words[d] ^ words[a]).rotate_left(16);
            words[c] = words[c].wrapping_add(words[d]);
            words[b] = (words[b] ^ words[c]).rotate_left(12);
            let (next, carried) =
                sum.overflowing_add(u64::from(words[a]) << 32 | u64::from(words[b]));
            sum = next;
            carries += u32::from(carried);
            if words[d] > words[c] {
                carries = carries.wrapping_add(words[d]);
            }
        }
    }
    (sum, carries)
}

/// Changes everything that a function may, and more.
extern "C" fn clobber(_signal: usize, info: usize, context: usize) {
    if code_of(info) != 0 || sender_of(info) != left(0) {
        WRONG.add();
    }
    // Where it was interrupted: kept if it is somewhere else than the last ones.
    let pc = pc_of(context);
    if !(1..8).any(|at| left(at) == pc) {
        leave_word(1 + SEEN.get() % 7, pc);
        SEEN.add();
    }
    arch::clobber_floats();
    if calculate(77, 3) != calculate(77, 3) {
        WRONG.add();
    }
}

/// Sends a signal to its parent, again and again, until it is killed.
fn sender(n: &Numbers, parent: usize) -> ! {
    loop {
        call(n.kill, [parent, SIGUSR1]);
        // Another moment each time.
        let spins = arch::counter() % 20_000;
        for _ in 0..spins {
            core::hint::spin_loop();
        }
        if spins % 8 == 0 {
            user::yield_now();
        }
    }
}

fn registers(n: &Numbers) -> i32 {
    /// Interrupted at so many different places at least.
    const PLACES: usize = 60;
    const ROUNDS: u32 = 400;
    let expected: [_; 4] = [0, 1, 2, 3].map(|seed| calculate(seed, ROUNDS));
    let me = call(n.getpid, [0; 0]) as usize;
    must!(n.set_stack(STACK.0.as_ptr().addr(), STACK_BYTES, 0) == 0, "no alternate stack");
    must!(n.handle(SIGUSR1, clobber, 0, 0), "no handler");
    // Blocked until the handler knows who sends.
    n.set_mask(bit(SIGUSR1));
    let child = user::fork();
    if child == 0 {
        sender(n, me);
    }
    leave_word(0, child as usize);
    n.set_mask(0);
    let mut round = 0_usize;
    let outcome = loop {
        // Half of them on the other stack.
        let flags = if round & 1 == 0 { SA_ONSTACK } else { 0 };
        must!(n.handle(SIGUSR1, clobber, flags | SA_RESTART, 0), "no handler");
        let seed = round % 4;
        if calculate(seed as u32, ROUNDS) != expected[seed] {
            break 2;
        }
        if arch::keep_floats((round as u64 & 0x7fff) << 16 | 0x200, 20_000) != 0 {
            break 3;
        }
        if arch::keep_below(round, 20_000) != 0 {
            break 4;
        }
        if WRONG.get() != 0 {
            break 5;
        }
        if SEEN.get() >= PLACES && round > 50 {
            break 0;
        }
        round += 1;
        if round == 100_000 {
            break 6;
        }
    };
    call(n.kill, [child as usize, SIGKILL]);
    must!(status_of(child) == SIGKILL as i32, "the sender did not die");
    must!(outcome != 2, "a calculation was wrong");
    must!(outcome != 3, "a floating-point register changed");
    must!(outcome != 4, "the red zone changed");
    must!(outcome != 5, "a siginfo was wrong");
    must!(outcome != 6, "the program was interrupted at too few places");
    outcome
}

extern "C" fn look(signal: usize, info: usize, context: usize) {
    leave_word(0, HANDLER_ENTRY[0].load(Ordering::SeqCst));
    leave_word(1, signal);
    leave_word(2, u32_at(info) as usize);
    leave_word(3, code_of(info) as usize);
    leave_word(4, sp_of(context));
    leave_word(5, word_at(context + CONTEXT.mask));
    leave_word(6, u32_at(context + CONTEXT.stack + size_of::<usize>()) as usize);
    leave_word(7, sender_of(info));
    SEEN.add();
}

extern "C" fn count_plainly(signal: usize) {
    leave_word(0, signal);
    SEEN.add();
}

fn frame(n: &Numbers) -> i32 {
    const SI_TKILL: usize = -6_i32 as u32 as i32 as usize;
    let me = call(n.getpid, [0; 0]) as usize;
    n.set_stack(STACK.0.as_ptr().addr(), STACK_BYTES, 0);
    n.set_mask(bit(SIGUSR2));
    for (flags, expected) in [(0, 0), (SA_ONSTACK, 0)] {
        // From stacks of every remainder.
        for bytes in 0..9 {
            SEEN.set(0);
            must!(n.handle_from_entry(SIGUSR1, look, flags), "no handler");
            must!(
                raise_deeper(n, bytes) == 0,
                "the call that was interrupted answers something else"
            );
            must!(SEEN.get() == 1, "the handler did not run once");
            must!(
                left(0) % HANDLER_SP.1 == HANDLER_SP.0,
                "SP is not aligned at the first instruction"
            );
            must!(left(1) == SIGUSR1 && left(2) == SIGUSR1, "not the number of the signal");
            must!(left(3) == SI_TKILL && left(7) == me, "not sent by tgkill of this process");
            must!(left(5) == bit(SIGUSR2) as usize, "not the mask that was interrupted");
            must!(left(6) == expected, "not the state of the alternate stack");
            must!(
                is_on(left(0), &STACK) == (flags == SA_ONSTACK),
                "not on the stack that it asked for"
            );
            must!(!is_on(left(4), &STACK), "not the stack that was interrupted");
            must!(n.mask_now() == bit(SIGUSR2), "not the mask from before");
        }
    }
    // Without SA_SIGINFO: another frame on some machines, and another way back.
    SEEN.set(0);
    for round in 1..20 {
        must!(n.handle_plainly(SIGUSR1, count_plainly, 0), "no plain handler");
        must!(n.raise(SIGUSR1) == 0, "raise");
        must!(SEEN.get() == round && left(0) == SIGUSR1, "the plain handler did not run");
        must!(n.mask_now() == bit(SIGUSR2), "not the mask from before a plain handler");
    }
    0
}

/// Raises a signal with so many more words on the stack.
#[inline(never)]
fn raise_deeper(n: &Numbers, words: usize) -> isize {
    let more = [words; 3];
    core::hint::black_box(&more);
    if words == 0 { n.raise(SIGUSR1) } else { raise_deeper(n, words - 1) }
}

static NUMBERS: Shared = Shared::new();

extern "C" fn nested(signal: usize, _info: usize, _context: usize) {
    let n = NUMBERS.get();
    let here = 0_usize;
    let depth = SEEN.add();
    leave_word(depth, (&raw const here).addr());
    if signal == SIGUSR1 {
        let (_, flags, _) = n.stack_now();
        leave_word(4, flags as usize);
        leave_word(5, n.set_stack(STACK.0.as_ptr().addr(), STACK_BYTES, 0) as usize);
        leave_word(6, n.set_stack(0, 0, SS_DISABLE) as usize);
        n.raise(SIGUSR2);
    }
}

fn alternate(n: &Numbers) -> i32 {
    let lowest = STACK.0.as_ptr().addr();
    must!(n.stack_now() == (0, SS_DISABLE, 0), "a program starts with an alternate stack");
    for flags in [4, 8, SS_ONSTACK | SS_DISABLE, 1 << 30] {
        must!(n.set_stack(lowest, STACK_BYTES, flags) == EINVAL, "wrong flags are taken");
    }
    must!(
        n.set_stack(lowest, arch::MIN_STACK - 1, 0) == ENOMEM,
        "a stack below the least size is taken"
    );
    must!(n.set_stack(lowest, 0, 0) == ENOMEM, "a stack of nothing is taken");
    must!(n.stack_now() == (0, SS_DISABLE, 0), "what was refused changed something");
    must!(n.set_stack(lowest, arch::MIN_STACK, 0) == 0, "the least size is refused");
    must!(n.stack_now() == (lowest, 0, arch::MIN_STACK), "not what was set");
    must!(n.set_stack(lowest, STACK_BYTES, SS_ONSTACK) == 0, "SS_ONSTACK as a flag is refused");
    must!(call(n.stack, [8, 0]) == -14 && call(n.stack, [0, 8]) == -14, "not EFAULT");
    // Nested: the second on the same stack, below the first.
    must!(n.handle(SIGUSR1, nested, SA_ONSTACK, 0), "no handler");
    must!(n.handle(SIGUSR2, nested, SA_ONSTACK, 0), "no handler");
    n.raise(SIGUSR1);
    must!(SEEN.get() == 2, "two handlers did not run");
    must!(is_on(left(0), &STACK) && is_on(left(1), &STACK), "not both on the alternate stack");
    must!(left(1) < left(0), "the second is not below the first");
    must!(left(4) == SS_ONSTACK as usize, "it is not said that the stack is in use");
    must!(left(5) == EPERM as usize && left(6) == EPERM as usize, "a stack in use can be changed");
    // The second without SA_ONSTACK continues on the stack where the first is.
    SEEN.set(0);
    must!(n.handle(SIGUSR2, nested, 0, 0), "no handler");
    n.raise(SIGUSR1);
    must!(is_on(left(1), &STACK) && left(1) < left(0), "the second is not below the first");
    // With SS_AUTODISARM a handler finds no stack, may set another, and gets the first back.
    SEEN.set(0);
    must!(n.set_stack(lowest, STACK_BYTES, SS_AUTODISARM) == 0, "SS_AUTODISARM is refused");
    must!(n.stack_now() == (lowest, SS_AUTODISARM, STACK_BYTES), "not what was set");
    n.raise(SIGUSR1);
    must!(is_on(left(0), &STACK), "not on the stack that disarms itself");
    must!(left(4) == SS_DISABLE as usize, "the stack is not disarmed in the handler");
    must!(left(5) == 0, "a disarmed stack cannot be set");
    must!(left(6) == EPERM as usize, "what was set is not in use");
    must!(n.stack_now() == (lowest, SS_AUTODISARM, STACK_BYTES), "the stack is not armed again");
    must!(n.set_stack(0, 0, SS_DISABLE) == 0 && n.stack_now().1 == SS_DISABLE, "not disabled");
    // Without one, SA_ONSTACK means nothing.
    SEEN.set(0);
    n.handle(SIGUSR2, nested, SA_ONSTACK, 0);
    n.raise(SIGUSR2);
    must!(SEEN.get() == 1 && !is_on(left(0), &STACK), "on a stack that was taken away");
    // A frame that does not fit on it: SIGSEGV, which finds no room either, and ends the program.
    let child = user::fork();
    if child == 0 {
        n.set_stack(lowest, arch::MIN_STACK, 0);
        n.handle(SIGUSR1, deeper, SA_ONSTACK | SA_NODEFER, 0);
        n.handle(SIGSEGV, deeper, SA_ONSTACK | SA_NODEFER, 0);
        n.raise(SIGUSR1);
        user::exit(9);
    }
    must!(
        status_of(child) & 0x7f == SIGSEGV as i32,
        "a frame that does not fit did not end the program"
    );
    // The same on a stack that is not there.
    let child = user::fork();
    if child == 0 {
        n.set_stack(0x10000, 0x4000, 0);
        n.handle(SIGUSR1, deeper, SA_ONSTACK, 0);
        n.raise(SIGUSR1);
        user::exit(9);
    }
    must!(
        status_of(child) & 0x7f == SIGSEGV as i32,
        "a stack that is not there did not end the program"
    );
    0
}

extern "C" fn deeper(_signal: usize, _info: usize, _context: usize) {
    NUMBERS.get().raise(SIGUSR1);
}

extern "C" fn note_mask(signal: usize, info: usize, _context: usize) {
    let n = NUMBERS.get();
    let at = SEEN.add();
    leave_word(at, signal);
    leave_word(4, n.mask_now() as usize);
    leave_word(5, value_of(info));
    if signal == SIGUSR1 && at < 2 {
        n.raise(SIGUSR1);
        leave_word(6, SEEN.get());
        leave_word(7, n.pending_now() as usize);
    }
}

fn masks(n: &Numbers) -> i32 {
    // The signal itself and `sa_mask` are blocked; it comes again when the handler is done.
    must!(n.handle(SIGUSR1, note_mask, 0, bit(SIGUSR2) | bit(SIGKILL)), "no handler");
    n.raise(SIGUSR1);
    must!(left(4) == (bit(SIGUSR1) | bit(SIGUSR2)) as usize, "not what the action blocks");
    must!(left(6) == 2 && left(7) == bit(SIGUSR1) as usize, "it was not pending in its handler");
    must!(SEEN.get() == 3 && n.mask_now() == 0, "not once more for each time it was sent");
    // SA_NODEFER: at once.
    SEEN.set(0);
    n.handle(SIGUSR1, note_mask, SA_NODEFER, 0);
    n.raise(SIGUSR1);
    must!(left(4) == 0 && SEEN.get() == 3, "SA_NODEFER blocks");
    must!(left(6) == 3 && left(7) == 0, "SA_NODEFER defers");
    // SA_RESETHAND: once.
    SEEN.set(5);
    n.handle(SIGUSR1, note_mask, SA_RESETHAND, 0);
    must!(n.handler_of(SIGUSR1) != 0, "no handler is named");
    n.raise(SIGUSR1);
    must!(SEEN.get() == 6 && n.handler_of(SIGUSR1) == 0, "the handler is not gone");
    let child = user::fork();
    if child == 0 {
        n.raise(SIGUSR1);
        user::exit(9);
    }
    must!(status_of(child) & 0x7f == SIGUSR1 as i32, "the default action did not come back");
    // What cannot be caught or blocked.
    for signal in [SIGKILL, SIGSTOP] {
        must!(!n.handle(signal, note_mask, 0, 0), "a handler of what cannot be caught");
        must!(!n.let_be(signal, 1), "what cannot be ignored is");
    }
    must!(!n.handle(0, note_mask, 0, 0) && !n.handle(65, note_mask, 0, 0), "numbers out of range");
    n.set_mask(u64::MAX);
    let all = !(bit(SIGKILL) | bit(SIGSTOP));
    must!(n.mask_now() == all, "not all that can be blocked is");
    // Two pending: the lower number first; an ignored one is dropped.
    SEEN.set(0);
    n.handle(SIGUSR1, note_mask, 0, u64::MAX);
    n.handle(SIGUSR2, note_mask, 0, u64::MAX);
    n.raise(SIGUSR2);
    n.handle(SIGCONT, note_mask, 0, 0);
    n.raise(SIGCONT);
    must!(n.pending_now() == bit(SIGUSR2) | bit(SIGCONT), "not pending");
    n.let_be(SIGCONT, 1);
    must!(n.pending_now() == bit(SIGUSR2), "what is ignored stays pending");
    // sigsuspend lets it in, answers EINTR, and the mask is the one from before.
    let mask = all & !bit(SIGUSR2);
    must!(call(n.suspend, [(&raw const mask).addr(), SET_BYTES]) == EINTR, "sigsuspend");
    must!(SEEN.get() == 1 && left(0) == SIGUSR2, "sigsuspend did not let it in");
    must!(n.mask_now() == all, "sigsuspend left its mask");
    must!(call(n.suspend, [(&raw const mask).addr(), 4]) == EINVAL, "a set of four bytes");
    n.set_mask(0);
    0
}

fn timed_wait(n: &Numbers, set: u64, info: &mut [usize; 16], time: Option<[usize; 2]>) -> isize {
    let time = time.as_ref().map_or(0, |time| time.as_ptr().addr());
    call(n.timed_wait, [(&raw const set).addr(), info.as_mut_ptr().addr(), time, SET_BYTES])
}

fn queue(n: &Numbers) -> i32 {
    const MANY: usize = 100;
    let real_time = [SIGRTMIN + 3, SIGRTMIN, SIGRTMIN + 1];
    let mut all = 0;
    for signal in real_time {
        all |= bit(signal);
        must!(n.handle(signal, note_mask, 0, 0), "no handler");
    }
    n.set_mask(all | bit(SIGUSR1));
    for value in 0..MANY {
        for signal in real_time {
            must!(n.queue_to_self(signal, value * 100 + signal) == 0, "sigqueue");
        }
        n.queue_to_self(SIGUSR1, value);
    }
    must!(n.pending_now() == all | bit(SIGUSR1), "not pending");
    let mut info = [0_usize; 16];
    let now = Some([0, 0]);
    // One standard signal, with the first value.
    must!(timed_wait(n, bit(SIGUSR1), &mut info, now) == SIGUSR1 as isize, "not the signal");
    must!(value_of(info.as_ptr().addr()) == 0, "not the first value");
    must!(timed_wait(n, bit(SIGUSR1), &mut info, now) == EAGAIN, "a standard signal was queued");
    // All real-time signals: the lowest first, each in order.
    let mut sorted = real_time;
    sorted.sort_unstable();
    for signal in sorted {
        for value in 0..MANY {
            must!(timed_wait(n, all, &mut info, None) == signal as isize, "not the next signal");
            must!(value_of(info.as_ptr().addr()) == value * 100 + signal, "not in order");
            must!(code_of(info.as_ptr().addr()) == -1, "not SI_QUEUE");
        }
    }
    must!(timed_wait(n, all, &mut info, now) == EAGAIN, "more signals than were sent");
    // A time that passes, one that is none, and a signal that comes while it waits.
    must!(timed_wait(n, all, &mut info, Some([0, 30_000_000])) == EAGAIN, "not after a while");
    must!(
        timed_wait(n, all, &mut info, Some([0, 1_000_000_000])) == EINVAL,
        "a wrong time is taken"
    );
    let me = call(n.getpid, [0; 0]) as usize;
    let child = user::fork();
    if child == 0 {
        sleep_milliseconds(20);
        call(n.kill, [me, SIGRTMIN]);
        user::exit(0);
    }
    must!(timed_wait(n, all, &mut info, Some([100, 0])) == SIGRTMIN as isize, "it did not come");
    must!(sender_of(info.as_ptr().addr()) == child as usize, "not the sender");
    must!(status_of(child) == 0, "the sender");
    // A handler of another signal ends the wait.
    n.handle(SIGUSR2, note_mask, SA_RESTART, 0);
    let child = user::fork();
    if child == 0 {
        sleep_milliseconds(20);
        call(n.kill, [me, SIGUSR2]);
        user::exit(0);
    }
    must!(timed_wait(n, all, &mut info, Some([100, 0])) == EINTR, "a handler did not end the wait");
    must!(status_of(child) == 0, "the sender");
    // Delivered to a handler, they come in order too: the last one delivered is the highest.
    SEEN.set(0);
    for signal in [SIGRTMIN, SIGRTMIN + 1] {
        n.queue_to_self(signal, signal);
    }
    n.set_mask(0);
    must!(SEEN.get() == 2, "two handlers did not run");
    0
}

fn main() -> i32 {
    let Some(numbers) = Numbers::read() else { return 100 };
    let n = NUMBERS.keep(numbers);
    match user::only_argument() {
        Some(b"registers") => registers(n),
        Some(b"frame") => frame(n),
        Some(b"alternate") => alternate(n),
        Some(b"masks") => masks(n),
        Some(b"queue") => queue(n),
        _ => 99,
    }
}
