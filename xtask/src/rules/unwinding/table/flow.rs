//! Where the caller is in code of CPUs with a link register, by following it: compilers describe
//! there how a function makes its frame, if at all, and not how it gives it up.
//!
//! Every way through a function is followed from its first instruction, with one fact: has the
//! frame pointer been set to the record, or not, or not any more? Until it is, and after it has
//! been restored, the return address is in the link register. What is behind a call that may
//! not return, or behind a jump through a table, is followed only where nothing else leads
//! there. Behind a call without a frame the link register is another's: nothing is said of it.

use kstack_core::unwind::frames::Frame;
use object::Architecture;

/// What an instruction does to the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Nothing,
    SetsFrame,
    RestoresFrame,
}

/// What is executed after an instruction; targets count bytes from the function's first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Falls,
    /// A call, which may return.
    Call,
    Jump(i64),
    /// Taken, or not.
    Branch(i64),
    /// A return, a trap, or a jump through a register or a table.
    Ends,
}

struct Instruction {
    at: i64,
    bytes: i64,
    does: Does,
    next: Next,
}

/// The `bits` of `word` from bit `from` on.
const fn field(word: u32, from: u32, bits: u32) -> u32 {
    word >> from & ((1 << bits) - 1)
}

/// A number of so many bits, the highest of which is its sign.
const fn signed(number: u32, bits: u32) -> i64 {
    ((number << (32 - bits)) as i32 >> (32 - bits)) as i64
}

/// Arm ARM (v7-A), A5: what an instruction at `at` does.
fn arm32(word: u32, at: i64) -> (Does, Next) {
    const FP: u32 = 11;
    const PC: u32 = 15;
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
    let once = |next: Next| match (condition, next) {
        (ALWAYS, next) => next,
        (_, Next::Jump(to)) => Next::Branch(to),
        // Not taken, it falls through.
        (_, _) => Next::Falls,
    };
    let next = match word {
        // The unconditional space: blx, and what moves nothing.
        _ if condition == 0xf => {
            if word & 0x0e00_0000 == 0x0a00_0000 {
                Next::Call
            } else {
                Next::Falls
            }
        }
        // udf
        _ if word & 0x0ff0_00f0 == 0x07f0_00f0 => once(Next::Ends),
        _ if word & 0x0f00_0000 == 0x0b00_0000 => Next::Call,
        _ if word & 0x0f00_0000 == 0x0a00_0000 => {
            once(Next::Jump(at + 8 + 4 * signed(field(word, 0, 24), 24)))
        }
        // bx, blx by register
        _ if word & 0x0fff_fff0 == 0x012f_ff10 => once(Next::Ends),
        _ if word & 0x0fff_fff0 == 0x012f_ff30 => Next::Call,
        // Loads of pc, alone and among others.
        _ if word & 0x0c10_0000 == 0x0410_0000 && field(word, 12, 4) == PC => once(Next::Ends),
        _ if word & 0x0e10_0000 == 0x0810_0000 && word >> PC & 1 == 1 => once(Next::Ends),
        // Data processing with pc as its result; compares have none.
        _ if word & 0x0c00_0000 == 0
            && field(word, 12, 4) == PC
            && word & 0x0190_0000 != 0x0110_0000 =>
        {
            once(Next::Ends)
        }
        _ => Next::Falls,
    };
    (does, next)
}

/// Arm ARM (v8-A), C4.1: the same.
fn arm64(word: u32, at: i64) -> (Does, Next) {
    let does = match word {
        // add x29, sp, #n (mov with n = 0)
        _ if word & 0xff80_03ff == 0x9100_03fd => Does::SetsFrame,
        // ldp x29, x30, [sp, #n] and [sp], #n
        _ if word & 0xfe40_7fff == 0xa840_7bfd => Does::RestoresFrame,
        _ => Does::Nothing,
    };
    let to = |from: u32, bits: u32| at + 4 * signed(field(word, from, bits), bits);
    let next = match word {
        _ if word & 0xfc00_0000 == 0x1400_0000 => Next::Jump(to(0, 26)),
        // bl, blr
        _ if word & 0xfc00_0000 == 0x9400_0000 || word & 0xffff_fc1f == 0xd63f_0000 => Next::Call,
        // b.cond, cbz and cbnz; tbz and tbnz
        _ if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
            Next::Branch(to(5, 19))
        }
        _ if word & 0x7e00_0000 == 0x3600_0000 => Next::Branch(to(5, 14)),
        // br, ret, retaa and retab, eret, brk, udf
        _ if word & 0xffff_fc1f == 0xd61f_0000
            || word & 0xffff_fc1f == 0xd65f_0000
            || word & 0xffff_fbff == 0xd65f_0bff
            || word == 0xd69f_03e0
            || word & 0xffe0_001f == 0xd420_0000
            || word & 0xffff_0000 == 0 =>
        {
            Next::Ends
        }
        _ => Next::Falls,
    };
    (does, next)
}

/// The RISC-V unprivileged manual, chapters 2, 27 and 35: the same. A compressed instruction has
/// its two upper bytes zero.
fn riscv64(word: u32, at: i64) -> (Does, Next) {
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
        0x67 => Next::Ends,
        0x6f => {
            let to = field(word, 31, 1) << 20
                | field(word, 12, 8) << 12
                | field(word, 20, 1) << 11
                | field(word, 21, 10) << 1;
            Next::Jump(at + signed(to, 21))
        }
        0x63 => {
            let to = field(word, 31, 1) << 12
                | field(word, 7, 1) << 11
                | field(word, 25, 6) << 5
                | field(word, 8, 4) << 1;
            Next::Branch(at + signed(to, 13))
        }
        // ebreak, unimp, sret
        _ if matches!(word, 0x0010_0073 | 0xc000_1073 | 0x1020_0073) => Next::Ends,
        _ => Next::Falls,
    };
    (does, next)
}

fn compressed(word: u32, at: i64) -> (Does, Next) {
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
            Next::Jump(at + signed(to, 12))
        }
        _ if matches!(word & 0xe003, 0xc001 | 0xe001) => {
            let to = field(word, 12, 1) << 8
                | field(word, 10, 2) << 3
                | field(word, 5, 2) << 6
                | field(word, 3, 2) << 1
                | field(word, 2, 1) << 5;
            Next::Branch(at + signed(to, 9))
        }
        // c.jr, c.jalr
        _ if word & 0xf07f == 0x8002 => Next::Ends,
        _ if word & 0xf07f == 0x9002 => Next::Call,
        _ => Next::Falls,
    };
    (does, next)
}

fn instructions(architecture: Architecture, code: &[u8]) -> Vec<Instruction> {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(low) = code.get(at..at + 2) {
        let low = u32::from(u16::from_le_bytes([low[0], low[1]]));
        let is_short = architecture == Architecture::Riscv64 && low & 3 != 3;
        let word = match code.get(at + 2..at + 4) {
            _ if is_short => low,
            Some(high) => low | u32::from(u16::from_le_bytes([high[0], high[1]])) << 16,
            None => break,
        };
        let decode = match architecture {
            Architecture::Arm => arm32,
            Architecture::Aarch64 => arm64,
            _ => riscv64,
        };
        let bytes = if is_short { 2 } else { 4 };
        let (does, next) = decode(word, at as i64);
        all.push(Instruction { at: at as i64, bytes, does, next });
        at += bytes as usize;
    }
    all
}

/// The frame before each instruction of a function, with where it begins and ends; `None`: no way
/// leads there, or nothing can be said.
pub(super) fn frames(architecture: Architecture, code: &[u8]) -> Vec<(u64, u64, Option<Frame>)> {
    let all = instructions(architecture, code);
    let place = |at: i64| all.binary_search_by_key(&at, |instruction| instruction.at).ok();
    let mut states: Vec<Option<Frame>> = vec![None; all.len()];
    let mut ways = vec![(0, Frame::Link)];
    let mut doubtful: Vec<(i64, Frame)> = Vec::new();
    loop {
        while let Some((at, state)) = ways.pop() {
            let Some(place) = place(at).filter(|&place| states[place].is_none()) else { continue };
            states[place] = Some(state);
            let Instruction { bytes, does, next, .. } = all[place];
            let after = match does {
                Does::Nothing => state,
                Does::SetsFrame => Frame::Record,
                Does::RestoresFrame => Frame::Link,
            };
            let behind = at + bytes;
            match next {
                Next::Falls => ways.push((behind, after)),
                Next::Call if state == Frame::Record => doubtful.push((behind, after)),
                Next::Call => {}
                Next::Jump(to) => ways.push((to, after)),
                Next::Branch(to) => ways.extend([(behind, after), (to, after)]),
                Next::Ends => doubtful.push((behind, state)),
            }
        }
        // The first of them: it may lead to the others.
        doubtful.retain(|&(at, _)| place(at).is_some_and(|place| states[place].is_none()));
        let Some(first) = doubtful.iter().copied().min_by_key(|&(at, _)| at) else { break };
        ways.push(first);
    }
    let with_place = all.iter().zip(states);
    with_place.map(|(one, state)| (one.at as u64, (one.at + one.bytes) as u64, state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_on(architecture: Architecture, words: &[(u32, Option<Frame>)]) {
        let bytes = |word: u32| match architecture {
            Architecture::Riscv64 if word & 3 != 3 => word.to_le_bytes()[..2].to_vec(),
            _ => word.to_le_bytes().to_vec(),
        };
        let code: Vec<u8> = words.iter().flat_map(|&(word, _)| bytes(word)).collect();
        let expected: Vec<_> = words.iter().map(|&(_, frame)| frame).collect();
        let found: Vec<_> = frames(architecture, &code).iter().map(|&(.., frame)| frame).collect();
        assert_eq!(found, expected);
    }

    fn check(words: &[(u32, Option<Frame>)]) {
        check_on(Architecture::Arm, words);
    }

    /// The same on arm64 and on riscv64, and calls without a frame.
    #[test]
    fn b3_code_of_arm64_and_riscv64_is_followed_to_where_its_frame_is() {
        check_on(
            Architecture::Aarch64,
            &[
                (0xb400_00e0, LINK),   // cbz x0, 7 on
                (0xa9bf_7bfd, LINK),   // stp x29, x30, [sp, #-16]!
                (0x9100_03fd, LINK),   // mov x29, sp
                (0x3600_0040, RECORD), // tbz w0, #0, 2 on
                (0x9400_0100, RECORD), // bl
                (0xa8c1_7bfd, RECORD), // ldp x29, x30, [sp], #16
                (0xd65f_03c0, LINK),   // ret
                (0xd503_201f, LINK),   // the way without: nop
            ],
        );
        check_on(
            Architecture::Aarch64,
            &[
                (0xf81f_0ffe, LINK), // str x30, [sp, #-16]!
                (0x9400_0100, LINK), // bl, without a frame
                (0xf841_07fe, None), // ldr x30, [sp], #16
                (0xd65f_03c0, None),
            ],
        );
        check_on(
            Architecture::Riscv64,
            &[
                (0xc511, LINK),   // c.beqz a0, 12 bytes on
                (0x1141, LINK),   // c.addi sp, -16
                (0xe406, LINK),   // c.sdsp ra, 8
                (0xe022, LINK),   // c.sdsp s0, 0
                (0x0800, LINK),   // c.addi4spn s0, 16
                (0x9002, RECORD), // c.ebreak
                (0x4501, LINK),   // c.li a0, 0
                (0x8082, LINK),   // ret
            ],
        );
        check_on(
            Architecture::Riscv64,
            &[
                (0x0000_0463 | 10 << 15, LINK), // beqz a0, 8 bytes on
                (0x0000_006f, LINK),            // j to itself
                (0xfe01_0113, LINK),            // addi sp, sp, -32
                (0x0201_0413, LINK),            // addi s0, sp, 32
                (0x0000_00ef, RECORD),          // jal ra
                (0x0181_3083, RECORD),          // ld ra, 24(sp)
                (0x0101_3403, RECORD),          // ld s0, 16(sp)
                (0x0201_0113, LINK),            // addi sp, sp, 32
                (0x0000_8067, LINK),            // ret
            ],
        );
    }

    const RECORD: Option<Frame> = Some(Frame::Record);
    const LINK: Option<Frame> = Some(Frame::Link);

    /// Red if a call in the last place, or a way without a frame behind one that has one, is taken
    /// for the body.
    #[test]
    fn b3_code_of_arm32_is_followed_to_where_its_frame_is() {
        check(&[
            (0xe350_0000, LINK),   // cmp r0, #0
            (0x0a00_0005, LINK),   // beq the way without
            (0xe92d_4800, LINK),   // push {r11, lr}
            (0xe1a0_b00d, LINK),   // mov r11, sp
            (0xeb00_0100, RECORD), // bl
            (0x08bd_8800, RECORD), // popeq {r11, pc}
            (0xe8bd_4800, RECORD), // pop {r11, lr}
            (0xea00_0100, LINK),   // b elsewhere
            (0xe3a0_0001, LINK),   // the way without: mov r0, #1
            (0xe12f_ff1e, LINK),   // bx lr
        ]);
        // A call that does not return, and behind it what another way leads to.
        check(&[
            (0xe350_0000, LINK),
            (0x0a00_0002, LINK), // beq the last but one
            (0xe92d_4800, LINK),
            (0xe28d_b000, LINK),   // add r11, sp, #0
            (0xeb00_0100, RECORD), // bl
            (0xe3a0_0001, LINK),
            (0xe12f_ff1e, LINK),
        ]);
        // Behind a jump through a table, where nothing else leads.
        check(&[
            (0xe92d_4800, LINK),
            (0xe1a0_b00d, LINK),
            (0xe79f_f100, RECORD), // ldr pc, [pc, r0, lsl #2]
            (0xe3a0_0001, RECORD),
            (0xe8bd_8800, RECORD),
        ]);
    }
}
