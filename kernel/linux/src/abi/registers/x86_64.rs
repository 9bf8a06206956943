//! x86_64: `struct user_regs_struct` (arch/x86/include/asm/user_64.h).

use super::pc::{FLAGS, TRAP};
use super::step::Step;
use crate::abi::USER_TOP;
use crate::error::Errno;
use machine::arch::regs::SavedRegs;

pub(crate) use super::pc::{float_bytes, read_floats, write_floats};

const WORDS: usize = 27;
pub(crate) const BYTES: usize = 8 * WORDS;
/// Bytes of `struct user`, and where the debug registers are in it.
pub(crate) const USER_BYTES: u64 = 912;

pub(crate) const STEP: Option<Step> = Some(|regs, on| {
    let flag = u64::from(TRAP);
    regs.rflags = if on { regs.rflags | flag } else { regs.rflags & !flag };
});

/// Lays them out. The selectors of data segments read as 0, which is what programs have.
pub(crate) fn read(regs: &SavedRegs, tls: u64) -> [u8; BYTES] {
    let r = regs;
    #[rustfmt::skip]
    let words: [u64; WORDS] = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi, r.orig_rax, r.rip, r.cs & 0xffff, r.rflags, r.rsp, r.ss & 0xffff, tls,
        0, 0, 0, 0, 0,
    ];
    let mut bytes = [0; BYTES];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Takes them. Segments stay as they are.
pub(crate) fn write(bytes: &[u8; BYTES], regs: &mut SavedRegs, tls: &mut u64) -> Result<(), Errno> {
    let (words, _) = bytes.as_chunks::<8>();
    let word = |i: usize| u64::from_le_bytes(words[i]);
    let (rip, base) = (word(16), word(21));
    if rip >= USER_TOP || base >= USER_TOP {
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
    *tls = base;
    Ok(())
}
