//! What a hostile program tries: each attempt in a process of its own, which may end as the attempt
//! says and in no other way.

use crate::arch::{self, nr};
use core::ops::Range;

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod breakpoints;
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod pc;
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod traced;

#[cfg(target_arch = "x86_64")]
mod bases;
#[cfg(target_arch = "x86_64")]
mod own_segments;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64 as current;

#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "x86")]
use i386 as current;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
use arm64 as current;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "arm")]
use arm32 as current;

#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "riscv64")]
use riscv64 as current;

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
compile_error!(
    "no attacks for this architecture: write user/src/attack/NAME.rs, as CONTRIBUTING.md has it under \"Porting\""
);

pub use current::ATTACKS;

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl End {
    /// From what `wait` gives.
    pub const fn of(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exit(status >> 8 & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

/// Illegal instruction.
pub const SIGILL: i32 = 4;
/// A breakpoint, or a single step.
pub const SIGTRAP: i32 = 5;
/// A memory access that is no page fault.
pub const SIGBUS: i32 = 7;
/// A bad address, or a privilege that a program does not have.
pub const SIGSEGV: i32 = 11;

/// Attempts of one kind.
pub struct Attack {
    /// What is tried.
    pub name: &'static str,
    /// One attempt for each.
    pub arguments: Range<usize>,
    /// The attempt, in a process of its own; its result is that process's status.
    pub run: fn(usize) -> i32,
    /// Whether the process may end so.
    pub may_end: fn(usize, End) -> bool,
}

/// Ended by a signal for what a program may not do, whichever the machine has for it.
pub fn is_refused(_: usize, end: End) -> bool {
    matches!(end, End::Signal(SIGILL | SIGBUS | SIGSEGV))
}

/// Whether it ended by one of these signals.
pub fn has_ended_by(end: End, signals: &[i32]) -> bool {
    matches!(end, End::Signal(signal) if signals.contains(&signal))
}

/// Ended by itself, with nothing to complain of.
pub fn is_harmless(_: usize, end: End) -> bool {
    end == End::Exit(0)
}

/// A page that can be read, written and executed, with this code on it; 0 if there is none.
pub fn page_with(code: &[u8]) -> usize {
    const ALL: usize = 7;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    let call = [0, 4096, ALL, PRIVATE_ANONYMOUS, usize::MAX, 0];
    // SAFETY: (1) a new mapping touches nothing that exists.
    let page = unsafe { arch::syscall(nr::MMAP, call) };
    // The highest page's worth of numbers are errors; where words are short, an address may be
    // negative too.
    if (-4095..=0).contains(&page) {
        return 0;
    }
    let page = page as usize;
    // SAFETY: (1) the page is new, ours, writable, and longer than any code here.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u8>(page)
            .copy_from_nonoverlapping(code.as_ptr(), code.len());
    }
    page
}
