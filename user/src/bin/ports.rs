//! I/O ports, where a machine has them: `ports NAME`. `rules`: what ioperm and iopl permit, refuse,
//! and answer. `heirs`: what children, threads and new programs have of them. `switches`: threads
//! and processes with different maps on one CPU, in turn. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr, read_port, read_two_ports, switch_interrupts};
use user::calls::{Calls, call, status_of};
use user::memory::{self, PAGE};
use user::must;
use user::signals::*;

user::entry!(main);

/// A port that firmware writes its progress to: reading it has no effect.
const PORT: usize = 0x80;
/// Another one, which delays have been made with.
const OTHER: usize = 0xed;
const LAST: usize = 0xffff;
/// `SI_KERNEL`.
const FROM_KERNEL: i32 = 0x80;

static NUMBERS: Shared = Shared::new();
/// Numbers of the calls: ioperm, iopl, sched_setaffinity, setresuid.
static CALLS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
/// How the last fault was told.
static CODE: AtomicUsize = AtomicUsize::new(0);

/// Where a thread jumps to from a fault: one place for each of two.
static PLACES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// The stacks of the threads that use the second place.
static SECOND: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

fn known(which: usize) -> usize {
    CALLS[which].load(Ordering::SeqCst)
}

fn ioperm(first: usize, count: usize, is_permitted: usize) -> isize {
    call(known(0), [first, count, is_permitted])
}

fn iopl(level: usize) -> isize {
    call(known(1), [level])
}

/// Keeps the caller to one CPU.
fn stay_on(cpu: usize) -> bool {
    let mask = 1_u64 << cpu;
    call(known(2), [0, size_of::<u64>(), (&raw const mask).addr()]) >= 0
}

/// The place of the thread whose stack this is.
fn place() -> &'static AtomicUsize {
    let here = 0_usize;
    let at = (&raw const here).addr();
    let [lowest, top] = [0, 1].map(|end| SECOND[end].load(Ordering::SeqCst));
    &PLACES[usize::from((lowest..top).contains(&at))]
}

extern "C" fn on_fault(_signal: usize, info: usize, _context: usize) {
    CODE.store(code_of(info) as usize, Ordering::SeqCst);
    NUMBERS.get().set_mask(0);
    arch::leave(place().as_ptr(), FAULTED)
}

const FAULTED: usize = usize::MAX;

/// Whether an instruction is permitted; a SIGSEGV of the kernel's if not.
fn works(instruction: extern "C" fn(usize) -> usize, port: usize) -> bool {
    CODE.store(0, Ordering::SeqCst);
    arch::try_call(place().as_ptr(), instruction, port) != FAULTED
}

/// Whether the fault before was told as Linux does.
fn was_told() -> bool {
    CODE.load(Ordering::SeqCst) as i32 == FROM_KERNEL
}

fn rules() -> i32 {
    must!(!works(read_port, PORT) && was_told(), "a port works that was never permitted");
    must!(ioperm(0x1_0000, 1, 1) == EINVAL && ioperm(LAST, 2, 1) == EINVAL, "a port that is none");
    must!(ioperm(PORT, 0, 1) == EINVAL && ioperm(usize::MAX, 2, 1) == EINVAL, "no port, or round");
    must!(ioperm(0x1_0000, 1, 0) == EINVAL, "a port that is none is refused without an error");
    must!(ioperm(PORT, 1, 0) == 0 && !works(read_port, PORT), "refusing what was not permitted");
    must!(ioperm(PORT, 1, 1) == 0, "ioperm");
    must!(works(read_port, PORT), "a port that is permitted faults");
    must!(!works(read_port, PORT - 1) && was_told(), "the port below works");
    must!(!works(read_port, PORT + 1) && was_told(), "the port above works");
    must!(!works(read_two_ports, PORT) && !works(read_two_ports, PORT - 1), "half an access works");
    must!(works(read_port, PORT), "a port that is permitted faults after its neighbours did");
    must!(!works(read_port, OTHER) && !works(read_port, LAST), "a port far away works");
    must!(arch::is_unprivileged(), "a program with a port has more rights");
    // The last port: the byte behind the map is read for two.
    must!(ioperm(LAST, 1, 1) == 0 && works(read_port, LAST), "the last port");
    must!(!works(read_two_ports, LAST), "there is something behind the last port");
    must!(works(read_port, PORT) && !works(read_port, LAST - 1), "the first among many");
    must!(ioperm(0, 0x1_0000, 1) == 0 && works(read_two_ports, OTHER), "all ports");
    must!(ioperm(PORT + 1, LAST - PORT, 0) == 0 && !works(read_port, OTHER), "most are refused");
    must!(works(read_port, PORT), "one is left");
    must!(ioperm(0, 0x1_0000, 0) == 0 && !works(read_port, PORT), "all are refused");

    must!(iopl(4) == EINVAL && iopl(usize::MAX) == EINVAL, "a level that is none");
    must!(!works(switch_interrupts, 0), "cli works");
    must!(
        iopl(1) == 0 && !works(read_port, PORT) && iopl(2) == 0 && !works(read_port, PORT),
        "1, 2"
    );
    must!(iopl(3) == 0 && works(read_port, PORT) && works(read_port, OTHER), "level 3");
    must!(works(read_two_ports, LAST - 1), "the last ports at level 3");
    must!(arch::is_unprivileged(), "the level is in the flags register");
    must!(arch::try_call(place().as_ptr(), switch_interrupts, 0) == 1, "cli at level 3");
    must!(ioperm(PORT, 1, 1) == 0 && works(read_port, OTHER), "a map while the level is 3");
    must!(iopl(0) == 0 && works(read_port, PORT) && !works(read_port, OTHER), "the map after it");
    must!(!works(switch_interrupts, 0), "cli works after level 3");

    // Without privilege: down, and no more up.
    must!(iopl(3) == 0 && call(known(3), [1000, 1000, 1000]) == 0, "setresuid");
    must!(iopl(3) == 0 && works(read_port, OTHER), "the same level again");
    must!(ioperm(PORT, 1, 1) == EPERM && ioperm(PORT, 1, 0) == 0, "ioperm without privilege");
    must!(iopl(0) == 0 && iopl(3) == EPERM && iopl(1) == EPERM, "iopl without privilege");
    must!(!works(read_port, PORT) && !works(read_port, OTHER), "ports after all were given up");
    0
}

static TOLD: AtomicUsize = AtomicUsize::new(0);

/// A thread, whose stack is the second: what it finds and changes.
extern "C" fn heir() -> ! {
    let inherits = works(read_port, PORT) && !works(read_port, OTHER);
    let changes = ioperm(OTHER, 1, 1) == 0 && ioperm(PORT, 1, 0) == 0;
    let has_changed = works(read_port, OTHER) && !works(read_port, PORT);
    TOLD.store(if inherits && changes && has_changed { 1 } else { 2 }, Ordering::SeqCst);
    exit_thread()
}

/// A thread on the second stack.
fn start(entry: extern "C" fn() -> !) -> bool {
    let stack = memory::map(0, 8 * PAGE, memory::WRITE, 0);
    if memory::is_error(stack) {
        return false;
    }
    let top = stack as usize + 8 * PAGE;
    SECOND[0].store(stack as usize, Ordering::SeqCst);
    SECOND[1].store(top, Ordering::SeqCst);
    arch::clone_and_call(THREAD_FLAGS, top, [0; 3], entry) > 0
}

fn until(word: &AtomicUsize, is: impl Fn(usize) -> bool) -> usize {
    while !is(word.load(Ordering::SeqCst)) {
        user::yield_now();
    }
    word.load(Ordering::SeqCst)
}

fn heirs() -> i32 {
    must!(ioperm(PORT, 1, 1) == 0 && works(read_port, PORT), "ioperm");
    let status = memory::child(|| {
        must!(works(read_port, PORT) && !works(read_port, OTHER), "a child has another map");
        must!(ioperm(OTHER, 1, 1) == 0 && ioperm(PORT, 1, 0) == 0, "a child changes its map");
        must!(works(read_port, OTHER) && !works(read_port, PORT), "a child's change");
        0
    });
    must!(status == 0, "child");
    must!(works(read_port, PORT) && !works(read_port, OTHER), "a child changed its parent's map");
    // The other way round: the parent changes, the child has what was.
    let (mut ends, mut byte) = ([0_u32; 2], 0_u8);
    must!(call(nr::PIPE2, [ends.as_mut_ptr().addr(), 0]) == 0, "pipe2");
    let child = user::fork();
    if child == 0 {
        // Until the parent has changed its own.
        call(nr::READ, [ends[0] as usize, (&raw mut byte).addr(), 1]);
        user::exit(i32::from(!works(read_port, PORT) || works(read_port, OTHER)));
    }
    must!(ioperm(PORT, 1, 0) == 0 && !works(read_port, PORT), "a parent refuses its own");
    must!(call(nr::WRITE, [ends[1] as usize, (&raw const byte).addr(), 1]) == 1, "write");
    must!(status_of(child) == 0, "a parent changed its child's map");
    must!(ioperm(PORT, 1, 1) == 0 && start(heir), "thread");
    must!(until(&TOLD, |told| told != 0) == 1, "a thread has another map than its creator");
    must!(works(read_port, PORT) && !works(read_port, OTHER), "a thread changed its creator's map");
    let status = memory::child(|| {
        let arguments = [c"ports".as_ptr(), c"kept".as_ptr(), core::ptr::null()];
        let none = [0_usize; 1];
        call(
            nr::EXECVE,
            [c"/kstack/bin/ports".as_ptr().addr(), arguments.as_ptr().addr(), none.as_ptr().addr()],
        );
        1
    });
    must!(status == 0, "execve does not keep the map");
    must!(iopl(3) == 0 && memory::child(|| i32::from(!works(read_port, OTHER))) == 0, "a level");
    // Thousands come and go with maps of their own.
    for number in 0..300 {
        let status = memory::child(|| {
            let port = LAST - number;
            i32::from(iopl(0) != 0 || ioperm(port, 1, 1) != 0 || !works(read_port, port))
        });
        must!(status == 0, "one of many children");
    }
    0
}

/// After execve.
fn kept() -> i32 {
    must!(works(read_port, PORT) && !works(read_port, OTHER), "the map before execve");
    0
}

const TURNS: usize = 2000;
static TURNS_DONE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Uses its own port and tries that of the others, over and over.
fn take_turns(mine: usize, others: usize) -> bool {
    for turn in 0..TURNS {
        // Not each time: with the map of before, or with none.
        let is_right = match turn % 3 {
            0 => works(read_port, mine),
            1 => !works(read_port, others),
            _ => works(read_port, mine) && !works(read_port, others),
        };
        if !is_right {
            return false;
        }
        user::yield_now();
    }
    true
}

extern "C" fn other_thread() -> ! {
    let is_right = ioperm(PORT, 1, 0) == 0 && ioperm(OTHER, 1, 1) == 0 && take_turns(OTHER, PORT);
    TURNS_DONE[1].store(if is_right { 1 } else { 2 }, Ordering::SeqCst);
    exit_thread()
}

/// Two threads and two processes, each with a port of its own or none, all on one CPU: whatever the
/// CPU's map held, each has its own.
fn switches() -> i32 {
    must!(stay_on(0), "sched_setaffinity");
    must!(ioperm(PORT, 1, 1) == 0 && start(other_thread), "thread");
    let with_none = user::fork();
    if with_none == 0 {
        let mut is_right = ioperm(PORT, 1, 0) == 0;
        for _ in 0..TURNS {
            is_right &= !works(read_port, PORT) && !works(read_port, OTHER);
            user::yield_now();
        }
        user::exit(i32::from(!is_right));
    }
    let with_all = user::fork();
    if with_all == 0 {
        let mut is_right = iopl(3) == 0;
        for _ in 0..TURNS {
            is_right &= works(read_port, PORT) && works(read_port, OTHER);
            user::yield_now();
        }
        user::exit(i32::from(!is_right));
    }
    must!(take_turns(PORT, OTHER), "a thread has the map of another");
    must!(until(&TURNS_DONE[1], |done| done != 0) == 1, "the other thread has another map");
    must!(user::wait() == Ok(0) && user::wait() == Ok(0), "a process has the map of another");
    0
}

fn main() -> i32 {
    if !arch::HAS_PORTS {
        return 0;
    }
    let (Some(numbers), Ok(calls)) = (Numbers::read(), Calls::read()) else { return 100 };
    let n = NUMBERS.keep(numbers);
    let uid = if size_of::<usize>() == 4 { "setresuid32" } else { "setresuid" };
    for (number, name) in CALLS.iter().zip(["ioperm", "iopl", "sched_setaffinity", uid]) {
        number.store(calls.number(name), Ordering::SeqCst);
        must!(calls.number(name) != usize::MAX, "a call is not there");
    }
    must!(n.handle(SIGSEGV, on_fault, SA_ONSTACK, 0), "no handler");
    match user::only_argument() {
        Some(b"rules") => rules(),
        Some(b"heirs") => heirs(),
        Some(b"kept") => kept(),
        Some(b"switches") => switches(),
        _ => 99,
    }
}
