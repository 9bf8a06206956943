//! Shadow stacks, where a processor has them: `shadow-stacks NAME`. Each part runs in a process of
//! its own, since a thread has its shadow stack once. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr, shadow_pointer, switch_shadow, with_shadow_stack};
use user::calls::{Calls, call, read_file, sleep_milliseconds};
use user::memory::{self, PAGE};
use user::must;
use user::signals::*;

user::entry!(main);

const EFAULT: isize = -14;
const EBUSY: isize = -16;
const EEXIST: isize = -17;
const ENOSYS: isize = -38;
const EOPNOTSUPP: isize = -95;
/// Codes of a SIGSEGV.
const ACCERR: i32 = 2;
const CPERR: i32 = 10;
/// Modes.
const ON: usize = 1;
const WITH_STORES: usize = 2;
const WITH_PUSHES: usize = 4;
/// Flags of map_shadow_stack.
const SET_WORD: usize = 1;
const SET_MARKER: usize = 2;
/// `prctl` of them.
const GET: usize = 74;
const SET: usize = 75;
const LOCK: usize = 76;
/// The status of a child whose SIGSEGV was told as expected.
const AS_EXPECTED: i32 = 42 << 8;

static NUMBERS: Shared = Shared::new();
/// prctl, map_shadow_stack, mprotect, arch_prctl.
static CALLS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
/// What the next SIGSEGV must say: code and address (0: any).
static EXPECTED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static SEEN: AtomicUsize = AtomicUsize::new(0);
static PLACE: AtomicUsize = AtomicUsize::new(0);

fn known(which: usize) -> usize {
    CALLS[which].load(Ordering::SeqCst)
}

fn prctl(option: usize, one: usize) -> isize {
    call(known(0), [option, one, 0, 0, 0])
}

fn map_shadow(at: usize, bytes: usize, flags: usize) -> isize {
    call(known(1), [at, bytes, flags])
}

fn status() -> isize {
    let mut mode = 0_u64;
    match prctl(GET, (&raw mut mode).addr()) {
        0 => mode as isize,
        error => error,
    }
}

/// How many shadow stacks the process has, by `smaps`.
fn shadow_stacks() -> usize {
    let mut text = [0; 32768];
    let length = read_file(c"/proc/self/smaps", &mut text).unwrap_or(0);
    let lines = text[..length].split(|&byte| byte == b'\n');
    lines.filter(|line| line.starts_with(b"VmFlags:") && line.ends_with(b" ss ")).count()
}

extern "C" fn on_segv(_signal: usize, info: usize, _context: usize) {
    let [code, address] = [0, 1].map(|i| EXPECTED[i].load(Ordering::SeqCst));
    let is_right = code_of(info) as usize == code && (address == 0 || address_of(info) == address);
    user::exit(if is_right { AS_EXPECTED >> 8 } else { 1 + code_of(info) })
}

/// Runs `body` in a child with a shadow stack in this mode; the child's wait status.
fn in_child(mode: usize, body: extern "C" fn(usize) -> usize) -> i32 {
    memory::child(|| match with_shadow_stack(mode, body, 0) {
        usize::MAX => 99,
        status => status as i32,
    })
}

/// A child that must end in a SIGSEGV of this code.
fn dies(mode: usize, code: i32, body: extern "C" fn(usize) -> usize) -> bool {
    EXPECTED[0].store(code as usize, Ordering::SeqCst);
    in_child(mode, body) == AS_EXPECTED
}

#[inline(never)]
fn depth(left: usize) -> usize {
    core::hint::black_box(if left == 0 { shadow_pointer() } else { depth(left - 1) })
}

macro_rules! holds {
    ($condition:expr, $message:literal) => {
        if !$condition {
            let _ = user::write_all(1, concat!($message, "\n").as_bytes());
            return 1;
        }
    };
}

extern "C" fn calls(_: usize) -> usize {
    let here = shadow_pointer();
    holds!(status() == ON as isize, "the mode is another");
    let deepest = depth(2000);
    holds!(
        here - deepest > 2000 * 8 && here - deepest < 2010 * 8,
        "a call pushes another number of words"
    );
    holds!(shadow_pointer() == here, "a return pops another number of words");
    holds!(shadow_stacks() == 1, "smaps has no shadow stack");
    // What lies there is where this function returns to, and can be read.
    holds!(memory::read(here) != 0, "the shadow stack is empty");
    holds!(prctl(SET, ON | 8) == EINVAL && prctl(SET, ON | WITH_STORES) == 0, "prctl");
    holds!(status() == (ON | WITH_STORES) as isize, "the mode after a change");
    holds!(prctl(LOCK, WITH_PUSHES | 1 << 20) == 0, "lock");
    holds!(prctl(SET, ON | WITH_PUSHES) == EBUSY, "what is locked");
    holds!(prctl(SET, ON) == 0, "what is not locked");
    0
}

extern "C" fn returns_elsewhere(_: usize) -> usize {
    arch::return_to((on_segv as *const ()).expose_provenance())
}

extern "C" fn stores(_: usize) -> usize {
    let at = shadow_pointer();
    EXPECTED[1].store(at, Ordering::SeqCst);
    memory::write(at, 0);
    1
}

/// No call of the kernel writes to a shadow stack for a program, and it does not become ordinary
/// memory.
extern "C" fn kernel_stores(_: usize) -> usize {
    let at = shadow_pointer();
    let mut ends = [0_u32; 2];
    holds!(call(nr::PIPE2, [ends.as_mut_ptr().addr(), 0]) == 0, "pipe2");
    holds!(call(nr::WRITE, [ends[1] as usize, at, 8]) == 8, "a shadow stack cannot be read");
    holds!(call(nr::READ, [ends[0] as usize, at, 8]) == EFAULT, "read writes to a shadow stack");
    let page = at & !(PAGE - 1);
    holds!(call(known(2), [page, PAGE, 7]) == EINVAL, "a shadow stack becomes executable");
    holds!(call(known(2), [page, PAGE, 3]) == 0, "mprotect");
    holds!(
        call(nr::WRITE, [ends[1] as usize, at, 8]) == 8,
        "a shadow stack cannot be read after it"
    );
    holds!(call(nr::READ, [ends[0] as usize, at, 8]) == EFAULT, "mprotect makes it writable");
    usize::from(depth(600) == 0)
}

extern "C" fn stores_after_mprotect(_: usize) -> usize {
    let at = shadow_pointer();
    EXPECTED[1].store(at, Ordering::SeqCst);
    call(known(2), [at & !(PAGE - 1), PAGE, 3]);
    memory::write(at, 0);
    1
}

extern "C" fn handler(signal: usize, _info: usize, _context: usize) {
    let seen = SEEN.fetch_add(1, Ordering::SeqCst);
    depth(30);
    if seen < 3 {
        // Nested: the signal is not blocked.
        NUMBERS.get().raise(signal);
    }
}

extern "C" fn signals(_: usize) -> usize {
    let n = NUMBERS.get();
    holds!(n.handle(SIGUSR1, handler, SA_NODEFER, 0), "no handler");
    for turn in 1..50 {
        let before = shadow_pointer();
        SEEN.store(if turn % 7 == 0 { 0 } else { 10 }, Ordering::SeqCst);
        n.raise(SIGUSR1);
        holds!(shadow_pointer() == before, "a handler leaves the pointer elsewhere");
        holds!(SEEN.load(Ordering::SeqCst) == if turn % 7 == 0 { 4 } else { 11 }, "handlers");
        depth(turn);
    }
    0
}

/// Where the frame of the handler that runs says its shadow stack's pointer is: behind the head of
/// the record.
fn pointer_in_frame(context: usize) -> Option<usize> {
    const RECORDS: usize = 464;
    const MAGIC: u32 = 0x4743_5300;
    let mut at = context + RECORDS;
    for _ in 0..16 {
        let (magic, bytes) = (u32_at(at), u32_at(at + 4));
        if magic == MAGIC {
            return Some(at + 8);
        }
        if bytes == 0 {
            return None;
        }
        at += bytes as usize;
    }
    None
}

extern "C" fn moving_handler(_signal: usize, _info: usize, context: usize) {
    let Some(at) = pointer_in_frame(context) else { user::exit(3) };
    match SEEN.load(Ordering::SeqCst) {
        // The first time nothing; then to where no word of the kernel's is, above and below.
        0 => {
            PLACE.store(word_at(at), Ordering::SeqCst);
            let word = memory::read(word_at(at));
            if word != word_at(at) & !(PAGE - 1) || word_at(at) != shadow_pointer() + 8 {
                user::exit(4);
            }
        }
        1 => set_word_at(at, word_at(at) + 8),
        2 => set_word_at(at, word_at(at) - 8),
        // To the word of a handler that has ended: used up.
        3 => set_word_at(at, PLACE.load(Ordering::SeqCst) - 64 * 8),
        _ => set_word_at(at, 0),
    }
}

extern "C" fn forges(_: usize) -> usize {
    let n = NUMBERS.get();
    holds!(n.handle(SIGUSR1, moving_handler, 0, 0), "no handler");
    let kind = SEEN.swap(0, Ordering::SeqCst);
    n.raise(SIGUSR1);
    if kind == 3 {
        deeper(64);
        n.raise(SIGUSR1);
    }
    SEEN.store(kind, Ordering::SeqCst);
    n.raise(SIGUSR1);
    0
}

/// A handler that ends deep below leaves its word, used up, where nothing writes afterwards.
#[inline(never)]
fn deeper(left: usize) {
    if left == 0 {
        NUMBERS.get().raise(SIGUSR1);
    } else {
        deeper(left - 1);
    }
    core::hint::black_box(left);
}

extern "C" fn thread() -> ! {
    let is_right = depth(300) != 0 && shadow_stacks() == 2 && status() == ON as isize;
    SEEN.store(if is_right { 1 } else { 2 }, Ordering::SeqCst);
    exit_thread()
}

extern "C" fn threads(_: usize) -> usize {
    let stack = memory::map(0, 16 * PAGE, memory::WRITE, 0) as usize;
    for _ in 0..20 {
        SEEN.store(0, Ordering::SeqCst);
        let child = arch::clone_and_call(THREAD_FLAGS, stack + 16 * PAGE, [0; 3], thread);
        holds!(child > 0, "clone");
        let mut looks = 0;
        while SEEN.load(Ordering::SeqCst) == 0 || shadow_stacks() != 1 {
            sleep_milliseconds(1);
            looks += 1;
            holds!(looks < 5000, "a thread's shadow stack stays");
        }
        holds!(SEEN.load(Ordering::SeqCst) == 1, "a thread has no shadow stack of its own");
    }
    0
}

#[inline(never)]
fn forks(left: usize) -> isize {
    core::hint::black_box(if left == 0 { user::fork() } else { forks(left - 1) })
}

/// Parent and child return the same way, each on its own.
extern "C" fn inherits(_: usize) -> usize {
    let before = shadow_pointer();
    let child = forks(700);
    if child == 0 {
        let is_right = shadow_pointer() == before && status() == ON as isize && depth(900) != 0;
        let grandchild = forks(5);
        if grandchild == 0 {
            return usize::from(!is_right);
        }
        return usize::from(user::wait() != Ok(0));
    }
    depth(900);
    holds!(user::wait() == Ok(0), "a child returns elsewhere");
    let arguments = [c"shadow-stacks".as_ptr(), c"afresh".as_ptr(), core::ptr::null()];
    let none = [0_usize; 1];
    prctl(LOCK, ON);
    call(
        nr::EXECVE,
        [
            c"/kstack/bin/shadow-stacks".as_ptr().addr(),
            arguments.as_ptr().addr(),
            none.as_ptr().addr(),
        ],
    );
    1
}

/// After execve: none, nothing locked, and a new one can be had.
fn afresh() -> i32 {
    must!(status() == 0 && shadow_stacks() == 0, "execve keeps a shadow stack");
    must!(in_child(ON, calls) == 0, "a shadow stack after execve");
    0
}

#[inline(never)]
fn on_another(word: usize) -> bool {
    let left = switch_shadow(word);
    let is_there = shadow_pointer() == word + 8 && depth(100) != 0;
    let second = switch_shadow(left);
    is_there && second == word
}

extern "C" fn switches(_: usize) -> usize {
    holds!(
        map_shadow(0, 4 * PAGE, 4) == EINVAL && map_shadow(8, 4 * PAGE, 0) == EINVAL,
        "flags, place"
    );
    holds!(map_shadow(0, 8, 1) == EINVAL && map_shadow(0, PAGE + 4, 1) == EINVAL, "sizes");
    holds!(map_shadow(0, 0, 1) == EINVAL, "no size");
    holds!(memory::is_error(map_shadow(0, usize::MAX & !7, 1)), "more than there is");
    let before = shadow_pointer();
    // Not a whole number of pages: the word is at the end of what was asked for.
    let lowest = map_shadow(0, 3 * PAGE + 64, SET_WORD);
    holds!(!memory::is_error(lowest), "map_shadow_stack");
    let word = lowest as usize + 3 * PAGE + 64 - 8;
    holds!(memory::read(word) == word & !(PAGE - 1) | 1, "the word to switch by");
    holds!(map_shadow(lowest as usize, PAGE, 0) == EEXIST, "over another");
    holds!(on_another(word) && shadow_pointer() == before, "a switch there and back");
    let marked = map_shadow(0, PAGE, SET_WORD | SET_MARKER) as usize;
    holds!(
        memory::read(marked + PAGE - 16) == marked | 1 && memory::read(marked + PAGE - 8) == 0,
        "marker"
    );
    holds!(on_another(marked + PAGE - 16), "a switch to one with a marker");
    holds!(shadow_stacks() >= 2, "smaps");
    let plain = map_shadow(0, PAGE, 0) as usize;
    holds!(memory::read(plain + PAGE - 8) == 0, "a word that was not asked for");
    holds!(call(nr::MUNMAP, [lowest as usize, 4 * PAGE]) == 0, "munmap");
    // The word is used up: a second switch there is a violation.
    EXPECTED[0].store(CPERR as usize, Ordering::SeqCst);
    switch_shadow(plain + PAGE - 8);
    1
}

/// A processor without, or an architecture without.
fn refused() -> i32 {
    let not_there =
        if size_of::<usize>() == 8 && known(1) != usize::MAX { EOPNOTSUPP } else { ENOSYS };
    for option in [SET, LOCK, GET] {
        must!(prctl(option, ON) == EINVAL, "prctl");
    }
    must!(known(1) == usize::MAX || map_shadow(0, PAGE, 0) == not_there, "map_shadow_stack");
    must!(
        known(1) == usize::MAX || map_shadow(0, PAGE, 64) == EINVAL || not_there == ENOSYS,
        "flags"
    );
    must!(shadow_stacks() == 0, "smaps");
    let machines = known(3);
    if machines != usize::MAX {
        // Codes of arch_prctl: enable, disable, lock, unlock, status.
        let [enable, disable, lock, unlock, status] = [0x5001, 0x5002, 0x5003, 0x5004, 0x5005];
        let mut mode = 9_u64;
        must!(call(machines, [status, (&raw mut mode).addr()]) == 0 && mode == 0, "status");
        must!(call(machines, [status, 8]) == EFAULT, "status to nowhere");
        must!(call(machines, [enable, 1]) == EOPNOTSUPP, "enable");
        must!(call(machines, [disable, 1]) == EOPNOTSUPP, "disable");
        must!(call(machines, [enable, 2]) == EOPNOTSUPP, "enable stores");
        must!(
            call(machines, [enable, 3]) == EINVAL && call(machines, [enable, 4]) == EINVAL,
            "both"
        );
        must!(call(machines, [unlock, 1]) == EINVAL, "unlock");
        must!(call(machines, [lock, 1]) == 0 && call(machines, [enable, 1]) == EPERM, "lock");
        must!(memory::child(|| i32::from(call(machines, [enable, 1]) != EPERM)) == 0, "a child");
    }
    0
}

fn main() -> i32 {
    let (Some(numbers), Ok(calls_known)) = (Numbers::read(), Calls::read()) else { return 100 };
    let n = NUMBERS.keep(numbers);
    for (number, name) in CALLS.iter().zip(["prctl", "map_shadow_stack", "mprotect", "arch_prctl"])
    {
        number.store(calls_known.number(name), Ordering::SeqCst);
    }
    if status() == EINVAL {
        return refused();
    }
    must!(n.handle(SIGSEGV, on_segv, 0, 0), "no handler");
    must!(status() == 0, "it is on from the start");
    match user::only_argument() {
        Some(b"calls") => {
            must!(in_child(ON, calls) == 0, "calls");
            must!(dies(ON, CPERR, returns_elsewhere), "a return elsewhere is no violation");
            must!(dies(ON, ACCERR, stores), "a store to a shadow stack");
            must!(dies(ON, ACCERR, stores_after_mprotect), "a store after mprotect");
            must!(in_child(ON, kernel_stores) == 0, "stores of the kernel");
            // Without it, a return elsewhere is nothing.
            must!(prctl(SET, 0) == 0 && shadow_stacks() == 0, "off");
            0
        }
        Some(b"signals") => {
            must!(in_child(ON, signals) == 0, "signals");
            SEEN.store(0, Ordering::SeqCst);
            must!(in_child(ON, forges) == 0, "frames as they are");
            for kind in 1..5 {
                SEEN.store(kind, Ordering::SeqCst);
                let status = in_child(ON, forges);
                must!(
                    status & 0x7f == SIGSEGV as i32 || status == (1 + FROM_KERNEL) << 8,
                    "a forged pointer"
                );
            }
            0
        }
        Some(b"threads") => {
            must!(in_child(ON, threads) == 0, "threads");
            must!(in_child(ON, inherits) == 0, "children");
            0
        }
        Some(b"switches") => {
            EXPECTED[1].store(0, Ordering::SeqCst);
            must!(dies(ON, CPERR, switches), "switches");
            0
        }
        Some(b"afresh") => afresh(),
        _ => 99,
    }
}

/// `SI_KERNEL`.
const FROM_KERNEL: i32 = 0x80;
