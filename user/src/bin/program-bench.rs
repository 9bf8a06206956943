//! What programs pay for system calls, processes, threads, signals, faults, pipes and mappings, in
//! instructions: prints a line for each, `name value`, the median of many rounds.
//!
//! In the emulator's counting mode the machine's counter advances by one per instruction. With one
//! CPU that includes what children and other threads execute meanwhile. Each round shows that what
//! it measured happened, or the program ends with status 1 and no further figure.
//!
//! `program-bench FILE` executes FILE, a program that ends with status 42, where `execve` is
//! measured; `program-bench null-call` measures that call alone. It asks nothing of the kernel that
//! Linux does not have, and gives Linux's figures there (`xtask::proof::against`).

#![no_std]
#![no_main]

use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, VFORK_FLAGS, counter, nr, raw_getppid};
use user::calls::{call, status_of};
use user::memory::{FIXED, NO_RESERVE, NONE, PAGE, READ, WRITE, is_error, map, read, write};
use user::must;
use user::signals::{Counter, Numbers, SA_ONSTACK, SIGUSR1, exit_thread};

user::entry!(main);

/// Of what takes long, and of what does not; both odd, so that there is a median.
const FEW: usize = 101;
const MANY: usize = 401;

/// Of clone: the parent's word gets the thread's number, the child's is cleared and woken at its
/// end.
const PARENT_SETTID: usize = 0x10_0000;
const CHILD_CLEARTID: usize = 0x20_0000;
const FUTEX_WAIT: usize = 0;
const ENOMEM: isize = -12;

fn main() -> i32 {
    let Some(file) = user::only_argument() else { return 2 };
    // The argument is a string in memory that stays: its address serves the child as well.
    EXECUTED.store(file.as_ptr().expose_provenance(), Ordering::Relaxed);
    let Some(empty) = median::<MANY, _>(0, |_| (), |_, ()| true) else { return 3 };
    if file == b"null-call" {
        return null_call(empty);
    }
    for bench in [null_call, processes, execs, threads, signals, faults, pipes] {
        match bench(empty) {
            0 => {}
            status => return status,
        }
    }
    for (name, count) in [("areas_10", 10), ("areas_1000", 1_000), ("areas_30000", 30_000)] {
        match areas(empty, name, count) {
            0 => {}
            status => return status,
        }
    }
    0
}

/// The median of the instructions from one reading of the counter to the next with the work
/// between, less what reading costs; nothing if what must hold after a round does not.
#[inline(always)]
fn median<const ROUNDS: usize, T>(
    empty: u64,
    mut work: impl FnMut(usize) -> T,
    mut holds: impl FnMut(usize, T) -> bool,
) -> Option<u64> {
    let mut spans = [0; ROUNDS];
    for (round, span) in spans.iter_mut().enumerate() {
        let before = counter();
        let result = work(round);
        // A counter that began again in between gives a huge span, which is not the median.
        *span = counter().wrapping_sub(before);
        if !holds(round, result) {
            return None;
        }
    }
    spans.sort_unstable();
    spans[ROUNDS / 2].checked_sub(empty)
}

/// Prints a figure, or says of which there is none.
fn print(name: &str, figure: Option<u64>) -> i32 {
    let mut digits = [0; 20];
    let parts = match figure {
        Some(figure) => [name.as_bytes(), b" ", decimal(figure, &mut digits), b"\n"],
        None => [name.as_bytes(), b": ", b"a round did not do what is measured", b"\n"],
    };
    let is_printed = parts.iter().all(|part| user::write_all(1, part).is_ok());
    if figure.is_some() && is_printed { 0 } else { 1 }
}

/// A number in decimal.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// The call that does the least.
fn null_call(empty: u64) -> i32 {
    // A kernel that refuses it would make it cheap: it must really answer.
    must!(user::getppid() >= 0, "getppid is refused");
    print("syscall_null", median::<MANY, _>(empty, |_| raw_getppid(), |_, ()| true))
}

/// A process that ends at once, with a status of its own each round.
fn processes(empty: u64) -> i32 {
    let figure = median::<FEW, _>(
        empty,
        |round| match user::fork() {
            0 => user::exit(round as i32),
            child => status_of(child),
        },
        |round, status| status == (round as i32) << 8,
    );
    print("fork_exit_wait", figure)
}

#[repr(align(16))]
struct Stack([AtomicUsize; 2048]);

impl Stack {
    const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; 2048])
    }

    fn lowest(&self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    fn top(&self) -> usize {
        self.lowest() + size_of::<Self>()
    }

    fn holds(&self, address: usize) -> bool {
        (self.lowest()..self.top()).contains(&address)
    }
}

/// For the child that executes a program, for threads, and for signal handlers.
static STACK: Stack = Stack::new();

/// Where the path of the program is that a child executes.
static EXECUTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn execute() -> ! {
    let path = EXECUTED.load(Ordering::Relaxed);
    let (arguments, variables) = ([path, 0], [0_usize]);
    call(nr::EXECVE, [path, arguments.as_ptr().addr(), variables.as_ptr().addr()]);
    user::exit(1)
}

/// A child that borrows the memory until it executes a program, which ends at once.
fn execs(empty: u64) -> i32 {
    let figure = median::<FEW, _>(
        empty,
        |_| status_of(arch::clone_and_call(VFORK_FLAGS, STACK.top(), [0; 3], execute)),
        |_, status| status == 42 << 8,
    );
    print("vfork_exec_wait", figure)
}

static LIVES: Counter = Counter::new();
static THREAD: AtomicU32 = AtomicU32::new(0);

extern "C" fn live() -> ! {
    LIVES.add();
    exit_thread()
}

/// A thread that ends at once, and is waited for as thread libraries do.
fn threads(empty: u64) -> i32 {
    let flags = THREAD_FLAGS | PARENT_SETTID | CHILD_CLEARTID;
    let word = THREAD.as_ptr().addr();
    let figure = median::<FEW, _>(
        empty,
        |_| {
            let thread = arch::clone_and_call(flags, STACK.top(), [word, word, 0], live);
            // Set by the call, so that an end before the first look is seen, too.
            loop {
                match THREAD.load(Ordering::SeqCst) {
                    0 => return thread,
                    number => call(nr::FUTEX, [word, FUTEX_WAIT, number as usize, 0, 0, 0]),
                };
            }
        },
        |round, thread| thread > 0 && LIVES.get() == round + 1,
    );
    print("clone_join", figure)
}

static HANDLED: Counter = Counter::new();
/// Where a word on the stack of the handler was.
static HANDLER_STACK: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_signal: usize) {
    let word = core::hint::black_box(0_usize);
    HANDLER_STACK.store((&raw const word).addr(), Ordering::Relaxed);
    HANDLED.add();
}

/// A signal to the calling thread, its handler, and the return, on the thread's own stack and on an
/// alternate one.
fn signals(empty: u64) -> i32 {
    let numbers = Numbers {
        action: nr::RT_SIGACTION,
        stack: nr::SIGALTSTACK,
        tgkill: nr::TGKILL,
        getpid: nr::GETPID,
        gettid: nr::GETTID,
        mask: usize::MAX,
        pending: usize::MAX,
        suspend: usize::MAX,
        timed_wait: usize::MAX,
        queue: usize::MAX,
        kill: usize::MAX,
    };
    must!(
        numbers.set_stack(STACK.lowest(), size_of::<Stack>(), 0) == 0,
        "no alternate stack for a handler"
    );
    let [process, thread] = [nr::GETPID, nr::GETTID].map(|number| call(number, []) as usize);
    for (name, flags) in [("signal_own_stack", 0), ("signal_alternate_stack", SA_ONSTACK)] {
        must!(numbers.handle_plainly(SIGUSR1, handler, flags), "no handler");
        HANDLED.set(0);
        let figure = median::<MANY, _>(
            empty,
            |_| call(nr::TGKILL, [process, thread, SIGUSR1]),
            |round, sent| {
                let is_alternate = STACK.holds(HANDLER_STACK.load(Ordering::Relaxed));
                sent == 0 && HANDLED.get() == round + 1 && is_alternate == (flags == SA_ONSTACK)
            },
        );
        match print(name, figure) {
            0 => {}
            status => return status,
        }
    }
    0
}

/// Whether there is memory in a page; an error if nothing is mapped there.
fn is_resident(page: usize) -> Result<bool, isize> {
    let mut there = [0_u8];
    match call(nr::MINCORE, [page, PAGE, there.as_mut_ptr().addr()]) {
        0 => Ok(there[0] & 1 != 0),
        error => Err(error),
    }
}

/// The first write to a page of nothing.
fn faults(empty: u64) -> i32 {
    // Less than the 2 MiB from which on Linux gives large pages.
    let pages = map(0, MANY * PAGE, WRITE, 0);
    must!(!is_error(pages), "no memory for page faults");
    let page = |round| pages as usize + round * PAGE;
    let mut was_there = false;
    let figure = median::<MANY, _>(
        empty,
        |round| write(page(round), round),
        |round, ()| {
            was_there |= round + 1 < MANY && is_resident(page(round + 1)) != Ok(false);
            !was_there && is_resident(page(round)) == Ok(true) && read(page(round)) == round
        },
    );
    call(nr::MUNMAP, [pages as usize, MANY * PAGE]);
    print("page_fault", figure)
}

/// What goes through the pipes, in each process.
static BYTE: AtomicU8 = AtomicU8::new(0);

/// A byte to another process through one pipe, and one more than it back through another.
fn pipes(empty: u64) -> i32 {
    let (mut to, mut from) = ([0_u32; 2], [0_u32; 2]);
    for pipe in [&mut to, &mut from] {
        must!(call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]) == 0, "no pipe");
    }
    let [[child_reads, writes], [reads, child_writes]] =
        [to, from].map(|pipe| pipe.map(|descriptor| descriptor as usize));
    let transfer = |number, descriptor| call(number, [descriptor, BYTE.as_ptr().addr(), 1]);
    let child = user::fork();
    if child == 0 {
        call(nr::CLOSE, [writes]);
        // Until the other end is closed.
        while transfer(nr::READ, child_reads) == 1 {
            BYTE.fetch_add(1, Ordering::Relaxed);
            if transfer(nr::WRITE, child_writes) != 1 {
                user::exit(1);
            }
        }
        user::exit(7);
    }
    must!(child > 0, "no child to exchange bytes with");
    let figure = median::<MANY, _>(
        empty,
        |round| {
            BYTE.store(round as u8, Ordering::Relaxed);
            transfer(nr::WRITE, writes) + transfer(nr::READ, reads)
        },
        |round, count| count == 2 && BYTE.load(Ordering::Relaxed) == (round as u8).wrapping_add(1),
    );
    call(nr::CLOSE, [writes]);
    must!(status_of(child) == 7 << 8, "the child did not see the end of its pipe");
    print("pipe_round_trip", figure)
}

/// mmap of a page, its first write, and munmap, in a process with so many areas.
fn areas(empty: u64, name: &str, count: usize) -> i32 {
    // Pages without access and readable ones by turns: neighbours of different kinds stay apart.
    let bytes = count * PAGE;
    let reserved = map(0, bytes, NONE, NO_RESERVE);
    must!(!is_error(reserved), "no address space for areas");
    let reserved = reserved as usize;
    for at in (reserved..reserved + bytes).step_by(2 * PAGE) {
        must!(map(at, PAGE, READ, FIXED | NO_RESERVE) == at as isize, "no further area");
    }
    must!(areas_now().is_some_and(|areas| areas >= count), "the process has too few areas");
    let figure = median::<MANY, _>(
        empty,
        |round| {
            let page = map(0, PAGE, WRITE, 0);
            if is_error(page) {
                return None;
            }
            write(page as usize, round);
            let seen = read(page as usize);
            (call(nr::MUNMAP, [page as usize, PAGE]) == 0).then_some((page as usize, seen))
        },
        |round, done| {
            done.is_some_and(|(page, seen)| seen == round && is_resident(page) == Err(ENOMEM))
        },
    );
    must!(call(nr::MUNMAP, [reserved, bytes]) == 0, "the areas stay");
    print(name, figure)
}

/// How many areas the process has, by /proc/self/maps.
fn areas_now() -> Option<usize> {
    const PATH: &CStr = c"/proc/self/maps";
    const HERE: usize = user::calls::HERE;
    let file = usize::try_from(call(nr::OPENAT, [HERE, PATH.as_ptr().addr(), 0, 0])).ok()?;
    let mut text = [0_u8; 16384];
    let mut lines = 0;
    let result = loop {
        match call(nr::READ, [file, text.as_mut_ptr().addr(), text.len()]) {
            0 => break Some(lines),
            read @ 1.. => {
                lines += text[..read as usize].iter().filter(|&&byte| byte == b'\n').count();
            }
            _ => break None,
        }
    };
    call(nr::CLOSE, [file]);
    result
}
