//! Whether a function's frame record is there at one of its instructions, read from its machine
//! code.
//!
//! ```text
//!   f:  push rbp          <- no record yet: the return address is at SP
//!       mov rbp, rsp      <- one word pushed: it is one word above SP
//!       ...               <- the record is there: the frame pointer leads to it
//!       pop rbp
//!       ret               <- no record any more: at SP again
//! ```
//!
//! On CPUs with a link register the return address is in that register before the frame pointer is
//! set and after it is restored.
//!
//! A walk that begins at an interrupted instruction follows the frame pointer, which is the
//! caller's in the first and last instructions: without a look at the code the caller would be
//! missing, and nothing would say so. The same look tells a function that keeps no frame pointer at
//! all.
//!
//! Invariant: an answer other than [`FrameState::Unknown`] follows from the instructions alone, for
//! any code that a compiler makes with frame pointers on, and for hand-written code that calls and
//! returns as the procedure call standard has it. Where the code leaves a doubt, the answer is
//! `Unknown`.

/// Where the return address of an interrupted function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the unwinder's rules depend on each of them")]
pub enum FrameState {
    /// In the frame record that the frame pointer leads to.
    There,
    /// On the stack, so many words above SP; the frame pointer is the caller's.
    OnStack(usize),
    /// In the link register; the frame pointer is the caller's.
    InLink,
    /// The code does not tell.
    Unknown,
}

use FrameState::{InLink, OnStack, There, Unknown};

/// x86 and x86_64: `push rbp; mov rbp, rsp` at the function's start, after an `endbr` if there is
/// one.
pub mod x86 {
    use super::{FrameState, OnStack, There, Unknown};

    /// Where the two instructions stand, and the length of the second.
    fn prologue(code: &[u8]) -> Option<(usize, usize)> {
        (0..code.len()).find_map(|at| is_prologue(&code[at..]).map(|length| (at, length)))
    }

    /// The length of the second instruction, if the two stand here.
    fn is_prologue(code: &[u8]) -> Option<usize> {
        match code {
            // With the 64-bit prefix: rbp.
            [0x55, 0x48, 0x89, 0xe5, ..] => Some(3),
            [0x55, 0x89, 0xe5, ..] => Some(2),
            _ => None,
        }
    }

    /// Whether the function sets up a frame record somewhere.
    pub fn keeps_frames(code: &[u8]) -> bool {
        prologue(code).is_some()
    }

    /// How far a return may stand behind `pop rbp`: compilers move a few instructions in between.
    const EPILOGUE_BYTES: usize = 24;

    /// Whether the instruction at `offset` may stand between a `pop rbp` and the return, or the
    /// jump, that belongs to it. Any of the bytes could be part of another instruction: then it is
    /// a false alarm.
    fn may_be_in_an_epilogue(code: &[u8], from: usize, offset: usize) -> bool {
        let lowest = from.max(offset.saturating_sub(EPILOGUE_BYTES));
        let over = |byte: &u8| matches!(byte, 0xc3 | 0xe9);
        let mut pops =
            (lowest..offset).filter(|&at| code[at] == 0x5d && !code[at..offset].iter().any(over));
        pops.any(|pop| {
            let rest = &code[offset..code.len().min(pop + EPILOGUE_BYTES)];
            rest.iter().any(over)
                || pop + 1 == offset
                    && matches!(
                        rest,
                        [0xeb | 0xff | 0x70..=0x7f, ..]
                            | [0x0f, 0x80..=0x8f, ..]
                            | [0x41, 0xff, ..]
                    )
        })
    }

    /// Whether this byte may be of an instruction behind which something else begins: a return, a
    /// jump, conditional or not, a call that does not return, a trap.
    fn may_lead_elsewhere(byte: &u8) -> bool {
        matches!(
            byte,
            0x0f | 0x70..=0x7f | 0xc2 | 0xc3 | 0xcc | 0xcd | 0xe0..=0xe3 | 0xe8..=0xeb | 0xff
        )
    }

    /// The state before the instruction at `offset` in the function's code.
    pub fn state(code: &[u8], offset: usize) -> FrameState {
        let Some(rest) = code.get(offset..).filter(|rest| !rest.is_empty()) else { return Unknown };
        // Where a function begins, and where it returns, the return address is at SP: that is what
        // the two instructions mean.
        if offset == 0 || matches!(rest, [0xc3 | 0xc2, ..] | [0xf3, 0xc3, ..]) {
            return OnStack(0);
        }
        // The first push is that of rbp, also where a compiler makes the frame only on the way that
        // needs one.
        let Some((push, mov)) = prologue(code) else { return Unknown };
        let body = push + 1 + mov;
        if offset <= push {
            return OnStack(0);
        }
        if offset < body {
            return if offset == push + 1 { OnStack(1) } else { Unknown };
        }
        // `pop rbp`, not executed yet: a function has one on each way out, and it finds what the
        // prologue pushed.
        if rest[0] == 0x5d {
            return There;
        }
        let at_the_start = push == 0 || push == 4 && code.starts_with(&[0xf3, 0x0f, 0x1e]);
        // Behind what leads elsewhere there may be a way without a frame again.
        let on_its_way = at_the_start || !code[body..offset].iter().any(may_lead_elsewhere);
        if on_its_way && !may_be_in_an_epilogue(code, body, offset) { There } else { Unknown }
    }
}

/// The instruction words of four bytes that begin in `code`.
fn words(code: &[u8]) -> impl Iterator<Item = u32> + Clone + '_ {
    code.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// What an instruction means for the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Means {
    /// Sets the frame pointer from SP.
    SetsFrame,
    /// Loads the caller's frame pointer back.
    RestoresFrame,
    /// The same, and returns at once.
    RestoresAndReturns,
    /// Returns by the link register.
    Returns,
    /// Goes elsewhere, or may.
    Branches,
    /// Loads another saved register, or gives stack back.
    Leaves,
    /// Anything else.
    Works,
}

impl Means {
    /// Whether what comes after it is, or may be, another way.
    fn goes_elsewhere(self) -> bool {
        matches!(self, Self::Branches | Self::Returns | Self::RestoresAndReturns)
    }
}

/// The state before the instruction number `at`, from what each instruction means.
fn state_of(meanings: impl Iterator<Item = Means> + Clone, at: usize) -> FrameState {
    let here = meanings.clone().nth(at);
    // As on x86: at the start, and at a return, by the meaning of the two.
    if at == 0 || here == Some(Means::Returns) {
        return InLink;
    }
    // Up to there the link register is as it was, also where a compiler makes the frame only on the
    // way that needs one.
    let Some(sets) = meanings.clone().position(|means| means == Means::SetsFrame) else {
        return Unknown;
    };
    if at <= sets {
        return InLink;
    }
    let at_the_start = !meanings.clone().take(sets).any(Means::goes_elsewhere);
    // Behind what leads elsewhere, be it a call that does not return, there may be a way without a
    // frame again. What restores the frame pointer has one.
    if !at_the_start && meanings.clone().take(at).skip(sets).any(Means::goes_elsewhere) {
        let restores = matches!(here, Some(Means::RestoresFrame | Means::RestoresAndReturns));
        return if restores { There } else { Unknown };
    }
    // On the straight way to here: has the frame pointer been restored, has the function begun to
    // give its stack back?
    let (mut restored, mut left) = (false, false);
    for means in meanings.clone().take(at) {
        match means {
            _ if means.goes_elsewhere() => (restored, left) = (false, false),
            Means::RestoresFrame => restored = true,
            Means::Leaves => left = true,
            _ => left = false,
        }
    }
    for (number, means) in meanings.skip(at).enumerate() {
        match means {
            Means::Returns => return InLink,
            // A call in the last place; or a branch of the body, which begins with none of the
            // rest.
            Means::Branches => return if restored || left || number > 0 { Unknown } else { There },
            Means::Leaves => {}
            // The compiler may move anything in between.
            _ if restored => {}
            // The body, or what restores the frame pointer.
            _ => return There,
        }
    }
    Unknown
}

/// arm64: `stp x29, x30, [sp, ...]` and `add x29, sp, ...`; `ldp x29, x30, [sp, ...]` at the end.
pub mod arm64 {
    use super::{FrameState, Means, Unknown, state_of, words};

    pub(super) fn means(word: u32) -> Means {
        // Arm ARM, C4.1: branches, exceptions and system instructions have bits 28:26 = 101.
        match word {
            _ if word & 0xff80_03ff == 0x9100_03fd => Means::SetsFrame, // add x29, sp, #n (mov with n = 0)
            0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff => Means::Returns,  // ret, retaa, retab
            // ldp x29, x30, [sp, #n] and [sp], #n
            _ if word & 0xfe40_7fff == 0xa840_7bfd => Means::RestoresFrame,
            _ if word & 0xfe40_03e0 == 0xa840_03e0 => Means::Leaves, // another ldp from SP
            _ if word & 0xffc0_03e0 == 0xf940_03e0 => Means::Leaves, // ldr x, [sp, #n]
            _ if word & 0xffe0_0fe0 == 0xf840_07e0 => Means::Leaves, // ldr x, [sp], #n
            _ if word & 0xff80_03ff == 0x9100_03ff => Means::Leaves, // add sp, sp, #n
            0xd503_23bf | 0xd503_23ff => Means::Leaves,              // autiasp, autibsp
            // b, bl, b.cond, cbz, tbz, br, blr, eret; svc and the like; not hints and barriers
            _ if word & 0x7c00_0000 == 0x1400_0000
                || word & 0xff00_0000 == 0x5400_0000
                || word & 0x7c00_0000 == 0x3400_0000
                || word & 0xff00_0000 == 0xd400_0000
                || word & 0xfe00_0000 == 0xd600_0000 =>
            {
                Means::Branches
            }
            _ => Means::Works,
        }
    }

    /// Whether the function sets up a frame record somewhere.
    pub fn keeps_frames(code: &[u8]) -> bool {
        words(code).any(|word| means(word) == Means::SetsFrame)
    }

    /// The state before the instruction at `offset` in the function's code.
    pub fn state(code: &[u8], offset: usize) -> FrameState {
        if offset % 4 != 0 || offset >= code.len() {
            return Unknown;
        }
        state_of(words(code).map(means), offset / 4)
    }
}

/// arm32, not Thumb: `push {..., r11, lr}` and `add r11, sp, ...`; `pop {..., r11, pc}` or
/// `pop {..., r11, lr}` at the end.
pub mod arm32 {
    use super::{FrameState, Means, Unknown, state_of, words};

    pub(super) fn means(word: u32) -> Means {
        const R11: u32 = 1 << 11;
        match word {
            0xe12f_ff1e => Means::Returns,                              // bx lr
            0xe1a0_b00d => Means::SetsFrame,                            // mov r11, sp
            _ if word & 0xffff_f000 == 0xe28d_b000 => Means::SetsFrame, // add r11, sp, #n
            // pop: with r11 and pc, with r11, with pc, or of others
            _ if word & 0xffff_8800 == 0xe8bd_8800 => Means::RestoresAndReturns,
            _ if word & 0xffff_0000 == 0xe8bd_0000 && word & R11 != 0 => Means::RestoresFrame,
            _ if word & 0xffff_8000 == 0xe8bd_8000 => Means::Branches,
            _ if word & 0xffff_0000 == 0xe8bd_0000 => Means::Leaves,
            _ if word & 0xffff_f000 == 0xe28d_d000 => Means::Leaves, // add sp, sp, #n
            _ if word & 0xffff_f000 == 0xe24b_d000 => Means::Leaves, // sub sp, r11, #n
            // b, bl, blx; whatever writes pc, as bx and blx of a register look like it too; svc
            _ if word & 0x0e00_0000 == 0x0a00_0000
                || word & 0x0c00_f000 == 0x0000_f000 && word & 0x0d90_0000 != 0x0110_0000
                || word & 0x0c10_f000 == 0x0410_f000
                || word & 0x0e10_8000 == 0x0810_8000
                || word & 0x0f00_0000 == 0x0f00_0000 =>
            {
                Means::Branches
            }
            _ => Means::Works,
        }
    }

    /// Whether the function sets up a frame record somewhere.
    pub fn keeps_frames(code: &[u8]) -> bool {
        words(code).any(|word| means(word) == Means::SetsFrame)
    }

    /// The state before the instruction at `offset` in the function's code.
    pub fn state(code: &[u8], offset: usize) -> FrameState {
        if offset % 4 != 0 || offset >= code.len() {
            return Unknown;
        }
        state_of(words(code).map(means), offset / 4)
    }
}

/// riscv64, with compressed instructions: `sd ra, ...(sp)`, `sd s0, ...(sp)`, `addi s0, sp, ...`;
/// `ld s0, ...(sp)` at the end.
pub mod riscv64 {
    use super::{FrameState, Means, Unknown, state_of};

    /// Each instruction with its offset; a compressed one has its two upper bytes zero.
    fn instructions(code: &[u8]) -> impl Iterator<Item = (usize, u32)> + Clone + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let low = code.get(at..at + 2)?;
            let low = u32::from(u16::from_le_bytes([low[0], low[1]]));
            // Unprivileged ISA, 1.5: the two lowest bits are 11 in an instruction of four bytes.
            if low & 3 != 3 {
                at += 2;
                return Some((at - 2, low));
            }
            let high = code.get(at + 2..at + 4)?;
            at += 4;
            Some((at - 4, low | u32::from(u16::from_le_bytes([high[0], high[1]])) << 16))
        })
    }

    pub(super) fn means(word: u32) -> Means {
        if word & 3 == 3 {
            return match word {
                0x0000_8067 => Means::Returns, // jalr zero, ra
                _ if word & 0x000f_ffff == 0x0001_0413 => Means::SetsFrame, // addi s0, sp, n
                _ if word & 0x000f_ffff == 0x0001_3403 => Means::RestoresFrame, // ld s0, n(sp)
                _ if word & 0x000f_f07f == 0x0001_3003 => Means::Leaves, // ld x, n(sp)
                _ if word & 0x000f_ffff == 0x0001_0113 => Means::Leaves, // addi sp, sp, n
                _ if word & 0x000f_ffff == 0x0004_0113 => Means::Leaves, // addi sp, s0, n
                // branches, jalr, jal; ecall, ebreak, sret
                _ if matches!(word & 0x7f, 0x63 | 0x67 | 0x6f) || word & 0x707f == 0x73 => {
                    Means::Branches
                }
                _ => Means::Works,
            };
        }
        match word {
            0x8082 => Means::Returns, // c.jr ra
            _ if word & 0xe01f == 0 && word & 0x1fe0 != 0 => Means::SetsFrame, // c.addi4spn s0
            _ if word & 0xef83 == 0x6402 => Means::RestoresFrame, // c.ldsp s0
            _ if word & 0xe003 == 0x6002 => Means::Leaves, // c.ldsp x
            // c.addi16sp, c.addi sp; they give stack back, or take some
            _ if matches!(word & 0xef83, 0x6101 | 0x0101) => Means::Leaves,
            // c.j, c.beqz, c.bnez; c.jr, c.jalr, c.ebreak
            _ if matches!(word & 0xe003, 0xa001 | 0xc001 | 0xe001) || word & 0xe07f == 0x8002 => {
                Means::Branches
            }
            _ => Means::Works,
        }
    }

    /// Whether the function sets up a frame record somewhere.
    pub fn keeps_frames(code: &[u8]) -> bool {
        instructions(code).any(|(_, word)| means(word) == Means::SetsFrame)
    }

    /// The state before the instruction at `offset` in the function's code.
    pub fn state(code: &[u8], offset: usize) -> FrameState {
        match instructions(code).position(|(at, _)| at == offset) {
            Some(number) => state_of(instructions(code).map(|(_, word)| means(word)), number),
            None => Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
