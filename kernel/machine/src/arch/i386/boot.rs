//! From the first instruction to Rust, for the first CPU and for the others.
//!
//! QEMU finds the entry point through a PVH note and jumps there in 32-bit protected mode, paging
//! off, EBX = start info. We build the smallest page tables that let the kernel run where it is
//! linked, of pages of 2 MiB:
//!
//! ```text
//!   virtual         physical
//!   0 .. 3 GiB   -> 0 .. 3 GiB      identity, so that turning paging on does not lose us, and to read what firmware left
//!   0xc000_0000  -> 0 .. 64 MiB     the kernel image
//!   0xc400_0000  -> 0 .. 960 MiB    the direct map
//! ```
//!
//! Then paging with physical address extension (for the no-execute bit), the high half, a boot
//! stack in .bss, and `kernel_main`. The other CPUs start in real mode at 0x8000 (a page that
//! `pc::start_page` has the contents of), go through the same tables, and continue in
//! `kernel_secondary` on the stack given.

use super::cpu;
use super::layout::{DIRECT_BYTES, DIRECT_MAP, IMAGE};
use crate::arch::pc::boot_stacks::{
    BOOT_STACK, BOOT_STACK_TOP, SECONDARY_NUMBERS, SECONDARY_STACKS, SECONDARY_TABLES,
};
use crate::arch::pc::control::{BOOT_CR0, BOOT_CR4, BOOT_EFER, EFER};
use crate::arch::pc::pvh;
use crate::boot_info::BootInfo;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::arch::current::load::fill_gates;
use kstack::arch::current::tables::{KERNEL_CODE, KERNEL_DATA, PER_CPU};
use kstack::protector::BOOT;

pub use crate::arch::pc::boot_stacks::{
    BOOT_STACK_BYTES, boot_guard, boot_stack, prepare_secondary,
};

/// The selector of 32-bit code in the boot table: how the start page leaves real mode.
pub(in crate::arch) const START_CODE: u16 = KERNEL_CODE;

/// Entries of one page table, and their bytes.
const ENTRIES: u64 = 512;
/// Bytes that a page of the boot tables maps, as a power of two.
const LARGE_SHIFT: u64 = 21;

const _: () = assert!(IMAGE >> 30 == 3 && DIRECT_MAP >> 30 == 3);

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
    // Level 3: four entries, one for each table of level 2. They have no write or user bit.
    "mov eax, offset boot_level2 + 1",
    "mov [boot_level3], eax",
    "add eax, 4096",
    "mov [boot_level3 + 8], eax",
    "add eax, 4096",
    "mov [boot_level3 + 16], eax",
    "add eax, 4096",
    "mov [boot_level3 + 24], eax",
    // Level 2: pages of 2 MiB; present, writable, large. ecx = virtual page, edx = physical page.
    "xor ecx, ecx",
    "2:",
    "mov edx, ecx",
    "cmp ecx, {image_page}",
    "jb 4f",
    "sub edx, {image_page}",
    "cmp ecx, {direct_page}",
    "jb 4f",
    "sub edx, {direct_page} - {image_page}",
    "4:",
    "shl edx, {large_shift}",
    "or edx, 0x83",
    "mov [boot_level2 + ecx * 8], edx",
    "inc ecx",
    "cmp ecx, 4 * {entries}",
    "jne 2b",
    "call boot_enable_paging",
    "lgdt [boot_gdt_pointer]",
    "push {code}",
    "mov eax, offset boot_flat",
    "push eax",
    "retf",
    "boot_flat:",
    "mov eax, {data}",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov eax, offset kernel_entry",
    "jmp eax",

    // In: paging off. Out: paging on. Uses eax, ecx, edx.
    "boot_enable_paging:",
    "mov eax, offset boot_level3",
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

    // The other CPUs, in 32-bit mode.
    ".globl boot_secondary_32",
    "boot_secondary_32:",
    "mov eax, {data}",
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
    "call boot_enable_paging",
    // The final tables map the kernel image, not this code: jump high first.
    "mov eax, offset secondary_entry",
    "jmp eax",

    ".section .boot.data, \"aw\"",
    ".balign 8",
    ".globl boot_gdt",
    "boot_gdt:",
    ".quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
    "boot_gdt_end:",
    ".skip 8",
    ".globl boot_gdt_pointer",
    "boot_gdt_pointer:",
    ".word boot_gdt_end - boot_gdt - 1",
    ".long boot_gdt",
    ".balign 4096",
    ".globl boot_level2",
    "boot_level2: .skip 4 * 4096",
    "boot_level3: .skip 32",
    "boot_apic_stacks: .skip 256 << {apic_stack_shift}",

    ".section .data.boot_high, \"aw\"",
    ".balign 8",
    // The same segments, and one for the per-CPU block, where the final tables map it.
    "high_gdt:",
    ".quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
    ".skip {per_cpu} + 8 - 24",
    // Where code that the stack protector was compiled into finds a canary until the CPU's block is
    // loaded: data, with a base that is filled in.
    "high_gdt_guard: .quad 0x00cf93000000ffff",
    "high_gdt_end:",
    "high_gdt_pointer:",
    ".word high_gdt_end - high_gdt - 1",
    ".long high_gdt",

    ".section .text.boot_high, \"ax\"",
    ".globl kernel_entry",
    "kernel_entry:",
    "lgdt [high_gdt_pointer]",
    "mov eax, offset {boot_guard}",
    "mov [high_gdt_guard + 2], ax",
    "shr eax, 16",
    "mov [high_gdt_guard + 4], al",
    "mov [high_gdt_guard + 7], ah",
    "mov eax, {per_cpu} + 8",
    "mov gs, eax",
    "lea esp, [{boot_stack} + {boot_stack_top}]",
    "xor ebp, ebp",
    // One argument of 64 bits; SP is 16-aligned at the call.
    "sub esp, 8",
    "push 0",
    "push edi",
    "call {kernel_main}",
    "ud2",
    ".globl secondary_entry",
    "secondary_entry:",
    "lgdt [high_gdt_pointer]",
    "mov eax, [{secondary_tables}]",
    "mov cr3, eax",
    "mov eax, {per_cpu} + 8",
    "mov gs, eax",
    // The number of this CPU, by that of its local APIC (CPUID leaf 1), and its stack by that.
    "mov eax, 1",
    "cpuid",
    "shr ebx, 24",
    "movzx edi, byte ptr [{secondary_numbers} + ebx]",
    "mov esp, [{secondary_stacks} + edi * {word}]",
    "xor ebp, ebp",
    "sub esp, 8",
    "push 0",
    "push edi",
    "call {kernel_secondary}",
    "ud2",
    ".text",
    entries = const ENTRIES,
    large_shift = const LARGE_SHIFT,
    image_page = const IMAGE >> LARGE_SHIFT,
    direct_page = const DIRECT_MAP >> LARGE_SHIFT,
    code = const KERNEL_CODE,
    data = const KERNEL_DATA,
    per_cpu = const PER_CPU,
    apic_stack_shift = const 4,
    word = const size_of::<u64>(),
    cr0 = const BOOT_CR0,
    cr4 = const BOOT_CR4,
    efer = const BOOT_EFER,
    efer_register = const EFER,
    boot_guard = sym BOOT,
    boot_stack = sym BOOT_STACK,
    boot_stack_top = const BOOT_STACK_TOP,
    kernel_main = sym crate::arch::any::start::kernel_main,
    kernel_secondary = sym crate::arch::any::start::kernel_secondary,
    secondary_tables = sym SECONDARY_TABLES,
    secondary_numbers = sym SECONDARY_NUMBERS,
    secondary_stacks = sym SECONDARY_STACKS,
);

/// Reads the start info at the physical address the boot loader gave, and says whether it is one.
/// Fills the interrupt descriptors, which can be written only as long as the boot tables are
/// active.
///
/// Memory that the direct map does not reach is left out; an initial archive that lies there is
/// moved down.
///
/// # Safety
///
/// 1. The boot page tables are active: the first 3 GiB are mapped one to one, and the loader's
///    tables lie there.
pub unsafe fn read_boot_info(start_info: u64, boot: &mut BootInfo) -> bool {
    // SAFETY: (1) the boot tables, which write everything.
    unsafe { fill_gates() };
    // SAFETY: (1) by the caller's promise.
    if !unsafe { pvh::read(start_info, boot) } {
        return false;
    }
    let unused = boot.leave_out_from(DIRECT_BYTES);
    if unused > 0 {
        log!("{} MiB of memory are out of the direct map's reach and left unused", unused >> 20);
    }
    if let Some((lowest, bytes)) = boot.initrd
        && lowest + bytes > DIRECT_BYTES
    {
        let to = (DIRECT_BYTES - bytes) & !4095;
        // SAFETY: (1) the boot tables are active; (2) RAM reaches up to `to + bytes`, or the loader
        // would not have put the archive beyond; nothing but the archive is that high: the loader
        // puts it last.
        unsafe { move_down(lowest, to, bytes) };
        boot.initrd = Some((to, bytes));
    }
    true
}

/// Where the boot tables show any 2 MiB of physical memory in turn: the identity of this stretch is
/// not needed by then.
const WINDOW: u64 = (2 << 30) - (1 << LARGE_SHIFT);

/// Copies physical memory from anywhere below 4 GiB to where the boot tables have it.
///
/// # Safety
///
/// 1. The boot page tables are active.
/// 2. `to` is RAM below `from` that nothing else is in, and in the identity map.
unsafe fn move_down(from: u64, to: u64, bytes: u64) {
    unsafe extern "C" {
        static boot_level2: [AtomicU64; 4 * ENTRIES as usize];
    }
    const LARGE_BYTES: u64 = 1 << LARGE_SHIFT;
    const PRESENT_WRITE_LARGE: u64 = 0x83;
    // SAFETY: (1) `.boot` is linked where it is loaded, and the identity map has it.
    let entry = unsafe { &boot_level2[(WINDOW >> LARGE_SHIFT) as usize] };
    let mut done = 0;
    while done < bytes {
        let offset = (from + done) % LARGE_BYTES;
        let piece = (LARGE_BYTES - offset).min(bytes - done);
        entry.store((from + done - offset) | PRESENT_WRITE_LARGE, Ordering::Relaxed);
        cpu::flush_page(WINDOW);
        // SAFETY: (1) the window shows the source; (2) by the caller's promise. Ascending, so what
        // overlaps was copied before.
        unsafe {
            core::ptr::copy((WINDOW + offset) as *const u8, (to + done) as *mut u8, piece as usize);
        }
        done += piece;
    }
}
