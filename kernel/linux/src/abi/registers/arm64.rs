//! arm64: `struct user_pt_regs` (arch/arm64/include/uapi/asm/ptrace.h).

use super::step::Step;
use crate::abi::USER_TOP;
use crate::error::Errno;
use machine::arch::bases::Bases;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;

const WORDS: usize = 34;
pub(crate) const BYTES: usize = 8 * WORDS;
/// There is no `struct user` to be read by words.
pub(crate) const USER_BYTES: u64 = 0;
/// There are no debug registers in it.
pub(crate) const DEBUG: Option<u64> = None;
/// Bits of PSTATE that a tracer may change: the conditions.
const FLAGS: u64 = 0xf << 28;

/// Not used here: the processor's own way takes debug registers.
pub(crate) const STEP: Option<Step> = None;

/// Lays them out.
pub(crate) fn read(regs: &SavedRegs, _bases: &Bases) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let words = regs.x.into_iter().chain([regs.sp, regs.pc, regs.pstate]);
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
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
    let (words, _) = bytes.as_chunks::<8>();
    let word = |i: usize| u64::from_le_bytes(words[i]);
    if word(32) >= USER_TOP {
        return Err(Errno::EINVAL);
    }
    for (register, i) in regs.x.iter_mut().zip(0..) {
        *register = word(i);
    }
    (regs.sp, regs.pc) = (word(31), word(32));
    regs.pstate = regs.pstate & !FLAGS | word(33) & FLAGS;
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
