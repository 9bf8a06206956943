//! Keeps values of its own in every floating-point register, across system calls and time slices; ends with 0 if none of them
//! ever changed, otherwise with 1. Run several at a time: each draws its own values.

#![no_std]
#![no_main]

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

const ROUNDS: u64 = 60;

/// What goes through memory.
#[repr(C, align(16))]
struct Scratch {
    control: u32,
    integer: u64,
}

user::entry!(main);

fn main() -> i32 {
    let low: u32;
    // SAFETY: (1) the instruction changes nothing but the two registers.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") _, options(nomem, nostack)) };
    for round in 0..ROUNDS {
        let seed = u64::from(low) << 16 | round << 8;
        // A long spin meets the timer; a short one ends in a system call that gives the processor away.
        let spins = if round % 2 == 0 { 300_000 } else { 1 };
        if keep(seed, spins) != 0 {
            return 1;
        }
    }
    0
}

/// Loads `seed` + 0 to 15 into both halves of xmm0 to xmm15, the seed into the x87 stack, and two bits of it into the
/// rounding mode; spins, yields, and says how many of them are something else then.
#[unsafe(naked)]
extern "C" fn keep(seed: u64, spins: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "sub rsp, {size}",
        // The rounding mode of SSE, and of x87, from two bits of the seed.
        "mov rax, rdi",
        "shr rax, 8",
        "and eax, 3",
        "shl eax, 13",
        "or eax, 0x1f80",
        "mov [rsp], eax",
        "ldmxcsr [rsp + {control}]",
        "fninit",
        "mov [rsp + {integer}], rdi",
        "fild qword ptr [rsp + {integer}]",
        "mov rax, rdi",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movq xmm\\n, rax",
        "punpcklqdq xmm\\n, xmm\\n",
        "inc rax",
        ".endr",
        "2:",
        "dec rsi",
        "jnz 2b",
        // sched_yield
        "mov eax, 24",
        "mov rbx, rdi",
        "syscall",
        "mov rdi, rbx",
        "xor edx, edx",
        "mov rax, rdi",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "xor ecx, ecx",
        "movq rbx, xmm\\n",
        "cmp rbx, rax",
        "setne cl",
        "add edx, ecx",
        "xor ecx, ecx",
        "movhlps xmm\\n, xmm\\n",
        "movq rbx, xmm\\n",
        "cmp rbx, rax",
        "setne cl",
        "add edx, ecx",
        "inc rax",
        ".endr",
        "xor ecx, ecx",
        "fistp qword ptr [rsp + {integer}]",
        "cmp rdi, [rsp + {integer}]",
        "setne cl",
        "add edx, ecx",
        "mov ebx, [rsp + {control}]",
        "stmxcsr [rsp + {control}]",
        "xor ebx, [rsp + {control}]",
        "and ebx, 0x6000",
        "xor ecx, ecx",
        "test ebx, ebx",
        "setne cl",
        "add edx, ecx",
        "mov eax, edx",
        "add rsp, {size}",
        "pop rbx",
        "ret",
        size = const size_of::<Scratch>(),
        control = const offset_of!(Scratch, control),
        integer = const offset_of!(Scratch, integer),
    )
}
