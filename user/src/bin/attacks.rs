//! What a program can try with processes and threads, one thing at a time: `attacks NAME`. Status 0
//! if it ends as on Linux: an error to the caller, or a death with the right status.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{Calls, call, ended_within, memory_figure, path, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const ESRCH: isize = -3;
const ECHILD: isize = -10;
const EAGAIN: isize = -11;
const ENOMEM: isize = -12;
const EINVAL: isize = -22;
const SIGKILL: usize = 9;
const ANY: usize = -1_isize as usize;
/// Clone flags: tell the parent, clear the child's word at the end.
const CLEAR_WORD: usize = 0x20_0000;

/// What is shared by the threads of an attack.
struct Shared {
    words: [AtomicU32; 4],
    target: AtomicUsize,
    hit: AtomicUsize,
    /// How often the killer has tried.
    tries: AtomicUsize,
    reaped: AtomicUsize,
    seen_twice: AtomicUsize,
    stop: AtomicU32,
    wait4: AtomicUsize,
    number: AtomicUsize,
}

static SHARED: Shared = Shared {
    words: [const { AtomicU32::new(0) }; 4],
    target: AtomicUsize::new(0),
    hit: AtomicUsize::new(0),
    tries: AtomicUsize::new(0),
    reaped: AtomicUsize::new(0),
    seen_twice: AtomicUsize::new(0),
    stop: AtomicU32::new(0),
    wait4: AtomicUsize::new(0),
    number: AtomicUsize::new(0),
};

/// Memory for a thread's stack: lowest address; 0 if there is none.
fn stack() -> usize {
    let made = call(nr::MMAP, [0, STACK_BYTES, 3, 0x22, ANY, 0]);
    if user::memory::is_error(made) { 0 } else { made as usize }
}

const STACK_BYTES: usize = 16 << 10;

fn thread(entry: extern "C" fn() -> !, word: Option<&AtomicU32>) -> isize {
    let lowest = stack();
    if lowest == 0 {
        return ENOMEM;
    }
    let (flags, word) = match word {
        Some(word) => (THREAD_FLAGS | CLEAR_WORD, word.as_ptr().addr()),
        None => (THREAD_FLAGS, 0),
    };
    arch::clone_and_call(flags, lowest + STACK_BYTES, [0, word, 0], entry)
}

fn end_thread() -> ! {
    loop {
        call(nr::EXIT, [0]);
    }
}

fn sleep_until_killed() -> ! {
    loop {
        sleep_milliseconds(1_000_000);
    }
}

extern "C" fn killer() -> ! {
    let kill = SHARED.number.load(Ordering::Relaxed);
    while SHARED.stop.load(Ordering::Acquire) == 0 {
        let target = SHARED.target.load(Ordering::Acquire);
        if target != 0
            && SHARED.hit.load(Ordering::Relaxed) != target
            && call(kill, [target, SIGKILL]) == 0
        {
            SHARED.hit.store(target, Ordering::Release);
        }
        SHARED.tries.fetch_add(1, Ordering::Release);
    }
    end_thread()
}

/// SIGKILL as soon as a number exists: a call that said yes has killed.
fn born(calls: &Calls) -> i32 {
    SHARED.number.store(calls.number("kill"), Ordering::Relaxed);
    must!(thread(killer, None) > 0, "no thread");
    let mut last = user::fork();
    if last == 0 {
        user::exit(0);
    }
    status_of(last);
    let mut hits = 0;
    for _ in 0..60 {
        SHARED.target.store(last as usize + 1, Ordering::Release);
        let child = user::fork();
        if child == 0 {
            sleep_until_killed();
        }
        must!(child > 0, "no child");
        // Until the killer has tried once more, from first to last: the number may have been
        // another's.
        let tries = SHARED.tries.load(Ordering::Acquire);
        while SHARED.tries.load(Ordering::Acquire) < tries + 2 {
            user::yield_now();
        }
        if SHARED.hit.load(Ordering::Acquire) == child as usize {
            hits += 1;
            let status = ended_within(child, 1000);
            must!(status == Some(SIGKILL as i32), "SIGKILL was taken and the child lives");
        } else {
            call(calls.number("kill"), [child as usize, SIGKILL]);
            status_of(child);
        }
        last = child;
    }
    SHARED.stop.store(1, Ordering::Release);
    must!(hits > 0, "the killer never met a child");
    0
}

extern "C" fn sleeping_thread() -> ! {
    sleep_until_killed()
}

extern "C" fn thread_maker() -> ! {
    for _ in 0..40 {
        thread(sleeping_thread, None);
    }
    sleep_until_killed()
}

/// exit_group while another thread makes threads: all end.
fn endings(_: &Calls) -> i32 {
    for round in 0..40 {
        let child = user::fork();
        if child == 0 {
            thread(thread_maker, None);
            for _ in 0..round * 40 {
                core::hint::spin_loop();
            }
            user::yield_now();
            user::exit(5);
        }
        must!(child > 0, "no child");
        must!(
            ended_within(child, 1500) == Some(5 << 8),
            "a process has not ended as exit_group said"
        );
    }
    0
}

static GOT: [AtomicU32; 512] = [const { AtomicU32::new(0) }; 512];

extern "C" fn waiter() -> ! {
    let wait4 = SHARED.wait4.load(Ordering::Relaxed);
    while SHARED.stop.load(Ordering::Acquire) == 0 {
        let child = call(wait4, [ANY, 0, 0, 0]);
        if child > 0 {
            SHARED.reaped.fetch_add(1, Ordering::AcqRel);
            let before = GOT[child as usize % GOT.len()].fetch_add(1, Ordering::AcqRel);
            if before != 0 {
                SHARED.seen_twice.fetch_add(1, Ordering::AcqRel);
            }
        }
        if child == ECHILD {
            user::yield_now();
        }
    }
    end_thread()
}

/// Three that wait for the same children: each child is given to one.
fn waiters(calls: &Calls) -> i32 {
    const CHILDREN: usize = 150;
    SHARED.wait4.store(calls.number("wait4"), Ordering::Relaxed);
    for _ in 0..3 {
        must!(thread(waiter, None) > 0, "no thread");
    }
    for _ in 0..CHILDREN {
        let child = user::fork();
        if child == 0 {
            user::exit(0);
        }
        must!(child > 0, "no child");
    }
    for _ in 0..2000 {
        if SHARED.reaped.load(Ordering::Acquire) >= CHILDREN {
            break;
        }
        sleep_milliseconds(5);
    }
    SHARED.stop.store(1, Ordering::Release);
    must!(SHARED.seen_twice.load(Ordering::Acquire) == 0, "a child was given to two");
    must!(
        SHARED.reaped.load(Ordering::Acquire) == CHILDREN,
        "a child was given to none, or to two"
    );
    0
}

extern "C" fn telling_thread() -> ! {
    SHARED
        .target
        .store(call(SHARED.number.load(Ordering::Relaxed), [0]) as usize, Ordering::Release);
    end_thread()
}

/// Numbers: of threads that have ended, of groups that are not there, of the caller's own group.
fn numbers(calls: &Calls) -> i32 {
    let me = call(calls.number("getpid"), [0]) as usize;
    let (tkill, tgkill) = (calls.number("tkill"), calls.number("tgkill"));
    let kill = calls.number("kill");
    must!(call(calls.number("gettid"), [0]) == me as isize, "the first thread's number");
    SHARED.number.store(calls.number("gettid"), Ordering::Relaxed);
    must!(thread(telling_thread, Some(&SHARED.words[0])) > 0, "no thread");
    while SHARED.target.load(Ordering::Acquire) == 0 {
        user::yield_now();
    }
    let ended = SHARED.target.load(Ordering::Acquire);
    for _ in 0..1000 {
        if call(tgkill, [me, ended, 0]) == ESRCH {
            break;
        }
        sleep_milliseconds(5);
    }
    for _ in 0..20 {
        let child = user::fork();
        if child == 0 {
            sleep_until_killed();
        }
        must!(child as usize != ended, "a child has the number of a thread");
        must!(call(tgkill, [me, child as usize, SIGKILL]) == ESRCH, "tgkill beyond the process");
        must!(call(tgkill, [me, ended, SIGKILL]) == ESRCH, "tgkill of an ended thread");
        must!(call(tkill, [ended, SIGKILL]) == ESRCH, "tkill of an ended thread");
        must!(ended_within(child, 2).is_none(), "a process ended by the number of a thread");
        must!(call(kill, [child as usize, SIGKILL]) == 0, "kill");
        must!(status_of(child) == SIGKILL as i32, "the child's status");
    }
    must!(call(tkill, [0, 0]) == EINVAL && call(tgkill, [0, me, 0]) == EINVAL, "0 is no thread");
    must!(call(kill, [me, 65]) == EINVAL && call(kill, [me, 0]) == 0, "numbers of signals");
    // A group that is not there, and one that is a child's.
    must!(call(kill, [-0x0765_4321_isize as usize, SIGKILL]) == ESRCH, "a group that is not there");
    let child = user::fork();
    if child == 0 {
        sleep_until_killed();
    }
    must!(call(calls.number("setpgid"), [child as usize, 0]) == 0, "setpgid");
    must!(call(calls.number("getpgid"), [child as usize]) == child, "getpgid");
    must!(call(kill, [child.wrapping_neg() as usize, SIGKILL]) == 0, "kill of a child's group");
    must!(status_of(child) == SIGKILL as i32, "a child's group was not killed");
    must!(call(nr::WAIT4, [ANY, 0, 1, 0]) == ECHILD, "a child is left");
    0
}

extern "C" fn short_thread() -> ! {
    end_thread()
}

extern "C" fn detached_thread() -> ! {
    let here = 0_usize;
    let lowest = (&raw const here).addr() & !(STACK_BYTES - 1);
    SHARED.reaped.fetch_add(1, Ordering::AcqRel);
    arch::unmap_and_exit(lowest, STACK_BYTES)
}

/// Memory for a stack whose address is a multiple of its size.
fn aligned_stack() -> usize {
    let made = call(nr::MMAP, [0, 2 * STACK_BYTES, 3, 0x22, ANY, 0]);
    if user::memory::is_error(made) {
        return 0;
    }
    let lowest = made as usize;
    let aligned = lowest.next_multiple_of(STACK_BYTES);
    let rest = lowest + 2 * STACK_BYTES - (aligned + STACK_BYTES);
    if aligned > lowest {
        call(nr::MUNMAP, [lowest, aligned - lowest]);
    }
    if rest > 0 {
        call(nr::MUNMAP, [aligned + STACK_BYTES, rest]);
    }
    aligned
}

/// A word that is cleared, and a sleep on it that ends, when a thread ends; threads that unmap
/// their own stacks; nothing is lost.
fn threads(calls: &Calls) -> i32 {
    const ROUNDS: usize = 24;
    let futex = calls.number("futex");
    let mut before = (0, 0);
    for round in 0..ROUNDS {
        if round == 8 {
            sleep_milliseconds(50);
            before = (memory_figure(b"MemFree:"), memory_figure(b"KernelStack:"));
        }
        let mut stacks = [0; 4];
        for (word, lowest) in SHARED.words.iter().zip(&mut stacks) {
            word.store(1, Ordering::Release);
            *lowest = stack();
            let flags = THREAD_FLAGS | CLEAR_WORD;
            let words = [0, word.as_ptr().addr(), 0];
            let made = arch::clone_and_call(flags, *lowest + STACK_BYTES, words, short_thread);
            must!(made > 0, "no thread");
        }
        for (word, lowest) in SHARED.words.iter().zip(stacks) {
            // Ten seconds: a wake-up that is lost is told, and not a hang.
            let time = [10_usize, 0];
            while word.load(Ordering::Acquire) != 0 {
                let slept = call(futex, [word.as_ptr().addr(), 0, 1, time.as_ptr().addr()]);
                must!(slept == 0 || slept == EAGAIN, "nobody wakes who sleeps on a thread's end");
            }
            must!(call(nr::MUNMAP, [lowest, STACK_BYTES]) == 0, "munmap of a thread's stack");
        }
        for i in 1..=4 {
            let lowest = aligned_stack();
            must!(lowest != 0, "no stack");
            let made =
                arch::clone_and_call(THREAD_FLAGS, lowest + STACK_BYTES, [0; 3], detached_thread);
            must!(made > 0, "no detached thread");
            let mut looks = 0;
            while SHARED.reaped.load(Ordering::Acquire) < round * 4 + i && looks < 3000 {
                sleep_milliseconds(5);
                looks += 1;
            }
            must!(looks < 3000, "a detached thread never ran");
        }
    }
    for _ in 0..1000 {
        if memory_figure(b"KernelStack:") <= before.1 {
            break;
        }
        sleep_milliseconds(5);
    }
    must!(memory_figure(b"KernelStack:") <= before.1, "stacks of ended threads are not back");
    must!(memory_figure(b"MemFree:") + 300 >= before.0, "memory of ended threads is not back");
    0
}

extern "C" fn starting_thread() -> ! {
    let argv = [path(c"sh"), path(c"-c"), path(c"exit 9"), 0];
    call(nr::EXECVE, [path(c"/bin/busybox"), argv.as_ptr().addr(), 0]);
    user::exit(77)
}

/// execve by one thread of several: the others end, the program runs, its first thread has the
/// process's number.
fn start(_: &Calls) -> i32 {
    for _ in 0..4 {
        let child = user::fork();
        if child == 0 {
            for _ in 0..3 {
                thread(sleeping_thread, None);
            }
            thread(starting_thread, None);
            sleep_until_killed();
        }
        must!(
            ended_within(child, 3000) == Some(9 << 8),
            "execve of a process with several threads"
        );
    }
    0
}

/// Twice as many spinning processes as CPUs: everybody gets a turn all the same.
fn spinners(calls: &Calls) -> i32 {
    let mut mask = [0_usize; 16];
    call(calls.number("sched_getaffinity"), [0, size_of_val(&mask), mask.as_mut_ptr().addr()]);
    let cpus: usize = mask.iter().map(|word| word.count_ones() as usize).sum();
    let mut children = [0; 64];
    let count = (2 * cpus).min(children.len());
    for child in &mut children[..count] {
        *child = user::fork();
        if *child == 0 {
            loop {
                core::hint::spin_loop();
            }
        }
    }
    for _ in 0..10 {
        sleep_milliseconds(4);
    }
    for &child in &children[..count] {
        must!(call(calls.number("kill"), [child as usize, SIGKILL]) == 0, "kill");
    }
    for &child in &children[..count] {
        must!(
            ended_within(child, 5000) == Some(SIGKILL as i32),
            "a spinning process was not ended"
        );
    }
    0
}

/// Children until there are no more: the failure is an error, and leaves no process.
fn many(calls: &Calls) -> i32 {
    let mut children = 0_usize;
    let error = loop {
        let child = user::fork();
        if child == 0 {
            sleep_until_killed();
        }
        if child < 0 {
            break child;
        }
        children += 1;
    };
    must!(error == EAGAIN || error == ENOMEM, "fork fails otherwise");
    must!(children > 8, "fork fails too early");
    must!(call(calls.number("kill"), [ANY, SIGKILL]) == 0, "kill of all");
    let mut ended = 0;
    while call(nr::WAIT4, [ANY, 0, 0, 0]) > 0 {
        ended += 1;
    }
    must!(ended == children, "a fork that failed left a child, or one that did not has none");
    let again = user::fork();
    if again == 0 {
        user::exit(0);
    }
    must!(again > 0 && status_of(again) == 0, "no fork any more");
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    let attack: fn(&Calls) -> i32 = match name {
        b"born" => born,
        b"endings" => endings,
        b"waiters" => waiters,
        b"numbers" => numbers,
        b"threads" => threads,
        b"start" => start,
        b"spinners" => spinners,
        b"many" => many,
        _ => return 4,
    };
    attack(&calls)
}
