//! An option ROM for emulated PCs that put a kernel into memory and do not start it.
//!
//! ```text
//!   firmware finds 0x55 0xaa, calls offset 3 ──> int 0x19 ("boot") is ours from now on
//!   firmware is done, int 0x19               ──> memory map (int 0x15, 0xe820) into the handoff
//!                                            ──> 32-bit protected mode, paging off, EBX = start info: the kernel, as by PVH
//! ```
//!
//! The handoff lies at [`HANDOFF`] in memory, made by `cargo xtask` (`bochs/handoff.rs`):
//!
//! | offset | what |
//! |---|---|
//! | 0x00 | the kernel's 32-bit entry |
//! | 0x10 | PVH start info (56 bytes), whole but for the number of stretches in the memory map |
//! | 0x100 | room for 64 stretches of 24 bytes |
//!
//! Invariant: between the firmware's last call and the kernel's first instruction nothing is
//! written but the handoff and registers. The firmware's answer, 20 bytes, is laid out as a stretch
//! of PVH's map is, so it is written where it belongs.
//!
//! Sources: BIOS Boot Specification 1.01, 3.3 (option ROMs); ACPI 6.5, 15.1 (`0xe820`); Xen's `pvh`
//! boot protocol (registers).

#![no_std]
#![no_main]

use core::arch::global_asm;

/// Where the handoff is: above the firmware's own data, below where it keeps a copy of itself while
/// it starts.
const HANDOFF: u32 = 0x1_0000;
/// In the start info: the number of stretches.
const START_INFO: u32 = 0x10;
const STRETCHES: u32 = START_INFO + 48;
const MAP: u32 = 0x100;
const MAX_STRETCHES: u32 = 64;
const STRETCH_BYTES: u32 = 24;
/// Where the interrupt table of real mode has int 0x19: its offset, then its segment.
const BOOT_VECTOR: u32 = 0x19 * 4;
const VECTOR_SEGMENT: u32 = 2;

global_asm!(
    ".section .rom, \"a\"",
    ".code16",
    ".globl rom_start",
    "rom_start:",
    ".byte 0x55, 0xaa, 0", // the third: blocks of 512 bytes, filled in
    // Offset 3. A jump of two bytes, then data, so that what is below refers to labels behind it.
    "jmp 2f",
    ".balign 8",
    "rom_gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
    "rom_gdt_pointer:",
    ".word 23",
    ".long rom_gdt",
    ".set rom_gdt_at, rom_gdt_pointer - rom_start",

    // int 0x19. Whatever the firmware's flags and segments are.
    "rom_boot:",
    "cld",
    "mov ax, {segment}",
    "mov ds, ax",
    "mov es, ax",
    "xor ebx, ebx",
    "mov edi, {map}",
    "xor bp, bp",
    "3:",
    "mov eax, 0xe820",
    "mov ecx, 20",
    "mov edx, 0x534d4150", // "SMAP"
    "int 0x15",
    "jc 4f",
    "cmp eax, 0x534d4150",
    "jne 4f",
    "mov dword ptr [di + 20], 0",
    "add di, {stretch_bytes}",
    "inc bp",
    "cmp bp, {max_stretches}",
    "je 4f",
    "test ebx, ebx", // 0 after the last
    "jnz 3b",
    "4:",
    "movzx ebp, bp",
    "mov [{stretches}], ebp",
    // Address line 20 on; bit 0 of the port would reset the machine.
    "cli",
    "in al, 0x92",
    "or al, 2",
    "and al, 0xfe",
    "out 0x92, al",
    "lgdt cs:[rom_gdt_at]",
    "mov eax, cr0",
    "or eax, 1",
    "mov cr0, eax",
    ".byte 0x66, 0xea", // far jump with a 32-bit offset
    ".long rom_protected",
    ".word 8",
    ".set rom_boot_at, rom_boot - rom_start",

    // The firmware's call: returns far, registers as they were.
    "2:",
    "push ax",
    "push ds",
    "xor ax, ax",
    "mov ds, ax",
    "mov word ptr [{boot_vector}], offset rom_boot_at",
    "mov word ptr [{boot_vector} + {vector_segment}], cs",
    "pop ds",
    "pop ax",
    ".byte 0xcb", // far return with 16-bit offset; the assembler would choose 32

    ".code32",
    "rom_protected:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov ebx, {handoff} + {start_info}",
    "jmp dword ptr [{handoff}]",
    boot_vector = const BOOT_VECTOR,
    vector_segment = const VECTOR_SEGMENT,
    segment = const HANDOFF >> 4,
    handoff = const HANDOFF,
    start_info = const START_INFO,
    stretches = const STRETCHES,
    map = const MAP,
    max_stretches = const MAX_STRETCHES,
    stretch_bytes = const STRETCH_BYTES,
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
