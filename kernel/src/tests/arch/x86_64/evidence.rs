//! What x86_64's own registers say, read as the CPU reads them: for tests and for the console's
//! questions.

use core::arch::asm;

pub(in crate::tests) use crate::tests::arch::pc::evidence::shadow_evidence;

/// The task state segment this CPU has loaded, from its own registers: base, limit, type.
pub(super) fn loaded_tss() -> (u64, u64, u64) {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let mut gdt = Pointer { limit: 0, base: 0 };
    let selector: u64;
    // SAFETY: (1) both instructions only store registers.
    unsafe {
        asm!("sgdt [{gdt}]", "str {tr}", gdt = in(reg) &raw mut gdt, tr = out(reg) selector, options(nostack));
    }
    let descriptor = (gdt.base + (selector & !7)) as *const u64;
    // SAFETY: (1) the CPU reads the descriptor from there.
    let (low, high) = unsafe { (descriptor.read(), descriptor.add(1).read()) };
    // Intel SDM vol. 3, figure 8-4.
    let base = low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32;
    let limit = low & 0xffff | (low >> 48 & 0xf) << 16;
    (base, limit, low >> 40 & 0x1f)
}

/// Where the CPU takes the stack from at an entry from user mode, and what is there now. Interrupts
/// off.
pub(in crate::tests) fn stack_for_user_entries() -> Option<(&'static str, usize)> {
    let (base, ..) = loaded_tss();
    // SAFETY: (1) the segment is mapped, 104 bytes from `base` on.
    let rsp0 = unsafe { ((base + 4) as *const u64).read_unaligned() };
    Some(("TSS rsp0", rsp0 as usize))
}
