//! Restartable sequences: `sequences NAME`. Status 0 if they are as on Linux (rseq(2),
//! include/uapi/linux/rseq.h). `calls`: what is refused, and registering. `cpus`: the CPU that a
//! thread reads is the one it is on. `counts`: threads count in sequences, without atomic
//! operations, and no count is lost. `signals`, `switches`, `barriers`: each takes a thread out of
//! its sequence. `family`: who has its creator's structure. `spoiled`: what makes no sense kills.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use user::arch::sequences::{SIGNATURE, bounds, count};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{call, path, status_of};
use user::memory::is_deadly;
use user::must;
use user::signals::*;

user::entry!(main);

const EFAULT: isize = -14;
const EBUSY: isize = -16;
const NOT_REGISTERED: u32 = u32::MAX;
/// More turns than any test waits for: such a sequence ends by being aborted.
const UNTIL_ABORTED: usize = usize::MAX >> 1;
const CPUS: usize = 64;

/// A `struct rseq`.
#[repr(C, align(32))]
struct Structure {
    cpu_at_start: AtomicU32,
    cpu: AtomicU32,
    name: AtomicU64,
    flags: AtomicU32,
    node: AtomicU32,
    among_running: AtomicU32,
    rest: AtomicU32,
}

impl Structure {
    const fn new() -> Self {
        Self {
            cpu_at_start: AtomicU32::new(0),
            cpu: AtomicU32::new(NOT_REGISTERED),
            name: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            node: AtomicU32::new(0),
            among_running: AtomicU32::new(0),
            rest: AtomicU32::new(0),
        }
    }

    fn at(&self) -> usize {
        core::ptr::from_ref(self).expose_provenance()
    }

    fn register(&self) -> isize {
        register(self.at(), 32, 0)
    }

    /// Adds one in a sequence to this CPU's counter. Whether it was not aborted.
    fn count(&self, turns: usize) -> bool {
        let [name_at, cpu_at] = [self.name.as_ptr().addr(), self.cpu_at_start.as_ptr().addr()];
        let sequence = core::ptr::from_ref(&SEQUENCE).addr();
        // SAFETY: (1) all of them are this program's, and live as long as it does; (2) the counters
        // of other CPUs are not written, and this one's by no thread that runs meanwhile: that is
        // what the program tests.
        unsafe { count(name_at, sequence, cpu_at, COUNTERS.as_ptr().addr(), turns) == 0 }
    }
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

fn register(at: usize, bytes: usize, flags: usize) -> isize {
    call(NUMBER.load(Ordering::Relaxed), [at, bytes, flags, SIGNATURE as usize])
}

/// A `struct rseq_cs`.
#[repr(C, align(32))]
struct Sequence {
    version: AtomicU32,
    flags: AtomicU32,
    first: AtomicU64,
    bytes: AtomicU64,
    abort: AtomicU64,
}

static SEQUENCE: Sequence = Sequence {
    version: AtomicU32::new(0),
    flags: AtomicU32::new(0),
    first: AtomicU64::new(0),
    bytes: AtomicU64::new(0),
    abort: AtomicU64::new(0),
};
static COUNTERS: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];
static OURS: Structure = Structure::new();
static OTHERS: [Structure; 5] = [const { Structure::new() }; 5];

#[repr(align(16))]
struct Stack([AtomicUsize; 2048]);
static STACKS: [Stack; 5] = [const { Stack([const { AtomicUsize::new(0) }; 2048]) }; 5];
static BEGUN: Counter = Counter::new();
static ENDED: Counter = Counter::new();
static ABORTED: Counter = Counter::new();
static WRONG: Counter = Counter::new();

fn start(number: usize, entry: extern "C" fn() -> !) -> bool {
    let top = STACKS[number].0.as_ptr_range().end.addr();
    arch::clone_and_call(THREAD_FLAGS, top, [0; 3], entry) > 0
}

fn end_thread() -> ! {
    ENDED.add();
    exit_thread()
}

fn wait_for(counter: &Counter, count: usize) {
    while counter.get() < count {
        user::yield_now();
    }
}

fn calls() -> i32 {
    const UNREGISTER: usize = 1;
    let at = OURS.at();
    must!(register(at, 31, 0) == EINVAL, "too short");
    must!(register(at + 4, 32, 0) == EINVAL, "not aligned");
    must!(register(at, 32, 2) == EINVAL, "an unknown flag");
    must!(register(at, 32, UNREGISTER) == EINVAL, "unregistered what never was");
    must!(register(usize::MAX & !31, 32, 0) == EFAULT, "not the program's memory");
    must!(register(at, 32, 0) == 0, "registering");
    must!(OURS.cpu.load(Ordering::SeqCst) != NOT_REGISTERED, "no CPU");
    must!(OURS.node.load(Ordering::SeqCst) == 0, "a node that is not there");
    must!(register(at, 32, 0) == EBUSY, "registered twice");
    must!(register(at + 32, 32, 0) == EINVAL, "another one");
    must!(register(at, 64, 0) == EINVAL, "another size");
    let number = NUMBER.load(Ordering::Relaxed);
    let other = SIGNATURE as usize ^ 1;
    must!(call(number, [at, 32, 0, other]) == EPERM, "another signature");
    must!(call(number, [at, 32, UNREGISTER, other]) == EPERM, "another signature");
    must!(register(at, 64, UNREGISTER) == EINVAL, "another size");
    must!(register(at, 32, UNREGISTER) == 0, "unregistering");
    must!(OURS.cpu.load(Ordering::SeqCst) == NOT_REGISTERED, "the CPU is not taken back");
    must!(register(at, 32, UNREGISTER) == EINVAL, "unregistered twice");
    must!(register(at, 64, 0) == 0, "a longer one");
    0
}

/// Keeps the calling thread to one CPU; whether there is such a one.
fn keep_to(numbers: &Affinity, cpu: usize) -> bool {
    let mask = 1_u64 << cpu;
    call(numbers.set, [0, 8, (&raw const mask).addr()]) == 0
}

struct Affinity {
    set: usize,
    get_cpu: usize,
}

fn cpus(numbers: &Affinity) -> i32 {
    must!(OURS.register() == 0, "registering");
    let mut seen = 0;
    for round in 0..200 {
        if !keep_to(numbers, round % 4) {
            continue;
        }
        seen += 1;
        let mut cpu = NOT_REGISTERED;
        must!(call(numbers.get_cpu, [(&raw mut cpu).addr(), 0]) == 0, "getcpu");
        must!(cpu as usize == round % 4, "kept to a CPU, and on another one");
        must!(OURS.cpu.load(Ordering::SeqCst) == cpu, "the CPU is another one");
        must!(OURS.cpu_at_start.load(Ordering::SeqCst) == cpu, "the CPU at the start is another");
        must!(OURS.among_running.load(Ordering::SeqCst) < 4, "more threads run than CPUs");
    }
    must!(seen > 0, "no CPU to be kept to");
    0
}

const MIN_ROUNDS: usize = 1500;
const MIN_ABORTS: usize = 10;
static COUNTED: Counter = Counter::new();

extern "C" fn count_all() -> ! {
    let ours = &OTHERS[BEGUN.add()];
    if ours.register() != 0 {
        WRONG.add();
    }
    // There are more threads than CPUs: each loses its own now and then.
    while COUNTED.get() < MIN_ROUNDS || ABORTED.get() < MIN_ABORTS {
        while !ours.count(2000) {
            ABORTED.add();
        }
        COUNTED.add();
    }
    end_thread()
}

fn counts() -> i32 {
    for thread in 0..OTHERS.len() {
        must!(start(thread, count_all), "no thread");
    }
    while ENDED.get() < OTHERS.len() {
        user::calls::sleep_milliseconds(1);
    }
    must!(WRONG.get() == 0, "registering");
    let sum: usize = COUNTERS.iter().map(|counter| counter.load(Ordering::SeqCst)).sum();
    must!(sum == COUNTED.get(), "counts were lost");
    0
}

static PC: AtomicUsize = AtomicUsize::new(0);

extern "C" fn keep_pc(_signal: usize, _info: usize, context: usize) {
    let pc = pc_of(context);
    let [first, end, _] = bounds();
    if (first..end).contains(&pc) {
        WRONG.add();
    }
    PC.store(pc, Ordering::SeqCst);
}

fn signals(n: &Numbers) -> i32 {
    must!(OURS.register() == 0, "registering");
    must!(n.handle(SIGUSR1, keep_pc, 0, 0), "no handler");
    let me = call(n.getpid, [0; 0]) as usize;
    let child = user::fork();
    if child == 0 {
        loop {
            user::calls::sleep_milliseconds(20);
            call(n.kill, [me, SIGUSR1]);
        }
    }
    // A switch may take it out of the sequence first, and the signal come after.
    let mut aborts = 0;
    while PC.load(Ordering::SeqCst) != bounds()[2] && aborts < 2000 {
        must!(!OURS.count(UNTIL_ABORTED), "it ended");
        must!(OURS.name.load(Ordering::SeqCst) == 0, "the name is not erased");
        aborts += 1;
    }
    call(n.kill, [child as usize, SIGKILL]);
    status_of(child);
    must!(WRONG.get() == 0, "a handler interrupted a sequence that will continue");
    must!(aborts < 2000, "no handler saw the abort handler's address as what it interrupted");
    0
}

extern "C" fn yield_often() -> ! {
    let numbers = Affinity { set: SET.load(Ordering::SeqCst), get_cpu: 0 };
    if !keep_to(&numbers, 0) {
        WRONG.add();
    }
    BEGUN.add();
    while ENDED.get() == 0 {
        user::yield_now();
    }
    exit_thread()
}

static SET: AtomicUsize = AtomicUsize::new(0);

fn switches(numbers: &Affinity) -> i32 {
    must!(OURS.register() == 0, "registering");
    must!(keep_to(numbers, 0), "not kept to a CPU");
    SET.store(numbers.set, Ordering::SeqCst);
    must!(start(0, yield_often), "no thread");
    wait_for(&BEGUN, 1);
    for _ in 0..20 {
        // It comes back only because the other thread got the CPU.
        must!(!OURS.count(UNTIL_ABORTED), "it ended");
    }
    ENDED.add();
    must!(WRONG.get() == 0, "the other thread is not kept to the CPU");
    0
}

extern "C" fn count_until_aborted() -> ! {
    let ours = &OTHERS[0];
    if ours.register() != 0 {
        WRONG.add();
    }
    while ENDED.get() == 0 {
        BEGUN.add();
        if ours.count(UNTIL_ABORTED) {
            WRONG.add();
        }
        ABORTED.add();
    }
    ABORTED.add();
    exit_thread()
}

fn barriers(barrier: usize) -> i32 {
    const SEQUENCES: usize = 1 << 7;
    const REGISTER: usize = 1 << 8;
    const ONE_CPU: usize = 1;
    must!(call(barrier, [0, 0, 0]) as usize & SEQUENCES != 0, "not told of");
    must!(call(barrier, [SEQUENCES, 0, 0]) == EPERM, "without a registration");
    must!(call(barrier, [REGISTER, 0, 0]) == 0, "registering");
    must!(call(barrier, [SEQUENCES, 2, 0]) == EINVAL, "an unknown flag");
    must!(start(0, count_until_aborted), "no thread");
    for round in 0..50 {
        let aborted = ABORTED.get();
        // It is in its sequence, or right before it.
        wait_for(&BEGUN, aborted + 1);
        while ABORTED.get() == aborted {
            if round % 2 == 0 {
                must!(call(barrier, [SEQUENCES, 0, 0]) == 0, "all CPUs");
            } else {
                for cpu in 0..4 {
                    must!(call(barrier, [SEQUENCES, ONE_CPU, cpu]) == 0, "one CPU");
                }
            }
        }
    }
    ENDED.add();
    let aborted = ABORTED.get();
    while ABORTED.get() < aborted + 1 {
        call(barrier, [SEQUENCES, 0, 0]);
    }
    must!(WRONG.get() == 0, "a sequence came to its end");
    0
}

extern "C" fn register_own() -> ! {
    // What its creator registered is not this thread's.
    if OTHERS[0].register() != 0 {
        WRONG.add();
    }
    end_thread()
}

fn family() -> i32 {
    const PATH: &core::ffi::CStr = c"/kstack/bin/sequences";
    must!(OURS.register() == 0, "registering");
    OURS.cpu.store(77, Ordering::SeqCst);
    let child = user::fork();
    if child == 0 {
        must!(OURS.cpu.load(Ordering::SeqCst) != 77, "a child is not told its CPU");
        must!(OURS.register() == EBUSY, "a child has not its parent's structure");
        let arguments = [PATH.as_ptr().addr(), c"calls".as_ptr().addr(), 0];
        // Where nothing is registered, all of this part holds.
        call(nr::EXECVE, [path(PATH), arguments.as_ptr().addr(), 0]);
        return 5;
    }
    must!(status_of(child) == 0, "execve left what was registered");
    must!(start(0, register_own), "no thread");
    wait_for(&ENDED, 1);
    must!(WRONG.get() == 0, "a thread has its creator's structure");
    0
}

fn spoiled(numbers: &Affinity) -> i32 {
    // One CPU and another process: each yield is a switch, after which the name is looked at.
    must!(keep_to(numbers, 0), "not kept to a CPU");
    let other = user::fork();
    if other == 0 {
        loop {
            user::yield_now();
        }
    }
    NAME.store(core::ptr::from_ref(&SEQUENCE).addr() as u64, Ordering::SeqCst);
    let kills = |spoil: fn()| {
        is_deadly(|| {
            OURS.register();
            spoil();
            for _ in 0..20 {
                OURS.name.store(NAME.load(Ordering::SeqCst), Ordering::SeqCst);
                user::yield_now();
            }
        })
    };
    must!(!kills(|| ()), "a sound one kills");
    must!(kills(|| NAME.store(u64::from(u32::MAX) << 32 | 16, Ordering::SeqCst)), "a wild name");
    must!(kills(|| NAME.store(64, Ordering::SeqCst)), "a name of no memory");
    must!(kills(|| SEQUENCE.version.store(1, Ordering::SeqCst)), "an unknown version");
    must!(
        kills(|| SEQUENCE.abort.store(bounds()[0] as u64, Ordering::SeqCst)),
        "an abort handler in the sequence"
    );
    must!(
        kills(|| SEQUENCE.abort.store(bounds()[2] as u64 + 1, Ordering::SeqCst)),
        "an abort handler without the signature"
    );
    must!(kills(|| SEQUENCE.bytes.store(u64::MAX, Ordering::SeqCst)), "a sequence without an end");
    call(Numbers::read().map_or(0, |n| n.kill), [other as usize, SIGKILL]);
    status_of(other);
    0
}

static NAME: AtomicU64 = AtomicU64::new(0);
static NUMBERS: Shared = Shared::new();

fn main() -> i32 {
    let Some(numbers) = Numbers::read() else { return 100 };
    let n = NUMBERS.keep(numbers);
    let Ok(known) = user::calls::Calls::read() else { return 100 };
    NUMBER.store(known.number("rseq"), Ordering::Relaxed);
    let [first, end, abort] = bounds();
    SEQUENCE.first.store(first as u64, Ordering::Relaxed);
    SEQUENCE.bytes.store((end - first) as u64, Ordering::Relaxed);
    SEQUENCE.abort.store(abort as u64, Ordering::Relaxed);
    let affinity =
        Affinity { set: known.number("sched_setaffinity"), get_cpu: known.number("getcpu") };
    match user::only_argument() {
        Some(b"calls") => calls(),
        Some(b"cpus") => cpus(&affinity),
        Some(b"counts") => counts(),
        Some(b"signals") => signals(n),
        Some(b"switches") => switches(&affinity),
        Some(b"barriers") => barriers(known.number("membarrier")),
        Some(b"family") => family(),
        Some(b"spoiled") => spoiled(&affinity),
        _ => 99,
    }
}
