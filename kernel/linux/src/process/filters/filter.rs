//! Filters of system calls: programs of the Berkeley packet filter's old instructions over `struct
//! seccomp_data`. What is taken is what Linux takes (`bpf_check_classic`, `seccomp_check_filter`):
//! jumps go forward and inside, so that every program ends.

use crate::error::Errno;
use alloc::vec::Vec;
use machine::memory::fallible;

/// `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) k: u32,
}

/// Instructions of one program, at most.
pub(crate) const MOST: usize = 4096;
/// Words that a program can keep numbers in.
const WORDS: usize = 16;
/// Words of `struct seccomp_data`.
pub(super) const DATA_WORDS: usize = 16;

/// Codes: a class, and in it a size and mode, or an operation and a source.
mod code {
    pub(super) const LD: u16 = 0x00;
    pub(super) const LDX: u16 = 0x01;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const ALU: u16 = 0x04;
    pub(super) const JMP: u16 = 0x05;
    pub(super) const RET: u16 = 0x06;
    pub(super) const MISC: u16 = 0x07;
    pub(super) const CLASS: u16 = 0x07;

    pub(super) const LD_DATA: u16 = LD | 0x20;
    pub(super) const LD_IMMEDIATE: u16 = LD;
    pub(super) const LD_LENGTH: u16 = LD | 0x80;
    pub(super) const LD_WORD: u16 = LD | 0x60;
    pub(super) const LDX_IMMEDIATE: u16 = LDX;
    pub(super) const LDX_LENGTH: u16 = LDX | 0x80;
    pub(super) const LDX_WORD: u16 = LDX | 0x60;

    /// The other operand is X, not the instruction's number.
    pub(super) const FROM_X: u16 = 0x08;
    pub(super) const OPERATION: u16 = 0xf0;
    pub(super) const ADD: u16 = 0x00;
    pub(super) const SUB: u16 = 0x10;
    pub(super) const MUL: u16 = 0x20;
    pub(super) const DIV: u16 = 0x30;
    pub(super) const OR: u16 = 0x40;
    pub(super) const AND: u16 = 0x50;
    pub(super) const LSH: u16 = 0x60;
    pub(super) const RSH: u16 = 0x70;
    pub(super) const NEG: u16 = 0x80;
    pub(super) const XOR: u16 = 0xa0;

    pub(super) const JUMP: u16 = JMP;
    pub(super) const IF_EQUAL: u16 = 0x10;
    pub(super) const IF_GREATER: u16 = 0x20;
    pub(super) const IF_NOT_LESS: u16 = 0x30;
    pub(super) const IF_COMMON: u16 = 0x40;

    pub(super) const RET_NUMBER: u16 = RET;
    pub(super) const RET_A: u16 = RET | 0x10;
    pub(super) const TAX: u16 = MISC;
    pub(super) const TXA: u16 = MISC | 0x80;
}

/// A program that was looked at.
#[derive(Debug)]
pub(in crate::process) struct Program(Vec<Instruction>);

impl Instruction {
    /// Whether there is such an instruction, with such numbers, at a place among so many.
    fn is_sound(self, at: usize, count: usize) -> bool {
        let behind = count - at - 1;
        match self.code {
            code::LD_DATA => self.k < 4 * DATA_WORDS as u32 && self.k.is_multiple_of(4),
            code::LD_IMMEDIATE | code::LD_LENGTH | code::LDX_IMMEDIATE | code::LDX_LENGTH => true,
            code::LD_WORD | code::LDX_WORD | code::ST | code::STX => (self.k as usize) < WORDS,
            code::RET_NUMBER | code::RET_A | code::TAX | code::TXA => true,
            code::JUMP => (self.k as usize) < behind,
            _ if self.code & code::CLASS == code::JMP => {
                let both = [self.if_true, self.if_false];
                let is_inside = both.iter().all(|&jump| usize::from(jump) < behind);
                is_inside
                    && self.code & !(code::OPERATION | code::FROM_X | code::CLASS) == 0
                    && matches!(
                        self.code & code::OPERATION,
                        code::IF_EQUAL | code::IF_GREATER | code::IF_NOT_LESS | code::IF_COMMON
                    )
            }
            _ if self.code & code::CLASS == code::ALU => self.is_sound_sum(),
            _ => false,
        }
    }

    fn is_sound_sum(self) -> bool {
        let is_number = self.code & code::FROM_X == 0;
        self.code & !(code::OPERATION | code::FROM_X | code::CLASS) == 0
            && match self.code & code::OPERATION {
                code::DIV => !is_number || self.k != 0,
                code::LSH | code::RSH => !is_number || self.k < u32::BITS,
                code::NEG => is_number,
                code::ADD | code::SUB | code::MUL | code::OR | code::AND | code::XOR => true,
                _ => false,
            }
    }
}

impl Program {
    /// Looks at a program.
    pub(in crate::process) fn new(instructions: Vec<Instruction>) -> Result<Self, Errno> {
        let count = instructions.len();
        let are_sound = instructions.iter().enumerate().all(|(at, one)| one.is_sound(at, count));
        let ends = instructions
            .last()
            .is_some_and(|last| matches!(last.code, code::RET_NUMBER | code::RET_A));
        if count > MOST || !are_sound || !ends || !reads_what_it_wrote(&instructions)? {
            return Err(Errno::EINVAL);
        }
        Ok(Self(instructions))
    }

    pub(in crate::process) fn len(&self) -> usize {
        self.0.len()
    }

    /// What it says of a call. Each jump goes forward, so it ends; the last instruction is an end.
    pub(in crate::process) fn run(&self, data: &[u32; DATA_WORDS]) -> u32 {
        let (mut a, mut x, mut words) = (0_u32, 0_u32, [0_u32; WORDS]);
        let mut at = 0;
        while let Some(one) = self.0.get(at) {
            at += 1;
            let k = one.k;
            let other = if one.code & code::FROM_X != 0 { x } else { k };
            match one.code {
                code::LD_DATA => a = data[k as usize / 4],
                code::LD_IMMEDIATE => a = k,
                code::LD_LENGTH => a = 4 * DATA_WORDS as u32,
                code::LD_WORD => a = words[k as usize],
                code::LDX_IMMEDIATE => x = k,
                code::LDX_LENGTH => x = 4 * DATA_WORDS as u32,
                code::LDX_WORD => x = words[k as usize],
                code::ST => words[k as usize] = a,
                code::STX => words[k as usize] = x,
                code::RET_NUMBER => return k,
                code::RET_A => return a,
                code::TAX => x = a,
                code::TXA => a = x,
                code::JUMP => at += k as usize,
                _ if one.code & code::CLASS == code::JMP => {
                    let holds = match one.code & code::OPERATION {
                        code::IF_EQUAL => a == other,
                        code::IF_GREATER => a > other,
                        code::IF_NOT_LESS => a >= other,
                        _ => a & other != 0,
                    };
                    at += usize::from(if holds { one.if_true } else { one.if_false });
                }
                _ => {
                    a = match one.code & code::OPERATION {
                        code::ADD => a.wrapping_add(other),
                        code::SUB => a.wrapping_sub(other),
                        code::MUL => a.wrapping_mul(other),
                        // By X, which may be 0: that ends it.
                        code::DIV => match a.checked_div(other) {
                            Some(quotient) => quotient,
                            None => return 0,
                        },
                        code::OR => a | other,
                        code::AND => a & other,
                        code::LSH => a.wrapping_shl(other),
                        code::RSH => a.wrapping_shr(other),
                        code::NEG => a.wrapping_neg(),
                        _ => a ^ other,
                    }
                }
            }
        }
        0
    }
}

/// Whether every word is written on every way to where it is read (`check_load_and_stores`).
fn reads_what_it_wrote(instructions: &[Instruction]) -> Result<bool, Errno> {
    const ALL: u16 = u16::MAX;
    // What has been written on every way that jumps to a place.
    let mut at_jumps: Vec<u16> = fallible::collect(instructions.iter().map(|_| ALL))?;
    let mut written = 0;
    for (at, one) in instructions.iter().enumerate() {
        written &= at_jumps[at];
        match one.code {
            code::ST | code::STX => written |= 1 << one.k,
            code::LD_WORD | code::LDX_WORD if written & 1 << one.k == 0 => return Ok(false),
            code::JUMP => {
                at_jumps[at + 1 + one.k as usize] &= written;
                written = ALL;
            }
            _ if one.code & code::CLASS == code::JMP => {
                for jump in [one.if_true, one.if_false] {
                    at_jumps[at + 1 + usize::from(jump)] &= written;
                }
                written = ALL;
            }
            _ => {}
        }
    }
    Ok(true)
}
