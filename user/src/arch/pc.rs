//! What both PCs share.

use core::arch::{asm, naked_asm};

/// Instructions that fault: the signal, its code, a function that has the instruction.
pub const FAULTS: &[(usize, i32, extern "C" fn(usize) -> usize)] = &[
    (4, 2, faults_undefined),
    (8, 1, faults_divide),
    (5, 0x80, faults_breakpoint),
    (11, 0x80, faults_halt),
];

/// Whether the processor runs this as a program, as far as it says.
pub fn is_unprivileged() -> bool {
    /// Interrupts, and the level that may use ports.
    const INTERRUPTS: usize = 1 << 9;
    const PORTS: usize = 3 << 12;
    let (flags, selector): (usize, usize);
    // SAFETY: (1) what is pushed is popped.
    unsafe {
        asm!("pushf", "pop {0}", "mov {1:e}, cs", out(reg) flags, out(reg) selector);
    }
    selector & 3 == 3 && flags & INTERRUPTS != 0 && flags & PORTS == 0
}

#[unsafe(naked)]
extern "C" fn faults_undefined(_argument: usize) -> usize {
    naked_asm!("ud2")
}

#[unsafe(naked)]
extern "C" fn faults_divide(_argument: usize) -> usize {
    naked_asm!("xor edx, edx", "xor ecx, ecx", "div ecx", "ret")
}

#[unsafe(naked)]
extern "C" fn faults_breakpoint(_argument: usize) -> usize {
    naked_asm!("int3", "ret")
}

#[unsafe(naked)]
extern "C" fn faults_halt(_argument: usize) -> usize {
    naked_asm!("hlt", "ret")
}
