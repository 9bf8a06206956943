//! x86_64: the instructions of the attacks on PCs, and the edges of the address space.

use super::{self as attack, Attack, bases, breakpoints, own_segments, pc, traced};
use crate::arch::nr;
use core::arch::{asm, naked_asm};

/// What a hostile program tries here.
pub const ATTACKS: &[Attack] = &[
    pc::INTERRUPTS,
    pc::INSTRUCTIONS,
    pc::QUESTIONS,
    pc::HARDWARE_BREAKPOINT,
    pc::SEGMENTS,
    pc::FAR_RETURNS,
    pc::INTERRUPT_RETURNS,
    pc::FLAG_SETS,
    pc::TRAPPED_FLAG_SETS,
    pc::HELD_BACK,
    pc::STACK_POINTERS,
    pc::PUSHES,
    pc::FORKED_REGISTERS,
    own_segments::ENTRIES,
    own_segments::LOADED,
    own_segments::TAKEN,
    own_segments::GIVEN_BACK,
    bases::BASES,
    traced::SELECTED,
    breakpoints::BREAKPOINTS,
    Attack {
        name: "an address at the canonical edge",
        arguments: 0..EDGE.len() * 5,
        run: |number| go_there(EDGE[number % EDGE.len()], number / EDGE.len()) as i32,
        may_end: attack::is_refused,
    },
];

/// Where a program has nothing: on both sides of the edges of both halves, and in the kernel.
const EDGE: [usize; 7] = [
    0x7fff_ffff_f000,
    0x7fff_ffff_ffff,
    0x8000_0000_0000,
    0xffff_7fff_ffff_ffff,
    0xffff_8000_0000_0000,
    0xffff_ffff_8010_0000,
    usize::MAX - 7,
];

/// Stack pointers that no program has.
pub(super) const WILD: [usize; 17] = [
    0,
    1,
    8,
    15,
    usize::MAX - 7,
    usize::MAX,
    0x8000_0000_0000_0000,
    0x7fff_ffff_f800,
    0x7fff_ffff_ffff,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_c900_000f_4000,
    0xffff_c900_0000_0010,
    0xffff_ffff_8010_0000,
    0xffff_ffff_8000_0007,
    0xffff_8880_0000_1000,
    0xdead_beef_dead_bee1,
];

/// The vector of system calls of 32 bits.
pub(super) const SYSCALL_VECTOR: Option<usize> = Some(0x80);
/// The code segment of programs.
pub(super) const OWN_CODE: usize = 0x33;
const OWN_DATA: usize = 0x2b;
/// 32-bit code.
pub(super) const OTHER_CODE: usize = 0x23;

/// Whether the CPU can refuse a program to say where the kernel's tables are.
pub(super) fn prevents_questions() -> bool {
    core::arch::x86_64::__cpuid_count(7, 0).ecx & 1 << 2 != 0
}

/// Whether a program may load this selector into DS, ES, FS, GS (0 to 3) or SS (4): its own
/// segments, and none.
pub(super) fn is_for_programs(selector: usize, register: usize) -> bool {
    match register {
        4 => selector == OWN_DATA,
        _ => selector < 4 || [OWN_DATA, OWN_CODE, OTHER_CODE].contains(&(selector | 3)),
    }
}

/// Loads a selector into DS, ES, FS, GS or SS, lets others run, and says in which bits it is
/// another one then; one null selector is as good as another.
#[unsafe(naked)]
pub(super) extern "C" fn load_selector(selector: usize, register: usize) -> usize {
    naked_asm!(
        "push rbx",
        "push r12",
        "mov ebx, edi",
        "mov r12d, esi",
        ".irp register, ds, es, fs, gs, ss",
        "sub esi, 1",
        "jnb 9f",
        "mov \\register, ebx",
        "jmp 2f",
        "9:",
        ".endr",
        "2:",
        "mov eax, {sched_yield}",
        "syscall",
        "mov ecx, 100000",
        "3:",
        "dec ecx",
        "jnz 3b",
        "mov eax, {sched_yield}",
        "syscall",
        ".irp register, ds, es, fs, gs, ss",
        "sub r12d, 1",
        "jnb 9f",
        "mov eax, \\register",
        "jmp 4f",
        "9:",
        ".endr",
        "4:",
        "cmp ebx, 3",
        "ja 5f",
        "and eax, -4",
        "xor ebx, ebx",
        "5:",
        "xor eax, ebx",
        "pop r12",
        "pop rbx",
        "ret",
        sched_yield = const nr::SCHED_YIELD,
    )
}

/// Returns to the next instruction in this segment; says in which bits of the privilege it is no
/// program's then.
#[unsafe(naked)]
pub(super) extern "C" fn far_return(selector: usize) -> usize {
    naked_asm!(
        "lea rax, [rip + 2f]",
        "push rdi",
        "push rax",
        "retfq",
        "2:",
        "mov eax, cs",
        "and eax, 3",
        "xor eax, 3",
        "ret",
    )
}

/// The same by `iretq`, with I/O privilege and the resume flag.
#[unsafe(naked)]
pub(super) extern "C" fn interrupt_return(selector: usize) -> usize {
    naked_asm!(
        "mov rax, rsp",
        "push {data}",
        "push rax",
        "push {flags}",
        "push rdi",
        "lea rax, [rip + 2f]",
        "push rax",
        "iretq",
        "2:",
        "mov eax, cs",
        "and eax, 3",
        "xor eax, 3",
        "ret",
        data = const OWN_DATA,
        flags = const 0x1_3202,
    )
}

/// Flags that a program has set stay set: direction, nested task, alignment check, identification.
const KEPT: usize = 1 << 10 | 1 << 14 | 1 << 18 | 1 << 21;
const IO_PRIVILEGE: usize = 3 << 12;

/// Sets flags, makes a system call, is interrupted, and writes to a page that is not there yet.
/// Says which flags are others then.
#[unsafe(naked)]
pub(super) extern "C" fn keep_flags(flags: usize, page: usize) -> usize {
    naked_asm!(
        "push rbx",
        "push r12",
        "push r13",
        "mov rbx, rdi",
        "mov r12, rsi",
        "pushfq",
        "pop r13",
        "mov rax, r13",
        "or rax, rbx",
        "push rax",
        "popfq",
        "mov eax, {getppid}",
        "syscall",
        "mov ecx, 100000",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov qword ptr [r12 + {inside}], 1",
        "pushfq",
        "pop rax",
        "push r13",
        "popfq",
        "and rax, {KEPT} | {IO_PRIVILEGE}",
        "and rbx, {KEPT}",
        "xor rax, rbx",
        "pop r13",
        "pop r12",
        "pop rbx",
        "ret",
        getppid = const nr::GETPPID,
        inside = const 8,
        KEPT = const KEPT,
        IO_PRIVILEGE = const IO_PRIVILEGE,
    )
}

/// Ways of having a trap held back; the first holds back nothing.
pub(super) const HELD_BACK_WAYS: usize = 6;

/// Loads SS right before something that raises an exception or enters the kernel, with the trap
/// flag set or not. Returns 1 if it continues.
pub(super) fn trap_held_back(way: usize) -> usize {
    /// Loads SS, then executes an instruction, with the trap flag set before or not.
    macro_rules! right_behind {
        ($trap:literal, $($instruction:literal),*) => {
            // SAFETY: (1) whatever comes, this process is all that it can end; (2) what a system
            // call destroys is named.
            unsafe {
                asm!("mov {ss:e}, ss", "pushfq", concat!("or dword ptr [rsp], ", $trap), "popfq", "mov ss, {ss:e}", $($instruction),*,
                     ss = out(reg) _, inlateout("rax") nr::GETPPID => _, lateout("rcx") _, lateout("r11") _);
            }
        };
    }
    match way {
        0 => {
            right_behind!("0", "syscall");
            return 0;
        }
        1 => right_behind!("0", "int3"),
        2 => right_behind!("0x100", "int3"),
        3 => right_behind!("0x100", "syscall"),
        4 => right_behind!("0x100", "int 0x80"),
        _ => right_behind!("0", ".byte 0xf1"),
    }
    1
}

/// Makes a system call right behind a load of SS from this place.
pub(super) fn call_behind_stack_load(place: usize) {
    // SAFETY: (1) SS is given what it has; (2) what a system call destroys is named.
    unsafe {
        asm!("mov ss, word ptr [{0}]", "syscall", in(reg) place, inlateout("rax") nr::GETPPID => _,
             lateout("rcx") _, lateout("r11") _);
    }
}

/// Makes a system call, spins, and makes it again, all with this stack pointer. Says how often it
/// came out otherwise.
#[unsafe(naked)]
pub(super) extern "C" fn call_with_stack(sp: usize) -> usize {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "mov r12, rsp",
        "mov r13, rdi",
        "mov eax, {getppid}",
        "syscall",
        "mov rbx, rax",
        "mov rsp, r13",
        "mov eax, {getppid}",
        "syscall",
        "mov rbp, rax",
        "mov ecx, 1000000",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov eax, {getppid}",
        "syscall",
        "mov r14, rsp",
        "mov rsp, r12",
        "xor edx, edx",
        "xor ecx, ecx",
        "cmp rax, rbx",
        "setne cl",
        "add edx, ecx",
        "cmp rbp, rbx",
        "setne cl",
        "add edx, ecx",
        "cmp r14, r13",
        "setne cl",
        "add edx, ecx",
        "mov eax, edx",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        getppid = const nr::GETPPID,
    )
}

/// Pushes with this stack pointer.
#[unsafe(naked)]
pub(super) extern "C" fn push_with_stack(sp: usize) -> usize {
    naked_asm!("mov rax, rsp", "mov rsp, rdi", "push rdi", "mov rsp, rax", "xor eax, eax", "ret")
}

/// Goes to an address, in one of five ways.
#[unsafe(naked)]
extern "C" fn go_there(address: usize, way: usize) -> usize {
    naked_asm!(
        "sub esi, 1",
        "jb 2f",
        "sub esi, 1",
        "jb 3f",
        "sub esi, 1",
        "jb 4f",
        "sub esi, 1",
        "jb 5f",
        "mov [rdi], rax",
        "xor eax, eax",
        "ret",
        "2:",
        "jmp rdi",
        "3:",
        "call rdi",
        "xor eax, eax",
        "ret",
        "4:",
        "push rdi",
        "ret",
        "5:",
        "mov rax, [rdi]",
        "xor eax, eax",
        "ret",
    )
}

/// fork with a known value in every register: returns in how many it is another one after it, in
/// the child as in the parent.
#[unsafe(naked)]
pub(super) extern "C" fn fork_with_known_registers(child: *mut isize) -> usize {
    naked_asm!(
        ".irp register, rbx, rbp, r12, r13, r14, r15, rdi",
        "push \\register",
        ".endr",
        "mov ebx, 0x1002",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov edi, 0x1006",
        "mov ebp, 0x1007",
        "mov r8d, 0x1008",
        "mov r9d, 0x1009",
        "mov r10d, 0x100a",
        "mov r12d, 0x100c",
        "mov r13d, 0x100d",
        "mov r14d, 0x100e",
        "mov r15d, 0x100f",
        "mov eax, {fork}",
        "syscall",
        // rcx and r11 are the call's.
        "xor r11d, r11d",
        "xor ecx, ecx",
        ".irp pair, rbx-0x1002, rdx-0x1004, rsi-0x1005, rdi-0x1006, rbp-0x1007, r8-0x1008, r9-0x1009, r10-0x100a, r12-0x100c, r13-0x100d, r14-0x100e, r15-0x100f",
        "lea rcx, [\\pair]",
        "cmp rcx, 1",
        "sbb rcx, rcx",
        "inc rcx",
        "add r11, rcx",
        ".endr",
        "pop rdi",
        "mov [rdi], rax",
        "mov rax, r11",
        ".irp register, r15, r14, r13, r12, rbp, rbx",
        "pop \\register",
        ".endr",
        "ret",
        fork = const FORK,
    )
}

const FORK: usize = 57;
