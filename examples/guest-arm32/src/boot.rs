//! From the entry (SVC mode, MMU off) to Rust. One first-level table of short descriptors maps
//! every physical address below 2 GiB to itself, in sections of 1 MiB: devices below 1 GiB, memory
//! from there on.

use core::arch::global_asm;

/// Bytes of the boot stack.
const STACK: usize = 32 * 1024;

#[repr(C, align(4096))]
struct BootStack(core::cell::UnsafeCell<[u8; STACK]>);
// SAFETY: only the boot CPU's stack pointer leads here.
unsafe impl Sync for BootStack {}
static BOOT_STACK: BootStack = BootStack(core::cell::UnsafeCell::new([0; STACK]));

/// The first-level table.
#[repr(C, align(16384))]
pub struct Level1(pub core::cell::UnsafeCell<[u32; 4096]>);
// SAFETY: one CPU, and boot code is done when Rust begins.
unsafe impl Sync for Level1 {}
pub static LEVEL1: Level1 = Level1(core::cell::UnsafeCell::new([0; 4096]));

global_asm!(
    ".section .boot, \"ax\"",
    ".arm",
    ".globl start",
    "start:",
    "cpsid aif, #0x13",
    "ldr r0, ={level1}",
    // Devices, never executed (B = 1, XN); then memory: write-back, shareable.
    "ldr r1, =0x00000416",
    "ldr r2, =0x0001140e",
    "mov r3, #0",
    "2:",
    "cmp r3, #0x400",
    "orrlo r4, r1, r3, lsl #20",
    "orrhs r4, r2, r3, lsl #20",
    // Above 2 GiB nothing is mapped: pages are.
    "cmp r3, #0x800",
    "movhs r4, #0",
    "str r4, [r0, r3, lsl #2]",
    "add r3, r3, #1",
    "cmp r3, #0x1000",
    "bne 2b",
    "dsb",
    "mov r1, #0",
    "mcr p15, 0, r1, c2, c0, 2",
    // Walks are cacheable and shareable.
    "orr r0, r0, #0x4a",
    "mcr p15, 0, r0, c2, c0, 0",
    // Domain 0: permissions are checked.
    "mov r0, #1",
    "mcr p15, 0, r0, c3, c0, 0",
    "mcr p15, 0, r1, c8, c7, 0",
    "mcr p15, 0, r1, c7, c5, 0",
    "mcr p15, 0, r1, c7, c5, 6",
    "dsb",
    "isb",
    "mrc p15, 0, r0, c1, c0, 0",
    "bic r0, r0, #0x2000",
    "bic r0, r0, #0x2",
    "ldr r1, =0x1805",
    "orr r0, r0, r1",
    "mcr p15, 0, r0, c1, c0, 0",
    "isb",
    "ldr sp, ={stack} + {size}",
    "mov r11, #0",
    "mov lr, #0",
    "bl {main}",
    "udf #0",
    ".ltorg",
    ".text",
    level1 = sym LEVEL1,
    stack = sym BOOT_STACK,
    size = const STACK,
    main = sym crate::kernel_main,
);
