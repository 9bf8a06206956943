//! The riscv64 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine was built against: the
//! generic one, which all newer architectures share.
//! Structures are laid out by offset into byte arrays: nothing here is ever cast, so no padding byte can carry kernel
//! memory out.

use super::{Call, generic};
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use machine::arch::regs::{FLOAT_INITIAL, INTERRUPTS_ON, SavedRegs, USER_64_BIT};

pub use super::generic::{encode_stat, thread_local};
pub use super::wide::{RUSAGE_BYTES, encode_pair, encode_statfs, encode_sysinfo};

/// The size of a program's pointers.
pub const WORD: WordSize = WordSize::Eight;

/// Which call a number means.
#[inline(always)]
pub fn call(number: u64) -> Option<Call> {
    match number {
        276 => Some(Call::Renameat),
        _ => generic::call(number),
    }
}

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.a7
}

/// Its arguments.
pub fn arguments(regs: &SavedRegs, _read: impl FnOnce(u64) -> Result<[u8; 4], Errno>) -> [u64; 6] {
    [regs.orig_a0, regs.a1, regs.a2, regs.a3, regs.a4, regs.a5]
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.a0 = result;
}

/// What a program starts with: everything zero but where it starts and its stack.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs {
        epc: entry,
        sp,
        status: INTERRUPTS_ON | FLOAT_INITIAL | USER_64_BIT,
        ..SavedRegs::default()
    }
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.sp = sp;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers.
pub fn set_tls(regs: &mut SavedRegs, base: u64) {
    regs.tp = base;
}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` and the auxiliary vector name.
pub const MACHINE: &str = "riscv64";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 243;

/// What the auxiliary vector says of the CPU: the extensions I, M, A, F, D and C, a bit for each letter.
pub const fn hardware() -> u64 {
    1 << (b'i' - b'a')
        | 1 << (b'm' - b'a')
        | 1
        | 1 << (b'f' - b'a')
        | 1 << (b'd' - b'a')
        | 1 << (b'c' - b'a')
}

/// Entries of the auxiliary vector that only this machine has: none.
pub const OWN_AUXILIARY: &[(u64, u64)] = &[];

/// One past the highest address a program can use: the lower half of four levels, less a page.
pub const USER_TOP: u64 = 0x7fff_ffff_f000;

/// Where a position-independent program is put.
pub const DYNAMIC_BASE: u64 = 0x5555_5555_4000;

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
}

/// The name of a system call, for the log; `None` if the number was never given out.
pub fn name(number: u64) -> Option<&'static str> {
    match number {
        258 => Some("riscv_hwprobe"),
        259 => Some("riscv_flush_icache"),
        _ => generic::name(number),
    }
}

/// Bytes of `struct sigaction`: handler, flags, mask; no restorer.
pub const SIGACTION_BYTES: usize = 24;
