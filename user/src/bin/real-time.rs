//! Threads of real time: `real-time NAME`. `rules`: who may ask for what, and what is kept of it.
//! `order`: the highest rank first, equals in turn or not. `share`: what the rest of the
//! machine gets. `nice`: what shares ordinary threads have.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{Calls, call, sleep_milliseconds, status_of};
use user::memory::{self, PAGE};
use user::must;
use user::signals::{EINVAL, EPERM, exit_thread};

user::entry!(main);

const OTHER: usize = 0;
const FIFO: usize = 1;
const ROUND_ROBIN: usize = 2;
const RESET_ON_FORK: usize = 0x4000_0000;
const ESRCH: isize = -3;
const SHARED: usize = 1;

fn set(calls: &Calls, policy: usize, priority: u32) -> isize {
    set_of(calls, 0, policy, priority)
}

fn set_of(calls: &Calls, thread: usize, policy: usize, priority: u32) -> isize {
    let words = [thread, policy, (&raw const priority).addr()];
    call(calls.number("sched_setscheduler"), words)
}

fn policy_of(calls: &Calls, thread: usize) -> isize {
    call(calls.number("sched_getscheduler"), [thread])
}

fn priority(calls: &Calls) -> u32 {
    let mut priority = 77_u32;
    call(calls.number("sched_getparam"), [0, (&raw mut priority).addr()]);
    priority
}

static IS_DONE: AtomicUsize = AtomicUsize::new(0);
static FOUND: [AtomicIsize; 2] = [const { AtomicIsize::new(0) }; 2];
static CALLS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
#[repr(align(16))]
struct Stack([AtomicUsize; 2048]);
static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 2048]);

/// Makes itself nicer, alone.
extern "C" fn nicer() -> ! {
    let [set, get] = [0, 1].map(|at: usize| CALLS[at].load(Ordering::SeqCst));
    FOUND[0].store(call(set, [0, 0, 5]), Ordering::SeqCst);
    FOUND[1].store(call(get, [0, 0]), Ordering::SeqCst);
    IS_DONE.store(1, Ordering::SeqCst);
    exit_thread()
}

fn rules(calls: &Calls) -> i32 {
    must!(policy_of(calls, 0) == OTHER as isize && priority(calls) == 0, "how it begins");
    for (policy, priority) in [(FIFO, 0), (FIFO, 100), (ROUND_ROBIN, 0), (OTHER, 1), (7, 0)] {
        must!(set(calls, policy, priority) == EINVAL, "a policy or a priority that is none");
    }
    must!(set_of(calls, 1 << 21, FIFO, 1) == ESRCH, "a thread that is not there");
    must!(set(calls, FIFO, 30) == 0 && priority(calls) == 30, "root may not");
    must!(policy_of(calls, 0) == FIFO as isize, "the policy is not kept");
    let mut interval = [1_usize; 2];
    let asked = [0, interval.as_mut_ptr().addr()];
    must!(call(calls.number("sched_rr_get_interval"), asked) == 0, "its slice");
    must!(interval == [0, 0], "without turns it has no slice");
    let child = user::fork();
    if child == 0 {
        must!(policy_of(calls, 0) == FIFO as isize && priority(calls) == 30, "a child's policy");
        return 0;
    }
    must!(status_of(child) == 0, "the child");
    must!(set(calls, ROUND_ROBIN | RESET_ON_FORK, 20) == 0, "a policy that children have not");
    must!(policy_of(calls, 0) == (ROUND_ROBIN | RESET_ON_FORK) as isize, "its bit");
    let child = user::fork();
    if child == 0 {
        must!(policy_of(calls, 0) == 0 && priority(calls) == 0, "the child is of real time");
        return 0;
    }
    must!(status_of(child) == 0, "the other child");
    must!(set(calls, OTHER, 0) == 0, "back");
    let is_narrow = size_of::<usize>() == 4;
    let become_other = calls.number(if is_narrow { "setresuid32" } else { "setresuid" });
    let child = user::fork();
    if child == 0 {
        must!(call(become_other, [1000, 1000, 1000]) == 0, "another user");
        must!(set(calls, FIFO, 1) == EPERM, "any user may");
        must!(set(calls, OTHER, 0) == 0, "what it is already");
        return 0;
    }
    must!(status_of(child) == 0, "the user");
    // Nice values are threads', too.
    CALLS[0].store(calls.number("setpriority"), Ordering::SeqCst);
    CALLS[1].store(calls.number("getpriority"), Ordering::SeqCst);
    let stack = STACK.0.as_ptr_range().end.addr();
    must!(arch::clone_and_call(THREAD_FLAGS, stack, [0; 3], nicer) > 0, "no thread");
    while IS_DONE.load(Ordering::SeqCst) == 0 {
        sleep_milliseconds(1);
    }
    must!(FOUND[0].load(Ordering::SeqCst) == 0, "a thread's nice value");
    must!(FOUND[1].load(Ordering::SeqCst) == 15, "the thread's nice value is not kept");
    must!(call(calls.number("getpriority"), [0, 0]) == 20, "one thread made another nicer");
    0
}

/// Keeps the caller to the first CPU.
fn stay(calls: &Calls) -> bool {
    let set = 1_u64;
    call(calls.number("sched_setaffinity"), [0, 8, (&raw const set).addr()]) == 0
}

fn pipe(calls: &Calls) -> [usize; 2] {
    let mut ends = [0_u32; 2];
    call(calls.number("pipe2"), [ends.as_mut_ptr().addr(), 0]);
    ends.map(|end| end as usize)
}

fn read(from: usize) -> u8 {
    let mut byte = 0_u8;
    call(nr::READ, [from, (&raw mut byte).addr(), 1]);
    byte
}

fn write(to: usize, byte: u8) {
    call(nr::WRITE, [to, (&raw const byte).addr(), 1]);
}

fn milliseconds(calls: &Calls) -> usize {
    const MONOTONIC: usize = 1;
    let mut time = [0_usize; 2];
    call(calls.number("clock_gettime"), [MONOTONIC, time.as_mut_ptr().addr()]);
    time[0] * 1000 + time[1] / 1_000_000
}

fn spin(calls: &Calls, time: usize) {
    let begin = milliseconds(calls);
    while milliseconds(calls) - begin < time {}
}

/// Starts a child for each policy and priority; all are woken while this one, of a higher rank,
/// keeps the CPU. The order in which they then run.
fn run_order<const N: usize>(
    calls: &Calls,
    children: [(usize, u32); N],
    time: usize,
) -> Option<[u8; N]> {
    let (ready, done) = (pipe(calls), pipe(calls));
    let mut wakers = [0; N];
    let mut numbers = [0; N];
    for (at, (policy, priority)) in children.into_iter().enumerate() {
        let waker = pipe(calls);
        wakers[at] = waker[1];
        let child = user::fork();
        if child == 0 {
            let was_set = set(calls, policy, priority);
            write(ready[1], b'r');
            read(waker[0]);
            // Only the first takes its time.
            if at == 0 {
                spin(calls, time);
            }
            write(done[1], at as u8);
            user::exit(i32::from(was_set != 0));
        }
        numbers[at] = child;
        read(ready[0]);
    }
    // Asleep again, each of them: it was of a lower rank when it had written.
    sleep_milliseconds(20);
    wakers.into_iter().for_each(|waker| write(waker, b'w'));
    let order = [0; N].map(|_: u8| read(done[0]));
    let are_well = numbers.into_iter().all(|child| status_of(child) == 0);
    are_well.then_some(order)
}

fn order(calls: &Calls) -> i32 {
    must!(stay(calls), "one CPU");
    must!(set(calls, FIFO, 90) == 0, "real time");
    let by_rank = run_order(calls, [(FIFO, 10), (FIFO, 30), (ROUND_ROBIN, 20), (OTHER, 0)], 0);
    must!(by_rank == Some([1, 2, 0, 3]), "not the highest rank first");
    let without_turns = run_order(calls, [(FIFO, 20), (FIFO, 20)], 40);
    must!(without_turns == Some([0, 1]), "one without slices lost its turn to an equal");
    let within_turn = run_order(calls, [(ROUND_ROBIN, 20), (ROUND_ROBIN, 20)], 20);
    must!(within_turn == Some([0, 1]), "a slice is shorter than Linux's");
    let with_turns = run_order(calls, [(ROUND_ROBIN, 20), (ROUND_ROBIN, 20)], 400);
    must!(with_turns == Some([1, 0]), "equals with slices do not take turns");
    let lower = run_order(calls, [(ROUND_ROBIN, 21), (ROUND_ROBIN, 20)], 400);
    must!(lower == Some([0, 1]), "a lower rank took a turn");
    0
}

fn share(calls: &Calls) -> i32 {
    must!(stay(calls), "one CPU");
    let asked = [0, PAGE, memory::WRITE, memory::ANONYMOUS | SHARED, usize::MAX, 0];
    let page = call(nr::MMAP, asked);
    must!(!memory::is_error(page), "no memory");
    // SAFETY: (1) a page of zeroes that is mapped until the end.
    let is_told = unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(page as usize) };
    let child = user::fork();
    if child == 0 {
        must!(set(calls, FIFO, 50) == 0, "real time");
        is_told.store(1, Ordering::SeqCst);
        let begin = milliseconds(calls);
        while is_told.load(Ordering::SeqCst) == 1 {
            must!(milliseconds(calls) - begin < 20_000, "the others never ran");
        }
        return 0;
    }
    while is_told.load(Ordering::SeqCst) == 0 {
        sleep_milliseconds(1);
    }
    is_told.store(2, Ordering::SeqCst);
    must!(status_of(child) == 0, "the child that spins");
    0
}

/// Ticks of CPU time of a child, as `wait4` has them, in milliseconds.
fn time_of(calls: &Calls, child: isize) -> usize {
    // User time and system time, two words each, and what else there is.
    let mut used = [0_usize; 18 * 2];
    let mut status = 0_u32;
    let asked = [child as usize, (&raw mut status).addr(), 0, used.as_mut_ptr().addr()];
    must_or_end(call(calls.number("wait4"), asked) == child && status == 0);
    (used[0] + used[2]) * 1000 + (used[1] + used[3]) / 1000
}

fn must_or_end(is_well: bool) {
    if !is_well {
        user::exit(9);
    }
}

/// Two children spin on one CPU for a second and a half. What each of them got of it, in
/// milliseconds.
fn spin_beside(calls: &Calls, prepare: [&dyn Fn(); 2]) -> [usize; 2] {
    let asked = [0, PAGE, memory::WRITE, memory::ANONYMOUS | SHARED, usize::MAX, 0];
    let page = call(nr::MMAP, asked);
    must_or_end(!memory::is_error(page));
    // SAFETY: (1) a page of zeroes that is mapped until the end.
    let is_told = unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(page as usize) };
    let children = prepare.map(|prepare| {
        let child = user::fork();
        if child == 0 {
            prepare();
            is_told.fetch_add(1, Ordering::SeqCst);
            while is_told.load(Ordering::SeqCst) < 3 {
                core::hint::spin_loop();
            }
            user::exit(0);
        }
        child
    });
    // Of real time: it wakes when it wants to, and takes no share of theirs.
    must_or_end(set(calls, FIFO, 1) == 0);
    while is_told.load(Ordering::SeqCst) < 2 {
        sleep_milliseconds(1);
    }
    sleep_milliseconds(1500);
    is_told.fetch_add(1, Ordering::SeqCst);
    let times = children.map(|child| time_of(calls, child));
    must_or_end(set(calls, OTHER, 0) == 0);
    times
}

/// Nice values are shares: of two threads on one CPU, the one with 5 has a third of what the other
/// has (335 of 1,024), and one with SCHED_IDLE next to nothing.
fn nice(calls: &Calls) -> i32 {
    const IDLE: usize = 5;
    must!(stay(calls), "one CPU");
    let nicer = |by: usize| move || must_or_end(call(calls.number("setpriority"), [0, 0, by]) == 0);
    let [one, other] = spin_beside(calls, [&nicer(0), &nicer(0)]);
    must!(one * 3 > other * 2 && other * 3 > one * 2, "equals do not have equal shares");
    let [nice, normal] = spin_beside(calls, [&nicer(5), &nicer(0)]);
    must!(normal > nice * 2, "the nicer one has as much as the other");
    must!(normal < nice * 5, "the nicer one has next to nothing");
    // Later, and with a higher weight than normal.
    let [low, high] = spin_beside(calls, [&nicer(0), &nicer(5_usize.wrapping_neg())]);
    must!(high > low * 2 && high < low * 5, "one below 0 has no larger share");
    let idle = || must_or_end(set(calls, IDLE, 0) == 0);
    let [idle, normal] = spin_beside(calls, [&idle, &nicer(0)]);
    must!(normal > idle * 10, "SCHED_IDLE has a share like others");
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    match name {
        b"rules" => rules(&calls),
        b"order" => order(&calls),
        b"share" => share(&calls),
        b"nice" => nice(&calls),
        _ => 2,
    }
}
