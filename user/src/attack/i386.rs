//! i386: the instructions of the attacks on PCs.

use super::{Attack, breakpoints, pc, traced};
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
    traced::SELECTED,
    breakpoints::BREAKPOINTS,
];

/// Stack pointers that no program has.
pub(super) const WILD: [usize; 12] = [
    0,
    1,
    8,
    usize::MAX - 3,
    usize::MAX,
    0xc000_0000,
    0xc010_0000,
    0xc400_1000,
    0xf000_0010,
    0xf000_4000,
    0xf900_1000,
    0xdead_bee1,
];

/// The vector of system calls.
pub(super) const SYSCALL_VECTOR: Option<usize> = Some(0x80);
/// The code segment of programs.
pub(super) const OWN_CODE: usize = 0x1b;
const OWN_DATA: usize = 0x23;
/// There is no other code segment.
pub(super) const OTHER_CODE: usize = OWN_CODE;
const OWN_THREAD: usize = 0x33;

/// Whether the CPU can refuse a program to say where the kernel's tables are.
pub(super) fn prevents_questions() -> bool {
    core::arch::x86::__cpuid_count(7, 0).ecx & 1 << 2 != 0
}

/// Whether a program may load this selector into DS, ES, FS, GS (0 to 3) or SS (4): its own
/// segments, and none.
pub(super) fn is_for_programs(selector: usize, register: usize) -> bool {
    match register {
        4 => [OWN_DATA, OWN_THREAD].contains(&selector),
        _ => selector < 4 || [OWN_DATA, OWN_THREAD, OWN_CODE].contains(&(selector | 3)),
    }
}

/// Loads a selector into DS, ES, FS, GS or SS, lets others run, and says in which bits it is
/// another one then; one null selector is as good as another.
#[unsafe(naked)]
pub(super) extern "C" fn load_selector(selector: usize, register: usize) -> usize {
    naked_asm!(
        "push ebx",
        "push esi",
        "push edi",
        "mov eax, ds",
        "push eax",
        "mov eax, es",
        "push eax",
        "mov ebx, [esp + {selector}]",
        "mov esi, [esp + {register}]",
        "mov edi, esi",
        ".irp register, ds, es, fs, gs, ss",
        "sub esi, 1",
        "jnb 9f",
        "mov \\register, ebx",
        "jmp 2f",
        "9:",
        ".endr",
        "2:",
        "mov eax, {sched_yield}",
        "int 0x80",
        "mov ecx, 100000",
        "3:",
        "dec ecx",
        "jnz 3b",
        "mov eax, {sched_yield}",
        "int 0x80",
        ".irp register, ds, es, fs, gs, ss",
        "sub edi, 1",
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
        "pop ecx",
        "mov es, ecx",
        "pop ecx",
        "mov ds, ecx",
        "pop edi",
        "pop esi",
        "pop ebx",
        "ret",
        // Five saved words and the return address are below the arguments.
        selector = const 6 * size_of::<usize>(),
        register = const 7 * size_of::<usize>(),
        sched_yield = const nr::SCHED_YIELD,
    )
}

/// Returns to the next instruction in this segment; says in which bits of the privilege it is no
/// program's then.
#[unsafe(naked)]
pub(super) extern "C" fn far_return(selector: usize) -> usize {
    naked_asm!(
        "mov ecx, [esp + {argument}]",
        "lea eax, [2f]",
        "push ecx",
        "push eax",
        "retf",
        "2:",
        "mov eax, cs",
        "and eax, 3",
        "xor eax, 3",
        "ret",
        argument = const size_of::<usize>(),
    )
}

/// The same by `iret`, with I/O privilege and the resume flag.
#[unsafe(naked)]
pub(super) extern "C" fn interrupt_return(selector: usize) -> usize {
    naked_asm!(
        "mov ecx, [esp + {argument}]",
        "lea eax, [2f]",
        "push {flags}",
        "push ecx",
        "push eax",
        "iretd",
        "2:",
        "mov eax, cs",
        "and eax, 3",
        "xor eax, 3",
        "ret",
        argument = const size_of::<usize>(),
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
        "push ebx",
        "push esi",
        "push edi",
        "mov ebx, [esp + {flags}]",
        "mov esi, [esp + {page}]",
        "pushfd",
        "pop edi",
        "mov eax, edi",
        "or eax, ebx",
        "push eax",
        "popfd",
        "mov eax, {getppid}",
        "int 0x80",
        "mov ecx, 100000",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov dword ptr [esi + {inside}], 1",
        "pushfd",
        "pop eax",
        "push edi",
        "popfd",
        "and eax, {KEPT} | {IO_PRIVILEGE}",
        "and ebx, {KEPT}",
        "xor eax, ebx",
        "pop edi",
        "pop esi",
        "pop ebx",
        "ret",
        // Three saved registers and the return address are below the arguments.
        flags = const 4 * size_of::<usize>(),
        page = const 5 * size_of::<usize>(),
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
            // SAFETY: (1) whatever comes, this process is all that it can end; (2) the system call
            // destroys eax only.
            unsafe {
                asm!("mov {ss:e}, ss", "pushfd", concat!("or dword ptr [esp], ", $trap), "popfd", "mov ss, {ss:e}", $($instruction),*,
                     ss = out(reg) _, inlateout("eax") nr::GETPPID => _);
            }
        };
    }
    match way {
        0 => {
            right_behind!("0", "int 0x80");
            return 0;
        }
        1 => right_behind!("0", "int3"),
        2 => right_behind!("0x100", "int3"),
        3 => right_behind!("0x100", "int 0x80"),
        4 => right_behind!("0x100", "int 0x20"),
        _ => right_behind!("0", ".byte 0xf1"),
    }
    1
}

/// Asks for what no program may right behind a load of SS from this place.
pub(super) fn call_behind_stack_load(place: usize) {
    // SAFETY: (1) SS is given what it has; (2) whatever comes, this process is all that it can end.
    unsafe { asm!("mov ss, word ptr [{0}]", "int 0x20", in(reg) place) };
}

/// Makes a system call, spins, and makes it again, all with this stack pointer. Says how often it
/// came out otherwise.
#[unsafe(naked)]
pub(super) extern "C" fn call_with_stack(sp: usize) -> usize {
    naked_asm!(
        "push ebx",
        "push ebp",
        "push esi",
        "push edi",
        "mov edi, [esp + {sp}]",
        "mov esi, esp",
        "mov eax, {getppid}",
        "int 0x80",
        "mov ebx, eax",
        "mov esp, edi",
        "mov eax, {getppid}",
        "int 0x80",
        "mov ebp, eax",
        "mov ecx, 1000000",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov eax, {getppid}",
        "int 0x80",
        "mov edx, esp",
        "mov esp, esi",
        "xor eax, ebx",
        "xor ebp, ebx",
        "xor edx, edi",
        "or eax, ebp",
        "or eax, edx",
        "neg eax",
        "sbb eax, eax",
        "neg eax",
        "pop edi",
        "pop esi",
        "pop ebp",
        "pop ebx",
        "ret",
        // Four saved registers and the return address are below it.
        sp = const 5 * size_of::<usize>(),
        getppid = const nr::GETPPID,
    )
}

/// Pushes with this stack pointer.
#[unsafe(naked)]
pub(super) extern "C" fn push_with_stack(sp: usize) -> usize {
    naked_asm!(
        "mov ecx, [esp + {sp}]",
        "mov eax, esp",
        "mov esp, ecx",
        "push ecx",
        "mov esp, eax",
        "xor eax, eax",
        "ret",
        sp = const size_of::<usize>(),
    )
}

/// fork with a known value in every register: returns in how many it is another one after it, in
/// the child as in the parent.
#[unsafe(naked)]
pub(super) extern "C" fn fork_with_known_registers(child: *mut isize) -> usize {
    naked_asm!(
        "push ebx",
        "push ebp",
        "push esi",
        "push edi",
        "mov ebx, 0x1002",
        "mov ecx, 0x1003",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov edi, 0x1006",
        "mov ebp, 0x1007",
        "mov eax, {fork}",
        "int 0x80",
        "sub ebx, 0x1002",
        "sub ecx, 0x1003",
        "sub edx, 0x1004",
        "sub esi, 0x1005",
        "sub edi, 0x1006",
        "sub ebp, 0x1007",
        "or ebx, ecx",
        "or ebx, edx",
        "or ebx, esi",
        "or ebx, edi",
        "or ebx, ebp",
        "neg ebx",
        "sbb ebx, ebx",
        "neg ebx",
        "mov ecx, [esp + {child}]",
        "mov [ecx], eax",
        "mov eax, ebx",
        "pop edi",
        "pop esi",
        "pop ebp",
        "pop ebx",
        "ret",
        // Four saved registers and the return address are below it.
        child = const 5 * size_of::<usize>(),
        fork = const 2,
    )
}
