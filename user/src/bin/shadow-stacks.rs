//! Shadow stacks, where a processor has them: `shadow-stacks NAME`. Each part runs in a process of
//! its own, since a thread of arm64 has its shadow stack once. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, VFORK_FLAGS, nr, shadow_pointer, switch_shadow};
use user::calls::{call, read_file, sleep_milliseconds};
use user::holds;
use user::memory::{self, PAGE};
use user::must;
use user::shadow::*;
use user::signals::{EINVAL, EPERM, exit_thread};

user::entry!(main);

const EFAULT: isize = -14;
const EBUSY: isize = -16;
const EEXIST: isize = -17;
const ENOSPC: isize = -28;
const ERANGE: isize = -34;
const ENOSYS: isize = -38;
const EOVERFLOW: isize = -75;
const EOPNOTSUPP: isize = -95;

/// The wait status of a process that ended by it.
const SIGILL: i32 = 4;

static SEEN: AtomicUsize = AtomicUsize::new(0);

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
    let failed = if IS_ARM64 { controls_of_arm64() } else { controls_of_x86_64(here) };
    holds!(failed == 0, "controls");
    0
}

fn controls_of_arm64() -> usize {
    holds!(prctl(SET, ON | 8) == EINVAL && prctl(SET, ON | WITH_STORES) == 0, "prctl");
    holds!(status() == (ON | WITH_STORES) as isize, "the mode after a change");
    let below = shadow_pointer() - 64;
    arch::store_shadow(below, 0x1234);
    holds!(memory::read(below) == 0x1234, "a store to the shadow stack");
    holds!(lock(WITH_PUSHES | 1 << 20) == 0, "lock");
    holds!(prctl(SET, ON | WITH_PUSHES) == EBUSY, "what is locked");
    holds!(prctl(SET, ON) == 0, "what is not locked");
    0
}

/// The lines of `/proc/self/status` about features.
fn features_are(lines: &[u8]) -> bool {
    let mut text = [0; 8192];
    let length = read_file(c"/proc/self/status", &mut text).unwrap_or(0);
    text[..length].ends_with(lines)
}

fn controls_of_x86_64(here: usize) -> usize {
    holds!(arch_prctl(ENABLE, 3) == EINVAL && arch_prctl(ENABLE, 4) == EINVAL, "one at a time");
    holds!(arch_prctl(DISABLE, 0) == EINVAL && arch_prctl(DISABLE, 4) == EINVAL, "disable");
    holds!(arch_prctl(FEATURES, 8) == EFAULT, "status to nowhere");
    holds!(arch_prctl(ENABLE, ON) == 0, "enabling it again");
    holds!(shadow_pointer() == here && shadow_stacks() == 1, "enabling it again makes another");
    holds!(
        features_are(b"x86_Thread_features:\tshstk \nx86_Thread_features_locked:\t\n"),
        "/proc/self/status"
    );
    holds!(arch_prctl(ENABLE, WITH_STORES) == 0, "stores");
    holds!(status() == (ON | WITH_STORES) as isize, "the mode with stores");
    holds!(shadow_pointer() == here, "stores move the pointer");
    let below = here - 64;
    arch::store_shadow(below, 0x1234);
    holds!(memory::read(below) == 0x1234, "a store to the shadow stack");
    holds!(arch_prctl(DISABLE, WITH_STORES) == 0 && status() == ON as isize, "no stores");
    holds!(lock(WITH_STORES | 1 << 20) == 0, "lock");
    holds!(arch_prctl(ENABLE, WITH_STORES) == EPERM, "what is locked");
    holds!(arch_prctl(UNLOCK_FEATURES, WITH_STORES) == EPERM, "unlocking");
    holds!(
        features_are(b"x86_Thread_features:\tshstk \nx86_Thread_features_locked:\twrss \n"),
        "/proc/self/status with what is locked"
    );
    // This function's own return address is where it was.
    usize::from(depth(600) == 0)
}

/// The instruction that stores, where it was not asked for.
extern "C" fn stores_without(_: usize) -> usize {
    expect(CPERR, 0);
    arch::store_shadow(shadow_pointer() - 64, 1);
    1
}

extern "C" fn returns_elsewhere(_: usize) -> usize {
    arch::return_to((calls as *const ()).expose_provenance())
}

extern "C" fn stores(_: usize) -> usize {
    let at = shadow_pointer();
    expect(ACCERR, at);
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
    holds!(call(number(PROTECT), [page, PAGE, 7]) == EINVAL, "a shadow stack becomes executable");
    holds!(call(number(PROTECT), [page, PAGE, 3]) == 0, "mprotect");
    holds!(
        call(nr::WRITE, [ends[1] as usize, at, 8]) == 8,
        "a shadow stack cannot be read after it"
    );
    holds!(call(nr::READ, [ends[0] as usize, at, 8]) == EFAULT, "mprotect makes it writable");
    usize::from(depth(600) == 0)
}

extern "C" fn stores_after_mprotect(_: usize) -> usize {
    let at = shadow_pointer();
    expect(ACCERR, at);
    call(number(PROTECT), [at & !(PAGE - 1), PAGE, 3]);
    memory::write(at, 0);
    1
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
    lock(ON);
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

/// A child that borrows the memory borrows the shadow stack, and leaves it there.
extern "C" fn lends(_: usize) -> usize {
    let before = shadow_pointer();
    let mut shared = 0_usize;
    for _ in 0..3 {
        let child = arch::clone_that_ends(VFORK_FLAGS, 0, &raw mut shared);
        holds!(child > 0 && user::wait() == Ok(3 << 8), "vfork");
        holds!(shadow_pointer() == before && shadow_stacks() == 1, "vfork gives it back");
    }
    usize::from(depth(900) == 0)
}

/// Takes turns with processes whose shadow stacks are on.
extern "C" fn takes_turns(_: usize) -> usize {
    let before = shadow_pointer();
    for turn in 0..100 {
        depth(turn);
        call(nr::SCHED_YIELD, [0; 0]);
        holds!(shadow_pointer() == before, "the pointer after a switch");
    }
    0
}

/// A process without one has none of theirs, in whatever order they run.
fn apart() -> i32 {
    for _ in 0..3 {
        if user::fork() == 0 {
            user::exit(in_child(ON, takes_turns));
        }
    }
    for turn in 0..300 {
        must!(shadow_pointer() == 0 && depth(turn % 50) == 0, "another's shadow stack");
        call(nr::SCHED_YIELD, [0; 0]);
    }
    for _ in 0..3 {
        must!(user::wait() == Ok(0), "a process that takes turns");
    }
    0
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

fn places_of_arm64() -> usize {
    holds!(map_shadow(8, 4 * PAGE, 0) == EINVAL && map_shadow(0, 8, SET_WORD) == EINVAL, "arm64");
    holds!(map_shadow(0, 0, SET_WORD) == EINVAL, "no size");
    0
}

fn places_of_x86_64() -> usize {
    const FOUR_GIB: usize = (1_u64 << 32) as usize;
    holds!(map_shadow(0, PAGE, SET_WORD | SET_MARKER) == EINVAL, "there is no marker");
    holds!(map_shadow(8, PAGE, 0) == ERANGE, "below 4 GiB");
    holds!(map_shadow(FOUR_GIB.wrapping_sub(PAGE), PAGE, 0) == ERANGE, "just below 4 GiB");
    holds!(map_shadow(FOUR_GIB + 8, PAGE, 0) == EINVAL, "not a page");
    holds!(map_shadow(FOUR_GIB, PAGE, 0) == FOUR_GIB as isize, "at 4 GiB");
    holds!(map_shadow(FOUR_GIB, PAGE, 0) == EEXIST, "where another is");
    holds!(call(nr::MUNMAP, [FOUR_GIB, PAGE]) == 0, "munmap");
    holds!(map_shadow(0, 7, SET_WORD) == ENOSPC && map_shadow(0, 0, SET_WORD) == ENOSPC, "no room");
    holds!(map_shadow(0, usize::MAX - 6, 0) == EOVERFLOW, "rounding up");
    let odd = map_shadow(0, 5, 0);
    holds!(!memory::is_error(odd) && call(nr::MUNMAP, [odd as usize, PAGE]) == 0, "any size");
    0
}

/// A page that a fork made read-only, where a program wrote a word to switch by: it is not one of a
/// shadow stack.
extern "C" fn switches_to_memory(_: usize) -> usize {
    let page = memory::map(0, PAGE, memory::WRITE, 0) as usize;
    let word = page + PAGE / 2;
    memory::write(word, switch_word(word));
    // For as long as the child lives, both have the page.
    let mut ends = [0_u32; 2];
    holds!(call(nr::PIPE2, [ends.as_mut_ptr().addr(), 0]) == 0, "pipe2");
    if user::fork() == 0 {
        // It ends with its parent.
        call(nr::CLOSE, [ends[1] as usize]);
        call(nr::READ, [ends[0] as usize, word, 1]);
        user::exit(0);
    }
    expect(ACCERR, word);
    switch_shadow(word);
    1
}

extern "C" fn switches(_: usize) -> usize {
    holds!(map_shadow(0, 4 * PAGE, 4) == EINVAL, "flags");
    holds!(map_shadow(0, PAGE + 4, SET_WORD) == EINVAL && map_shadow(0, 0, 0) == EINVAL, "sizes");
    holds!(memory::is_error(map_shadow(0, usize::MAX & !7 & !PAGE, 1)), "more than there is");
    let failed = if IS_ARM64 { places_of_arm64() } else { places_of_x86_64() };
    holds!(failed == 0, "places");
    let before = shadow_pointer();
    // Not a whole number of pages: the word is at the end of what was asked for.
    let lowest = map_shadow(0, 3 * PAGE + 64, SET_WORD);
    holds!(!memory::is_error(lowest), "map_shadow_stack");
    let word = lowest as usize + 3 * PAGE + 64 - 8;
    holds!(memory::read(word) == switch_word(word), "the word to switch by");
    holds!(map_shadow(lowest as usize, PAGE, 0) == EEXIST, "over another");
    holds!(on_another(word) && shadow_pointer() == before, "a switch there and back");
    if IS_ARM64 {
        let marked = map_shadow(0, PAGE, SET_WORD | SET_MARKER) as usize;
        let (word, marker) = (marked + PAGE - 16, marked + PAGE - 8);
        holds!(memory::read(word) == switch_word(word) && memory::read(marker) == 0, "marker");
        holds!(on_another(word), "a switch to one with a marker");
    }
    holds!(shadow_stacks() >= 2, "smaps");
    let plain = map_shadow(0, PAGE, 0) as usize;
    holds!(memory::read(plain + PAGE - 8) == 0, "a word that was not asked for");
    holds!(call(nr::MUNMAP, [lowest as usize, 4 * PAGE]) == 0, "munmap");
    // There is no word: a switch there is a violation.
    switch_shadow(plain + PAGE - 8);
    1
}

/// A processor without, or an architecture without.
fn refused() -> i32 {
    let not_there =
        if size_of::<usize>() == 8 && number(MAP) != usize::MAX { EOPNOTSUPP } else { ENOSYS };
    for option in [SET, LOCK, GET] {
        must!(prctl(option, ON) == EINVAL, "prctl");
    }
    must!(number(MAP) == usize::MAX || map_shadow(0, PAGE, 0) == not_there, "map_shadow_stack");
    // x86_64 asks for the processor first.
    let first = if number(ARCH) == usize::MAX { EINVAL } else { EOPNOTSUPP };
    must!(
        number(MAP) == usize::MAX || map_shadow(0, PAGE, 64) == first || not_there == ENOSYS,
        "flags"
    );
    must!(shadow_stacks() == 0, "smaps");
    if number(ARCH) != usize::MAX {
        must!(status() == 0 && arch_prctl(FEATURES, 8) == EFAULT, "status");
        for code in [ENABLE, DISABLE, UNLOCK_FEATURES] {
            must!(arch_prctl(code, ON) == EOPNOTSUPP, "on and off");
            must!(arch_prctl(code, WITH_STORES) == EOPNOTSUPP, "stores");
            must!(arch_prctl(code, 3) == EINVAL && arch_prctl(code, 4) == EINVAL, "both");
        }
        must!(lock(ON) == 0 && arch_prctl(ENABLE, ON) == EPERM, "lock");
        must!(memory::child(|| i32::from(arch_prctl(ENABLE, ON) != EPERM)) == 0, "a child");
    }
    0
}

fn main() -> i32 {
    if !begin() {
        return 100;
    }
    if !are_there() {
        return refused();
    }
    must!(status() == 0, "it is on from the start");
    match user::only_argument() {
        Some(b"calls") => {
            must!(in_child(ON, calls) == 0, "calls");
            must!(dies(ON, CPERR, returns_elsewhere), "a return elsewhere is no violation");
            must!(dies(ON, ACCERR, stores), "a store to a shadow stack");
            must!(dies(ON, ACCERR, stores_after_mprotect), "a store after mprotect");
            must!(in_child(ON, kernel_stores) == 0, "stores of the kernel");
            // On x86_64 it is an instruction that is not there.
            let expected = if IS_ARM64 { AS_EXPECTED } else { SIGILL };
            let ended = in_child(ON, stores_without);
            must!(ended == expected, "stores that were not asked for");
            // Turned off where it is not on.
            must!(are_there() && status() == 0 && shadow_stacks() == 0, "off");
            0
        }
        Some(b"threads") => {
            must!(in_child(ON, threads) == 0, "threads");
            must!(in_child(ON, inherits) == 0, "children");
            must!(in_child(ON, lends) == 0, "vfork");
            apart()
        }
        Some(b"switches") => {
            must!(dies(ON, CPERR, switches), "switches");
            must!(in_child(ON, switches_to_memory) == AS_EXPECTED, "a switch to ordinary memory");
            0
        }
        Some(b"afresh") => afresh(),
        _ => 99,
    }
}
