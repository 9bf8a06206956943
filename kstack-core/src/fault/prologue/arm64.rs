//! arm64: `stp x29, x30, [sp, ...]` and `add x29, sp, ...`; `ldp x29, x30, [sp, ...]` at the end.

use super::FrameState;
use super::code::{Does, Instruction, Next, field, target, words};
use super::followed;

/// Arm ARM (v8-A), C4.1: what an instruction at `at` does.
pub(super) fn decode(word: u32, at: usize) -> (Does, Next) {
    let does = match word {
        // add x29, sp, #n (mov with n = 0)
        _ if word & 0xff80_03ff == 0x9100_03fd => Does::SetsFrame,
        // ldp x29, x30, [sp, #n] and [sp], #n
        _ if word & 0xfe40_7fff == 0xa840_7bfd => Does::RestoresFrame,
        _ => Does::Nothing,
    };
    let to = |from: u32, bits: u32| target(at, field(word, from, bits), bits, 4);
    let next = match word {
        // b
        _ if word & 0xfc00_0000 == 0x1400_0000 => Next::Jump(to(0, 26)),
        // bl; blr, blraa and the like
        _ if word & 0xfc00_0000 == 0x9400_0000 || word & 0xfeff_f000 == 0xd63f_0000 => Next::Call,
        // b.cond, bc.cond; cbz and cbnz; tbz and tbnz
        _ if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
            Next::Branch(to(5, 19))
        }
        _ if word & 0x7e00_0000 == 0x3600_0000 => Next::Branch(to(5, 14)),
        // ret, retaa, retab
        0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff => Next::Returns,
        // br, braa and the like; ret by another register
        _ if word & 0xfeff_f000 == 0xd61f_0000 || word & 0xffff_fc1f == 0xd65f_0000 => Next::Leads,
        // eret, eretaa, eretab; brk; udf
        0xd69f_03e0 | 0xd69f_0bff | 0xd69f_0fff => Next::Ends,
        _ if word & 0xffe0_001f == 0xd420_0000 || word & 0xffff_0000 == 0 => Next::Ends,
        _ => Next::Falls,
    };
    (does, next)
}

/// What each instruction of a function does.
pub fn instructions(code: &[u8]) -> impl Iterator<Item = Instruction> + Clone + '_ {
    words(code, decode)
}

/// Whether the function sets up a frame record somewhere.
pub fn keeps_frames(code: &[u8]) -> bool {
    instructions(code).any(|one| one.does == Does::SetsFrame)
}

/// The state before the instruction at `offset` in the function's code.
pub fn state(code: &[u8], offset: usize) -> FrameState {
    followed::state(instructions(code), offset)
}
