//! What i386's own registers say, read as the CPU reads them: for tests and for the console's
//! questions.

use core::arch::asm;

pub(in crate::tests) use crate::tests::arch::pc::evidence::shadow_evidence;

/// A task state segment as the CPU finds it: base, limit, type.
pub(super) fn task_state_segment(selector: u32) -> (u32, u32, u32) {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u32,
    }
    let mut gdt = Pointer { limit: 0, base: 0 };
    // SAFETY: (1) the instruction only stores the register.
    unsafe { asm!("sgdt [{gdt}]", gdt = in(reg) &raw mut gdt, options(nostack)) };
    // SAFETY: (1) the CPU reads the descriptor from there.
    let descriptor = unsafe { ((gdt.base + (selector & !7)) as *const u64).read() };
    // Intel SDM vol. 3, figure 9-3.
    let base = descriptor >> 16 & 0xff_ffff | (descriptor >> 56) << 24;
    let limit = descriptor & 0xffff | (descriptor >> 48 & 0xf) << 16;
    (base as u32, limit as u32, (descriptor >> 40) as u32 & 0x1f)
}

/// The one of the task that runs.
pub(super) fn loaded_tss() -> (u32, u32, u32) {
    let selector: u32;
    // SAFETY: (1) the instruction only stores the register.
    unsafe { asm!("str {tr:e}", tr = out(reg) selector, options(nostack)) };
    task_state_segment(selector)
}

/// # Safety
///
/// 1. The segment at `base` is mapped and `at` inside it.
pub(super) unsafe fn word(base: u32, at: u32) -> u32 {
    // SAFETY: (1) by the caller's promise.
    unsafe { ((base + at) as *const u32).read_volatile() }
}

/// Where the CPU takes the stack from at an entry from user mode, and what is there now. Interrupts
/// off.
pub(in crate::tests) fn stack_for_user_entries() -> Option<(&'static str, usize)> {
    let (base, ..) = loaded_tss();
    // SAFETY: (1) the CPU reads the segment from there.
    Some(("TSS esp0", unsafe { word(base, 4) } as usize))
}
