//! What an instruction is, as far as frames go: what it does to the frame pointer, and what is
//! executed after it. Of CPUs with a link register.

/// What an instruction does to the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "what follows code depends on each of them")]
pub enum Does {
    /// Nothing.
    Nothing,
    /// Sets the frame pointer from SP: the record is there.
    SetsFrame,
    /// Loads the caller's frame pointer back, and the link register if it is not there still.
    RestoresFrame,
}

/// What is executed after an instruction. Targets are offsets in the function's code; outside of it
/// they are as they come, wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "what follows code depends on each of them")]
pub enum Next {
    /// The one behind it.
    Falls,
    /// A call's, which may return.
    Call,
    /// This one.
    Jump(usize),
    /// This one, or the one behind it.
    Branch(usize),
    /// The caller's, by the link register.
    Returns,
    /// One by a register or a table.
    Leads,
    /// The same, or the one behind it.
    MayLead,
    /// None: a trap, or a return by the frame.
    Ends,
}

/// An instruction of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "what follows code needs all of it")]
pub struct Instruction {
    /// Where, counted from the function's first byte.
    pub at: usize,
    /// Its length in bytes.
    pub bytes: usize,
    /// What it does to the frame.
    pub does: Does,
    /// What comes after it.
    pub next: Next,
}

impl Instruction {
    /// Where the one behind it begins.
    pub const fn end(&self) -> usize {
        self.at + self.bytes
    }

    /// Where it jumps to, if it does or may.
    pub const fn target(&self) -> Option<usize> {
        match self.next {
            Next::Jump(to) | Next::Branch(to) => Some(to),
            _ => None,
        }
    }

    /// Whether the one behind it may be executed next, but for what a call returns to.
    pub const fn is_followed(&self) -> bool {
        matches!(self.next, Next::Falls | Next::Branch(_) | Next::MayLead)
    }
}

/// The `bits` of `word` from bit `from` on.
pub(super) const fn field(word: u32, from: u32, bits: u32) -> u32 {
    word >> from & ((1 << bits) - 1)
}

/// An offset that an instruction at `at` gives as a number of so many bits, the highest of which is
/// its sign, in units of so many bytes.
pub(super) const fn target(at: usize, number: u32, bits: u32, unit: isize) -> usize {
    let number = (number << (32 - bits)) as i32 >> (32 - bits);
    at.wrapping_add_signed(number as isize * unit)
}

/// The instructions of four bytes each.
pub(super) fn words<'c>(
    code: &'c [u8],
    decode: impl Fn(u32, usize) -> (Does, Next) + Clone + 'c,
) -> impl Iterator<Item = Instruction> + Clone + 'c {
    code.chunks_exact(4).enumerate().map(move |(number, word)| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let (does, next) = decode(word, number * 4);
        Instruction { at: number * 4, bytes: 4, does, next }
    })
}
