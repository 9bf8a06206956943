//! From the PVH entry (32-bit, paging off, EBX = start info) to 64-bit Rust in the top 2 GiB.
//!
//! One level 2 table maps the first GiB of memory three times: where it is, at `memory::PHYSICAL`,
//! and where the kernel is linked.

use core::arch::global_asm;

/// Names the function that the boot code calls with the physical address of the start info.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn kernel_main(start_info: u64) -> ! {
            let main: fn(u64) -> ! = $main;
            main(start_info)
        }
    };
}

/// Bytes of the stack this kernel boots on.
const STACK: usize = 64 * 1024;

#[repr(C, align(4096))]
struct BootStack(core::cell::UnsafeCell<[u8; STACK]>);
// SAFETY: only the boot CPU's stack pointer leads here.
unsafe impl Sync for BootStack {}
static BOOT_STACK: BootStack = BootStack(core::cell::UnsafeCell::new([0; STACK]));

global_asm!(
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long start32",

    ".section .boot, \"awx\"",
    ".code32",
    ".globl start32",
    "start32:",
    "cli",
    "cld",
    "mov edi, ebx",
    // 512 pages of 2 MiB: present, writable, large.
    "xor ecx, ecx",
    "2: mov eax, ecx",
    "shl eax, 21",
    "or eax, 0x83",
    "mov [boot_level2 + ecx * 8], eax",
    "inc ecx",
    "cmp ecx, 512",
    "jne 2b",
    "mov eax, offset boot_level2",
    "or eax, 3",
    "mov [boot_level3], eax",
    "mov [boot_level3 + 510 * 8], eax",
    "mov eax, offset boot_level3",
    "or eax, 3",
    "mov [boot_level4], eax",
    "mov [boot_level4 + 256 * 8], eax",
    "mov [boot_level4 + 511 * 8], eax",
    // PAE; then long mode and no-execute; then paging and write protection.
    "mov eax, 1 << 5",
    "mov cr4, eax",
    "mov eax, offset boot_level4",
    "mov cr3, eax",
    "mov ecx, 0xc0000080",
    "mov eax, (1 << 8) | (1 << 11)",
    "xor edx, edx",
    "wrmsr",
    "mov eax, (1 << 31) | (1 << 16) | 1",
    "mov cr0, eax",
    "lgdt [boot_gdt_pointer]",
    "ljmp 8, offset start64",
    ".code64",
    "start64:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov rax, offset start_high",
    "jmp rax",
    ".balign 8",
    "boot_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "boot_gdt_pointer: .word 23",
    ".long boot_gdt",
    ".balign 4096",
    "boot_level4: .skip 4096",
    "boot_level3: .skip 4096",
    "boot_level2: .skip 4096",

    ".section .text.start_high, \"ax\"",
    "start_high:",
    "lea rsp, [rip + {stack} + {size}]",
    "xor ebp, ebp",
    "mov edi, edi",
    "call kernel_main",
    "ud2",
    ".text",
    stack = sym BOOT_STACK,
    size = const STACK,
);
