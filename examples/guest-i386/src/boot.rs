//! From the PVH entry (paging off) to Rust at 3 GiB.
//!
//! One directory maps the first 64 MiB of memory twice, in pages of 4 MiB: where it is, and from
//! `memory::DIRECT` on. This kernel never makes segment descriptors: those of the boot loader do,
//! until kstack brings the CPU up.

use core::arch::global_asm;

/// Bytes of the stack this kernel boots on.
const STACK: usize = 16 * 1024;

#[repr(C, align(16))]
struct BootStack(core::cell::UnsafeCell<[u8; STACK]>);
// SAFETY: only the boot CPU's stack pointer leads here.
unsafe impl Sync for BootStack {}
static BOOT_STACK: BootStack = BootStack(core::cell::UnsafeCell::new([0; STACK]));

global_asm!(
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long start",

    ".section .boot, \"awx\"",
    ".globl start",
    "start:",
    "cli",
    "cld",
    // 16 pages of 4 MiB: present, writable, large.
    "xor ecx, ecx",
    "2: mov eax, ecx",
    "shl eax, 22",
    "or eax, 0x83",
    "mov [page_directory + ecx * 4], eax",
    "mov [page_directory + ecx * 4 + 768 * 4], eax",
    "inc ecx",
    "cmp ecx, 16",
    "jne 2b",
    // Large pages; then paging and write protection.
    "mov eax, 1 << 4",
    "mov cr4, eax",
    "mov eax, offset page_directory",
    "mov cr3, eax",
    "mov eax, (1 << 31) | (1 << 16) | 1",
    "mov cr0, eax",
    "mov eax, offset start_high",
    "jmp eax",
    ".balign 4096",
    ".globl page_directory",
    "page_directory: .skip 4096",

    ".section .text.start_high, \"ax\"",
    "start_high:",
    "mov esp, offset {stack} + {size}",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    ".text",
    stack = sym BOOT_STACK,
    size = const STACK,
    main = sym crate::boot_main,
);
