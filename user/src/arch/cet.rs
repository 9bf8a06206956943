//! Shadow stacks of x86_64.

use core::arch::{asm, naked_asm};

use super::x86_64::RT_SIGRETURN;

/// Whether the calls for shadow stacks are those of prctl.
pub const SHADOW_BY_PRCTL: bool = false;

/// Calls `body` with a shadow stack that is on in this mode, and turns it off. [`usize::MAX`]:
/// there is none.
#[unsafe(naked)]
pub extern "C" fn with_shadow_stack(
    mode: usize,
    body: extern "C" fn(usize) -> usize,
    argument: usize,
) -> usize {
    // From one call of the kernel to the other, what was called before is not on the shadow stack.
    naked_asm!(
        "push rbx",
        "push r12",
        "push r13",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov r13, rdx",
        "mov edi, {enable}",
        "mov esi, {calls}",
        "mov eax, {arch_prctl}",
        "syscall",
        "test rax, rax",
        "jnz 4f",
        "test ebx, {stores}",
        "jz 2f",
        "mov edi, {enable}",
        "mov esi, {stores}",
        "mov eax, {arch_prctl}",
        "syscall",
        "mov rbx, -1",
        "test rax, rax",
        "jnz 3f",
        "2:",
        "mov rdi, r13",
        "call r12",
        "mov rbx, rax",
        "3:",
        "mov edi, {disable}",
        "mov esi, {calls}",
        "mov eax, {arch_prctl}",
        "syscall",
        "mov rax, rbx",
        "jmp 5f",
        "4:",
        "mov rax, -1",
        "5:",
        "pop r13",
        "pop r12",
        "pop rbx",
        "ret",
        enable = const crate::shadow::ENABLE,
        disable = const crate::shadow::DISABLE,
        calls = const crate::shadow::ON,
        stores = const crate::shadow::WITH_STORES,
        arch_prctl = const 158,
    )
}

/// Where the shadow stack is; 0: it is off.
#[inline(always)]
pub fn shadow_pointer() -> usize {
    let pointer;
    // SAFETY: (1) only reads a register, or does nothing.
    unsafe {
        asm!("xor {0:e}, {0:e}", "rdsspq {0}", out(reg) pointer, options(nomem, nostack));
    }
    pointer
}

/// Takes up the shadow stack whose word is at an address; where the one that was left has its own.
#[inline(always)]
pub fn switch_shadow(to: usize) -> usize {
    let left = shadow_pointer() - 8;
    // SAFETY: (1) a fault if there is no such word; (2) callers switch back before they return.
    unsafe { asm!("rstorssp [{}]", "saveprevssp", in(reg) to, options(nostack)) };
    left
}

/// Returns to another address than it was called from.
#[unsafe(naked)]
pub extern "C" fn return_to(address: usize) -> usize {
    naked_asm!("mov [rsp], rdi", "ret")
}

/// Stores a word to a shadow stack.
#[inline(always)]
pub fn store_shadow(at: usize, word: usize) {
    // SAFETY: (1) a fault if that is no place on a shadow stack, or if it was not asked for; (2)
    // callers name places that no return reads, or mean the fault.
    unsafe { asm!("wrssq [{}], {}", in(reg) at, in(reg) word, options(nostack, preserves_flags)) };
}

/// Makes the call that ends a handler, whose frame is below `sp`, with the shadow stack's pointer
/// so many words above where this function's caller has it.
#[unsafe(naked)]
pub extern "C" fn sigreturn_above(sp: usize, words: usize) -> ! {
    naked_asm!(
        "inc rsi",
        "incsspq rsi",
        "mov rsp, rdi",
        "mov eax, {}",
        "syscall",
        "ud2",
        const RT_SIGRETURN,
    )
}
