//! Calls of 32 bits that a program of 64 bits makes.

use super::OldCall;
use core::arch::asm;

/// Makes a call of 32 bits, by `int 0x80`.
pub const OLD_CALL: Option<OldCall> = Some(old_call);

fn old_call(number: usize, [a, b, c]: [usize; 3]) -> isize {
    let others = [8, 9, 10, 11, 12];
    let [r8, r9, r10, r11, r12]: [usize; 5];
    let (result, after_b, after_c): (isize, usize, usize);
    // SAFETY: (1) the caller asks for no call that changes memory of ours.
    unsafe {
        asm!(
            "xchg rbx, {a}", "int 0x80", "xchg rbx, {a}",
            a = inout(reg) a => _, inlateout("rax") number => result,
            inout("rcx") b => after_b, inout("rdx") c => after_c,
            inout("r8") others[0] => r8, inout("r9") others[1] => r9, inout("r10") others[2] => r10,
            inout("r11") others[3] => r11, inout("r12") others[4] => r12,
            in("rsi") 0, in("rdi") 0,
        );
    }
    let is_kept = [r8, r9, r10, r11, r12] == others && (after_b, after_c) == (b, c);
    if is_kept { result } else { isize::MIN }
}
