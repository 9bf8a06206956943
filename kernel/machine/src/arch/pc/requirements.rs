//! What a PC's CPU must be able to do, asked before anything is turned on: what it lacks would end
//! in a fault that could not be reported.
//!
//! Runs in 32-bit protected mode without paging, on x86_64 too, as the loader enters. A CPU that
//! lacks something is told so in one sentence on both serial ports (the second one is what tools
//! read), and the machine ends with the status for a panic. One of the other CPUs stays off, and
//! the CPU that started it says why: registers that are set to what a CPU does not know would reset
//! the machine.

use super::power::{EXIT, End, SAY, SHUTDOWN};
use crate::memory::direct;
use core::arch::global_asm;
use core::ffi::CStr;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

/// A row of the table below: where CPUID tells, and what to call it.
#[repr(C)]
struct Requirement {
    leaf: u32,
    /// In ECX; otherwise in EDX.
    in_ecx: u32,
    mask: u32,
    /// The address of the sentence's end, with a NUL behind it; 0 after the last row.
    text: u32,
}

/// What is asked of either kind of PC. `need leaf, in_ecx, bit, text`.
macro_rules! of_every_pc {
    () => {
        r#"
        need 1, 0, 4, "time stamp counter (TSC)"
        need 1, 0, 5, "model-specific registers (MSR)"
        need 1, 0, 6, "page tables with 64-bit entries (PAE)"
        need 1, 0, 8, "compare-and-exchange of 8 bytes (CX8)"
        need 1, 0, 9, "local APIC, through which interrupts come"
        need 1, 0, 13, "global pages (PGE)"
        need 1, 0, 24, "FXSAVE, which keeps the floating-point registers of programs (FXSR)"
        need 1, 0, 25, "SSE registers (SSE)"
        need 1, 0, 26, "SSE2 instructions (SSE2)"
        need 0x80000001, 0, 20, "no-execute bit in page tables (NX), without which stacks could be executed"
        "#
    };
}

/// What this kind of PC needs besides, and what the rest of the crate's assembly is.
#[cfg(target_arch = "x86_64")]
macro_rules! of_this_pc {
    () => {
        // Intel's CPUs tell of SYSCALL in 64-bit mode only, of which it is a part.
        r#"need 0x80000001, 0, 29, "64-bit mode (LM)""#
    };
}
/// What this kind of PC needs besides.
#[cfg(target_arch = "x86")]
macro_rules! of_this_pc {
    () => {
        r#"need 1, 0, 11, "SYSENTER instruction (SEP)""#
    };
}
/// What the rest of the crate's assembly is.
#[cfg(target_arch = "x86_64")]
macro_rules! back_to_native_code {
    () => {
        ".code64"
    };
}
/// What the rest of the crate's assembly is.
#[cfg(target_arch = "x86")]
macro_rules! back_to_native_code {
    () => {
        ".code32"
    };
}

global_asm!(
    ".macro need leaf, in_ecx, bit, text:vararg",
    ".section .boot.data.texts, \"aw\"",
    "77: .asciz \\text",
    ".section .boot.data.requirements, \"aw\"",
    ".long \\leaf, \\in_ecx, 1 << \\bit, 77b",
    ".endm",
    ".section .boot.data.requirements, \"aw\"",
    ".balign 4",
    "boot_requirements:",
    of_this_pc!(),
    of_every_pc!(),
    // What is asked of others because the first CPU has it, filled by `ask_of_others`: a row
    // without a text ends the table.
    "boot_of_first:",
    ".skip {asked_most} * {row_bytes}",
    ".long 0, 0, 0, 0",
    ".purgem need",
    ".section .boot.data.texts, \"aw\"",
    "boot_no_xsave: .asciz \"XSAVE, which the first CPU has\"",
    "boot_no_avx: .asciz \"AVX, which the first CPU has\"",
    "boot_no_shadow: .asciz \"shadow stacks (CET), which the first CPU has\"",
    "boot_no_cpuid: .asciz \"CPUID instruction\"",
    "boot_lacks: .asciz \"\\2\\r\\nkernel panic: this CPU lacks what the kernel needs: \"",
    "boot_shutdown: .ascii \"Shutdown\"",
    "boot_line_end: .asciz \"\\r\\n\"",
    // 115200 baud, 8N1, queues on: register, value.
    "boot_serial: .byte 1, 0, 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 0xc7, 4, 0x0b",
    "boot_serial_end:",
    ".balign 16",
    ".skip 128",
    ".globl boot_early_stack_top",
    "boot_early_stack_top:",
    // What the CPU that starts lacks, if it is not the first one.
    ".balign 4",
    "boot_lacking: .long 0",
    ".section .rodata.boot_lacking, \"a\"",
    ".balign 4",
    ".globl boot_lacking_at",
    "boot_lacking_at: .long boot_lacking",
    ".globl boot_of_first_at",
    "boot_of_first_at: .long boot_of_first, boot_no_xsave, boot_no_avx, boot_no_shadow",

    ".section .boot.text, \"ax\"",
    ".code32",
    // In: paging off, a stack of a few words. Returns if the CPU will do. Keeps edi; uses all
    // others.
    ".globl boot_check_cpu",
    "boot_check_cpu:",
    "call boot_first_lack",
    "test esi, esi",
    "jnz boot_refuse",
    "ret",

    // The same for any other CPU, with three words of stack: one that will not do says what it
    // lacks and stays here.
    ".globl boot_check_other_cpu",
    "boot_check_other_cpu:",
    "call boot_first_lack",
    "test esi, esi",
    "jnz 2f",
    "ret",
    "2:",
    "mov [boot_lacking], esi",
    "3:",
    "cli",
    "hlt",
    "jmp 3b",

    // Out: esi = the text of what is missing, or 0. Two words of stack, the return address among
    // them.
    "boot_first_lack:",
    // There is CPUID if the flag ID (bit 21) can be changed (Intel SDM vol. 1, 3.4.3.4).
    "pushfd",
    "pop eax",
    "mov ecx, eax",
    "xor eax, 0x200000",
    "push eax",
    "popfd",
    "pushfd",
    "pop eax",
    "xor eax, ecx",
    "mov esi, offset boot_no_cpuid",
    "test eax, 0x200000",
    "jz 4f",
    "mov ebp, offset boot_requirements",
    "2:",
    "mov esi, [ebp + {text}]",
    "test esi, esi",
    "jz 4f",
    // The highest leaf of this range; a CPU that does not know the range answers with something
    // lower.
    "mov eax, [ebp + {leaf}]",
    "and eax, 0x80000000",
    "cpuid",
    "cmp eax, [ebp + {leaf}]",
    "jb 4f",
    "mov eax, [ebp + {leaf}]",
    "xor ecx, ecx",
    "cpuid",
    "cmp dword ptr [ebp + {in_ecx}], 0",
    "je 3f",
    "mov edx, ecx",
    "3:",
    "test edx, [ebp + {mask}]",
    "jz 4f",
    "add ebp, {row_bytes}",
    "jmp 2b",
    "4:",
    "ret",

    // In: esi = what is missing. Does not return.
    "boot_refuse:",
    "mov edi, esi",
    "mov ebx, {console}",
    "call boot_refuse_on",
    "mov ebx, {control}",
    "call boot_refuse_on",
    "mov eax, {panic}",
    "mov edx, {exit_port}",
    "out dx, eax",
    // As `power::end` does on Bochs.
    "in al, {say}",
    "cmp al, {say}",
    "jne 5f",
    "mov al, {panic}",
    "out {say}, al",
    "mov edx, {shutdown}",
    "mov esi, offset boot_shutdown",
    "mov ecx, 8",
    "rep outsb",
    "5:",
    "cli",
    "hlt",
    "jmp 5b",
    // In: ebx = a serial port, or where there is none: that reads as one with room. edi = what is
    // missing.
    "boot_refuse_on:",
    "mov ecx, offset boot_serial",
    "2:",
    "movzx edx, byte ptr [ecx]",
    "add edx, ebx",
    "inc ecx",
    "mov al, [ecx]",
    "out dx, al",
    "inc ecx",
    "cmp ecx, offset boot_serial_end",
    "jb 2b",
    "mov esi, offset boot_lacks",
    // Tools read whole lines: the mark of where the kernel's words begin is for the console.
    "cmp ebx, {console}",
    "je 2f",
    "add esi, 3",
    "2:",
    "call boot_say",
    "mov esi, edi",
    "call boot_say",
    "mov esi, offset boot_line_end",
    // In: esi = text, ebx = port. Uses eax, ecx, edx, esi.
    "boot_say:",
    "mov cl, [esi]",
    "test cl, cl",
    "jz 4f",
    "lea edx, [ebx + {line_status}]",
    "3:",
    "in al, dx",
    "test al, 0x20",
    "jz 3b",
    "mov edx, ebx",
    "mov al, cl",
    "out dx, al",
    "inc esi",
    "jmp boot_say",
    "4:",
    "ret",
    back_to_native_code!(),
    ".text",
    leaf = const offset_of!(Requirement, leaf),
    in_ecx = const offset_of!(Requirement, in_ecx),
    mask = const offset_of!(Requirement, mask),
    text = const offset_of!(Requirement, text),
    row_bytes = const size_of::<Requirement>(),
    asked_most = const ASKED_MOST,
    line_status = const 5,
    console = const 0x3f8,
    control = const 0x2f8,
    panic = const End::Panic as u32,
    exit_port = const EXIT,
    say = const SAY,
    shutdown = const SHUTDOWN,
);

unsafe extern "C" {
    static boot_lacking_at: u32;
    /// The rows about what the first CPU has, and the text for each [`Asked`].
    static boot_of_first_at: [u32; 1 + ASKED_MOST];
}

/// What the first CPU has and threads of programs use, which go from one CPU to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// `xsave`.
    Xsave,
    /// AVX.
    Avx,
    /// Shadow stacks of control-flow enforcement.
    ShadowStacks,
}

const ASKED_MOST: usize = 3;

/// Asks of CPUs that start from now on that they have something, which the first one has.
pub(super) fn ask_of_others(what: Asked) {
    static ROWS: AtomicU32 = AtomicU32::new(0);
    let (leaf, bit) = match what {
        Asked::Xsave => (1, 26),
        Asked::Avx => (1, 28),
        Asked::ShadowStacks => (7, 7),
    };
    // SAFETY: (1) words of the image, never written.
    let [rows, texts @ ..] = unsafe { boot_of_first_at };
    let row = ROWS.fetch_add(1, Ordering::Relaxed) as usize;
    assert!(row < ASKED_MOST, "each is asked once");
    let set = |offset: usize, value: u32| {
        let at = rows as usize + row * size_of::<Requirement>() + offset;
        // SAFETY: (1) a word of the image, through the direct map; (2) read by CPUs that start, of
        // which there is none yet.
        unsafe { (*direct::<AtomicU32>(at as u64)).store(value, Ordering::Release) };
    };
    set(offset_of!(Requirement, leaf), leaf);
    set(offset_of!(Requirement, in_ecx), 1);
    set(offset_of!(Requirement, mask), 1 << bit);
    set(offset_of!(Requirement, text), texts[what as usize]);
}

/// Where a CPU says what it lacks, as a physical address.
fn place() -> &'static AtomicU32 {
    // SAFETY: (1) a word of the image, never written.
    let at = unsafe { boot_lacking_at };
    // SAFETY: (1) a word of the image, through the direct map, for as long as the kernel runs; (2)
    // written by CPUs alone that start.
    unsafe { &*direct::<AtomicU32>(at.into()) }
}

/// Forgets what a CPU lacked, before the next one starts.
pub fn forget() {
    place().store(0, Ordering::Release);
}

/// What the CPU that was started last lacks.
pub fn lacking() -> Option<&'static CStr> {
    let text = place().load(Ordering::Acquire);
    // SAFETY: (1) the start code stores the address of a text of the image that ends with a NUL.
    (text != 0).then(|| unsafe { CStr::from_ptr(direct(text.into())) })
}
