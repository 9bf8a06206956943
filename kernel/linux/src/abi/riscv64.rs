//! The riscv64 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine
//! was built against: the generic one, which all newer architectures share. Structures are laid out
//! by offset into byte arrays: nothing here is ever cast, so no padding byte can carry kernel
//! memory out.

use super::generic;
use super::names::Stretch;
use crate::abi::signals::{Info, Signal, Trap, code};
use crate::abi::stack_image::WordSize;
use crate::abi::vdso;
use crate::error::Errno;
use kstack::shadow::Form;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::{FLOAT_INITIAL, INTERRUPTS_ON, SavedRegs, USER_64_BIT};

pub(crate) use super::generic::{OLD_CALLS, table_index};
pub use super::generic::{encode_stat, thread_local};
pub use super::wide::{RUSAGE_BYTES, encode_pair, encode_statfs, encode_sysinfo};

/// The size of a program's pointers.
pub const WORD: WordSize = WordSize::Eight;

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.a7
}

/// Its first `COUNT` arguments. `_read` reads the program's memory, where another machine has one
/// of them.
#[inline(always)]
pub fn arguments<const COUNT: usize>(
    regs: &SavedRegs,
    _read: impl FnOnce(u64) -> Result<[u8; 4], Errno>,
) -> [u64; 6] {
    [regs.orig_a0, regs.a1, regs.a2, regs.a3, regs.a4, regs.a5]
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.a0 = result;
}

/// Whether the result of a call takes the place of its number.
pub(crate) const RESULT_REPLACES_NUMBER: bool = false;

/// What a program starts with: everything zero but where it starts and its stack.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs {
        epc: entry,
        sp,
        status: INTERRUPTS_ON | FLOAT_INITIAL | USER_64_BIT,
        ..SavedRegs::default()
    }
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
pub fn set_tls(regs: &mut SavedRegs, base: u64) {
    regs.tp = base;
}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local
/// storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` and the auxiliary vector name.
pub const MACHINE: &str = "riscv64";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 243;

/// What the auxiliary vector says of the CPU: the extensions I, M, A, F, D and C, a bit for each
/// letter.
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

/// Whether a program that says nothing of its stack (no `PT_GNU_STACK`) may have instructions
/// there.
pub const EXECUTABLE_STACK_UNASKED: bool = false;

/// Whether a program that starts loses `READ_IMPLIES_EXEC` of its process (SET_PERSONALITY in
/// Linux's asm/elf.h).
pub const FORGETS_READ_IMPLIES_EXEC: bool = false;

/// Whether a program can have its calls handed to itself (`PR_SET_SYSCALL_USER_DISPATCH`).
pub(crate) const HAS_USER_DISPATCH: bool = true;
/// Of mmap: only the PC of 64 bits has such a flag.
pub(crate) const MAP_32BIT: Option<u64> = None;

/// What shadow stacks of programs look like, where the processor has them.
pub(crate) const SHADOW_FORM: Option<Form> = None;

/// One past the highest address a program can use: the lower half of four levels, less a page.
pub const USER_TOP: u64 = 0x7fff_ffff_f000;

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
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
    pub const DIRECT: u32 = 0o40000;
    pub const LARGE: u32 = 0o100000;
}

/// Names by number.
pub(crate) const NAMES: &[Stretch] =
    &[generic::NAMES[0], generic::NAMES[1], (258, "riscv_hwprobe riscv_flush_icache")];

/// The program's stack pointer.
pub(crate) const fn stack_pointer(regs: &SavedRegs) -> u64 {
    regs.sp
}

/// Where the program is.
pub(crate) const fn program_counter(regs: &SavedRegs) -> u64 {
    regs.epc
}

/// Continues the program elsewhere.
pub(crate) const fn set_program_counter(regs: &mut SavedRegs, to: u64) {
    regs.epc = to;
}

/// The register that a call's result is in.
pub(crate) const fn result(regs: &SavedRegs) -> u64 {
    regs.a0
}

/// Has the program make its call again.
pub(crate) const fn rewind_call(regs: &mut SavedRegs) {
    regs.a0 = regs.orig_a0;
    // The length of `ecall`.
    regs.epc -= 4;
}

/// Gives the call that is made again another number.
pub(crate) const fn set_number(regs: &mut SavedRegs, number: u64) {
    regs.a7 = number;
}

/// A number of 64 bits in a structure lies on a multiple of this many bytes.
pub(crate) const LONG_ALIGNMENT: usize = 8;

/// Bytes of a time and the room behind it in `struct semid64_ds` (asm/sembuf.h).
pub(crate) const SEMAPHORE_TIME: usize = 8;

/// Where the program's own bytes lie in `struct epoll_event`.
pub(crate) const EPOLL_DATA_AT: usize = 8;

/// The number of restart_syscall.
pub(crate) const RESTART_SYSCALL: u64 = 128;

/// The kernel's own code for going back from a signal handler. `li a7, 139`, `ecall`.
pub(crate) const TRAMPOLINE: &[u8] = &[0x93, 0x08, 0xb0, 0x08, 0x73, 0x00, 0x00, 0x00];

/// What an exception, other than a page fault, is to the program (arch/riscv/kernel/traps.c).
pub(crate) fn exception(vector: u8, _address: u64, regs: &SavedRegs, _floats: &Snapshot) -> Info {
    match vector {
        0 | 4 | 6 => Info::fault(Signal::BUS, code::BUS_ALIGNMENT, regs.epc),
        2 => Info::fault(Signal::ILL, code::ILLEGAL_OPCODE, regs.epc),
        3 => Info::fault(Signal::TRAP, code::TRAP_BREAKPOINT, regs.epc),
        _ => Info::fault(Signal::SEGV, code::SEGV_ACCERR, regs.epc),
    }
}

/// What `sigcontext` keeps of an exception: nothing.
pub(crate) const fn trap(_vector: u8, _address: u64, _regs: &SavedRegs, last: Trap) -> Trap {
    last
}

/// A function of the vDSO: `li a7, number`, `ecall`, `ret`.
const fn vdso_call(number: u32) -> [u8; 12] {
    let [a, b, c, d] = (0x893 | number << 20).to_le_bytes();
    [a, b, c, d, 0x73, 0x00, 0x00, 0x00, 0x67, 0x80, 0x00, 0x00]
}

/// What programs find in the vDSO. Numbers are those of the calls of the same names.
pub(crate) const VDSO: vdso::Contents = vdso::Contents {
    machine: ELF_MACHINE,
    word: WORD.bytes(),
    name: "linux-vdso.so.1",
    version: "LINUX_4.15",
    trampoline: TRAMPOLINE,
    trampoline_name: "__vdso_rt_sigreturn",
    functions: &[
        ("__vdso_clock_gettime", &vdso_call(113)),
        ("__vdso_gettimeofday", &vdso_call(169)),
        ("__vdso_clock_getres", &vdso_call(114)),
        ("__vdso_getcpu", &vdso_call(168)),
    ],
};
