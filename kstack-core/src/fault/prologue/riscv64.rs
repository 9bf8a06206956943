//! riscv64, with compressed instructions: `sd ra, ...(sp)`, `sd s0, ...(sp)`, `addi s0, sp, ...`;
//! `ld s0, ...(sp)` at the end.

use super::FrameState;
use super::code::{Does, Instruction, Next, field, target};
use super::followed;

/// The RISC-V unprivileged manual, chapters 2, 27 and 35: what an instruction at `at` does. A
/// compressed one has its two upper bytes zero.
pub(super) fn decode(word: u32, at: usize) -> (Does, Next) {
    if word & 3 != 3 {
        return compressed(word, at);
    }
    let does = match word {
        // addi s0, sp, n; ld s0, n(sp)
        _ if word & 0x000f_ffff == 0x0001_0413 => Does::SetsFrame,
        _ if word & 0x000f_ffff == 0x0001_3403 => Does::RestoresFrame,
        _ => Does::Nothing,
    };
    let is_call = field(word, 7, 5) != 0;
    let next = match word & 0x7f {
        // jal, jalr
        0x6f | 0x67 if is_call => Next::Call,
        // jalr zero, ra
        0x67 if word == 0x0000_8067 => Next::Returns,
        0x67 => Next::Leads,
        0x6f => {
            let to = field(word, 31, 1) << 20
                | field(word, 12, 8) << 12
                | field(word, 20, 1) << 11
                | field(word, 21, 10) << 1;
            Next::Jump(target(at, to, 21, 1))
        }
        0x63 => {
            let to = field(word, 31, 1) << 12
                | field(word, 7, 1) << 11
                | field(word, 25, 6) << 5
                | field(word, 8, 4) << 1;
            Next::Branch(target(at, to, 13, 1))
        }
        // ebreak, unimp, sret
        _ if matches!(word, 0x0010_0073 | 0xc000_1073 | 0x1020_0073) => Next::Ends,
        _ => Next::Falls,
    };
    (does, next)
}

fn compressed(word: u32, at: usize) -> (Does, Next) {
    let does = match word {
        // c.addi4spn s0; c.ldsp s0
        _ if word & 0xe01f == 0 && word & 0x1fe0 != 0 => Does::SetsFrame,
        _ if word & 0xef83 == 0x6402 => Does::RestoresFrame,
        _ => Does::Nothing,
    };
    let next = match word {
        // c.unimp, c.ebreak
        0 | 0x9002 => Next::Ends,
        _ if word & 0xe003 == 0xa001 => {
            let to = field(word, 12, 1) << 11
                | field(word, 11, 1) << 4
                | field(word, 9, 2) << 8
                | field(word, 8, 1) << 10
                | field(word, 7, 1) << 6
                | field(word, 6, 1) << 7
                | field(word, 3, 3) << 1
                | field(word, 2, 1) << 5;
            Next::Jump(target(at, to, 12, 1))
        }
        _ if matches!(word & 0xe003, 0xc001 | 0xe001) => {
            let to = field(word, 12, 1) << 8
                | field(word, 10, 2) << 3
                | field(word, 5, 2) << 6
                | field(word, 3, 2) << 1
                | field(word, 2, 1) << 5;
            Next::Branch(target(at, to, 9, 1))
        }
        // c.jr ra; c.jr, c.jalr
        0x8082 => Next::Returns,
        _ if word & 0xf07f == 0x8002 => Next::Leads,
        _ if word & 0xf07f == 0x9002 => Next::Call,
        _ => Next::Falls,
    };
    (does, next)
}

/// What each instruction of a function does.
pub fn instructions(code: &[u8]) -> impl Iterator<Item = Instruction> + Clone + '_ {
    let mut at = 0;
    core::iter::from_fn(move || {
        let low = code.get(at..at + 2)?;
        let low = u32::from(u16::from_le_bytes([low[0], low[1]]));
        // Unprivileged ISA, 1.5: the two lowest bits are 11 in an instruction of four bytes.
        let (word, bytes) = if low & 3 == 3 {
            let high = code.get(at + 2..at + 4)?;
            (low | u32::from(u16::from_le_bytes([high[0], high[1]])) << 16, 4)
        } else {
            (low, 2)
        };
        let (does, next) = decode(word, at);
        at += bytes;
        Some(Instruction { at: at - bytes, bytes, does, next })
    })
}

/// Whether the function sets up a frame record somewhere.
pub fn keeps_frames(code: &[u8]) -> bool {
    instructions(code).any(|one| one.does == Does::SetsFrame)
}

/// The state before the instruction at `offset` in the function's code.
pub fn state(code: &[u8], offset: usize) -> FrameState {
    followed::state(instructions(code), offset)
}
