//! From the firmware (a0 = hart, a1 = device tree, paging off) to Rust where the kernel is linked.
//!
//! One table of Sv39, whose entries are pages of 1 GiB: the first 4 GiB where they are and at
//! [`PHYSICAL`], and the third, where memory begins, at the top of the address space too.

use core::arch::global_asm;

/// Where the first 4 GiB of physical addresses are mapped.
pub const PHYSICAL: usize = 0xffff_ffc0_0000_0000;

/// Bytes of the stack this kernel boots on.
const STACK: usize = 64 * 1024;

#[repr(C, align(4096))]
struct BootStack(core::cell::UnsafeCell<[u8; STACK]>);
// SAFETY: only the boot hart's stack pointer leads here.
unsafe impl Sync for BootStack {}
static BOOT_STACK: BootStack = BootStack(core::cell::UnsafeCell::new([0; STACK]));

/// Names the function that the boot code calls with the address of the device tree.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn kernel_main(tree: usize) -> ! {
            let main: fn(usize) -> ! = $main;
            main(tree)
        }
    };
}

global_asm!(
    ".section .boot, \"awx\"",
    ".option push",
    ".option norelax",
    ".globl start",
    "start:",
    "csrw sie, zero",
    "csrci sstatus, 2",
    "la t0, boot_table",
    "srli t1, t0, 12",
    "li t2, 8 << 60",
    "or t1, t1, t2",
    "sfence.vma",
    "csrw satp, t1",
    "sfence.vma",
    "ld t0, start_high_at",
    "jr t0",
    ".balign 8",
    "start_high_at: .quad start_high",
    ".balign 4096",
    ".globl boot_table",
    "boot_table:",
    // Valid, readable, writable, executable, accessed, dirty.
    ".quad 0xcf, 0x100000cf, 0x200000cf, 0x300000cf",
    ".fill 252, 8, 0",
    ".quad 0xcf, 0x100000cf, 0x200000cf, 0x300000cf",
    ".fill 250, 8, 0",
    ".quad 0x200000cf, 0",
    ".option pop",

    ".section .text.start_high, \"ax\"",
    "start_high:",
    "la sp, {stack}",
    "li t0, {size}",
    "add sp, sp, t0",
    "li s0, 0",
    "mv a0, a1",
    "call kernel_main",
    "unimp",
    ".text",
    stack = sym BOOT_STACK,
    size = const STACK,
);
