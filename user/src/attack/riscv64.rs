//! riscv64: privileged instructions and registers, rounding modes, pointers of its own choice,
//! alignment, and jumps into the kernel.

use super::{self as attack, Attack, End, SIGILL, SIGTRAP};
use crate::arch::{BAD_ADDRESSES, nr};
use core::arch::{asm, naked_asm};

/// What a hostile program tries here.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "a privileged instruction",
        arguments: 0..PRIVILEGED_INSTRUCTIONS,
        run: |number| {
            privileged(number);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "a jump into the kernel",
        arguments: 0..BAD_ADDRESSES.len(),
        run: |number| {
            // SAFETY: (1) there is nothing to execute: the process ends.
            let nowhere = unsafe {
                core::mem::transmute::<usize, extern "C" fn()>(BAD_ADDRESSES[number] & !3)
            };
            nowhere();
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "floating-point flags across a system call",
        arguments: 0..256,
        run: |status| i32::from(float_status_after_a_call(status) != status),
        may_end: attack::is_harmless,
    },
    Attack {
        name: "a sum with a rounding mode that there is not",
        arguments: 5..8,
        run: |mode| {
            add_rounded(mode);
            0
        },
        may_end: |_, end| end == End::Signal(SIGILL),
    },
    Attack {
        name: "a system call with sp, gp and tp of its own choice",
        arguments: 0..POINTERS.len(),
        run: |number| i32::from(call_with(POINTERS[number]) != 0),
        may_end: attack::is_harmless,
    },
    Attack {
        name: "a store through a pointer of its own choice",
        arguments: 0..POINTERS.len(),
        run: |number| {
            // SAFETY: (1) the process ends there.
            unsafe { asm!("sd zero, 0({})", in(reg) POINTERS[number]) };
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "an access that must be aligned and is not",
        arguments: 1..8,
        run: |offset| {
            reserved(offset);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "a breakpoint",
        arguments: 0..1,
        run: |_| {
            // SAFETY: (1) the process ends there.
            unsafe { asm!("ebreak") };
            0
        },
        may_end: |_, end| end == End::Signal(SIGTRAP),
    },
];

const PRIVILEGED_INSTRUCTIONS: usize = 28;

/// Executes an instruction that is the kernel's or the firmware's, by number.
#[unsafe(naked)]
extern "C" fn privileged(number: usize) {
    naked_asm!(
        ".option push",
        ".option norvc",
        "lla t0, 2f",
        "slli a0, a0, 3",
        "add t0, t0, a0",
        "jr t0",
        ".balign 4",
        "2:",
        "csrr t0, sstatus",
        "ret",
        "csrw sstatus, zero",
        "ret",
        "csrr t0, sie",
        "ret",
        "csrw sie, zero",
        "ret",
        "csrr t0, stvec",
        "ret",
        "csrw stvec, zero",
        "ret",
        "csrr t0, sscratch",
        "ret",
        "csrw sscratch, zero",
        "ret",
        "csrr t0, sepc",
        "ret",
        "csrr t0, scause",
        "ret",
        "csrr t0, stval",
        "ret",
        "csrr t0, sip",
        "ret",
        "csrr t0, satp",
        "ret",
        "csrw satp, zero",
        "ret",
        "csrw scounteren, zero",
        "ret",
        "csrr t0, mstatus",
        "ret",
        "csrw mtvec, zero",
        "ret",
        "csrr t0, mhartid",
        "ret",
        "csrr t0, mepc",
        "ret",
        "csrw pmpcfg0, zero",
        "ret",
        "csrw cycle, zero",
        "ret",
        "csrw time, zero",
        "ret",
        "sret",
        "ret",
        "mret",
        "ret",
        "sfence.vma",
        "ret",
        "wfi",
        "ret",
        ".4byte 0",
        "ret",
        ".4byte 0xffffffff",
        "ret",
        ".option pop",
    )
}

/// The floating-point status register after a system call that was made with these bits in it.
fn float_status_after_a_call(status: usize) -> usize {
    let after;
    // SAFETY: (1) the call touches no memory; (2) the register is put back.
    unsafe {
        asm!(".option push", ".option arch, +f", "csrw fcsr, {status}", "ecall", "csrr {after}, fcsr", "csrw fcsr, zero",
             ".option pop", status = in(reg) status, after = out(reg) after, in("a7") nr::SCHED_YIELD, out("a0") _,
             options(nostack));
    }
    after
}

fn add_rounded(mode: usize) {
    // SAFETY: (1) the process ends at the sum, which would change a register that nothing is kept
    // in.
    unsafe {
        asm!(".option push", ".option arch, +f", ".option arch, +d", "csrw frm, {}", "fadd.d ft0, ft0, ft0", ".option pop",
             in(reg) mode);
    }
}

/// Nowhere, no multiple of anything, the kernel's, and no addresses.
const POINTERS: [usize; 7] =
    [0, 1, BAD_ADDRESSES[0], BAD_ADDRESSES[1], BAD_ADDRESSES[2], 1 << 63, usize::MAX];

/// How many of sp, gp and tp are something else after a system call with all three so, and a while
/// in which an interrupt may come.
#[unsafe(naked)]
extern "C" fn call_with(pointer: usize) -> usize {
    naked_asm!(
        "mv t0, sp",
        "mv t1, gp",
        "mv t2, tp",
        "mv t3, a0",
        "mv sp, a0",
        "mv gp, a0",
        "mv tp, a0",
        "li a7, {sched_yield}",
        "ecall",
        "li a0, 0x20000",
        "2:",
        "addi a0, a0, -1",
        "bnez a0, 2b",
        "sub a0, sp, t3",
        "snez a0, a0",
        "sub a1, gp, t3",
        "snez a1, a1",
        "add a0, a0, a1",
        "sub a1, tp, t3",
        "snez a1, a1",
        "add a0, a0, a1",
        "mv sp, t0",
        "mv gp, t1",
        "mv tp, t2",
        "ret",
        sched_yield = const nr::SCHED_YIELD,
    )
}

/// A load that reserves, so far from where it could be.
fn reserved(offset: usize) {
    let words = [0_u64; 2];
    // SAFETY: (1) within the two words, whether it is done or not.
    unsafe {
        asm!(".option push", ".option arch, +a", "lr.d {0}, ({0})", ".option pop",
             inout(reg) words.as_ptr().addr() + offset => _);
    }
}
