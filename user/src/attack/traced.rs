//! Both PCs: what a tracer makes of the segment registers of the process that it traces. Each may
//! be refused or become null; the kernel takes no harm, and finds out at the latest when it returns
//! there.

use super::{Attack, End, SIGBUS, SIGSEGV, has_ended_by};
use crate::arch::nr;
use crate::calls::{call, status_of};
use crate::signals::Numbers;
use core::arch::asm;

const TRACE_ME: usize = 0;
const PEEK_USER: usize = 3;
const POKE_USER: usize = 6;
const DETACH: usize = 17;
const EIO: isize = -5;
const SIGSTOP: usize = 19;

const IS_WIDE: bool = usize::BITS == 64;
/// The number of ptrace.
pub(super) const PTRACE: usize = if IS_WIDE { 101 } else { 26 };
/// Where `struct user` has CS, SS, and the data segments.
const CODE: usize = if IS_WIDE { 17 } else { 13 };
const STACK: usize = if IS_WIDE { 20 } else { 16 };
const DATA: [usize; 4] = if IS_WIDE { [23, 24, 25, 26] } else { [7, 8, 9, 10] };
/// The program's own, and a third segment that is always there: code of 32 bits, or the data of
/// thread-local storage.
const OWN_CODE: usize = if IS_WIDE { 0x33 } else { 0x1b };
const OWN_DATA: usize = if IS_WIDE { 0x2b } else { 0x23 };
const THIRD: usize = if IS_WIDE { 0x23 } else { 0x33 };
/// Selectors that are tried: all of the global table, and the first of a local one.
const SELECTORS: usize = 0xa0;

pub(super) fn ptrace(request: usize, child: isize, at: usize, data: usize) -> isize {
    call(PTRACE, [request, child as usize, at, data])
}

/// A word of the registers of a halted child.
pub(super) fn peek(child: isize, word: usize) -> usize {
    let mut value = usize::MAX;
    let done = ptrace(PEEK_USER, child, word * size_of::<usize>(), (&raw mut value).addr());
    if done == 0 { value } else { usize::MAX }
}

pub(super) fn poke(child: isize, word: usize, value: usize) -> isize {
    ptrace(POKE_USER, child, word * size_of::<usize>(), value)
}

/// A child that halts for the caller, and then does this.
pub(super) fn halted(body: impl FnOnce() -> i32) -> isize {
    let Some(numbers) = Numbers::read() else { return -1 };
    let child = crate::fork();
    if child == 0 {
        ptrace(TRACE_ME, 0, 0, 0);
        numbers.raise(SIGSTOP);
        crate::exit(body());
    }
    let mut status = 0_i32;
    call(nr::WAIT4, [child as usize, (&raw mut status).addr(), 0, 0]);
    if status == (SIGSTOP as i32) << 8 | 0x7f { child } else { -1 }
}

/// Lets go of it; how it ended.
pub(super) fn end_of(child: isize) -> End {
    ptrace(DETACH, child, 0, 0);
    End::of(status_of(child))
}

/// DS, ES, FS and GS as the processor has them.
fn loaded() -> [usize; 4] {
    let (ds, es, fs, gs): (usize, usize, usize, usize);
    // SAFETY: (1) only reads.
    unsafe {
        asm!("mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", "mov {:e}, gs",
             out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs, options(nomem, nostack));
    }
    [ds, es, fs, gs]
}

fn try_data(selector: usize, which: usize) -> i32 {
    // The status says what the child found there.
    let child = halted(|| loaded()[which] as i32);
    let told = poke(child, DATA[which], selector);
    let may_be = selector == 0 || selector & 3 == 3;
    let is_told_well = if may_be { told == 0 } else { told == EIO };
    let reads = !may_be || peek(child, DATA[which]) == selector;
    let end = end_of(child);
    // Where every access needs a good segment, one that is null ends the program.
    let is_needed = !IS_WIDE && which < 2;
    let is_there = [OWN_CODE, OWN_DATA, THIRD].contains(&(selector | 3));
    let is_well = match end {
        _ if !may_be => matches!(end, End::Exit(_)),
        End::Exit(0) => !is_there || selector == 0,
        End::Exit(found) => found == selector as i32,
        End::Signal(SIGSEGV) => is_needed,
        End::Signal(_) => false,
    };
    i32::from(!is_told_well) + 2 * i32::from(!reads) + 4 * i32::from(!is_well)
}

/// A tracer sets every selector, in every register.
pub(super) const SELECTED: Attack = Attack {
    name: "a selector from a tracer",
    arguments: 0..SELECTORS * 6,
    run: |number| {
        let (selector, which) = (number % SELECTORS, number / SELECTORS);
        if which < 4 {
            return try_data(selector, which);
        }
        let (word, own) = [(CODE, OWN_CODE), (STACK, OWN_DATA)][which - 4];
        let child = halted(|| 0);
        let told = poke(child, word, selector);
        let end = end_of(child);
        let is_well = if selector & 3 != 3 {
            told == EIO && end == End::Exit(0)
        } else if selector == own {
            told == 0 && end == End::Exit(0)
        } else {
            // 64-bit code as 32-bit code: anything may come of it, to the program. As a stack, the
            // third segment is as good as its own, where it is data.
            let is_third = selector == THIRD && (which == 4) == IS_WIDE;
            told == 0 && (is_third || has_ended_by(end, &[SIGSEGV, SIGBUS]))
        };
        i32::from(!is_well)
    },
    may_end: super::is_harmless,
};
