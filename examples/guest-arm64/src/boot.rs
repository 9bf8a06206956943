//! From the entry (EL1, MMU off) to Rust in the upper half. One table of level 1 with two blocks of
//! 1 GiB, devices and memory, serves the lower half for the jump and the upper half for good.

use core::arch::global_asm;

/// Bytes of the boot stack.
const STACK: usize = 64 * 1024;

#[repr(C, align(4096))]
struct BootStack(core::cell::UnsafeCell<[u8; STACK]>);
// SAFETY: only the boot CPU's stack pointer leads here.
unsafe impl Sync for BootStack {}
static BOOT_STACK: BootStack = BootStack(core::cell::UnsafeCell::new([0; STACK]));

global_asm!(
    ".section .boot, \"awx\"",
    ".globl start",
    "start:",
    "msr daifset, #15",
    // Normal memory is attribute 0, devices are attribute 1.
    "ldr x0, =0x04ff",
    "msr mair_el1, x0",
    // 48 bits in both halves, 4 KiB pages, inner shareable, write-back; 40 bits of physical
    // address.
    "ldr x0, =0x2b5103510",
    "msr tcr_el1, x0",
    "adr x0, boot_level0",
    "adr x1, boot_level1",
    "orr x1, x1, #3",
    "str x1, [x0]",
    "msr ttbr0_el1, x0",
    "msr ttbr1_el1, x0",
    "dsb ish",
    "isb",
    "tlbi vmalle1",
    "dsb ish",
    "mrs x0, sctlr_el1",
    "mov x1, #0x1005",
    "orr x0, x0, x1",
    "msr sctlr_el1, x0",
    "isb",
    "ldr x0, =start_high",
    "br x0",
    ".ltorg",
    ".balign 4096",
    "boot_level0: .skip 4096",
    // Devices, never executed; memory.
    "boot_level1: .quad 0x0060000000000405, 0x40000701",
    ".skip 4080",

    ".section .text.start_high, \"ax\"",
    "start_high:",
    "ldr x0, ={stack}",
    "ldr x1, ={size}",
    "add sp, x0, x1",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {main}",
    "udf #0",
    ".text",
    stack = sym BOOT_STACK,
    size = const STACK,
    main = sym crate::kernel_main,
);
