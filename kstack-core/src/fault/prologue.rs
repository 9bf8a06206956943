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
//! set and after it is restored; there the ways through a function are followed (`followed`).
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

use FrameState::{OnStack, There, Unknown};

pub mod arm32;
pub mod arm64;
pub mod code;
mod followed;
pub mod riscv64;

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
        // A frame that is made where it is needed is given up where it is needed no more: behind
        // what may pop rbp, and behind what leads elsewhere, there may be a way without a frame.
        let may_end = |byte: &u8| *byte == 0x5d || may_lead_elsewhere(byte);
        let on_its_way = at_the_start || !code[body..offset].iter().any(may_end);
        if on_its_way && !may_be_in_an_epilogue(code, body, offset) { There } else { Unknown }
    }
}

#[cfg(test)]
mod tests;
