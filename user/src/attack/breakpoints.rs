//! Both PCs: breakpoints and watchpoints in the CPU, which a tracer sets in the process that it
//! traces: what is refused, what stops, and whom they leave alone.

use super::traced::{PTRACE, halted, peek, poke, ptrace};
use super::{Attack, End};
use crate::arch::nr;
use crate::calls::{call, status_of};
use crate::memory::child;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

const CONTINUE: usize = 7;
const GET_INFO: usize = 0x4202;
const EIO: isize = -5;
const EINVAL: isize = -22;
const SIGTRAP: i32 = 5;
const SIGCHLD: i32 = 17;
/// `TRAP_HWBKPT`.
const HARDWARE: i32 = 4;

const IS_WIDE: bool = usize::BITS == 64;
/// Where `struct user` has DR0, in words.
const FIRST: usize = if IS_WIDE { 848 / 8 } else { 252 / 4 };
const EVENTS: usize = FIRST + 6;
const CONTROL: usize = FIRST + 7;
/// Above every address of programs.
const TOP: usize = (if IS_WIDE { 0x7fff_ffff_f000_u64 } else { 0xffff_f000 }) as usize;

/// The first breakpoint, on: what it stops, and the bytes, as DR7 has them.
const fn on(what: usize, bytes: usize) -> usize {
    1 | what << 16 | bytes << 18
}

const EXECUTED: usize = on(0, 0);
const WRITTEN: usize = on(1, 3);
const TOUCHED: usize = on(3, 3);

static WORD: AtomicUsize = AtomicUsize::new(0);

fn place() -> usize {
    (&raw const WORD).addr()
}

/// A function that is called, and can be told by its address.
#[inline(never)]
extern "C" fn station(number: usize) -> usize {
    core::hint::black_box(number) + 1
}

/// How a halted child stops next: the signal; none: it has ended by itself with 0.
fn next_stop(one: isize) -> Option<i32> {
    stop_after(one, 0)
}

/// The same, if it is given a signal.
fn stop_after(one: isize, signal: i32) -> Option<i32> {
    ptrace(CONTINUE, one, 0, signal as usize);
    let mut status = -1_i32;
    call(nr::WAIT4, [one as usize, (&raw mut status).addr(), 0, 0]);
    match status {
        0 => None,
        _ if status & 0xff == 0x7f => Some(status >> 8),
        _ => Some(-status),
    }
}

/// Whether a halted child has been stopped by its first breakpoint.
fn is_hit(one: isize) -> bool {
    let mut info = [0_i32; 32];
    let told = ptrace(GET_INFO, one, 0, info.as_mut_ptr().addr());
    told == 0 && info[0] == SIGTRAP && info[2] == HARDWARE && peek(one, EVENTS) & 0xf == 1
}

/// What a tracer is refused, and what it reads.
fn refused() -> i32 {
    let one = halted(|| 0);
    let starts_empty = peek(one, FIRST) == 0 && peek(one, CONTROL) == 0;
    let kernel = [TOP, usize::MAX - 7];
    let of_kernel = kernel.iter().all(|&address| poke(one, FIRST, address) == EINVAL);
    let is_none = poke(one, FIRST + 4, 0) == EIO && poke(one, FIRST + 5, 1) == EIO;
    let is_set = poke(one, FIRST, place()) == 0 && peek(one, FIRST) == place();
    // A port; an instruction of many bytes; eight bytes, where words have four.
    let eight = if IS_WIDE { 0 } else { EINVAL };
    let kinds = poke(one, CONTROL, on(2, 0)) == EINVAL
        && poke(one, CONTROL, on(0, 3)) == EINVAL
        && poke(one, CONTROL, on(1, 2)) == eight
        && poke(one, CONTROL, 0) == 0;
    // What guards these registers is not the tracer's to set.
    let guard = poke(one, CONTROL, WRITTEN | 1 << 13) == 0 && peek(one, CONTROL) == WRITTEN;
    let crooked = poke(one, FIRST, place() + 1) == EINVAL && peek(one, FIRST) == place();
    let at_the_edge = poke(one, FIRST, TOP - 2) == EINVAL;
    let is_off = poke(one, CONTROL, 0) == 0 && next_stop(one).is_none();
    i32::from(!starts_empty || !is_off)
        + 2 * i32::from(!of_kernel)
        + 4 * i32::from(!is_none)
        + 8 * i32::from(!is_set)
        + 16 * i32::from(!kinds)
        + 32 * i32::from(!guard)
        + 64 * i32::from(!crooked || !at_the_edge)
}

/// Writes and reads stop behind the instruction, and only where they are watched.
fn watched() -> i32 {
    let one = halted(|| {
        let _unwatched = WORD.load(Ordering::Relaxed);
        WORD.store(1, Ordering::Relaxed);
        WORD.store(2, Ordering::Relaxed);
        let _watched_later = WORD.load(Ordering::Relaxed);
        // Its child has none of them.
        child(|| {
            WORD.store(3, Ordering::Relaxed);
            0
        })
    });
    let is_set = poke(one, FIRST, place()) == 0 && poke(one, CONTROL, WRITTEN) == 0;
    let value = |one: isize| {
        let mut word = usize::MAX;
        call(PTRACE, [1, one as usize, place(), (&raw mut word).addr()]);
        word
    };
    let first = next_stop(one) == Some(SIGTRAP) && is_hit(one) && value(one) == 1;
    let second = next_stop(one) == Some(SIGTRAP) && is_hit(one) && value(one) == 2;
    let is_widened = poke(one, CONTROL, TOUCHED) == 0;
    let third = next_stop(one) == Some(SIGTRAP) && is_hit(one);
    // Its child's end is told as a signal.
    let ends = match next_stop(one) {
        Some(SIGCHLD) => next_stop(one).is_none(),
        other => other.is_none(),
    };
    i32::from(!is_set || !is_widened)
        + 2 * i32::from(!first)
        + 4 * i32::from(!second)
        + 8 * i32::from(!third)
        + 16 * i32::from(!ends)
}

/// An instruction stops before it is executed, each time it comes, and is executed then.
fn executed() -> i32 {
    let one = halted(|| {
        let sum: usize = (0..3).map(|number| station(number)).sum();
        i32::from(sum != 6)
    });
    let at = station as *const () as usize;
    let is_set = poke(one, FIRST, at) == 0 && poke(one, CONTROL, EXECUTED) == 0;
    let stops = (0..3).filter(|_| next_stop(one) == Some(SIGTRAP) && is_hit(one)).count();
    let ends = next_stop(one).is_none();
    i32::from(!is_set) + 2 * i32::from(stops != 3) + 4 * i32::from(!ends)
}

/// Another process writes to the same address on the same CPU, and is not stopped; nor is the one
/// that is watched by what the other does.
fn left_alone() -> i32 {
    const ROUNDS: usize = 200;
    let stay = || {
        let mask = 1_u64;
        call(if IS_WIDE { 203 } else { 241 }, [0, size_of::<u64>(), (&raw const mask).addr()]);
    };
    let rest = || call(nr::SCHED_YIELD, [0]);
    stay();
    let one = halted(|| {
        for _ in 0..ROUNDS {
            rest();
        }
        WORD.store(1, Ordering::Relaxed);
        0
    });
    let is_set = poke(one, FIRST, place()) == 0 && poke(one, CONTROL, WRITTEN) == 0;
    let other = crate::fork();
    if other == 0 {
        for round in 0..ROUNDS {
            WORD.store(round, Ordering::Relaxed);
            rest();
        }
        crate::exit(0);
    }
    let stop = next_stop(one);
    let is_own = stop == Some(SIGTRAP) && is_hit(one);
    let ends = next_stop(one).is_none();
    let others = status_of(other) == 0;
    i32::from(!is_set) + 2 * i32::from(!is_own) + 4 * i32::from(!ends) + 8 * i32::from(!others)
}

/// A load of SS from a watched word holds the stop back, until the kernel has been entered.
fn held_back(way: usize) -> i32 {
    let one = halted(|| {
        // SAFETY: (1) SS is given what it has, and the process may end by whatever comes.
        unsafe {
            asm!("mov {0:e}, ss", "mov [{1}], {0:e}", out(reg) _, in(reg) place(), options(nostack));
            match way {
                0 => asm!("mov ss, word ptr [{0}]", "int3", in(reg) place()),
                1 => {
                    asm!("mov ss, word ptr [{0}]", "int 0x80", in(reg) place(), inout("eax") 20 => _)
                }
                2 => asm!("mov ss, word ptr [{0}]", ".byte 0xf1", in(reg) place()),
                _ => super::current::call_behind_stack_load(place()),
            }
        }
        0
    });
    let is_set = poke(one, FIRST, place()) == 0 && poke(one, CONTROL, on(3, 1)) == 0;
    // It stops a few times, by the watch and by what is tried; then it ends, one way or the other.
    let mut given = 0;
    for _ in 0..20 {
        match stop_after(one, given) {
            Some(SIGTRAP) => given = 0,
            Some(signal) if signal > 0 => given = signal,
            _ => return i32::from(!is_set),
        }
    }
    2
}

const PARTS: usize = 4 + 4;

/// Breakpoints of a tracer.
pub(super) const BREAKPOINTS: Attack = Attack {
    name: "breakpoints that a tracer sets",
    arguments: 0..PARTS,
    run: |part| match part {
        0 => refused(),
        1 => watched(),
        2 => executed(),
        3 => left_alone(),
        _ => held_back(part - 4),
    },
    may_end: |_, end| end == End::Exit(0),
};
