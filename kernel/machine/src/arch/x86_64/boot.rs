//! From the first instruction to Rust, for the first CPU and for the others.
//!
//! QEMU finds the entry point through a PVH note and jumps there in 32-bit protected mode, paging
//! off, EBX = start info. We build the smallest page tables that let the kernel run where it is
//! linked:
//!
//! ```text
//!   virtual                      physical
//!   0 .. 4 GiB                -> 0 .. 4 GiB      identity, so that turning paging on does not lose us
//!   0xffff888000000000 + 4 GiB -> 0 .. 4 GiB      the first part of the direct map: loaders put archives below 4 GiB
//!   0xffffffff80000000 + 1 GiB -> 0 .. 1 GiB      the kernel image
//! ```
//!
//! Then long mode, the high half, a boot stack in .bss, and `kernel_main`. The other CPUs start in
//! real mode at 0x8000 (a page that `pc::start_page` has the contents of), go through the same
//! tables, and continue in `kernel_secondary` on the stack given.

use crate::arch::pc::boot_stacks::{
    BOOT_STACK, BOOT_STACK_TOP, SECONDARY_NUMBERS, SECONDARY_STACKS, SECONDARY_TABLES,
};
use crate::arch::pc::control::{BOOT_CR0, BOOT_CR4, BOOT_EFER, EFER};
use crate::arch::pc::pvh;
use crate::boot_info::BootInfo;
use core::arch::global_asm;
use kstack::arch::current::load::fill_gates;
use kstack::protector::BOOT;

pub use crate::arch::pc::boot_stacks::{
    BOOT_STACK_BYTES, boot_guard, boot_stack, prepare_secondary,
};

/// The model-specific register with the base of GS.
const GS_BASE: u32 = 0xc000_0101;

/// The selector of 32-bit code in the boot table: how the start page leaves real mode.
pub(in crate::arch) const START_CODE: u16 = 0x18;

global_asm!(
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    // Owner "Xen", type 18: the physical address of a 32-bit entry point.
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long boot_start",

    ".section .boot.text, \"ax\"",
    ".code32",
    ".globl boot_start",
    "boot_start:",
    "cli",
    "cld",
    "mov edi, ebx",
    "mov esp, offset boot_early_stack_top",
    "call boot_check_cpu",
    // Level 4: entries 0 and 273 lead to one level 3 table, entry 511 to the other.
    "mov eax, offset boot_level3_low",
    "or eax, 3",
    "mov [boot_level4], eax",
    "mov [boot_level4 + {direct_entry}], eax",
    "mov eax, offset boot_level3_high",
    "or eax, 3",
    "mov [boot_level4 + {high_entry}], eax",
    // Level 3: four GiB low, the first one of them at -2 GiB too.
    "mov eax, offset boot_level2",
    "or eax, 3",
    "mov [boot_level3_high + {high_gib}], eax",
    "xor ecx, ecx",
    "2:",
    "mov [boot_level3_low + ecx * 8], eax",
    "add eax, 4096",
    "inc ecx",
    "cmp ecx, {early_gib}",
    "jne 2b",
    // Level 2: pages of 2 MiB; present, writable, large.
    "xor ecx, ecx",
    "2:",
    "mov eax, ecx",
    "shl eax, 21",
    "or eax, 0x83",
    "mov [boot_level2 + ecx * 8], eax",
    "inc ecx",
    "cmp ecx, 512 * {early_gib}",
    "jne 2b",
    "call boot_enable_long_mode",
    "lgdt [boot_gdt_pointer]",
    "push 8",
    "mov eax, offset boot_64",
    "push eax",
    "retf",

    // In: paging off. Out: 32-bit compatibility mode of long mode, paging on. Uses eax, ecx, edx.
    "boot_enable_long_mode:",
    "mov eax, offset boot_level4",
    "mov cr3, eax",
    // Set, not added to: see `pc::control`.
    "mov eax, {cr4}",
    "mov cr4, eax",
    "mov ecx, {efer_register}",
    "mov eax, {efer}",
    "xor edx, edx",
    "wrmsr",
    "mov eax, {cr0}",
    "mov cr0, eax",
    "ret",

    ".code64",
    "boot_64:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov rax, offset kernel_entry",
    "jmp rax",

    // The other CPUs, in 32-bit mode: eax free, esi = physical address of their start words.
    ".code32",
    ".globl boot_secondary_32",
    "boot_secondary_32:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    // A few words of stack, by the number of the local APIC: another CPU that starts late may be
    // here too.
    "mov eax, 1",
    "cpuid",
    "shr ebx, 24",
    "inc ebx",
    "shl ebx, {apic_stack_shift}",
    "mov esp, offset boot_apic_stacks",
    "add esp, ebx",
    "call boot_check_other_cpu",
    "call boot_enable_long_mode",
    "push 8",
    "mov eax, offset boot_secondary_64",
    "push eax",
    "retf",
    ".code64",
    "boot_secondary_64:",
    // The final tables map the kernel image, not this code: jump high first.
    "mov rax, offset secondary_entry",
    "jmp rax",

    ".section .boot.data, \"aw\"",
    ".balign 8",
    ".globl boot_gdt",
    "boot_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff",
    "boot_gdt_end:",
    ".globl boot_gdt_pointer",
    "boot_gdt_pointer:",
    ".word boot_gdt_end - boot_gdt - 1",
    ".quad boot_gdt",
    ".balign 4096",
    ".globl boot_level4",
    "boot_level4: .skip 4096",
    "boot_level3_low: .skip 4096",
    "boot_level3_high: .skip 4096",
    "boot_level2: .skip 4096 * {early_gib}",
    "boot_apic_stacks: .skip 256 << {apic_stack_shift}",

    ".section .text.boot_high, \"ax\"",
    ".globl kernel_entry",
    "kernel_entry:",
    "lea rsp, [rip + {boot_stack} + {boot_stack_top}]",
    "xor ebp, ebp",
    "mov edi, edi",
    "call load_boot_guard",
    "call {kernel_main}",
    "ud2",
    ".globl secondary_entry",
    "secondary_entry:",
    "mov rax, [rip + {secondary_tables}]",
    "mov cr3, rax",
    // The number of this CPU, by that of its local APIC (CPUID leaf 1), and its stack by that.
    "mov eax, 1",
    "cpuid",
    "shr ebx, 24",
    "lea rax, [rip + {secondary_numbers}]",
    "movzx edi, byte ptr [rax + rbx]",
    "lea rax, [rip + {secondary_stacks}]",
    "mov rsp, [rax + rdi * {word}]",
    "xor ebp, ebp",
    "call load_boot_guard",
    "call {kernel_secondary}",
    "ud2",
    // Where code that the stack protector was compiled into finds a canary until the CPU's block is
    // loaded. Changes rax, rcx, rdx.
    "load_boot_guard:",
    "lea rax, [rip + {boot_guard}]",
    "mov rdx, rax",
    "shr rdx, 32",
    "mov ecx, {gs_base}",
    "wrmsr",
    "ret",

    ".code64",
    ".text",
    direct_entry = const (crate::memory::DIRECT_MAP >> 39 & 511) * 8,
    high_entry = const (crate::memory::IMAGE >> 39 & 511) * 8,
    early_gib = const super::layout::EARLY_TOP >> 30,
    high_gib = const (crate::memory::IMAGE >> 30 & 511) * 8,
    apic_stack_shift = const 4,
    word = const size_of::<u64>(),
    cr0 = const BOOT_CR0,
    cr4 = const BOOT_CR4,
    efer = const BOOT_EFER,
    efer_register = const EFER,
    boot_stack = sym BOOT_STACK,
    boot_stack_top = const BOOT_STACK_TOP,
    kernel_main = sym crate::arch::any::start::kernel_main,
    kernel_secondary = sym crate::arch::any::start::kernel_secondary,
    boot_guard = sym BOOT,
    gs_base = const GS_BASE,
    secondary_tables = sym SECONDARY_TABLES,
    secondary_numbers = sym SECONDARY_NUMBERS,
    secondary_stacks = sym SECONDARY_STACKS,
);

/// Reads the start info at the physical address the boot loader gave, and says whether it is one.
/// Fills the interrupt descriptors, which can be written only as long as the boot tables are
/// active.
///
/// # Safety
///
/// 1. The boot page tables are active: the first 4 GiB are mapped one to one, and the loader's
///    tables lie there.
pub unsafe fn read_boot_info(start_info: u64, boot: &mut BootInfo) -> bool {
    // SAFETY: (1) the boot tables, which write everything.
    unsafe { fill_gates() };
    // SAFETY: (1) by the caller's promise.
    unsafe { pvh::read(start_info, boot) }
}
