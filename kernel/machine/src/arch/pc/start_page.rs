//! The first instructions of the other CPUs: from real mode to 32-bit code of the image.
//!
//! A start-up IPI can name pages below 1 MiB only, so these few bytes are copied to one. Linked as
//! data, executed there.

use crate::arch::boot::START_CODE;
use core::arch::global_asm;

/// Where they are copied to.
pub const START_PAGE: u64 = 0x8000;

/// What the rest of the crate's assembly is.
#[cfg(target_arch = "x86_64")]
macro_rules! back_to_native_code {
    () => {
        ".code64"
    };
}
/// What the rest of the crate's assembly is.
#[cfg(target_arch = "x86")]
macro_rules! back_to_native_code {
    () => {
        ".code32"
    };
}

global_asm!(
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
    // The assembler folds the difference: both labels lie above.
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
    ".word {code}",
    ".globl start_page_code_end",
    "start_page_code_end:",
    back_to_native_code!(),
    ".text",
    start_page = const START_PAGE,
    code = const START_CODE,
);

unsafe extern "C" {
    static start_page_code: u8;
    static start_page_code_end: u8;
}

/// The code for the start page.
pub fn code() -> &'static [u8] {
    let lowest = &raw const start_page_code;
    let top = &raw const start_page_code_end;
    // SAFETY: (1) both symbols delimit read-only bytes of the image.
    unsafe { core::slice::from_raw_parts(lowest, top as usize - lowest as usize) }
}
