//! What a PC's CPU says of itself.

use alloc::format;
use alloc::string::String;
use machine::arch::pc::control::{self, Register, read};

/// What this CPU itself says of shadow stacks.
pub(in crate::tests) fn shadow_evidence() -> String {
    const ECX: usize = 2;
    let cr4 = read(Register::Cr4);
    format!(
        "CPUID leaf 7: ECX bit 7 (CET_SS) is {}; CR4 is {cr4:#x}: its bit 23 (CET) is {}",
        u8::from(control::has(7, ECX, 7)),
        cr4 >> 23 & 1
    )
}
