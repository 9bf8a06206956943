//! arm64: privileged instructions and registers, flags, stack pointers, alignment, and jumps into
//! the kernel.

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
        name: "a jump into the kernel",
        arguments: 0..BAD_ADDRESSES.len(),
        run: |number| {
            go_to(BAD_ADDRESSES[number] & !3);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "a jump to where no instruction can be",
        arguments: 1..4,
        run: |offset| {
            go_to(main_address() + offset);
            0
        },
        may_end: attack::is_refused,
    },
    Attack {
        name: "a look for the kernel's address in a thread register",
        arguments: 0..200,
        run: |_| i32::from(read_only_thread_register_after_a_call() != 0),
        may_end: attack::is_harmless,
    },
    Attack {
        name: "flags across a system call",
        arguments: 0..16,
        run: |flags| i32::from(flags_after_a_call(flags << 28) != flags << 28),
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
        arguments: 1..8,
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
            unsafe { asm!("brk 1") };
            0
        },
        may_end: |_, end| end == End::Signal(SIGTRAP),
    },
];

const PRIVILEGED_INSTRUCTIONS: usize = 34;

/// Executes an instruction that is the kernel's, by number.
#[unsafe(naked)]
extern "C" fn privileged(number: usize) {
    naked_asm!(
        "adr x1, 2f",
        "add x1, x1, x0, lsl 3",
        "br x1",
        "2:",
        "mrs x0, sctlr_el1",
        "ret",
        "msr sctlr_el1, x0",
        "ret",
        "mrs x0, tpidr_el1",
        "ret",
        "msr tpidr_el1, x0",
        "ret",
        "msr tpidrro_el0, x0",
        "ret",
        "mrs x0, vbar_el1",
        "ret",
        "msr vbar_el1, x0",
        "ret",
        "mrs x0, ttbr0_el1",
        "ret",
        "msr ttbr0_el1, x0",
        "ret",
        "msr ttbr1_el1, x0",
        "ret",
        "msr tcr_el1, x0",
        "ret",
        "mrs x0, elr_el1",
        "ret",
        "msr spsr_el1, x0",
        "ret",
        "mrs x0, sp_el0",
        "ret",
        "mrs x0, esr_el1",
        "ret",
        "mrs x0, far_el1",
        "ret",
        "mrs x0, currentel",
        "ret",
        "msr daifset, 2",
        "ret",
        "msr daifclr, 1",
        "ret",
        "msr spsel, 1",
        "ret",
        // msr pan, 0
        ".inst 0xd500409f",
        "ret",
        "eret",
        "ret",
        "tlbi vmalle1",
        "ret",
        "tlbi vmalle1is",
        "ret",
        "ic iallu",
        "ret",
        "dc isw, x0",
        "ret",
        "at s1e1r, x0",
        "ret",
        "hvc 0",
        "ret",
        "smc 0",
        "ret",
        // Semihosting, which the emulator has for the kernel.
        "hlt 0xf000",
        "ret",
        "msr cntkctl_el1, x0",
        "ret",
        "mrs x0, cntpct_el0",
        "ret",
        "msr oslar_el1, x0",
        "ret",
        "udf 0",
        "ret",
    )
}

/// Where the program certainly has code.
fn main_address() -> usize {
    privileged as *const () as usize
}

/// Goes to an address.
fn go_to(address: usize) {
    // SAFETY: (1) there is nothing to execute: the process ends.
    let nowhere = unsafe { core::mem::transmute::<usize, extern "C" fn()>(address) };
    nowhere();
}

/// What TPIDRRO_EL0 has after the processor was given away.
fn read_only_thread_register_after_a_call() -> usize {
    let register;
    // SAFETY: (1) the call touches no memory; (2) reading the register has no effect.
    unsafe {
        asm!("svc 0", "mrs {register}, tpidrro_el0", register = out(reg) register,
             in("x8") nr::SCHED_YIELD, out("x0") _, options(nostack));
    }
    register
}

/// NZCV after a system call that was made with these.
fn flags_after_a_call(flags: usize) -> usize {
    let after;
    // SAFETY: (1) the call touches no memory.
    unsafe {
        asm!("msr nzcv, {flags}", "svc 0", "mrs {after}, nzcv", flags = in(reg) flags, after = out(reg) after,
             in("x8") nr::GETPPID, out("x0") _, options(nostack));
    }
    after
}

/// Nowhere, no multiple of 16, the kernel's, and no address at all.
const STACK_POINTERS: [usize; 8] = [
    0,
    8,
    0x1_0001,
    BAD_ADDRESSES[0],
    BAD_ADDRESSES[1],
    BAD_ADDRESSES[2],
    0x00ff_ffff_ffff_fff0,
    usize::MAX,
];

/// Where SP is after a system call with SP there, and a while in which an interrupt may come.
fn call_with_stack(stack: usize) -> usize {
    let after;
    // SAFETY: (1) nothing is stored until SP is back.
    unsafe {
        asm!(
            "mov {kept}, sp",
            "mov sp, {stack}",
            "svc 0",
            "mov x0, 0x20000",
            "2:",
            "subs x0, x0, 1",
            "b.ne 2b",
            "mov {after}, sp",
            "mov sp, {kept}",
            kept = out(reg) _,
            stack = in(reg) stack,
            after = out(reg) after,
            in("x8") nr::SCHED_YIELD,
            out("x0") _,
        );
    }
    after
}

fn store_with_stack(stack: usize) {
    // SAFETY: (1) the process ends at the store.
    unsafe { asm!("mov sp, {}", "str xzr, [sp]", in(reg) stack) };
}

/// A load that wants to be alone, so far from where it could be. It reaches over a multiple of 16:
/// within one, CPUs with FEAT_LSE2 allow it (Arm ARM, B2.2.1).
fn exclusive(offset: usize) {
    #[repr(align(16))]
    struct Words([u64; 4]);
    let words = Words([0; 4]);
    let last_of_the_first_pair = words.0[1..].as_ptr().addr();
    // SAFETY: (1) within the words, whether it is done or not.
    unsafe { asm!("ldxr {0}, [{0}]", inout(reg) last_of_the_first_pair + offset => _) };
}
