//! The i386 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine
//! was built against. Structures are laid out by offset into byte arrays: nothing here is ever
//! cast, so no padding byte can carry kernel memory out. A number of 64 bits takes two registers,
//! the lower half in the first; it lies on any multiple of four.

use super::calls_32::NAMES_32;
use super::common::{Stat, put};
use super::names::{OldCalls, Stretch};
use super::pc;
use super::signals::{Info, Trap};
use crate::abi::stack_image::WordSize;
use crate::abi::vdso;
use crate::error::Errno;
use kstack::arch::current::tables::{TLS_FIRST, USER_CODE, USER_DATA};
use kstack::shadow::Form;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::{INTERRUPTS_ON, SavedRegs};
use machine::arch::user::{SYSENTER_PAGE, SYSENTER_RETURN};

pub use super::narrow::{RUSAGE_BYTES, encode_pair, encode_statfs, encode_sysinfo};

/// The size of a program's pointers.
pub const WORD: WordSize = WordSize::Four;

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.orig_eax.into()
}

/// Its first `COUNT` arguments. `read` reads the program's memory, where the last of six may lie.
#[inline(always)]
pub fn arguments<const COUNT: usize>(
    regs: &SavedRegs,
    read: impl FnOnce(u64) -> Result<[u8; 4], Errno>,
) -> [u64; 6] {
    // After `sysenter`, ebp is the stack pointer, and what it was lies there.
    let last = if COUNT == 6 && u64::from(regs.eip) == SYSENTER_RETURN {
        read(regs.ebp.into()).map_or(0, u32::from_le_bytes)
    } else {
        regs.ebp
    };
    [regs.ebx, regs.ecx, regs.edx, regs.esi, regs.edi, last].map(u64::from)
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.eax = result as u32;
}

/// Whether the result of a call takes the place of its number.
pub(crate) const RESULT_REPLACES_NUMBER: bool = true;

/// What a program starts with: everything zero but where it starts, its stack and its segments.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs {
        eip: entry as u32,
        cs: USER_CODE.into(),
        ds: USER_DATA.into(),
        es: USER_DATA.into(),
        ss: USER_DATA.into(),
        esp: sp as u32,
        // Interrupts on; bit 1 is always set.
        eflags: INTERRUPTS_ON | 2,
        ..SavedRegs::default()
    }
}

/// Whether the registers name no other segments than those that are always there.
pub fn has_usual_segments(regs: &SavedRegs) -> bool {
    const THREAD: u32 = (TLS_FIRST as u32) << 3 | 3;
    let is_usual = |selector: u32| [0, USER_DATA.into(), THREAD].contains(&(selector & 0xffff));
    let all_data = [regs.ds, regs.es, regs.fs, regs.gs].into_iter().all(is_usual);
    all_data && regs.cs == USER_CODE.into() && regs.ss == USER_DATA.into()
}

/// Whether user mode can be gone to with these registers, wherever that leads: to any address.
pub fn can_be_gone_to(_regs: &SavedRegs) -> bool {
    true
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.esp = sp as u32;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers.
/// Here it is not.
pub fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local
/// storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` and the auxiliary vector name.
pub const MACHINE: &str = "i686";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 3;

/// What the CPU can do, as the auxiliary vector says: in its own words, those of `cpuid`.
pub fn hardware() -> u64 {
    core::arch::x86::__cpuid(1).edx.into()
}

/// The key of the auxiliary vector under which a program finds the page of `sysenter`.
const AT_SYSINFO: u64 = 32;

/// Entries of the auxiliary vector that only this machine has: where the code is that does a system
/// call, by the faster instruction. Debian's static programs do without and use the gate.
pub const OWN_AUXILIARY: &[(u64, u64)] = &[(AT_SYSINFO, SYSENTER_PAGE)];

/// Whether a program that says nothing of its stack (no `PT_GNU_STACK`) may have instructions
/// there.
pub const EXECUTABLE_STACK_UNASKED: bool = true;

/// Whether a program that starts loses `READ_IMPLIES_EXEC` of its process (SET_PERSONALITY in
/// Linux's asm/elf.h).
pub const FORGETS_READ_IMPLIES_EXEC: bool = false;

/// Whether a program can have its calls handed to itself (`PR_SET_SYSCALL_USER_DISPATCH`).
pub(crate) const HAS_USER_DISPATCH: bool = true;
/// Of mmap: only the PC of 64 bits has such a flag.
pub(crate) const MAP_32BIT: Option<u64> = None;

/// What shadow stacks of programs look like, where the processor has them.
pub(crate) const SHADOW_FORM: Option<Form> = None;

/// One past the highest address a program can use: the page above is the one for `sysenter`.
pub const USER_TOP: u64 = SYSENTER_PAGE;

/// Where a position-independent program is put.
pub const DYNAMIC_BASE: u64 = 0x5655_5000;

/// How far parts of an address space are moved at random, as Linux has it on this machine.
pub mod random {
    /// Bits of pages, of the stack; and of mappings and images.
    pub const STACK_BITS: u32 = 11;
    pub const MMAP_BITS: u32 = 8;
    /// The heap starts so many bytes behind the image at most.
    pub const HEAP_BYTES: u64 = 32 << 20;
}

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
    pub const DIRECT: u32 = 0o40000;
    pub const LARGE: u32 = 0o100000;
}

/// Names by number.
pub(crate) const NAMES: &[Stretch] = NAMES_32;

/// No other way to make calls: the older is the usual one.
pub(crate) const OLD_CALLS: Option<OldCalls> = None;

/// The place of a number in a table by number.
#[inline(always)]
pub(crate) const fn table_index(number: u64) -> usize {
    number as usize
}

/// Bytes of `struct stat64`.
const STAT_BYTES: usize = 96;

/// `struct stat64`: dev 0, ino (half) 12, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 44,
/// blksize 52, blocks 56, atime 64, mtime 72, ctime 80, ino 88.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 24, stat.user.to_le_bytes());
    put(&mut bytes, 28, stat.group.to_le_bytes());
    put(&mut bytes, 0, stat.file_system.to_le_bytes());
    put(&mut bytes, 12, (stat.inode as u32).to_le_bytes());
    put(&mut bytes, 16, stat.mode.to_le_bytes());
    put(&mut bytes, 20, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 32, stat.device.to_le_bytes());
    put(&mut bytes, 44, stat.bytes.to_le_bytes());
    put(&mut bytes, 52, 4096u32.to_le_bytes());
    put(&mut bytes, 56, stat.blocks.to_le_bytes());
    for (offset, (seconds, nanoseconds)) in [64, 72, 80].into_iter().zip(stat.times) {
        put(&mut bytes, offset, (seconds as u32).to_le_bytes());
        put(&mut bytes, offset + 4, nanoseconds.to_le_bytes());
    }
    put(&mut bytes, 88, stat.inode.to_le_bytes());
    bytes
}

/// What `clone` was given for the thread-local storage of the new thread: a `struct user_desc`.
pub fn thread_local(
    argument: u64,
    segment: impl FnOnce(u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    segment(argument)
}

/// The program's stack pointer.
pub(crate) const fn stack_pointer(regs: &SavedRegs) -> u64 {
    regs.esp as u64
}

/// Where the program is.
pub(crate) const fn program_counter(regs: &SavedRegs) -> u64 {
    regs.eip as u64
}

/// Continues the program elsewhere.
pub(crate) const fn set_program_counter(regs: &mut SavedRegs, to: u64) {
    regs.eip = to as u32;
}

/// The register that a call's result is in.
pub(crate) const fn result(regs: &SavedRegs) -> u64 {
    regs.eax as u64
}

/// Has the program make its call again.
pub(crate) const fn rewind_call(regs: &mut SavedRegs) {
    regs.eax = regs.orig_eax;
    // The length of `int 0x80`, and of `sysenter`, which continues right behind itself.
    regs.eip -= 2;
}

/// Gives the call that is made again another number.
pub(crate) const fn set_number(regs: &mut SavedRegs, number: u64) {
    regs.eax = number as u32;
}

/// A number of 64 bits in a structure lies on a multiple of this many bytes.
pub(crate) const LONG_ALIGNMENT: usize = 4;

/// Bytes of a time and the room behind it in `struct semid64_ds` (asm/sembuf.h).
pub(crate) const SEMAPHORE_TIME: usize = 8;

/// Where the program's own bytes lie in `struct epoll_event`.
pub(crate) const EPOLL_DATA_AT: usize = 4;

/// The number of restart_syscall.
pub(crate) const RESTART_SYSCALL: u64 = 0;

/// The kernel's own code for going back from a signal handler, for a program that names none:
/// `pop eax`, `mov eax, 119`, `int 0x80` for a plain handler, `mov eax, 173`, `int 0x80` for one
/// with SA_SIGINFO.
pub(crate) const TRAMPOLINE: &[u8] =
    &[0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80, 0xb8, 173, 0, 0, 0, 0xcd, 0x80];

/// A number of 64 bits that comes after an odd number of arguments: the first two of three
/// registers.
pub(crate) const fn wide_argument(first: u64, second: u64, _third: u64) -> u64 {
    first | second << 32
}

/// What an exception, other than a page fault, is to the program.
pub(crate) fn exception(vector: u8, _address: u64, regs: &SavedRegs, floats: &Snapshot) -> Info {
    pc::exception(vector, floats, program_counter(regs), flags(regs))
}

/// What `sigcontext` keeps of an exception. CR2 is that of the last page fault.
pub(crate) fn trap(vector: u8, address: u64, regs: &SavedRegs, last: Trap) -> Trap {
    pc::trap(vector, address, regs.error_code().into(), last)
}

/// The processor's flags.
pub(super) const fn flags(regs: &SavedRegs) -> u64 {
    regs.eflags as u64
}

/// A function of the vDSO: its arguments from the stack to `ebx`, `ecx` and `edx`;
/// `mov eax, number`, `int 0x80`, `ret`.
const fn vdso_call(number: u32) -> [u8; 22] {
    let [a, b, c, d] = number.to_le_bytes();
    [
        0x53, 0x8b, 0x5c, 0x24, 0x08, 0x8b, 0x4c, 0x24, 0x0c, 0x8b, 0x54, 0x24, 0x10, 0xb8, a, b,
        c, d, 0xcd, 0x80, 0x5b, 0xc3,
    ]
}

/// What programs find in the vDSO. Numbers are those of the calls of the same names.
pub(crate) const VDSO: vdso::Contents = vdso::Contents {
    machine: ELF_MACHINE,
    word: WORD.bytes(),
    name: "linux-gate.so.1",
    version: "LINUX_2.6",
    trampoline: TRAMPOLINE,
    trampoline_name: "__kernel_sigreturn",
    functions: &[
        ("__vdso_clock_gettime", &vdso_call(265)),
        ("__vdso_gettimeofday", &vdso_call(78)),
        ("__vdso_time", &vdso_call(13)),
        ("__vdso_clock_gettime64", &vdso_call(403)),
        ("__vdso_clock_getres", &vdso_call(266)),
        ("__vdso_getcpu", &vdso_call(318)),
        ("__kernel_rt_sigreturn", &[0xb8, 0xad, 0, 0, 0, 0xcd, 0x80]),
        ("__kernel_vsyscall", &[0xcd, 0x80, 0xc3]),
    ],
};
