//! i386: `struct user_regs_struct` (arch/x86/include/asm/user_32.h).

use super::pc::{FLAGS, TRAP, is_of_program, is_selector};
use super::step::Step;
use crate::error::Errno;
use machine::arch::bases::Bases;
use machine::arch::regs::SavedRegs;

pub(crate) use super::pc::{float_bytes, read_floats, write_floats};

const WORDS: usize = 17;
pub(crate) const BYTES: usize = 4 * WORDS;
/// Bytes of `struct user`.
pub(crate) const USER_BYTES: u64 = 284;
/// Where the debug registers are in it.
pub(crate) const DEBUG: Option<u64> = Some(252);

pub(crate) const STEP: Option<Step> = Some(|regs, on| {
    regs.eflags = if on { regs.eflags | TRAP } else { regs.eflags & !TRAP };
});

/// Lays them out.
pub(crate) fn read(regs: &SavedRegs, _bases: &Bases) -> [u8; BYTES] {
    let r = regs;
    let [ds, es, fs, gs, cs, ss] = [r.ds, r.es, r.fs, r.gs, r.cs, r.ss].map(|s| s & 0xffff);
    #[rustfmt::skip]
    let words: [u32; WORDS] = [
        r.ebx, r.ecx, r.edx, r.esi, r.edi, r.ebp, r.eax, ds, es, fs, gs, r.orig_eax, r.eip, cs,
        r.eflags, r.esp, ss,
    ];
    let mut bytes = [0; BYTES];
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
    let selectors = [word(7), word(8), word(9), word(10)].map(|word| word as u16);
    let (code, stack) = (word(13) as u16, word(16) as u16);
    if !selectors.into_iter().all(is_selector) || ![code, stack].into_iter().all(is_of_program) {
        return Err(Errno::EIO);
    }
    let r = regs;
    [r.ds, r.es, r.fs, r.gs] = selectors.map(u32::from);
    (r.cs, r.ss) = (code.into(), stack.into());
    let general =
        [&mut r.ebx, &mut r.ecx, &mut r.edx, &mut r.esi, &mut r.edi, &mut r.ebp, &mut r.eax];
    for (register, i) in general.into_iter().zip(0..) {
        *register = word(i);
    }
    (r.orig_eax, r.eip, r.esp) = (word(11), word(12), word(15));
    r.eflags = r.eflags & !FLAGS | word(14) & FLAGS;
    Ok(())
}
