//! arm32, not Thumb: `push {..., r11, lr}` and `add r11, sp, ...`; `pop {..., r11, pc}` or
//! `pop {..., r11, lr}` at the end.

use super::FrameState;
use super::code::{Does, Instruction, Next, field, target, words};
use super::followed;

const FP: u32 = 11;
const PC: u32 = 15;

/// Whether an instruction that is none of the branches writes to pc. Arm ARM (v7-A), A5.
const fn writes_pc(word: u32) -> bool {
    // Loads of pc, alone and among others.
    let loads = word & 0x0c10_0000 == 0x0410_0000 && field(word, 12, 4) == PC
        || word & 0x0e10_0000 == 0x0810_0000 && word >> PC & 1 == 1;
    // Data processing with pc as its result; compares have none.
    let makes =
        word & 0x0c00_0000 == 0 && field(word, 12, 4) == PC && word & 0x0190_0000 != 0x0110_0000;
    // bx
    loads || makes || word & 0x0fff_fff0 == 0x012f_ff10
}

/// Arm ARM (v7-A), A5: what an instruction at `at` does.
pub(super) fn decode(word: u32, at: usize) -> (Does, Next) {
    const ALWAYS: u32 = 0xe;
    let condition = word >> 28;
    let does = match word {
        // mov r11, sp; add r11, sp, #n
        0xe1a0_b00d => Does::SetsFrame,
        _ if word & 0xffff_f000 == 0xe28d_b000 => Does::SetsFrame,
        // pop with r11
        _ if word & 0xffff_0000 == 0xe8bd_0000 && word >> FP & 1 == 1 => Does::RestoresFrame,
        _ => Does::Nothing,
    };
    let is_always = condition == ALWAYS;
    let next = match word {
        // The unconditional space: blx, and what moves nothing.
        _ if condition == 0xf && word & 0x0e00_0000 == 0x0a00_0000 => Next::Call,
        _ if condition == 0xf => Next::Falls,
        // bl; blx by a register
        _ if word & 0x0f00_0000 == 0x0b00_0000 || word & 0x0fff_fff0 == 0x012f_ff30 => Next::Call,
        _ if word & 0x0f00_0000 == 0x0a00_0000 => {
            let to = target(at.wrapping_add(8), field(word, 0, 24), 24, 4);
            if is_always { Next::Jump(to) } else { Next::Branch(to) }
        }
        // bx lr
        0xe12f_ff1e => Next::Returns,
        // udf
        _ if word & 0xfff0_00f0 == 0xe7f0_00f0 => Next::Ends,
        // pop with pc: a return by the frame, or not.
        _ if word & 0x0fff_8000 == 0x08bd_8000 => {
            if is_always {
                Next::Ends
            } else {
                Next::Falls
            }
        }
        _ if writes_pc(word) => {
            if is_always {
                Next::Leads
            } else {
                Next::MayLead
            }
        }
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
