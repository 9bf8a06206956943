//! arm32: privileged instructions and registers, flags, modes, byte orders, stack pointers,
//! alignment, and jumps into the kernel.

use super::{self as attack, Attack, End, SIGTRAP};
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
        name: "an instruction whose effect depends on the mode",
        arguments: 0..MODE_INSTRUCTIONS,
        run: |number| i32::from(status_after(number) & MODE_AND_MASKS != USER_MODE),
        may_end: |number, end| attack::is_harmless(number, end) || attack::is_refused(number, end),
    },
    Attack {
        name: "a jump into the kernel",
        arguments: 0..BAD_ADDRESSES.len(),
        run: |number| {
            go_to(BAD_ADDRESSES[number] & !3);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "flags across a system call",
        arguments: 0..FLAGS,
        run: |number| {
            // N, Z, C, V, Q and two of GE.
            let flags = number >> 2 << 27 | (number & 3) << 18;
            i32::from(flags_after_a_call(flags) != flags)
        },
        may_end: attack::is_harmless,
    },
    Attack {
        name: "a system call in the other byte order",
        arguments: 0..4,
        run: |_| call_in_big_endian(),
        may_end: attack::is_harmless,
    },
    Attack {
        name: "a system call from Thumb code",
        arguments: 0..4,
        run: |_| call_from_thumb(),
        may_end: attack::is_harmless,
    },
    Attack {
        name: "a system call with a stack pointer of its own choice",
        arguments: 0..STACK_POINTERS.len(),
        run: |number| i32::from(call_with_stack(STACK_POINTERS[number]) != STACK_POINTERS[number]),
        may_end: attack::is_harmless,
    },
    Attack {
        name: "a store through a stack pointer of its own choice",
        arguments: 0..STACK_POINTERS.len(),
        run: |number| {
            store_with_stack(STACK_POINTERS[number]);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "an access that must be aligned and is not",
        arguments: 1..4,
        run: |offset| {
            exclusive(offset);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "a breakpoint",
        arguments: 0..1,
        run: |_| {
            // SAFETY: (1) the process ends there.
            unsafe { asm!("bkpt #1") };
            0
        },
        may_end: |_, end| end == End::Signal(SIGTRAP),
    },
];

const USER_MODE: usize = 0x10;
/// In CPSR: mode, and masks of asynchronous aborts, interrupts and FIQs.
const MODE_AND_MASKS: usize = 0x1df;

const PRIVILEGED_INSTRUCTIONS: usize = 20;

/// Executes an instruction that is the kernel's, by number.
#[unsafe(naked)]
extern "C" fn privileged(number: usize) {
    naked_asm!(
        ".arch_extension virt",
        ".arch_extension sec",
        ".fpu neon",
        "add pc, pc, r0, lsl #3",
        "nop",
        // SCTLR, TTBR0, TTBCR, DACR, fault registers, VBAR, the CPU's block, and a thread register
        // that is read-only.
        "mrc p15, 0, r0, c1, c0, 0",
        "bx lr",
        "mcr p15, 0, r0, c1, c0, 0",
        "bx lr",
        "mrc p15, 0, r0, c2, c0, 0",
        "bx lr",
        "mcr p15, 0, r0, c2, c0, 0",
        "bx lr",
        "mcr p15, 0, r0, c2, c0, 2",
        "bx lr",
        "mcr p15, 0, r0, c3, c0, 0",
        "bx lr",
        "mrc p15, 0, r0, c5, c0, 0",
        "bx lr",
        "mrc p15, 0, r0, c6, c0, 0",
        "bx lr",
        "mrc p15, 0, r0, c12, c0, 0",
        "bx lr",
        "mcr p15, 0, r0, c12, c0, 0",
        "bx lr",
        "mrc p15, 0, r0, c13, c0, 4",
        "bx lr",
        "mcr p15, 0, r0, c13, c0, 3",
        "bx lr",
        "mcr p15, 0, r0, c8, c7, 0",
        "bx lr",
        "mcr p15, 0, r0, c7, c5, 0",
        "bx lr",
        "mcr p15, 0, r0, c9, c14, 0",
        "bx lr",
        "mcr p15, 0, r0, c14, c1, 0",
        "bx lr",
        "vmsr fpexc, r0",
        "bx lr",
        "hvc #0",
        "bx lr",
        "smc #0",
        "bx lr",
        "udf #0",
        "bx lr",
    )
}

const MODE_INSTRUCTIONS: usize = 6;

/// CPSR after an instruction that would change the mode or the masks, if it were the kernel's.
#[unsafe(naked)]
extern "C" fn status_after(number: usize) -> usize {
    naked_asm!(
        "mov r1, #0xd3",
        "add pc, pc, r0, lsl #2",
        "nop",
        "b 2f",
        "b 3f",
        "b 4f",
        "b 5f",
        "b 6f",
        "cps #0x1f",
        "b 9f",
        "2:",
        "cpsid aif",
        "b 9f",
        "3:",
        "cpsid i, #0x13",
        "b 9f",
        "4:",
        "msr cpsr_c, r1",
        "b 9f",
        "5:",
        "msr cpsr_cxsf, r1",
        "b 9f",
        "6:",
        "msr spsr_cxsf, r1",
        "9:",
        "mrs r0, cpsr",
        "bx lr",
    )
}

/// Goes to an address.
fn go_to(address: usize) {
    // SAFETY: (1) there is nothing to execute: the process ends.
    let nowhere = unsafe { core::mem::transmute::<usize, extern "C" fn()>(address) };
    nowhere();
}

const FLAGS: usize = 128;

/// N, Z, C, V, Q and two of GE after a system call that was made with these.
#[unsafe(naked)]
extern "C" fn flags_after_a_call(flags: usize) -> usize {
    naked_asm!(
        "push {{r7, lr}}",
        "mov r7, #{getppid}",
        "msr cpsr_fs, r0",
        "svc 0",
        "mrs r0, cpsr",
        "ldr r1, =0xf80c0000",
        "and r0, r0, r1",
        "pop {{r7, pc}}",
        ".ltorg",
        getppid = const nr::GETPPID,
    )
}

/// 0 if a call in the other byte order gives what it should.
#[unsafe(naked)]
extern "C" fn call_in_big_endian() -> i32 {
    naked_asm!(
        "push {{r7, lr}}",
        "mov r7, #{getppid}",
        "svc 0",
        "mov r1, r0",
        "setend be",
        "svc 0",
        "mrs r2, cpsr",
        "setend le",
        "subs r0, r0, r1",
        "tst r2, #0x200",
        "addeq r0, r0, #1",
        "cmp r0, #0",
        "movne r0, #1",
        "pop {{r7, pc}}",
        getppid = const nr::GETPPID,
    )
}

/// 0 if a call from Thumb code comes back to Thumb code.
#[unsafe(naked)]
extern "C" fn call_from_thumb() -> i32 {
    naked_asm!(
        "push {{r7, lr}}",
        "mov r7, #{getppid}",
        "adr r3, 2f + 1",
        "bx r3",
        ".thumb",
        ".balign 4",
        "2:",
        "svc 0",
        "movs r0, #0",
        "ldr r3, =3f",
        "bx r3",
        ".balign 4",
        ".ltorg",
        ".arm",
        "3:",
        "pop {{r7, pc}}",
        getppid = const nr::GETPPID,
    )
}

/// Nowhere, no multiple of 8, and the kernel's.
const STACK_POINTERS: [usize; 6] =
    [0, 2, 0x1001, BAD_ADDRESSES[0], BAD_ADDRESSES[1], BAD_ADDRESSES[2]];

/// Where SP is after a system call with SP there, and a while in which an interrupt may come.
#[unsafe(naked)]
extern "C" fn call_with_stack(stack: usize) -> usize {
    naked_asm!(
        "push {{r4, r7, lr}}",
        "mov r4, sp",
        "mov sp, r0",
        "mov r7, #{sched_yield}",
        "svc 0",
        "mov r0, #0x20000",
        "2:",
        "subs r0, r0, #1",
        "bne 2b",
        "mov r0, sp",
        "mov sp, r4",
        "pop {{r4, r7, pc}}",
        sched_yield = const nr::SCHED_YIELD,
    )
}

fn store_with_stack(stack: usize) {
    // SAFETY: (1) the process ends at the store.
    unsafe { asm!("mov sp, {}", "stm sp, {{r0, r1}}", in(reg) stack) };
}

/// A load that wants to be alone, so far from where it could be.
fn exclusive(offset: usize) {
    let words = [0_u32; 2];
    // SAFETY: (1) within the two words, whether it is done or not.
    unsafe { asm!("ldrex {0}, [{0}]", inout(reg) words.as_ptr().addr() + offset => _) };
}
