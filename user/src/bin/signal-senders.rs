//! Who may send signals, how many, and reading them from a file: `signal-senders NAME`.
//! `descriptor`: signalfd. `permissions`: users, and SIGCONT in a session. `limit`: queued signals
//! of a user. `orphans`: a stopped group that nothing would continue.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{THREAD_FLAGS, clone_and_call, nr};
use user::calls::{Calls, call, sleep_milliseconds, status_of};
use user::must;
use user::signals::*;

user::entry!(main);

static NUMBERS: Shared = Shared::new();
static SEEN: Counter = Counter::new();
static LAST: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// The descriptor that a child or a handler writes to.
static OUT: AtomicUsize = AtomicUsize::new(0);

const ESRCH: isize = -3;
const EBADF: isize = -9;
const SIGHUP: usize = 1;
const NONBLOCK: usize = 0o4000;
const NOBODY: usize = 1000;
const WUNTRACED: usize = 2;

/// Numbers of the calls that only this program makes.
struct More {
    signalfd: usize,
    ppoll: usize,
    set_users: usize,
    limit: usize,
    set_group: usize,
    set_session: usize,
}

extern "C" fn note(_signal: usize, info: usize, _context: usize) {
    LAST[0].store(sender_of(info), Ordering::SeqCst);
    // The user stands behind the process.
    let user = u32_at(info + VALUE - 4) as usize;
    LAST[1].store(user, Ordering::SeqCst);
    SEEN.add();
}

/// Whether a descriptor can be read, within so many milliseconds.
fn is_ready(more: &More, fd: usize, milliseconds: usize) -> bool {
    let one = [fd as u32, 1];
    let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    let (one, time) = (one.as_ptr().addr(), time.as_ptr().addr());
    call(more.ppoll, [one, 1, time, 0, SET_BYTES]) == 1
}

fn read(fd: usize, to: &mut [u8]) -> isize {
    call(nr::READ, [fd, to.as_mut_ptr().addr(), to.len()])
}

fn u32_in(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

fn signalfd(more: &More, fd: usize, set: u64, bytes: usize, flags: usize) -> isize {
    call(more.signalfd, [fd, (&raw const set).addr(), bytes, flags])
}

fn descriptor(n: &Numbers, more: &More) -> i32 {
    const NEW: usize = usize::MAX;
    let set = bit(SIGUSR1) | bit(SIGUSR2) | bit(SIGRTMIN);
    must!(signalfd(more, NEW, set, SET_BYTES, 1) == EINVAL, "a flag that is none");
    must!(signalfd(more, NEW, set, SET_BYTES - 1, 0) == EINVAL, "a set of another size");
    must!(signalfd(more, 77, set, SET_BYTES, 0) == EBADF, "a descriptor that is none");
    must!(signalfd(more, 1, set, SET_BYTES, 0) == EINVAL, "a file of another kind");
    let fd = signalfd(more, NEW, set, SET_BYTES, NONBLOCK);
    must!(fd > 2, "no descriptor");
    let fd = fd as usize;
    n.set_mask(set);
    let mut bytes = [0; 400];
    must!(read(fd, &mut bytes) == EAGAIN, "something to read before there is a signal");
    must!(!is_ready(more, fd, 0), "ready before there is a signal");
    must!(read(fd, &mut bytes[..127]) == EINVAL, "a place that is too small");
    let me = call(n.getpid, [0; 0]) as usize;
    call(n.kill, [me, SIGUSR1]);
    must!(is_ready(more, fd, 0), "not ready with a signal");
    // What is ready depends on who asks.
    let child = user::fork();
    if child == 0 {
        let mut bytes = [0; 128];
        let is_apart = !is_ready(more, fd, 0) && read(fd, &mut bytes) == EAGAIN;
        user::exit(i32::from(!is_apart));
    }
    must!(status_of(child) == 0, "a child reads its parent's signals");
    n.queue_to_self(SIGRTMIN, 0x1234);
    n.queue_to_self(SIGRTMIN, 0x1235);
    // The lowest first, as many as there is room for.
    must!(read(fd, &mut bytes) == 3 * 128, "not all of them in one read");
    let [one, two, three] = [0, 128, 256].map(|at| &bytes[at..at + 128]);
    must!(u32_in(one, 0) == SIGUSR1 && u32_in(one, 8) == 0, "not kill's signal");
    must!(u32_in(one, 12) == me && u32_in(one, 16) == 0, "not its sender and user");
    must!(u32_in(two, 0) == SIGRTMIN && u32_in(two, 8) == -1_i32 as u32 as usize, "not sigqueue's");
    must!(u32_in(two, 44) == 0x1234 && u32_in(two, 48) == 0x1234, "not its value");
    must!(u32_in(three, 44) == 0x1235, "not the next one's value");
    must!(n.pending_now() == 0 && !is_ready(more, fd, 0), "still there");
    // Another set: the same descriptor.
    must!(signalfd(more, fd, bit(SIGUSR2), SET_BYTES, 0) == fd as isize, "not set anew");
    call(n.kill, [me, SIGUSR1]);
    must!(!is_ready(more, fd, 0), "ready for a signal that is not in the set");
    must!(signalfd(more, fd, set, SET_BYTES, 0) == fd as isize, "not set anew");
    must!(read(fd, &mut bytes) == 128 && u32_in(&bytes, 0) == SIGUSR1, "not the one that waited");
    // A child wakes who sleeps in poll, and who sleeps in read.
    let blocking = signalfd(more, NEW, set, SET_BYTES, 0) as usize;
    for round in 0..20 {
        let child = user::fork();
        if child == 0 {
            if round % 2 == 0 {
                sleep_milliseconds(10);
            }
            call(n.kill, [me, SIGUSR2]);
            user::exit(0);
        }
        if round % 4 < 2 {
            must!(is_ready(more, blocking, 20_000), "a signal does not end a poll");
        }
        must!(read(blocking, &mut bytes[..128]) == 128, "not read");
        must!(
            u32_in(&bytes, 0) == SIGUSR2 && u32_in(&bytes, 12) == child as usize,
            "not the child's"
        );
        must!(status_of(child) == 0, "the child did not end");
    }
    // One that is not blocked ends a read.
    n.handle(SIGCHLD, note, 0, 0);
    let child = user::fork();
    if child == 0 {
        sleep_milliseconds(10);
        user::exit(0);
    }
    let ended = read(blocking, &mut bytes[..128]);
    must!(ended == EINTR, "a handler does not end a read");
    must!(status_of(child) == 0, "the child did not end");
    0
}

/// Runs as another user.
fn as_nobody(more: &More, body: impl FnOnce() -> i32) -> i32 {
    let child = user::fork();
    if child == 0 {
        if call(more.set_users, [NOBODY, NOBODY, NOBODY]) != 0 {
            user::exit(99);
        }
        user::exit(body());
    }
    status_of(child) >> 8
}

fn permissions(n: &Numbers, more: &More) -> i32 {
    let me = call(n.getpid, [0; 0]) as usize;
    n.handle(SIGUSR1, note, SA_RESTART, 0);
    n.handle(SIGCONT, note, SA_RESTART, 0);
    let bystander = user::fork();
    if bystander == 0 {
        loop {
            sleep_milliseconds(1000);
        }
    }
    let refused = as_nobody(more, || {
        let mut info = [0_u8; INFO_BYTES];
        info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
        must!(call(n.kill, [me, SIGUSR1]) == EPERM, "kill of another user's");
        must!(call(n.kill, [me, 0]) == EPERM, "a question about another user's");
        must!(call(n.tgkill, [me, me, SIGUSR1]) == EPERM, "tgkill of another user's");
        must!(call(n.queue, [me, SIGUSR1, info.as_ptr().addr()]) == EPERM, "sigqueue of another's");
        must!(call(n.kill, [me, 65]) == EINVAL, "a signal that is none");
        must!(call(n.kill, [0x7fff_fff0, SIGUSR1]) == ESRCH, "a process that is none");
        must!(call(n.kill, [0x7fff_fff0, 65]) == ESRCH, "neither process nor signal");
        // Those that it may not send to do not count.
        must!(call(n.kill, [usize::MAX, SIGKILL]) == 0, "kill of all");
        must!(call(n.kill, [me, SIGCONT]) == 0, "SIGCONT in the session");
        call(more.set_session, [0; 0]);
        must!(call(n.kill, [me, SIGCONT]) == EPERM, "SIGCONT from another session");
        0
    });
    must!(refused == 0, "what was refused was not");
    must!(call(n.kill, [bystander as usize, 0]) == 0, "kill of all met another user's");
    call(n.kill, [bystander as usize, SIGKILL]);
    must!(status_of(bystander) == SIGKILL as i32, "the bystander was dead");
    must!(SEEN.get() == 1 && LAST[1].load(Ordering::SeqCst) == NOBODY, "not nobody's SIGCONT");
    // Its own user's, and what it is told of the sender.
    let own = as_nobody(more, || {
        let child = user::fork();
        if child == 0 {
            let ours = call(n.kill, [user::getppid() as usize, SIGUSR1]);
            user::exit(i32::from(ours != 0));
        }
        must!(status_of(child) == 0, "kill of its own user's");
        must!(
            SEEN.get() == 2 && LAST[0].load(Ordering::SeqCst) == child as usize,
            "not the child's"
        );
        must!(LAST[1].load(Ordering::SeqCst) == NOBODY, "not its user");
        0
    });
    must!(own == 0, "what was allowed was not");
    // The number of a thread means its process.
    let top = STACK.0.as_ptr_range().end.addr();
    let thread = clone_and_call(THREAD_FLAGS, top, [0; 3], sleeper);
    must!(thread > 0 && call(n.kill, [thread as usize, SIGUSR1]) == 0, "kill by a thread's number");
    must!(SEEN.get() == 2, "not delivered to the process");
    0
}

#[repr(align(16))]
struct Stack([AtomicUsize; 2048]);
static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 2048]);

extern "C" fn sleeper() -> ! {
    NUMBERS.get().set_mask(u64::MAX);
    loop {
        sleep_milliseconds(1000);
    }
}

fn limit(n: &Numbers, more: &More) -> i32 {
    const PENDING: usize = 11;
    n.set_mask(bit(SIGRTMIN) | bit(SIGUSR1) | bit(SIGRTMIN + 1));
    let five = [5_u64, 5];
    // Other processes of root have queued none.
    must!(call(more.limit, [0, PENDING, five.as_ptr().addr(), 0]) == 0, "no limit");
    for value in 0..5 {
        must!(n.queue_to_self(SIGRTMIN, value) == 0, "fewer than the limit");
    }
    must!(n.queue_to_self(SIGRTMIN, 5) == EAGAIN, "more than the limit");
    let me = call(n.getpid, [0; 0]) as usize;
    // kill(2) sends all the same, without what is told.
    must!(call(n.kill, [me, SIGUSR1]) == 0 && call(n.kill, [me, SIGRTMIN + 1]) == 0, "kill failed");
    must!(n.pending_now() & bit(SIGRTMIN + 1) != 0, "not pending");
    // The user's other processes count with it; another user's do not.
    let child = user::fork();
    if child == 0 {
        let all = n.queue_to_self(SIGRTMIN, 1) == EAGAIN;
        call(more.set_users, [NOBODY, NOBODY, NOBODY]);
        let own = n.queue_to_self(SIGRTMIN, 1) == 0;
        user::exit(i32::from(!(all && own)));
    }
    must!(status_of(child) == 0, "not counted by user");
    let mut info = [0_u8; INFO_BYTES];
    let take = |info: &mut [u8; INFO_BYTES]| {
        let set = bit(SIGRTMIN);
        let none = [0_usize; 2];
        let (set, none) = ((&raw const set).addr(), none.as_ptr().addr());
        call(n.timed_wait, [set, info.as_mut_ptr().addr(), none, SET_BYTES])
    };
    for value in 0..5 {
        must!(take(&mut info) == SIGRTMIN as isize, "not queued");
        must!(value_of(info.as_ptr().addr()) == value, "not in order");
    }
    must!(take(&mut info) == EAGAIN, "more than were sent");
    // What was told comes out, the second number too.
    info.fill(0);
    info[4..8].copy_from_slice(&77_i32.to_ne_bytes());
    info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
    call(n.queue, [me, SIGRTMIN, info.as_ptr().addr()]);
    info.fill(0);
    must!(take(&mut info) == SIGRTMIN as isize && info[4] == 77, "si_errno is lost");
    0
}

extern "C" fn hung_up(_signal: usize, _info: usize, _context: usize) {
    let byte = [1_u8];
    call(nr::WRITE, [OUT.load(Ordering::SeqCst), byte.as_ptr().addr(), 1]);
    user::exit(0)
}

fn orphans(n: &Numbers, more: &More) -> i32 {
    for way in 0..2 {
        let mut ends = [0_u32; 2];
        must!(call(nr::PIPE2, [ends.as_mut_ptr().addr(), 0]) == 0, "no pipe");
        OUT.store(ends[1] as usize, Ordering::SeqCst);
        let middle = user::fork();
        if middle == 0 {
            let stopped = user::fork();
            if stopped == 0 {
                n.handle(SIGHUP, hung_up, 0, 0);
                call(more.set_group, [0, 0]);
                n.raise(SIGSTOP);
                loop {
                    sleep_milliseconds(1000);
                }
            }
            let mut status = 0_i32;
            let at = (&raw mut status).addr();
            call(nr::WAIT4, [stopped as usize, at, WUNTRACED, 0]);
            // By itself, or by a signal: both orphan the group.
            if way == 1 {
                n.raise(SIGKILL);
            }
            user::exit(i32::from(status & 0xff != 0x7f));
        }
        call(nr::CLOSE, [ends[1] as usize]);
        let status = status_of(middle);
        must!(status == [0, SIGKILL as i32][way], "the one in between ended otherwise");
        must!(is_ready(more, ends[0] as usize, 20_000), "nothing comes from the orphans");
        let mut byte = [0];
        must!(read(ends[0] as usize, &mut byte) == 1, "the orphaned group was not hung up");
        call(nr::CLOSE, [ends[0] as usize]);
    }
    0
}

fn main() -> i32 {
    let Some(numbers) = Numbers::read() else { return 100 };
    let n = NUMBERS.keep(numbers);
    let Ok(calls) = Calls::read() else { return 98 };
    let more = More {
        signalfd: calls.number("signalfd4"),
        ppoll: calls.number("ppoll"),
        set_users: calls.number("setresuid"),
        limit: calls.number("prlimit64"),
        set_group: calls.number("setpgid"),
        set_session: calls.number("setsid"),
    };
    match user::only_argument() {
        Some(b"descriptor") => descriptor(n, &more),
        Some(b"permissions") => permissions(n, &more),
        Some(b"limit") => limit(n, &more),
        Some(b"orphans") => orphans(n, &more),
        _ => 99,
    }
}
