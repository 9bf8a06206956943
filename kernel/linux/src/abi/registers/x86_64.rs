//! x86_64: `struct user_regs_struct` (arch/x86/include/asm/user_64.h).

use super::pc::{FLAGS, TRAP, is_of_program, is_selector};
use super::step::Step;
use crate::abi::USER_TOP;
use crate::abi::frame::RESUME;
use crate::error::Errno;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::bases::Bases;
use machine::arch::regs::SavedRegs;

pub(crate) use super::pc::{float_bytes, read_floats, write_floats};

const WORDS: usize = 27;
pub(crate) const BYTES: usize = 8 * WORDS;
/// Bytes of `struct user`.
pub(crate) const USER_BYTES: u64 = 912;
/// Where the debug registers are in it.
pub(crate) const DEBUG: Option<u64> = Some(848);

pub(crate) const STEP: Option<Step> = Some(|regs, on| {
    let flag = u64::from(TRAP);
    regs.rflags = if on { regs.rflags | flag } else { regs.rflags & !flag };
});

/// Lays them out.
pub(crate) fn read(regs: &SavedRegs, bases: &Bases) -> [u8; BYTES] {
    let r = regs;
    let [ds, es, fs, gs] = bases.selectors.map(u64::from);
    #[rustfmt::skip]
    let words: [u64; WORDS] = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi, r.orig_rax, r.rip, r.cs & 0xffff, r.rflags, r.rsp, r.ss & 0xffff,
        bases.tls, bases.gs, ds, es, fs, gs,
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
    bases: &mut Bases,
) -> Result<(), Errno> {
    let (words, _) = bytes.as_chunks::<8>();
    let word = |i: usize| u64::from_le_bytes(words[i]);
    let (rip, tls, gs_base) = (word(16), word(21), word(22));
    if rip >= USER_TOP || tls >= USER_TOP || gs_base >= USER_TOP {
        return Err(Errno::EIO);
    }
    let selectors = [word(23), word(24), word(25), word(26)].map(|word| word as u16);
    let (code, stack) = (word(17) as u16, word(20) as u16);
    if !selectors.into_iter().all(is_selector) || ![code, stack].into_iter().all(is_of_program) {
        return Err(Errno::EIO);
    }
    let r = regs;
    #[rustfmt::skip]
    let general = [
        &mut r.r15, &mut r.r14, &mut r.r13, &mut r.r12, &mut r.rbp, &mut r.rbx, &mut r.r11,
        &mut r.r10, &mut r.r9, &mut r.r8, &mut r.rax, &mut r.rcx, &mut r.rdx, &mut r.rsi,
        &mut r.rdi, &mut r.orig_rax, &mut r.rip,
    ];
    for (register, i) in general.into_iter().zip(0..) {
        *register = word(i);
    }
    let flags = u64::from(FLAGS);
    r.rflags = r.rflags & !flags | word(18) & flags;
    r.rsp = word(19);
    (r.cs, r.ss) = (code.into(), stack.into());
    if [code, stack] != [USER_CODE, USER_DATA] {
        // The short return path would load the usual ones; with this flag, it is not taken.
        r.rflags |= RESUME;
    }
    *bases = Bases { tls, gs: gs_base, selectors };
    Ok(())
}
