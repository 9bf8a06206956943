//! arm32: `struct pt_regs` (arch/arm/include/uapi/asm/ptrace.h).

use super::step::Step;
use crate::error::Errno;
use machine::arch::bases::Bases;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;

const WORDS: usize = 18;
pub(crate) const BYTES: usize = 4 * WORDS;
/// Bytes of `struct user`.
pub(crate) const USER_BYTES: u64 = 296;
/// There are no debug registers in it.
pub(crate) const DEBUG: Option<u64> = None;
/// Bits of CPSR that a tracer may change: the conditions, and Thumb.
const FLAGS: u32 = 0xf80f_0000 | 1 << 5;

/// The processor has no way to trap behind one instruction.
pub(crate) const STEP: Option<Step> = None;

fn fields(regs: &mut SavedRegs) -> [&mut u32; 16] {
    let r = regs;
    #[rustfmt::skip]
    let fields = [
        &mut r.r0, &mut r.r1, &mut r.r2, &mut r.r3, &mut r.r4, &mut r.r5, &mut r.r6, &mut r.r7,
        &mut r.r8, &mut r.r9, &mut r.r10, &mut r.fp, &mut r.ip, &mut r.sp, &mut r.lr, &mut r.pc,
    ];
    fields
}

/// Lays them out.
pub(crate) fn read(regs: &SavedRegs, _bases: &Bases) -> [u8; BYTES] {
    let mut copy = *regs;
    let last = [regs.cpsr, regs.orig_r0];
    let mut bytes = [0; BYTES];
    let words = fields(&mut copy).map(|register| *register).into_iter().chain(last);
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Takes them.
pub(crate) fn write(
    bytes: &[u8; BYTES],
    regs: &mut SavedRegs,
    _bases: &mut Bases,
) -> Result<(), Errno> {
    let (words, _) = bytes.as_chunks::<4>();
    let word = |i: usize| u32::from_le_bytes(words[i]);
    for (register, i) in fields(regs).into_iter().zip(0..) {
        *register = word(i);
    }
    regs.cpsr = regs.cpsr & !FLAGS | word(16) & FLAGS;
    regs.orig_r0 = word(17);
    Ok(())
}

/// Bytes of the floating point and vector registers: they are not shown.
pub(crate) fn float_bytes() -> usize {
    0
}

pub(crate) fn read_floats(_floats: &FpuState, _to: &mut [u8]) {}

pub(crate) fn write_floats(_floats: &FpuState, _from: &[u8]) -> Result<(), Errno> {
    Err(Errno::EINVAL)
}
