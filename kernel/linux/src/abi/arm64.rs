//! The arm64 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine
//! was built against: the ones that architectures without a past of their own share. Structures are
//! laid out by offset into byte arrays: nothing here is ever cast, so no padding byte can carry
//! kernel memory out.

use super::generic;
use super::names::Stretch;
use crate::abi::signals::{Info, Signal, Trap, code};
use crate::abi::stack_image::WordSize;
use crate::abi::vdso;
use crate::error::Errno;
use kstack::shadow::Form;
use machine::arch::extras;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::SavedRegs;

pub(crate) use super::generic::{OLD_CALLS, table_index};
pub use super::generic::{encode_stat, thread_local};
pub use super::wide::{RUSAGE_BYTES, encode_pair, encode_statfs, encode_sysinfo};

/// The size of a program's pointers.
pub const WORD: WordSize = WordSize::Eight;

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.x[8]
}

/// Its first `COUNT` arguments. `_read` reads the program's memory, where another machine has one
/// of them.
#[inline(always)]
pub fn arguments<const COUNT: usize>(
    regs: &SavedRegs,
    _read: impl FnOnce(u64) -> Result<[u8; 4], Errno>,
) -> [u64; 6] {
    let [_, b, c, d, e, f, ..] = regs.x;
    [regs.orig_x0, b, c, d, e, f]
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.x[0] = result;
}

/// In PSTATE: FIQs are masked. The rest zero is user mode, 64-bit, everything else on.
const FIQ_OFF: u64 = 1 << 6;

/// Whether the result of a call takes the place of its number.
pub(crate) const RESULT_REPLACES_NUMBER: bool = false;

/// What a program starts with: everything zero but where it starts and its stack. FIQs stay masked
/// in programs as in the kernel: the entry would take one for the exception before it.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs { pc: entry, sp, pstate: FIQ_OFF, ..SavedRegs::default() }
}

/// Whether the registers name no other segments than those that are always there: there are no
/// segments.
pub fn has_usual_segments(_regs: &SavedRegs) -> bool {
    true
}

/// Whether user mode can be gone to with these registers, wherever that leads: to any address.
pub fn can_be_gone_to(_regs: &SavedRegs) -> bool {
    true
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.sp = sp;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers.
/// Here it is not.
pub fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local
/// storage: this machine has the last two the other way round.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` and the auxiliary vector name.
pub const MACHINE: &str = "aarch64";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 183;

/// What the auxiliary vector says of the CPU: floating point and vectors, and shadow stacks.
pub fn hardware() -> u64 {
    const SHADOW_STACKS: u64 = 1 << 32;
    let shadow_stacks = if extras::shadow_form().is_some() { SHADOW_STACKS } else { 0 };
    1 | 1 << 1 | shadow_stacks
}

/// Entries of the auxiliary vector that only this machine has: none.
pub const OWN_AUXILIARY: &[(u64, u64)] = &[];

/// Whether a program that says nothing of its stack (no `PT_GNU_STACK`) may have instructions
/// there.
pub const EXECUTABLE_STACK_UNASKED: bool = false;

/// Whether a program that starts loses `READ_IMPLIES_EXEC` of its process (SET_PERSONALITY in
/// Linux's asm/elf.h).
pub const FORGETS_READ_IMPLIES_EXEC: bool = true;

/// Whether a program can have its calls handed to itself (`PR_SET_SYSCALL_USER_DISPATCH`).
pub(crate) const HAS_USER_DISPATCH: bool = false;
/// Of mmap: only the PC of 64 bits has such a flag.
pub(crate) const MAP_32BIT: Option<u64> = None;

/// What shadow stacks of programs look like, where the processor has them.
pub(crate) const SHADOW_FORM: Option<Form> = Some(Form::Arm64);

/// One past the highest address a program can use: the end of the user half.
pub const USER_TOP: u64 = 0x1_0000_0000_0000;

/// Where a position-independent program is put.
pub const DYNAMIC_BASE: u64 = 0x5555_5555_4000;

/// How far parts of an address space are moved at random, as Linux has it on this machine.
pub mod random {
    /// Bits of pages, of the stack; and of mappings and images.
    pub const STACK_BITS: u32 = 18;
    pub const MMAP_BITS: u32 = 18;
    /// The heap starts so many bytes behind the image at most.
    pub const HEAP_BYTES: u64 = 1 << 30;
}

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o40000;
    pub const NOFOLLOW: u32 = 0o100000;
    pub const DIRECT: u32 = 0o200000;
    pub const LARGE: u32 = 0o400000;
}

/// Names by number.
pub(crate) const NAMES: &[Stretch] = &[generic::NAMES[0], generic::NAMES[1], (38, "renameat")];

/// The program's stack pointer.
pub(crate) const fn stack_pointer(regs: &SavedRegs) -> u64 {
    regs.sp
}

/// Where the program is.
pub(crate) const fn program_counter(regs: &SavedRegs) -> u64 {
    regs.pc
}

/// Continues the program elsewhere.
pub(crate) const fn set_program_counter(regs: &mut SavedRegs, to: u64) {
    regs.pc = to;
}

/// The register that a call's result is in.
pub(crate) const fn result(regs: &SavedRegs) -> u64 {
    regs.x[0]
}

/// Has the program make its call again.
pub(crate) const fn rewind_call(regs: &mut SavedRegs) {
    regs.x[0] = regs.orig_x0;
    // The length of `svc`.
    regs.pc -= 4;
}

/// Gives the call that is made again another number.
pub(crate) const fn set_number(regs: &mut SavedRegs, number: u64) {
    regs.x[8] = number;
}

/// A number of 64 bits in a structure lies on a multiple of this many bytes.
pub(crate) const LONG_ALIGNMENT: usize = 8;

/// Bytes of a time and the room behind it in `struct semid64_ds` (asm/sembuf.h).
pub(crate) const SEMAPHORE_TIME: usize = 8;

/// Where the program's own bytes lie in `struct epoll_event`.
pub(crate) const EPOLL_DATA_AT: usize = 8;

/// The number of restart_syscall.
pub(crate) const RESTART_SYSCALL: u64 = 128;

/// The kernel's own code for going back from a signal handler. `mov x8, #139`, `svc #0`.
pub(crate) const TRAMPOLINE: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// What an exception, other than a page fault, is to the program (arch/arm64/kernel/traps.c,
/// debug-monitors.c, mm/fault.c).
pub(crate) fn exception(vector: u8, address: u64, regs: &SavedRegs, _floats: &Snapshot) -> Info {
    /// In the syndrome of a floating-point exception: the bits below are valid.
    const VALID: u64 = 1 << 23;
    let at = regs.pc;
    match vector {
        // A floating-point exception that traps: invalid, division, overflow, underflow, inexact.
        0x2c => {
            let code = match regs.esr {
                esr if esr & VALID == 0 => code::FPE_UNKNOWN,
                esr if esr & 1 != 0 => code::FPE_FLOAT_INVALID,
                esr if esr & 2 != 0 => code::FPE_FLOAT_DIVIDE,
                esr if esr & 4 != 0 => code::FPE_FLOAT_OVERFLOW,
                esr if esr & 8 != 0 => code::FPE_FLOAT_UNDERFLOW,
                esr if esr & 16 != 0 => code::FPE_FLOAT_INEXACT,
                _ => code::FPE_UNKNOWN,
            };
            Info::fault(Signal::FPE, code, at)
        }
        // Aborts that no change of tables helps; pc and SP not aligned.
        0x20 | 0x24 | 0x22 => Info::fault(Signal::BUS, code::BUS_ALIGNMENT, address),
        0x26 => Info::fault(Signal::BUS, code::BUS_ALIGNMENT, at),
        // A return to another address than its shadow stack has, or a word that is none.
        0x2d => Info::fault(Signal::SEGV, code::SEGV_CPERR, at),
        0x30 | 0x34 => Info::fault(Signal::TRAP, code::TRAP_HARDWARE, at),
        0x32 => Info::fault(Signal::TRAP, code::TRAP_TRACE, at),
        0x3c => Info::fault(Signal::TRAP, code::TRAP_BREAKPOINT, at),
        0x00 | 0x07 | 0x0a | 0x0d | 0x0e | 0x18 | 0x19 | 0x1d => {
            Info::fault(Signal::ILL, code::ILLEGAL_OPCODE, at)
        }
        // A signed address that does not fit its signature.
        0x1c => Info::fault(Signal::ILL, code::ILLEGAL_OPERAND, at),
        _ => Info::kernel(Signal::SEGV),
    }
}

/// What `sigcontext` keeps of an exception.
pub(crate) fn trap(vector: u8, address: u64, regs: &SavedRegs, _last: Trap) -> Trap {
    let address = if matches!(vector, 0x20 | 0x24 | 0x34) { address } else { 0 };
    Trap { number: 0, error: regs.esr, address }
}

/// A function of the vDSO: `mov x8, number`, `svc 0`, `ret`.
const fn vdso_call(number: u32) -> [u8; 12] {
    let [a, b, c, d] = (0xd280_0008 | number << 5).to_le_bytes();
    [a, b, c, d, 0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6]
}

/// What programs find in the vDSO. Numbers are those of the calls of the same names.
pub(crate) const VDSO: vdso::Contents = vdso::Contents {
    machine: ELF_MACHINE,
    word: WORD.bytes(),
    name: "linux-vdso.so.1",
    version: "LINUX_2.6.39",
    trampoline: TRAMPOLINE,
    trampoline_name: "__kernel_rt_sigreturn",
    functions: &[
        ("__kernel_clock_gettime", &vdso_call(113)),
        ("__kernel_gettimeofday", &vdso_call(169)),
        ("__kernel_clock_getres", &vdso_call(114)),
    ],
};
