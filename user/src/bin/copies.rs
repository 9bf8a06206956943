//! Copy on write while other CPUs look on: `copies NAME`. Status 0 if each sees what is its own, at once.
//!
//! Nothing that a thread does here makes the kernel flush for another reason: the one that forks sleeps in the kernel until its child
//! has ended, the one that copies has written to all its other pages before.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{Calls, call};
use user::must;

user::entry!(main);

/// clone: a copy of the memory, and the parent sleeps until the copy has ended.
const COPY_AND_SLEEP: usize = 0x4000 | 17;
const PAGE: usize = 4096;
const ANY: usize = -1_isize as usize;
/// Turns until a thread that makes no progress is given up.
const MOST_TURNS: usize = 4_000_000;

static TARGET: AtomicUsize = AtomicUsize::new(0);
static READY: AtomicBool = AtomicBool::new(false);
static LOOPS: AtomicUsize = AtomicUsize::new(0);
static SEEN: AtomicUsize = AtomicUsize::new(0);

#[repr(align(16))]
struct Stack([AtomicUsize; 512]);

static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 512]);

fn word(at: usize) -> &'static AtomicUsize {
    // SAFETY: (1) the address of a page of ours, which stays.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(at) }
}

/// A page of zeros; 0 if there is none.
fn page() -> usize {
    let made = call(nr::MMAP, [0, PAGE, 3, 0x22, ANY, 0]);
    if user::memory::is_error(made) { 0 } else { made as usize }
}

/// Waits until it holds; says whether it came to that.
fn until(condition: impl Fn() -> bool) -> bool {
    (0..MOST_TURNS).any(|_| {
        let holds = condition();
        if !holds {
            user::yield_now();
        }
        holds
    })
}

fn start(entry: extern "C" fn() -> !) -> bool {
    let top = STACK.0.as_ptr_range().end.addr();
    arch::clone_and_call(THREAD_FLAGS, top, [0; 2], entry) > 0
        && until(|| READY.load(Ordering::SeqCst))
}

/// Counts in the page until the process ends.
extern "C" fn counter() -> ! {
    let page = word(TARGET.load(Ordering::SeqCst));
    loop {
        page.fetch_add(1, Ordering::Relaxed);
        READY.store(true, Ordering::SeqCst);
    }
}

/// Looks at the page until the process ends.
extern "C" fn reader() -> ! {
    let page = word(TARGET.load(Ordering::SeqCst));
    loop {
        SEEN.store(page.load(Ordering::SeqCst), Ordering::SeqCst);
        LOOPS.fetch_add(1, Ordering::SeqCst);
        READY.store(true, Ordering::SeqCst);
    }
}

/// A child's copy does not change, though another thread of its parent's wrote before the fork and writes on. Red if fork leaves
/// other CPUs their translations: nothing else makes them forget.
fn frozen() -> i32 {
    for _ in 0..10 {
        let process = user::fork();
        if process == 0 {
            user::exit(frozen_once());
        }
        must!(user::wait() == Ok(0), "a thread's write behind fork reached the child");
    }
    0
}

fn frozen_once() -> i32 {
    let at = page();
    TARGET.store(at, Ordering::SeqCst);
    must!(at != 0 && start(counter), "no thread that counts");
    let child = call(nr::CLONE, [COPY_AND_SLEEP, 0, 0, 0, 0]);
    if child == 0 {
        let before = word(at).load(Ordering::SeqCst);
        let stays = (0..200).all(|_| {
            user::yield_now();
            word(at).load(Ordering::SeqCst) == before
        });
        user::exit(if stays { 0 } else { 4 });
    }
    must!(child > 0, "no child");
    must!(user::wait() == Ok(0), "a copy of memory changes");
    0
}

/// What a thread writes to a page that it has to copy is seen by the others of its process. Red if only the CPU that copies forgets the
/// page that was shared: the others read it on.
fn seen() -> i32 {
    let at = page();
    TARGET.store(at, Ordering::SeqCst);
    must!(at != 0 && start(reader), "no thread that reads");
    for round in 1..=20 {
        let mut pipe = [0_u32; 2];
        must!(call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]) == 0, "pipe");
        let [from, to] = pipe.map(|end| end as usize);
        let byte = 0_u8;
        // Shares every page until its parent lets go of the pipe.
        let keeper = user::fork();
        if keeper == 0 {
            call(nr::CLOSE, [to]);
            call(nr::READ, [from, (&raw const byte).addr(), 1]);
            user::exit(0);
        }
        must!(keeper > 0, "no child");
        let far = |from: usize| until(|| LOOPS.load(Ordering::SeqCst).wrapping_sub(from) > 1000);
        // By then the other CPU has the page, to read, and its own copies of what it writes.
        must!(far(LOOPS.load(Ordering::SeqCst)), "the thread that reads stands still");
        word(at).store(round, Ordering::SeqCst);
        must!(far(LOOPS.load(Ordering::SeqCst)), "the thread that reads stands still");
        must!(SEEN.load(Ordering::SeqCst) == round, "a thread reads a page that was copied");
        call(nr::CLOSE, [from]);
        call(nr::CLOSE, [to]);
        must!(user::wait() == Ok(0), "the child that kept the pages");
    }
    0
}

/// A page shared since a fork is closed and opened again by its owner, who then writes: the child has its own. Red if opening it gives
/// the right to write to what is shared.
fn opened() -> i32 {
    const READ: usize = 1;
    const WRITE: usize = 3;
    let Ok(calls) = Calls::read() else { return 3 };
    let protect = |at, access| call(calls.number("mprotect"), [at, PAGE, access]);
    for access in [0, READ] {
        let at = page();
        must!(at != 0, "no page");
        word(at).store(1, Ordering::SeqCst);
        let mut pipe = [0_u32; 2];
        must!(call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]) == 0, "pipe");
        let [from, to] = pipe.map(|end| end as usize);
        let byte = 0_u8;
        let child = user::fork();
        if child == 0 {
            call(nr::READ, [from, (&raw const byte).addr(), 1]);
            user::exit(if word(at).load(Ordering::SeqCst) == 1 { 0 } else { 4 });
        }
        must!(child > 0, "no child");
        must!(protect(at, access) == 0 && protect(at, WRITE) == 0, "mprotect");
        word(at).store(2, Ordering::SeqCst);
        must!(call(nr::WRITE, [to, (&raw const byte).addr(), 1]) == 1, "pipe, to write");
        must!(user::wait() == Ok(0), "a write to a page that was opened again reached the child");
        call(nr::CLOSE, [from]);
        call(nr::CLOSE, [to]);
    }
    0
}

fn main() -> i32 {
    let stack = user::first_stack();
    // SAFETY: (1) argc and the pointers behind it are as the kernel laid them out; two arguments were checked for.
    let name = unsafe {
        if *stack != 2 {
            return 2;
        }
        core::ffi::CStr::from_ptr(*stack.add(2) as *const core::ffi::c_char).to_bytes()
    };
    match name {
        b"frozen" => frozen(),
        b"seen" => seen(),
        b"opened" => opened(),
        _ => 2,
    }
}
