//! What entries, NMIs and double faults share: how all registers are saved and restored, and whose the GS base is.

/// In the flags: user mode checks alignment; the kernel may touch user pages.
pub(super) const ALIGNMENT_CHECK: u64 = 1 << 18;
/// Flags with nothing set but the bit that always is: interrupts off.
pub(super) const NO_FLAGS: u64 = 2;

/// Pushes all of SavedRegs below rdi, and marks rbp. Stub and CPU have pushed the rest.
macro_rules! save_below_rdi {
    () => {
        "
        push rsi
        push rdx
        push rcx
        push rax
        push r8
        push r9
        push r10
        push r11
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
        lea rbp, [rsp + 1]
        "
    };
}

/// Pops all of SavedRegs up to and with rdi; SP is at `orig_rax` after it.
macro_rules! restore_to_rdi {
    () => {
        "
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        pop r11
        pop r10
        pop r9
        pop r8
        pop rax
        pop rcx
        pop rdx
        pop rsi
        pop rdi
        "
    };
}

/// Makes GS base the kernel's if it is not; ebx = 1 if it was the user's. Kernel addresses are negative.
macro_rules! look_at_gs {
    () => {
        "
        mov ecx, 0xc0000101
        rdmsr
        xor ebx, ebx
        test edx, edx
        js 12f
        swapgs
        mov ebx, 1
        12:
        "
    };
}

/// The reverse of `look_at_gs`.
macro_rules! give_gs_back {
    () => {
        "
        test ebx, ebx
        jz 13f
        swapgs
        13:
        "
    };
}

pub(super) use {give_gs_back, look_at_gs, restore_to_rdi, save_below_rdi};
