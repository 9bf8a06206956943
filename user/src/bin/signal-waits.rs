//! Signals and calls that sleep: `signal-waits NAME`. `calls`: which calls a handler ends and which
//! are made again. `jobs`: stopping, continuing and what a parent is told. `threads`: signals and
//! death among the threads of a process. `faults`: what the siginfo of a fault says.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use user::arch::{self, CONTEXT, THREAD_FLAGS, nr};
use user::calls::{Calls, call, sleep_milliseconds, status_of};
use user::memory::{self, PAGE};
use user::must;
use user::signals::*;

user::entry!(main);

static NUMBERS: Shared = Shared::new();
static SEEN: Counter = Counter::new();
static LAST: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// Looks, a tick each, until something that must come is given up.
const MAX_LOOKS: usize = 3000;
const WNOHANG: usize = 1;
const WUNTRACED: usize = 2;
const WCONTINUED: usize = 8;

extern "C" fn count(_signal: usize, info: usize, context: usize) {
    LAST[0].store(code_of(info) as usize, Ordering::SeqCst);
    LAST[1].store(address_of(info), Ordering::SeqCst);
    LAST[2].store(pc_of(context), Ordering::SeqCst);
    SEEN.add();
}

fn last(at: usize) -> usize {
    LAST[at].load(Ordering::SeqCst)
}

fn until(mut holds: impl FnMut() -> bool) -> bool {
    (0..MAX_LOOKS).any(|_| {
        let does = holds();
        if !does {
            sleep_milliseconds(1);
        }
        does
    })
}

/// A child that signals its parent `times` times, a while apart each, then does `then`.
fn prodder(n: &Numbers, times: usize, then: impl FnOnce()) -> isize {
    let me = call(n.getpid, [0; 0]) as usize;
    let child = user::fork();
    if child == 0 {
        for _ in 0..times {
            sleep_milliseconds(20);
            call(n.kill, [me, SIGUSR1]);
        }
        sleep_milliseconds(20);
        then();
        user::exit(0);
    }
    child
}

/// A child that signals its parent again and again: whenever that sleeps, one comes.
fn nagger(n: &Numbers) -> isize {
    prodder(n, usize::MAX, || ())
}

/// Kills such a child. Its last signals come to nothing.
fn quiet(n: &Numbers, child: isize) -> bool {
    let before = n.set_mask(bit(SIGUSR1));
    call(n.kill, [child as usize, SIGKILL]);
    let is_killed = status_of(child) == SIGKILL as i32;
    n.set_mask(before);
    is_killed
}

fn pipe() -> [i32; 2] {
    let mut ends = [-1_i32; 2];
    call(nr::PIPE2, [ends.as_mut_ptr().addr(), 0]);
    ends
}

fn calls(n: &Numbers) -> i32 {
    let Ok(all) = Calls::read() else { return 100 };
    let mut byte = 0_u8;
    let [from, to] = pipe();
    let mut read = || call(nr::READ, [from as usize, (&raw mut byte).addr(), 1]);
    let write = || _ = call(nr::WRITE, [to as usize, c"x".as_ptr().addr(), 1]);
    for (flags, expected) in [(0, EINTR), (SA_RESTART, 1)] {
        must!(n.handle(SIGUSR1, count, flags, 0), "no handler");
        SEEN.set(0);
        let child = if flags == 0 { nagger(n) } else { prodder(n, 3, write) };
        must!(read() == expected, "read on a pipe");
        if flags == 0 {
            must!(quiet(n, child), "the child");
            write();
            must!(SEEN.get() > 0 && read() == 1, "read after the handler");
        } else {
            must!(SEEN.get() == 3, "three handlers while a read is made again");
            must!(status_of(child) == 0, "the child");
        }
        // wait4
        SEEN.set(0);
        let child = if flags == 0 { nagger(n) } else { prodder(n, 2, || sleep_milliseconds(50)) };
        let waited = call(nr::WAIT4, [child as usize, 0, 0, 0]);
        must!(waited == if flags == 0 { EINTR } else { child }, "wait4");
        if flags == 0 {
            must!(quiet(n, child), "wait4 after the handler");
        }
    }
    // A pipe that is full.
    must!(n.handle(SIGUSR1, count, 0, 0), "no handler");
    let child = nagger(n);
    let many = [0_u8; 4096];
    let interrupted = (0..1000).any(|_| {
        call(nr::WRITE, [to as usize, many.as_ptr().addr(), many.len()]) == EINTR && SEEN.get() > 0
    });
    must!(interrupted, "write to a full pipe");
    must!(quiet(n, child), "the child");
    // These end by a handler whatever its flags say.
    for flags in [0, SA_RESTART] {
        must!(n.handle(SIGUSR1, count, flags, 0), "no handler");
        let mut left = [0_usize; 2];
        let time = [5_usize, 0];
        let child = nagger(n);
        let slept = call(nr::NANOSLEEP, [time.as_ptr().addr(), left.as_mut_ptr().addr()]);
        must!(slept == EINTR, "nanosleep");
        must!(left[0] < 5 && left[1] < 1_000_000_000, "nanosleep does not say what is left");
        must!(left != [0; 2], "nanosleep says that nothing is left");
        must!(quiet(n, child), "the child");
        let pause = all.number("pause");
        if pause != usize::MAX {
            let child = nagger(n);
            must!(call(pause, [0; 0]) == EINTR, "pause");
            must!(quiet(n, child), "the child");
        }
    }
    // A futex without a time is made again, with one it ends.
    let futex = all.number("futex");
    let word = AtomicU32::new(0);
    must!(n.handle(SIGUSR1, count, 0, 0), "no handler");
    let child = nagger(n);
    must!(call(futex, [word.as_ptr().addr(), 0, 0, 0]) == EINTR, "futex");
    must!(quiet(n, child), "the child");
    // A signal without a handler is not seen: a child that ends while it sleeps.
    let child = prodder(n, 0, || ());
    let time = [0_usize, 100_000_000];
    must!(
        call(nr::NANOSLEEP, [time.as_ptr().addr(), 0]) == 0,
        "a sleep ended by an ignored signal"
    );
    must!(status_of(child) == 0, "the child");
    0
}

fn wait_with(child: isize, options: usize) -> (isize, i32) {
    let mut status = -1_i32;
    let waited = call(nr::WAIT4, [child as usize, (&raw mut status).addr(), options, 0]);
    (waited, status)
}

/// Whether a handler has run so many times. A parent may see on its own that a child has stopped or
/// continues, before the signal that tells it is sent, as on Linux: within ten seconds.
fn is_told(times: usize) -> bool {
    for _ in 0..2000 {
        if SEEN.get() >= times {
            break;
        }
        sleep_milliseconds(5);
    }
    SEEN.get() == times
}

fn jobs(n: &Numbers) -> i32 {
    const CLD_EXITED: usize = 1;
    const CLD_KILLED: usize = 2;
    const CLD_STOPPED: usize = 5;
    const CLD_CONTINUED: usize = 6;
    must!(n.handle(SIGCHLD, count, SA_RESTART, 0), "no handler");
    let child = user::fork();
    if child == 0 {
        loop {
            user::yield_now();
        }
    }
    must!(
        wait_with(child, WNOHANG | WUNTRACED | WCONTINUED) == (0, -1),
        "news of a child that runs"
    );
    for round in 0..20 {
        SEEN.set(0);
        call(n.kill, [child as usize, SIGSTOP]);
        must!(wait_with(child, WUNTRACED) == (child, (SIGSTOP as i32) << 8 | 0x7f), "not stopped");
        must!(is_told(1) && last(0) == CLD_STOPPED, "SIGCHLD does not say that it has stopped");
        must!(wait_with(child, WNOHANG | WUNTRACED) == (0, -1), "told twice");
        if round % 2 == 0 {
            // A signal waits until it continues.
            call(n.kill, [child as usize, SIGSTOP]);
        }
        call(n.kill, [child as usize, SIGCONT]);
        must!(wait_with(child, WCONTINUED) == (child, 0xffff), "not continued");
        must!(is_told(2) && last(0) == CLD_CONTINUED, "SIGCHLD does not say that it continues");
        must!(wait_with(child, WNOHANG | WUNTRACED) == (0, -1), "stopped again");
    }
    // A stopped one dies of SIGKILL, and of SIGTERM when it continues.
    call(n.kill, [child as usize, SIGSTOP]);
    must!(wait_with(child, WUNTRACED).0 == child, "not stopped");
    call(n.kill, [child as usize, SIGKILL]);
    must!(wait_with(child, 0) == (child, SIGKILL as i32), "a stopped one was not killed");
    must!(last(0) == CLD_KILLED, "SIGCHLD does not say that it was killed");
    // SA_NOCLDSTOP: only its end is told.
    must!(n.handle(SIGCHLD, count, SA_RESTART | SA_NOCLDSTOP, 0), "no handler");
    SEEN.set(0);
    let child = user::fork();
    if child == 0 {
        n.raise(SIGSTOP);
        user::exit(7);
    }
    must!(wait_with(child, WUNTRACED).0 == child, "not stopped");
    must!(SEEN.get() == 0, "SA_NOCLDSTOP is told of a stop");
    call(n.kill, [child as usize, SIGCONT]);
    must!(wait_with(child, 0) == (child, 7 << 8), "not ended");
    must!(SEEN.get() == 1 && last(0) == CLD_EXITED, "SIGCHLD does not say that it has ended");
    // Who ignores SIGCHLD, or says SA_NOCLDWAIT, has nothing to wait for.
    for round in 0..2 {
        if round == 0 {
            n.let_be(SIGCHLD, 1);
        } else {
            n.handle(SIGCHLD, count, SA_NOCLDWAIT, 0);
        }
        let child = user::fork();
        if child == 0 {
            user::exit(0);
        }
        let waited = loop {
            let waited = wait_with(-1, 0).0;
            if waited != EINTR {
                break waited;
            }
        };
        must!(waited == ECHILD, "there is something to wait for");
    }
    n.let_be(SIGCHLD, 0);
    0
}

#[repr(align(16))]
struct Stack([AtomicUsize; 2048]);
static STACKS: [Stack; 4] = [const { Stack([const { AtomicUsize::new(0) }; 2048]) }; 4];

/// Takes everything but SIGUSR1.
extern "C" fn deaf() -> ! {
    NUMBERS.get().set_mask(bit(SIGUSR1));
    SEEN.add();
    loop {
        sleep_milliseconds(1000);
    }
}

/// Ends, again and again.
extern "C" fn short_lived() -> ! {
    exit_thread()
}

extern "C" fn faulty() -> ! {
    sleep_milliseconds(10);
    memory::write(16, 1);
    exit_thread()
}

fn start(at: usize, entry: extern "C" fn() -> !) -> isize {
    let stack = STACKS[at].0.as_ptr_range().end.addr();
    arch::clone_and_call(THREAD_FLAGS, stack, [0; 3], entry)
}

fn threads(n: &Numbers) -> i32 {
    let me = call(n.getpid, [0; 0]) as usize;
    must!(n.handle(SIGUSR1, count, SA_RESTART, 0), "no handler");
    // A thread that blocks it is passed over; blocked by all, it waits for the first that lets it
    // in.
    for at in 0..3 {
        must!(start(at, deaf) > 0, "no thread");
    }
    must!(until(|| SEEN.get() == 3), "threads did not start");
    call(n.kill, [me, SIGUSR1]);
    must!(until(|| SEEN.get() == 4), "the thread that lets it in did not get it");
    n.set_mask(bit(SIGUSR1));
    call(n.kill, [me, SIGUSR1]);
    must!(n.pending_now() == bit(SIGUSR1) && SEEN.get() == 4, "not pending for the process");
    n.set_mask(0);
    must!(SEEN.get() == 5, "not delivered with the mask");
    // To a thread that may end at this moment: either there is one, or ESRCH.
    for _ in 0..200 {
        let thread = start(3, short_lived);
        must!(thread > 0, "no thread");
        let sent = call(n.tgkill, [me, thread as usize, 0]);
        must!(sent == 0 || sent == -3, "tgkill to a thread that ends");
        let sent = call(n.tgkill, [me, thread as usize, SIGUSR2 + 100]);
        must!(sent == EINVAL || sent == -3, "tgkill with a wrong signal");
        must!(until(|| call(n.tgkill, [me, thread as usize, 0]) == -3), "the thread did not end");
    }
    // A fault of one ends all, with its signal; so does SIGKILL, and an exit_group of the first.
    for way in 0..3 {
        let child = user::fork();
        if child == 0 {
            for at in 0..3 {
                start(at, deaf);
            }
            if way == 0 {
                start(3, faulty);
            }
            if way != 2 {
                loop {
                    sleep_milliseconds(1000);
                }
            }
            user::exit(5);
        }
        if way == 1 {
            sleep_milliseconds(10);
            call(n.kill, [child as usize, SIGKILL]);
        }
        let status = status_of(child);
        let expected = [SIGSEGV as i32, SIGKILL as i32, 5 << 8][way];
        must!(status & !0x80 == expected, "not the status of all");
    }
    // The whole process stops, whichever thread takes the signal, and continues.
    let child = user::fork();
    if child == 0 {
        for at in 0..4 {
            start(at, deaf);
        }
        loop {
            sleep_milliseconds(1);
        }
    }
    for _ in 0..20 {
        call(n.kill, [child as usize, SIGSTOP]);
        must!(wait_with(child, WUNTRACED) == (child, (SIGSTOP as i32) << 8 | 0x7f), "not stopped");
        call(n.kill, [child as usize, SIGCONT]);
        must!(wait_with(child, WCONTINUED) == (child, 0xffff), "not continued");
    }
    call(n.kill, [child as usize, SIGKILL]);
    must!(status_of(child) == SIGKILL as i32, "not killed");
    0
}

static PLACE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn fault_handler(signal: usize, info: usize, context: usize) {
    LAST[3].store(signal, Ordering::SeqCst);
    count(signal, info, context);
    NUMBERS.get().set_mask(0);
    arch::leave(PLACE.as_ptr(), 1)
}

/// Does something that ends in a signal; signal, code and address.
fn fault_of(body: extern "C" fn(usize) -> usize, argument: usize) -> (usize, i32, usize) {
    match arch::try_call(PLACE.as_ptr(), body, argument) {
        1 => (last(3), last(0) as i32, last(1)),
        _ => (0, 0, 0),
    }
}

extern "C" fn reads(at: usize) -> usize {
    memory::read(at);
    0
}

extern "C" fn writes(at: usize) -> usize {
    memory::write(at, 1);
    0
}

extern "C" fn calls_address(at: usize) -> usize {
    // SAFETY: (1) it faults at its first instruction, which is what it is for.
    let code = unsafe { core::mem::transmute::<usize, extern "C" fn()>(at) };
    code();
    0
}

fn faults(n: &Numbers) -> i32 {
    const MAPERR: i32 = 1;
    const ACCERR: i32 = 2;
    for signal in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE] {
        must!(n.handle(signal, fault_handler, 0, 0), "no handler");
    }
    let page = memory::map(0, 2 * PAGE, memory::READ, 0) as usize;
    must!(!memory::is_error(page as isize), "no memory");
    for _ in 0..50 {
        must!(fault_of(reads, 64) == (SIGSEGV, MAPERR, 64), "a read of nothing");
        must!(fault_of(writes, 72) == (SIGSEGV, MAPERR, 72), "a write to nothing");
        must!(fault_of(writes, page + 8) == (SIGSEGV, ACCERR, page + 8), "a write to what is read");
        must!(fault_of(calls_address, 4096) == (SIGSEGV, MAPERR, 4096), "a call of nothing");
        must!(fault_of(calls_address, page) == (SIGSEGV, ACCERR, page), "a call of what is read");
    }
    for (signal, code, body) in arch::FAULTS {
        let (found, found_code, _) = fault_of(*body, 0);
        must!(found == *signal, "an instruction's fault is another signal");
        must!(found_code == *code, "an instruction's fault has another code");
    }
    must!(CONTEXT.pc != 0 && last(2) != 0, "no instruction");
    // One that is blocked ends the program, as one without a handler does.
    let child = user::fork();
    if child == 0 {
        n.set_mask(u64::MAX);
        memory::write(64, 1);
        user::exit(9);
    }
    must!(status_of(child) & 0x7f == SIGSEGV as i32, "a blocked fault did not end the program");
    0
}

fn main() -> i32 {
    let Some(numbers) = Numbers::read() else { return 100 };
    let n = NUMBERS.keep(numbers);
    match user::only_argument() {
        Some(b"calls") => calls(n),
        Some(b"jobs") => jobs(n),
        Some(b"threads") => threads(n),
        Some(b"faults") => faults(n),
        _ => 99,
    }
}
