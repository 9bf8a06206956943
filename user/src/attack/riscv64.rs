//! riscv64: privileged instructions, and jumps into the kernel.

use super::{self as attack, Attack};
use crate::arch::BAD_ADDRESSES;
use core::arch::asm;

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
];

const PRIVILEGED_INSTRUCTIONS: usize = 5;

/// Executes an instruction that is the kernel's.
fn privileged(number: usize) {
    // SAFETY: (1) the process ends there.
    match number {
        0 => unsafe { asm!("csrr t0, sstatus", out("t0") _) },
        1 => unsafe { asm!("csrw satp, zero") },
        2 => unsafe { asm!("sfence.vma") },
        3 => unsafe { asm!("sret") },
        _ => unsafe { asm!("csrr t0, mstatus", out("t0") _) },
    }
}
