//! arm32: privileged instructions, and jumps into the kernel.

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

const PRIVILEGED_INSTRUCTIONS: usize = 2;

/// Executes an instruction that is the kernel's.
fn privileged(number: usize) {
    // SAFETY: (1) the process ends there.
    match number {
        0 => unsafe { asm!("mrc p15, 0, r0, c1, c0, 0", out("r0") _) },
        _ => unsafe { asm!("mcr p15, 0, r0, c8, c7, 0", in("r0") 0) },
    }
}
