//! riscv64: `struct user_regs_struct` (arch/riscv/include/uapi/asm/ptrace.h).

use super::step::Step;
use crate::abi::USER_TOP;
use crate::error::Errno;
use machine::arch::bases::Bases;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;

const WORDS: usize = 32;
pub(crate) const BYTES: usize = 8 * WORDS;
/// There is no `struct user` to be read by words.
pub(crate) const USER_BYTES: u64 = 0;
/// There are no debug registers in it.
pub(crate) const DEBUG: Option<u64> = None;

/// The processor has no way to trap behind one instruction.
pub(crate) const STEP: Option<Step> = None;

/// Lays them out.
pub(crate) fn read(regs: &SavedRegs, _bases: &Bases) -> [u8; BYTES] {
    let r = regs;
    #[rustfmt::skip]
    let words: [u64; WORDS] = [
        r.epc, r.ra, r.sp, r.gp, r.tp, r.t0, r.t1, r.t2, r.s0, r.s1, r.a0, r.a1, r.a2,
        r.a3, r.a4, r.a5, r.a6, r.a7, r.s2, r.s3, r.s4, r.s5, r.s6, r.s7, r.s8, r.s9,
        r.s10, r.s11, r.t3, r.t4, r.t5, r.t6,
    ];
    let mut bytes = [0; BYTES];
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
    if u64::from_le_bytes(words[0]) >= USER_TOP {
        return Err(Errno::EINVAL);
    }
    let r = regs;
    #[rustfmt::skip]
    let registers: [&mut u64; WORDS] = [
        &mut r.epc, &mut r.ra, &mut r.sp, &mut r.gp, &mut r.tp, &mut r.t0, &mut r.t1,
        &mut r.t2, &mut r.s0, &mut r.s1, &mut r.a0, &mut r.a1, &mut r.a2, &mut r.a3, &mut r.a4,
        &mut r.a5, &mut r.a6, &mut r.a7, &mut r.s2, &mut r.s3, &mut r.s4, &mut r.s5, &mut r.s6,
        &mut r.s7, &mut r.s8, &mut r.s9, &mut r.s10, &mut r.s11, &mut r.t3, &mut r.t4,
        &mut r.t5, &mut r.t6,
    ];
    for (register, word) in registers.into_iter().zip(words) {
        *register = u64::from_le_bytes(*word);
    }
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
