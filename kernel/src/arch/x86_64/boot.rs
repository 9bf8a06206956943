//! From the first instruction to Rust, for the first CPU and for the others.
//!
//! QEMU finds the entry point through a PVH note and jumps there in 32-bit protected mode, paging off, EBX = start info.
//! We build the smallest page tables that let the kernel run where it is linked:
//!
//! ```text
//!   virtual                      physical
//!   0 .. 1 GiB                -> 0 .. 1 GiB      identity, so that turning paging on does not lose us
//!   0xffff888000000000 + 1 GiB -> 0 .. 1 GiB      the first part of the direct map
//!   0xffffffff80000000 + 1 GiB -> 0 .. 1 GiB      the kernel image
//! ```
//!
//! Then long mode, the high half, a boot stack in .bss, and `kernel_main`. The other CPUs start in real mode at 0x8000 (a
//! page that [`start_cpu_code`] fills), go through the same tables, and continue in `secondary_main` on the stack given.

use crate::boot_info::{BootInfo, MemoryRegion};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the stack the first CPU boots on, until its idle stack is there.
pub const BOOT_STACK_BYTES: usize = 32 * 1024;

/// Where the other CPUs' first instructions are copied to; a start-up IPI can name pages below 1 MiB only.
pub const START_PAGE: u64 = 0x8000;

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
    // Level 4: entries 0 and 273 lead to one level 3 table, entry 511 to the other.
    "mov eax, offset boot_level3_low",
    "or eax, 3",
    "mov [boot_level4], eax",
    "mov [boot_level4 + {direct_entry}], eax",
    "mov eax, offset boot_level3_high",
    "or eax, 3",
    "mov [boot_level4 + {high_entry}], eax",
    // Level 3: the first GiB, low and at -2 GiB.
    "mov eax, offset boot_level2",
    "or eax, 3",
    "mov [boot_level3_low], eax",
    "mov [boot_level3_high + {high_gib}], eax",
    // Level 2: 512 pages of 2 MiB; present, writable, large.
    "mov ecx, 0",
    "2:",
    "mov eax, ecx",
    "shl eax, 21",
    "or eax, 0x83",
    "mov [boot_level2 + ecx * 8], eax",
    "inc ecx",
    "cmp ecx, 512",
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
    // CR4: PAE, PGE, OSFXSR, OSXMMEXCPT: user programs use SSE.
    "mov eax, cr4",
    "or eax, 0x6a0",
    "mov cr4, eax",
    // EFER: long mode, no-execute.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    // CR0: paging, write protect, no emulation, native FPU errors.
    "mov eax, cr0",
    "and eax, 0xfffffffb",
    "or eax, 0x80010022",
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
    // The stack of boot_enable_long_mode's return address: the end of the start page, unused by then.
    "mov esp, {start_page} + 0x1000",
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
    "boot_level2: .skip 4096",
    // The boot stack must be reachable from .boot with paging off, hence here and not in .bss.
    "boot_stack: .skip 16",

    ".section .text.boot_high, \"ax\"",
    ".globl kernel_entry",
    "kernel_entry:",
    "lea rsp, [rip + {boot_stack} + {boot_stack_bytes}]",
    "xor ebp, ebp",
    "mov edi, edi",
    "call {kernel_main}",
    "ud2",
    ".globl secondary_entry",
    "secondary_entry:",
    "mov rax, [rip + {secondary_tables}]",
    "mov cr3, rax",
    "mov rsp, [rip + {secondary_stack}]",
    "mov rdi, [rip + {secondary_argument}]",
    "xor ebp, ebp",
    "call {secondary_main}",
    "ud2",

    // Copied to the start page. Real mode, CS = page / 16, IP = 0.
    ".section .rodata.boot_start_page, \"a\"",
    ".code16",
    ".globl start_page_code",
    "start_page_code:",
    "jmp 2f",
    ".balign 8",
    "start_page_gdt:",
    ".word 31",
    ".long boot_gdt",
    // The assembler folds the difference: both labels are behind us.
    ".set start_page_gdt_at, {start_page} + (start_page_gdt - start_page_code)",
    "2:",
    "cli",
    "cld",
    "xor ax, ax",
    "mov ds, ax",
    "lgdt [start_page_gdt_at]",
    "mov eax, cr0",
    "or eax, 1",
    "mov cr0, eax",
    ".byte 0x66, 0xea", // far jump with a 32-bit offset
    ".long boot_secondary_32",
    ".word 0x18",
    ".globl start_page_code_end",
    "start_page_code_end:",
    ".code64",
    ".text",
    direct_entry = const (crate::memory::DIRECT_MAP >> 39 & 511) * 8,
    high_entry = const (crate::memory::IMAGE >> 39 & 511) * 8,
    high_gib = const (crate::memory::IMAGE >> 30 & 511) * 8,
    start_page = const START_PAGE,
    boot_stack = sym BOOT_STACK,
    boot_stack_bytes = const BOOT_STACK_BYTES,
    kernel_main = sym crate::kernel_main,
    secondary_main = sym crate::arch::smp::secondary_main,
    secondary_tables = sym SECONDARY_TABLES,
    secondary_stack = sym SECONDARY_STACK,
    secondary_argument = sym SECONDARY_ARGUMENT,
);

#[repr(C, align(4096))]
struct BootStack([core::sync::atomic::AtomicU8; BOOT_STACK_BYTES]);

static BOOT_STACK: BootStack =
    BootStack([const { core::sync::atomic::AtomicU8::new(0) }; BOOT_STACK_BYTES]);

static SECONDARY_TABLES: AtomicU64 = AtomicU64::new(0);
static SECONDARY_STACK: AtomicU64 = AtomicU64::new(0);
static SECONDARY_ARGUMENT: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static start_page_code: u8;
    static start_page_code_end: u8;
}

/// The code for the start page.
pub fn start_cpu_code() -> &'static [u8] {
    let lowest = &raw const start_page_code;
    let top = &raw const start_page_code_end;
    // SAFETY: (1) both symbols delimit read-only bytes of the image.
    unsafe { core::slice::from_raw_parts(lowest, top as usize - lowest as usize) }
}

/// What the next CPU that starts will run with: page tables, stack, and the argument of `secondary_main`. One at a time.
pub fn prepare_secondary(tables: u64, stack_top: u64, argument: u64) {
    SECONDARY_TABLES.store(tables, Ordering::SeqCst);
    SECONDARY_STACK.store(stack_top, Ordering::SeqCst);
    SECONDARY_ARGUMENT.store(argument, Ordering::SeqCst);
}

/// What the boot loader hands over (PVH start info, version 1). Physical addresses.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    modules_at: u64,
    command_line_at: u64,
    rsdp_at: u64,
    memory_map_at: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// One stretch of the memory map.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct MapEntry {
    lowest: u64,
    bytes: u64,
    /// 1: RAM that the kernel may use.
    kind: u32,
    reserved: u32,
}

/// A file loaded next to the kernel.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Module {
    lowest: u64,
    bytes: u64,
    command_line_at: u64,
    reserved: u64,
}

/// Reads the start info at the physical address the boot loader gave. Says whether it is one.
///
/// # Safety
///
/// 1. The boot page tables are active: the first GiB is mapped one to one, and the loader's tables lie there.
pub unsafe fn read_boot_info(start_info: u64, boot: &mut BootInfo) -> bool {
    // SAFETY: (1) by the caller's promise.
    let info = unsafe { (start_info as *const StartInfo).read_unaligned() };
    if info.magic != 0x336e_c578 {
        return false;
    }
    boot.initrd = (info.modules > 0).then(|| {
        // SAFETY: (1) as above.
        let module = unsafe { (info.modules_at as *const Module).read_unaligned() };
        (module.lowest, module.bytes)
    });
    for number in 0..u64::from(info.memory_map_entries) {
        let at = info.memory_map_at + number * size_of::<MapEntry>() as u64;
        // SAFETY: (1) as above.
        let entry = unsafe { (at as *const MapEntry).read_unaligned() };
        let (lowest, bytes) = (entry.lowest, entry.bytes);
        // More than there is room for is left unused.
        let _kept = boot.add_region(MemoryRegion { lowest, bytes, is_ram: entry.kind == 1 });
    }
    if info.command_line_at != 0 {
        // SAFETY: (1) as above; the string ends with a NUL, and nothing is read after it.
        let byte = |at: u64| unsafe { ((info.command_line_at + at) as *const u8).read() };
        boot.set_command_line((0..).map(byte));
    }
    super::smp::set_acpi_root(info.rsdp_at);
    true
}
