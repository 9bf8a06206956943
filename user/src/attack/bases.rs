//! x86_64: the base of GS, which a program asks the kernel to set: each thread's own, a child's
//! from the first, and no new program's.

use super::traced::{end_of, halted, peek, poke, ptrace};
use super::{Attack, End};
use crate::arch::{clone_and_call, nr};
use crate::calls::{call, status_of};
use crate::memory::{ANONYMOUS, PAGE, PRIVATE, child};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

const ARCH_PRCTL: usize = 158;
const SET_AFFINITY: usize = 203;
const SCHED_YIELD: usize = 24;
const EXECVE: usize = 59;
const MODIFY_LDT: usize = 154;

const SET_GS: usize = 0x1001;
const GET_GS: usize = 0x1004;
const EPERM: isize = -1;
const EIO: isize = -5;
/// Above every address of programs.
const TOP: usize = 0x7fff_ffff_f000;
/// Where `struct user_regs_struct` has the base and the selector.
const BASE: usize = 22;
const SELECTOR: usize = 26;

fn set(base: usize) -> isize {
    call(ARCH_PRCTL, [SET_GS, base])
}

fn get() -> usize {
    let mut base = usize::MAX;
    call(ARCH_PRCTL, [GET_GS, (&raw mut base).addr()]);
    base
}

/// The word at the base.
fn word_there() -> usize {
    let word: usize;
    // SAFETY: (1) callers have set the base to a word of theirs.
    unsafe { asm!("mov {}, gs:[{}]", out(reg) word, const 0, options(readonly, nostack)) };
    word
}

fn select(selector: usize) {
    // SAFETY: (1) compiled code here does not use GS.
    unsafe { asm!("mov gs, {:e}", in(reg) selector, options(nostack)) };
}

fn stay_on_one_cpu() {
    let mask = 1_u64;
    call(SET_AFFINITY, [0, size_of::<u64>(), (&raw const mask).addr()]);
}

/// What is refused, and what is answered.
fn asked() -> i32 {
    let word = 0x1234_5678_usize;
    let at = (&raw const word).addr();
    let is_empty = get() == 0;
    let is_set = set(at) == 0 && get() == at && word_there() == word;
    let is_refused = set(TOP) == EPERM && set(usize::MAX) == EPERM && set(1 << 47) == EPERM;
    let stays = get() == at && word_there() == word;
    // A selector has a base of its own, and the kernel says what the processor has.
    select(0x2b);
    let is_flat = get() == 0;
    // Asking for a base clears the selector.
    let selector: usize;
    let is_back = set(at) == 0 && word_there() == word;
    // SAFETY: (1) only reads.
    unsafe { asm!("mov {:e}, gs", out(reg) selector, options(nomem, nostack)) };
    i32::from(!is_empty)
        + 2 * i32::from(!is_set)
        + 4 * i32::from(!is_refused)
        + 8 * i32::from(!stays)
        + 16 * i32::from(!is_flat)
        + 32 * i32::from(!is_back || selector != 0)
}

static SEEN: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

fn is_kept(word: &usize) -> bool {
    (0..1000).all(|_| {
        call(SCHED_YIELD, [0; 0]);
        word_there() == *word && get() == core::ptr::from_ref(word).addr()
    })
}

extern "C" fn other_thread() -> ! {
    let word = 0x4321_usize;
    let starts_with = word_there();
    let is_well = set((&raw const word).addr()) == 0 && is_kept(&word);
    WRONG.fetch_add(usize::from(!is_well || starts_with != 0x1234), Ordering::SeqCst);
    SEEN.store(1, Ordering::SeqCst);
    loop {
        call(SCHED_YIELD, [0; 0]);
    }
}

/// Threads with bases of their own, a thread with none, and processes, in turn on one CPU.
fn switched() -> i32 {
    const THREAD: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
    stay_on_one_cpu();
    let word = 0x1234_usize;
    let none = crate::fork();
    if none == 0 {
        // A process that has asked for nothing, beside two that have.
        let is_well = (0..2000).all(|_| {
            call(SCHED_YIELD, [0; 0]);
            get() == 0
        });
        crate::exit(i32::from(!is_well));
    }
    set((&raw const word).addr());
    let heir = crate::fork();
    if heir == 0 {
        // The same from its first instruction on.
        let is_well = word_there() == word && is_kept(&word);
        crate::exit(i32::from(!is_well));
    }
    let stack = call(nr::MMAP, [0, 4 * PAGE, 3, PRIVATE | ANONYMOUS, usize::MAX, 0]) as usize;
    clone_and_call(THREAD, stack + 4 * PAGE, [0; 3], other_thread);
    let is_well = is_kept(&word);
    while SEEN.load(Ordering::SeqCst) == 0 {
        call(SCHED_YIELD, [0; 0]);
    }
    let others = (status_of(none), status_of(heir)) == (0, 0);
    i32::from(!is_well) + 2 * i32::from(!others) + 4 * i32::from(WRONG.load(Ordering::SeqCst) != 0)
}

/// A new program has none: its tracer sees so right behind the execve.
fn afresh() -> i32 {
    let program = halted(|| {
        set(0x5000);
        let path = c"/kstack/bin/hostile";
        let argv = [path.as_ptr().addr(), 0];
        call(EXECVE, [path.as_ptr().addr(), argv.as_ptr().addr(), 0]) as i32
    });
    const CONTINUE: usize = 7;
    const KILL: usize = 8;
    ptrace(CONTINUE, program, 0, 0);
    let mut status = 0_i32;
    call(nr::WAIT4, [program as usize, (&raw mut status).addr(), 0, 0]);
    let has_halted = status & 0xff == 0x7f;
    let has_none = peek(program, BASE) == 0;
    ptrace(KILL, program, 0, 0);
    status_of(program);
    i32::from(!has_halted) + 2 * i32::from(!has_none)
}

/// A tracer reads it and sets it, and its selector.
fn traced() -> i32 {
    let words = [0x1111_usize, 0x2222];
    let at = words.each_ref().map(|word| core::ptr::from_ref(word).addr());
    let process = halted(|| i32::from(word_there() != 0x2222 || get() != at[1]));
    // It halted with none.
    let has_none = peek(process, BASE) == 0;
    let is_refused = poke(process, BASE, TOP) == EIO && poke(process, BASE, 1 << 63) == EIO;
    let is_set = poke(process, BASE, at[1]) == 0 && peek(process, BASE) == at[1];
    let has_changed = end_of(process) == End::Exit(0);
    // A base that the thread has by a segment of its own is told, and comes back with the selector.
    set(0);
    let page = {
        const LOW: usize = 0x40;
        call(nr::MMAP, [0, PAGE, 3, PRIVATE | ANONYMOUS | LOW, usize::MAX, 0]) as usize
    };
    let description = [0_u32, page as u32, 0xf_ffff, 1 | 1 << 4];
    let described = call(MODIFY_LDT, [0x11, description.as_ptr().addr(), 16]) as i32 == 0;
    select(7);
    // SAFETY: (1) the page is ours.
    unsafe { core::ptr::with_exposed_provenance_mut::<usize>(page).write_volatile(0x3333) };
    let process = halted(|| i32::from(word_there() != 0x3333));
    let is_told = peek(process, BASE) == page && peek(process, SELECTOR) == 7;
    let is_changed = poke(process, SELECTOR, 0x2b) == 0 && poke(process, BASE, 0) == 0;
    let is_back = poke(process, SELECTOR, 7) == 0 && poke(process, BASE, page) == 0;
    let is_well = end_of(process) == End::Exit(0);
    i32::from(!has_none || !is_refused)
        + 2 * i32::from(!is_set)
        + 4 * i32::from(!has_changed)
        + 8 * i32::from(!described || !is_told)
        + 16 * i32::from(!is_changed || !is_back)
        + 32 * i32::from(!is_well)
}

const PARTS: [fn() -> i32; 4] = [asked, switched, afresh, traced];

/// A base of GS.
pub(super) const BASES: Attack = Attack {
    name: "a base of its own",
    arguments: 0..PARTS.len(),
    run: |part| {
        let status = child(PARTS[part]);
        if status & 0x7f == 0 { status >> 8 } else { 100 + (status & 0x7f) }
    },
    may_end: super::is_harmless,
};
