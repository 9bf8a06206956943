//! A restartable sequence (rseq(2)) of each architecture, side by side: all that differs is the
//! instructions.

use core::arch::naked_asm;

/// What stands before the abort handler, and what a thread registers.
pub const SIGNATURE: u32 = 0x6b73_7461;

/// Adds one to the counter of the CPU that the thread is on, as a restartable sequence: reads which
/// CPU it is, reads the counter, waits for `turns` turns of a loop (1 at least), writes it back. 0
/// if it did, 1 if it was aborted.
///
/// `name_at`: where a thread names its sequence, whose upper half is 0 if a word is 32 bits;
/// `sequence`: the name; `cpu_at`: where the CPU's number is; `counters`: a word for each CPU.
///
/// # Safety
///
/// 1. All of them are the program's, and nothing that runs meanwhile writes this CPU's counter.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub unsafe extern "C" fn count(
    name_at: usize,
    sequence: usize,
    cpu_at: usize,
    counters: usize,
    turns: usize,
) -> usize {
    naked_asm!(
        "mov [rdi], rsi",
        ".globl kstack_sequence_first",
        "kstack_sequence_first:",
        "mov eax, [rdx]",
        "lea r9, [rcx + 8 * rax]",
        "mov r10, [r9]",
        "inc r10",
        "2:",
        "dec r8",
        "jnz 2b",
        "mov [r9], r10",
        ".globl kstack_sequence_end",
        "kstack_sequence_end:",
        "xor eax, eax",
        "ret",
        ".long {signature}",
        ".globl kstack_sequence_abort",
        "kstack_sequence_abort:",
        "mov eax, 1",
        "ret",
        signature = const SIGNATURE,
    )
}

/// See above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "x86")]
#[unsafe(naked)]
pub unsafe extern "C" fn count(
    name_at: usize,
    sequence: usize,
    cpu_at: usize,
    counters: usize,
    turns: usize,
) -> usize {
    naked_asm!(
        "push ebx",
        "push esi",
        "push edi",
        "mov eax, [esp + 4 * {word}]",
        "mov ecx, [esp + 5 * {word}]",
        "mov edx, [esp + 6 * {word}]",
        "mov esi, [esp + 7 * {word}]",
        "mov ebx, [esp + 8 * {word}]",
        "mov [eax], ecx",
        ".globl kstack_sequence_first",
        "kstack_sequence_first:",
        "mov eax, [edx]",
        "lea edi, [esi + 4 * eax]",
        "mov ecx, [edi]",
        "inc ecx",
        "2:",
        "dec ebx",
        "jnz 2b",
        "mov [edi], ecx",
        ".globl kstack_sequence_end",
        "kstack_sequence_end:",
        "xor eax, eax",
        "3:",
        "pop edi",
        "pop esi",
        "pop ebx",
        "ret",
        ".long {signature}",
        ".globl kstack_sequence_abort",
        "kstack_sequence_abort:",
        "mov eax, 1",
        "jmp 3b",
        word = const size_of::<usize>(),
        signature = const SIGNATURE,
    )
}

/// See above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub unsafe extern "C" fn count(
    name_at: usize,
    sequence: usize,
    cpu_at: usize,
    counters: usize,
    turns: usize,
) -> usize {
    naked_asm!(
        "str x1, [x0]",
        ".globl kstack_sequence_first",
        "kstack_sequence_first:",
        "ldr w5, [x2]",
        "add x5, x3, x5, lsl 3",
        "ldr x6, [x5]",
        "add x6, x6, 1",
        "2:",
        "subs x4, x4, 1",
        "b.ne 2b",
        "str x6, [x5]",
        ".globl kstack_sequence_end",
        "kstack_sequence_end:",
        "mov x0, 0",
        "ret",
        ".long {signature}",
        ".globl kstack_sequence_abort",
        "kstack_sequence_abort:",
        "mov x0, 1",
        "ret",
        signature = const SIGNATURE,
    )
}

/// See above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "arm")]
#[unsafe(naked)]
pub unsafe extern "C" fn count(
    name_at: usize,
    sequence: usize,
    cpu_at: usize,
    counters: usize,
    turns: usize,
) -> usize {
    naked_asm!(
        "push {{r4, r5}}",
        "ldr r12, [sp, #2 * {word}]",
        "str r1, [r0]",
        ".globl kstack_sequence_first",
        "kstack_sequence_first:",
        "ldr r4, [r2]",
        "add r4, r3, r4, lsl #2",
        "ldr r5, [r4]",
        "add r5, r5, #1",
        "2:",
        "subs r12, r12, #1",
        "bne 2b",
        "str r5, [r4]",
        ".globl kstack_sequence_end",
        "kstack_sequence_end:",
        "mov r0, #0",
        "pop {{r4, r5}}",
        "bx lr",
        ".long {signature}",
        ".globl kstack_sequence_abort",
        "kstack_sequence_abort:",
        "mov r0, #1",
        "pop {{r4, r5}}",
        "bx lr",
        word = const size_of::<usize>(),
        signature = const SIGNATURE,
    )
}

/// See above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "riscv64")]
#[unsafe(naked)]
pub unsafe extern "C" fn count(
    name_at: usize,
    sequence: usize,
    cpu_at: usize,
    counters: usize,
    turns: usize,
) -> usize {
    naked_asm!(
        "sd a1, 0(a0)",
        ".globl kstack_sequence_first",
        "kstack_sequence_first:",
        "lw a5, 0(a2)",
        "slli a5, a5, 3",
        "add a5, a5, a3",
        "ld a6, 0(a5)",
        "addi a6, a6, 1",
        "2:",
        "addi a4, a4, -1",
        "bnez a4, 2b",
        "sd a6, 0(a5)",
        ".globl kstack_sequence_end",
        "kstack_sequence_end:",
        "li a0, 0",
        "ret",
        ".long {signature}",
        ".globl kstack_sequence_abort",
        "kstack_sequence_abort:",
        "li a0, 1",
        "ret",
        signature = const SIGNATURE,
    )
}

/// Where the sequence of [`count`] begins, ends, and continues when it is aborted.
pub fn bounds() -> [usize; 3] {
    unsafe extern "C" {
        static kstack_sequence_first: u8;
        static kstack_sequence_end: u8;
        static kstack_sequence_abort: u8;
    }
    [
        &raw const kstack_sequence_first,
        &raw const kstack_sequence_end,
        &raw const kstack_sequence_abort,
    ]
    .map(|label| label.addr())
}
