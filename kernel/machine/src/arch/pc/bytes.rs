//! Copying and filling memory, for the compiler's calls: by the string instructions, words first.
//!
//! What comes with the compiler aligns the target first, and for 32-bit PCs copies a word a round,
//! in four instructions.

use core::arch::naked_asm;

/// `memcpy`.
///
/// # Safety
///
/// 1. So many bytes can be read at `from` and written at `to`, and the two are apart; the direction
///    flag is clear, as the ABI has it.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rax, rdi",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep movsq",
        "and edx, 7",
        "jz 2f",
        "mov ecx, edx",
        "rep movsb",
        "2:",
        "pop rbp",
        "ret",
    )
}

/// `memset`.
///
/// # Safety
///
/// 1. So many bytes can be written at `to`; the direction flag as above.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov r8, rdi",
        "movzx esi, sil",
        "movabs rax, 0x0101010101010101",
        "imul rax, rsi",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep stosq",
        "and edx, 7",
        "jz 2f",
        "mov ecx, edx",
        "rep stosb",
        "2:",
        "mov rax, r8",
        "pop rbp",
        "ret",
    )
}

/// `memcpy`.
///
/// # Safety
///
/// 1. So many bytes can be read at `from` and written at `to`, and the two are apart; the direction
///    flag is clear, as the ABI has it.
#[cfg(target_arch = "x86")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        "push ebp",
        "mov ebp, esp",
        "push esi",
        "push edi",
        "mov edi, [ebp + {to}]",
        "mov esi, [ebp + {from}]",
        "mov edx, [ebp + {bytes}]",
        "mov ecx, edx",
        "shr ecx, 2",
        "rep movsd",
        "and edx, 3",
        "jz 2f",
        "mov ecx, edx",
        "rep movsb",
        "2:",
        "mov eax, [ebp + {to}]",
        "pop edi",
        "pop esi",
        "pop ebp",
        "ret",
        to = const TO,
        from = const TO + WORD,
        bytes = const TO + 2 * WORD,
    )
}

/// `memset`.
///
/// # Safety
///
/// 1. So many bytes can be written at `to`; the direction flag as above.
#[cfg(target_arch = "x86")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    naked_asm!(
        "push ebp",
        "mov ebp, esp",
        "push edi",
        "mov edi, [ebp + {to}]",
        "movzx eax, byte ptr [ebp + {byte}]",
        "imul eax, eax, 0x01010101",
        "mov edx, [ebp + {bytes}]",
        "mov ecx, edx",
        "shr ecx, 2",
        "rep stosd",
        "and edx, 3",
        "jz 2f",
        "mov ecx, edx",
        "rep stosb",
        "2:",
        "mov eax, [ebp + {to}]",
        "pop edi",
        "pop ebp",
        "ret",
        to = const TO,
        byte = const TO + WORD,
        bytes = const TO + 2 * WORD,
    )
}

/// Where the first argument is, above the saved frame pointer and the return address.
#[cfg(target_arch = "x86")]
const TO: usize = 2 * WORD;
#[cfg(target_arch = "x86")]
const WORD: usize = size_of::<usize>();
