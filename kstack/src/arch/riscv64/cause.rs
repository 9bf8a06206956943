//! Exceptions by number (`scause`), and software interrupts, which the hardware has not.

use super::regs::SavedRegs;
use core::arch::asm;
use kstack_core::addr::Addr;

/// The vector of [`software_interrupt`]. All others are codes of `scause`, below 16.
pub const SOFTWARE: u8 = 19;

/// scause: an `ecall` of a program.
pub(super) const SYSTEM_CALL: u64 = 8;
/// In scause: an interrupt, not an exception.
pub(super) const INTERRUPT: u64 = 1 << 63;
/// Bytes of the instruction `ecall`.
pub(super) const ECALL: usize = 4;
/// scause: `ebreak`.
pub(super) const BREAKPOINT: u8 = 3;
/// scause: a page fault at an instruction, a load, a store.
const PAGE_FAULTS: [u64; 3] = [12, 13, 15];

/// The address of the access that failed, if it was one.
pub(super) fn accessed(regs: &SavedRegs) -> Option<Addr> {
    PAGE_FAULTS.contains(&regs.cause).then_some(Addr::new(regs.badaddr as usize))
}

/// The immediate of the `lui zero` that follows the `ebreak` of a software interrupt. To the CPU it
/// is a hint without meaning.
const MARK: u32 = 0x57ac;
/// `ebreak` in its long form, and `lui zero, MARK`.
const SOFTWARE_CODE: [u32; 2] = [0x0010_0073, MARK << 12 | 0x37];

/// Takes an interrupt with the vector [`SOFTWARE`] right here, whether interrupts are on or not.
#[inline(always)]
pub fn software_interrupt() {
    // SAFETY: (1) the vector's handler returns with everything as it was, behind both instructions.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            "ebreak",
            "lui zero, {mark}",
            ".option pop",
            mark = const MARK,
        );
    }
}

/// What an `ebreak` of the kernel is: how many bytes to step over, and whether it is a software
/// interrupt.
pub(super) fn breakpoint_at(pc: usize) -> (u64, bool) {
    // SAFETY: (1) the CPU has just executed what is there; code is readable, 2-aligned, and never
    // the image's last words.
    let halves = unsafe { (pc as *const [u16; 4]).read() };
    let word = |low: u16, high: u16| u32::from(high) << 16 | u32::from(low);
    if halves[0] & 3 != 3 {
        return (2, false);
    }
    let code = [word(halves[0], halves[1]), word(halves[2], halves[3])];
    if code == SOFTWARE_CODE { (8, true) } else { (4, false) }
}
