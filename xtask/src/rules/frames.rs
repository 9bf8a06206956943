//! The largest stack frame of a kernel image, read from its machine code.
//!
//! Where the compiler puts no stack probes, a function whose frame is wider than the guard below a
//! stack could step over it without touching it. So every build looks at every function: how far
//! does it move the stack pointer down? A frame wider than the guard is an error that names the
//! function.
//!
//! The code is read in a straight line, which is right for what compilers make: a prologue moves SP
//! down by constants, aligns it if something in the frame wants more than SP has anyway, and an
//! epilogue moves it up, or back to where the frame pointer says. SP moved by a register is
//! followed if a constant was loaded into that register right before, and SP set from a register if
//! that is a copy of SP moved and aligned by constants (an aligned frame). What else is computed
//! from SP, by a size that is known only when it runs (alloca), is an error. SP set from a register
//! that owes nothing to SP, or from memory, is another stack: entries, switches and calls on a
//! stack do that, and it is no frame.
//!
//! Every frame that is wider than a page is named: where there are no probes it steps over a guard
//! of one page.

mod riscv;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use kstack_core::geometry::Geometry;
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Functions that overflow a stack on purpose, with a frame as wide as they like.
const ON_PURPOSE: [&str; 1] = ["threads::report::on_purpose::one_giant_frame"];

/// How far one instruction moves the stack pointer down (or, negative, up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    None,
    Down(i64),
    /// To another stack.
    Away,
    /// By something that is not known.
    Unknown,
}

/// What registers hold, by their numbers: constants (or the most they can be), copies of SP, and
/// what was computed from SP otherwise.
#[derive(Default)]
struct Known {
    constants: HashMap<u32, i64>,
    /// Bytes below SP as it is now.
    copies: HashMap<u32, i64>,
    derived: HashSet<u32>,
}

impl Known {
    /// A register gets a value that is not followed, and that owes nothing to SP.
    fn forget(&mut self, register: u32) {
        self.constants.remove(&register);
        self.copies.remove(&register);
        self.derived.remove(&register);
    }

    /// A register gets a value that is not followed; `of_sp`: it was computed from SP.
    fn computed(&mut self, register: u32, of_sp: bool) -> Move {
        self.forget(register);
        if of_sp {
            self.derived.insert(register);
        }
        Move::None
    }

    /// A call is over: what a register holds owes nothing to SP any more. A constant stays, which
    /// the call of a stack probe leaves alone.
    fn returned(&mut self, register: u32) {
        self.copies.remove(&register);
        self.derived.remove(&register);
    }

    /// Whether what a register holds was computed from SP.
    fn is_of_sp(&self, register: u32) -> bool {
        self.copies.contains_key(&register) || self.derived.contains(&register)
    }

    /// A register holds a constant.
    fn constant(&mut self, register: u32, value: i64) -> Move {
        self.forget(register);
        self.constants.insert(register, value);
        Move::None
    }

    /// A register holds SP less so many bytes.
    fn copy(&mut self, register: u32, bytes_below: i64) {
        self.forget(register);
        self.copies.insert(register, bytes_below);
    }

    /// SP moves down: what lay below it lies less far below.
    fn moved(&mut self, step: Move) -> Move {
        if let Move::Down(bytes) = step {
            self.copies.values_mut().for_each(|below| *below -= bytes);
        }
        step
    }

    /// SP becomes what a register holds, less `bytes`.
    fn set_from(&mut self, register: u32, bytes: i64) -> Move {
        match self.copies.get(&register) {
            Some(&below) => self.moved(Move::Down(below + bytes)),
            None if self.derived.contains(&register) => Move::Unknown,
            None => Move::Away,
        }
    }

    /// SP is moved by what a register holds, down for a `sign` of 1 and up for one of -1.
    fn moved_by(&mut self, register: u32, sign: i64) -> Move {
        let bytes = self.constants.get(&register).copied();
        self.moved(bytes.map_or(Move::Unknown, |bytes| Move::Down(sign * bytes)))
    }
}

/// A function's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) bytes: u64,
}

/// The shape of stacks in a kernel of this architecture.
pub(super) fn geometry(architecture: Architecture) -> Option<Geometry> {
    Some(match architecture {
        Architecture::X86_64 => Geometry::X86_64,
        Architecture::I386 => Geometry::I386,
        Architecture::Aarch64 => Geometry::ARM64,
        Architecture::Arm => Geometry::ARM32,
        Architecture::Riscv64 => Geometry::RISCV64,
        _ => return None,
    })
}

/// What a look at all functions of an image comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Bytes of the guard below stacks.
    pub(crate) guard: u64,
    /// The widest frame.
    pub(crate) widest: Frame,
    /// Every frame wider than a page, the widest first.
    pub(crate) wide: Vec<Frame>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { function, bytes } = &self.widest;
        write!(f, "The widest frame has {bytes} bytes: {function}")?;
        let others = self.wide.iter().filter(|&frame| *frame != self.widest);
        others.into_iter().try_for_each(|Frame { function, bytes }| {
            write!(f, "\nWider than a page, {bytes} bytes: {function}")
        })
    }
}

/// Looks at a kernel's ELF image: its widest frame and each that is wider than a page, or an error
/// if one is wider than the guard below stacks or cannot be known.
pub(crate) fn check(kernel: &Path) -> Result<Checked> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    let geometry = geometry(file.architecture()).context("a kernel for an unknown machine")?;
    let mut functions = Vec::new();
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        let is_function = symbol.kind() == SymbolKind::Text && symbol.size() > 0;
        let Some(section) = symbol.section_index().filter(|_| is_function) else { continue };
        let section = file.section_by_index(section)?;
        let code = section.data_range(super::code_address(&file, &symbol), symbol.size())?;
        let Some(code) = code else { continue };
        let function = format!("{:#}", rustc_demangle::demangle(name));
        functions.push((function, frame(file.architecture(), code)));
    }
    ensure!(!functions.is_empty(), "{} has no functions", kernel.display());
    judge(functions, geometry.guard_below().get() as u64)
}

/// Judges the frames of all functions; `None`: one that cannot be known.
fn judge(functions: Vec<(String, Option<u64>)>, guard: u64) -> Result<Checked> {
    const PAGE: u64 = 4096;
    let mut widest = Frame { function: String::new(), bytes: 0 };
    let (mut wide, mut not_known) = (Vec::new(), Vec::new());
    for (function, bytes) in functions {
        let Some(bytes) = bytes else {
            not_known.push(function);
            continue;
        };
        let frame = Frame { function, bytes };
        if bytes > PAGE {
            wide.push(frame.clone());
        }
        if bytes > widest.bytes && !ON_PURPOSE.contains(&frame.function.as_str()) {
            widest = frame;
        }
    }
    ensure!(
        not_known.is_empty(),
        "the frame of {} cannot be known: the stack pointer is moved by a size that is known only when it runs",
        not_known.join(", ")
    );
    ensure!(
        widest.bytes <= guard,
        "the frame of {} is {} bytes, wider than the guard of {guard}: it could step over it; make the frame smaller (a \
         large array belongs on the heap or in a static)",
        widest.function,
        widest.bytes,
    );
    wide.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.function.cmp(&b.function)));
    Ok(Checked { guard, widest, wide })
}

/// How far this function moves SP down at most; `None`: by something that is not known.
fn frame(architecture: Architecture, code: &[u8]) -> Option<u64> {
    deepest(moves(architecture, code).into_iter())
}

/// What each instruction does to SP.
pub(super) fn moves(architecture: Architecture, code: &[u8]) -> Vec<Move> {
    match architecture {
        Architecture::X86_64 => x86(64, code).collect(),
        Architecture::I386 => x86(32, code).collect(),
        Architecture::Aarch64 => words(code).map(arm64_moves()).collect(),
        Architecture::Arm => words(code).map(arm32_moves()).collect(),
        Architecture::Riscv64 => riscv::riscv(code).collect(),
        _ => vec![Move::Unknown],
    }
}

fn deepest(moves: impl Iterator<Item = Move>) -> Option<u64> {
    let (mut depth, mut deepest) = (0_i64, 0_i64);
    for step in moves {
        match step {
            Move::None => {}
            Move::Down(bytes) => {
                depth = (depth + bytes).max(0);
                deepest = deepest.max(depth);
            }
            Move::Away => depth = 0,
            Move::Unknown => return None,
        }
    }
    u64::try_from(deepest).ok()
}

fn words(code: &[u8]) -> impl Iterator<Item = u32> {
    code.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

fn x86(bits: u32, code: &[u8]) -> impl Iterator<Item = Move> {
    const PAGE: i64 = 4096;
    let word = i64::from(bits / 8);
    let is_sp = |register| matches!(register, Register::RSP | Register::ESP);
    let is_fp = |register| matches!(register, Register::RBP | Register::EBP);
    let number = |register: Register| register.full_register() as u32;
    let mut known = Known::default();
    Decoder::new(bits, code, DecoderOptions::NONE).into_iter().map(
        move |instruction: Instruction| {
            let (to, from) = (instruction.op0_register(), instruction.op1_register());
            // None of an operand that is none: a register, memory, the place of a jump.
            let immediate = instruction.try_immediate(1).ok().map(|value| value as i64);
            let displacement = match bits {
                32 => i64::from(instruction.memory_displacement32() as i32),
                _ => instruction.memory_displacement64() as i64,
            };
            let mnemonic = instruction.mnemonic();
            let base = instruction.memory_base();
            let is_plain = instruction.memory_index() == Register::None;
            if is_sp(to) {
                let step = match mnemonic {
                    Mnemonic::Sub | Mnemonic::Add => {
                        let sign = if mnemonic == Mnemonic::Sub { 1 } else { -1 };
                        match immediate {
                            Some(bytes) => Move::Down(sign * bytes),
                            None => return known.moved_by(number(from), sign),
                        }
                    }
                    // Aligned down, at most by so much.
                    Mnemonic::And => immediate.map_or(Move::Unknown, |mask| Move::Down(-mask - 1)),
                    // Back to where the frame begins.
                    Mnemonic::Mov if is_fp(from) => Move::None,
                    Mnemonic::Lea if is_fp(base) && is_plain => Move::None,
                    Mnemonic::Lea if is_sp(base) && is_plain => Move::Down(-displacement),
                    Mnemonic::Mov if from != Register::None => {
                        return known.set_from(number(from), 0);
                    }
                    Mnemonic::Lea if is_plain && !is_sp(base) => {
                        return known.set_from(number(base), -displacement);
                    }
                    Mnemonic::Mov | Mnemonic::Pop => Move::Away,
                    Mnemonic::Push => Move::Down(word),
                    Mnemonic::Cmp | Mnemonic::Test => Move::None,
                    _ => Move::Unknown,
                };
                return known.moved(step);
            }
            match mnemonic {
                Mnemonic::Push => return known.moved(Move::Down(word)),
                Mnemonic::Pop if instruction.code() != Code::INVALID => {
                    known.forget(number(to));
                    return known.moved(Move::Down(-word));
                }
                Mnemonic::Call => {
                    // What it returns, and leaves in registers that it may change.
                    const LEFT: [Register; 9] = [
                        Register::RAX,
                        Register::RCX,
                        Register::RDX,
                        Register::RSI,
                        Register::RDI,
                        Register::R8,
                        Register::R9,
                        Register::R10,
                        Register::R11,
                    ];
                    let left = if bits == 32 { &LEFT[..3] } else { &LEFT };
                    left.iter().for_each(|&register| known.returned(number(register)));
                    return Move::None;
                }
                Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Jmp => return Move::None,
                _ if instruction.op0_kind() != OpKind::Register => return Move::None,
                _ => {}
            }
            let to = number(to);
            let of_sp =
                |known: &Known, register| is_sp(register) || known.is_of_sp(number(register));
            match mnemonic {
                Mnemonic::Mov if is_sp(from) => {
                    known.copy(to, 0);
                    Move::None
                }
                Mnemonic::Mov => match immediate {
                    Some(value) => known.constant(to, value),
                    None => {
                        let of_sp = from != Register::None && of_sp(&known, from);
                        known.computed(to, of_sp)
                    }
                },
                // Where a probe loop ends: the frame, less what comes after the loop. Computed in
                // one instruction or in two.
                Mnemonic::Lea if is_sp(base) && is_plain => {
                    known.copy(to, -displacement);
                    if displacement <= -PAGE { Move::Down(-displacement) } else { Move::None }
                }
                Mnemonic::Lea => {
                    let index = instruction.memory_index();
                    let of_sp = of_sp(&known, base) || of_sp(&known, index);
                    known.computed(to, of_sp)
                }
                Mnemonic::Sub if known.copies.contains_key(&to) && immediate.is_some() => {
                    let bytes = immediate.unwrap_or(0);
                    known.copies.entry(to).and_modify(|below| *below += bytes);
                    if bytes % PAGE == 0 { Move::Down(bytes) } else { Move::None }
                }
                // A bound: what is left is no more than the mask.
                Mnemonic::And if immediate.is_some_and(|mask| mask >= 0) => {
                    known.constant(to, immediate.unwrap_or(0))
                }
                _ => {
                    let of_sp = known.is_of_sp(to) || of_sp(&known, from);
                    known.computed(to, of_sp)
                }
            }
        },
    )
}

/// A64: add and sub of SP with an immediate or a register, alignment of a copy of SP, and stores
/// and loads that write SP back. Arm ARM, C4.1.
fn arm64_moves() -> impl FnMut(u32) -> Move {
    const SP: u32 = 31;
    const FP: u32 = 29;
    let mut known = Known::default();
    move |word| {
        let (rd, rn) = (word & 31, word >> 5 & 31);
        // movz, movk (64 bits): bits 30-29 are the operation.
        if word & 0x9f80_0000 == 0x9280_0000 {
            let value = i64::from(word >> 5 & 0xffff) << (16 * (word >> 21 & 3));
            match word >> 29 & 3 {
                2 => known.constant(rd, value),
                3 => match known.constants.get_mut(&rd) {
                    Some(old) => {
                        *old |= value;
                        Move::None
                    }
                    None => Move::None,
                },
                _ => {
                    known.forget(rd);
                    Move::None
                }
            };
            return Move::None;
        }
        // mov from the zero register (orr).
        if word & 0xffff_ffe0 == 0xaa1f_03e0 {
            return known.constant(rd, 0);
        }
        // add and sub, immediate, 64 bits.
        if word & 0xbf80_0000 == 0x9100_0000 && (rn == SP || rd == SP) {
            let bytes = i64::from(word >> 10 & 0xfff) << (12 * (word >> 22 & 1));
            let is_sub = word >> 30 & 1 == 1;
            let down = if is_sub { bytes } else { -bytes };
            return match (rd == SP, rn) {
                (true, SP) => known.moved(Move::Down(down)),
                // Back to where the frame begins.
                (true, FP) => Move::None,
                (true, _) => known.set_from(rn, down),
                (false, _) => {
                    known.copy(rd, down);
                    // Whole pages below SP: where a probe loop ends, which moves SP a page at a
                    // time. With less it is a comparison (`kstack::room`).
                    if is_sub && bytes % 4096 == 0 { Move::Down(bytes) } else { Move::None }
                }
            };
        }
        // The same of a copy of SP.
        if word & 0xbf80_0000 == 0x9100_0000
            && let Some(&below) = known.copies.get(&rn)
        {
            let bytes = i64::from(word >> 10 & 0xfff) << (12 * (word >> 22 & 1));
            known.copy(rd, if word >> 30 & 1 == 1 { below + bytes } else { below - bytes });
            return Move::None;
        }
        // and, immediate, 64 bits, into SP: a copy of SP is aligned down, at most by so much. The
        // mask is a run of imms + 1 ones, turned right by immr: all but the lowest bits.
        if word & 0xff80_0000 == 0x9200_0000 && rd == SP {
            let (is_64, immr, imms) = (word >> 22 & 1, word >> 16 & 63, word >> 10 & 63);
            let is_alignment = is_64 == 1 && immr == imms + 1;
            return match rn {
                _ if !is_alignment => Move::Unknown,
                SP => known.moved(Move::Down((1 << (63 - imms)) - 1)),
                _ => known.set_from(rn, (1 << (63 - imms)) - 1),
            };
        }
        // add and sub, extended register, 64 bits: SP by a register.
        if word & 0xbfe0_0000 == 0x8b20_0000 && rd == SP {
            let sign = if word >> 30 & 1 == 1 { 1 } else { -1 };
            return if rn == SP { known.moved_by(word >> 16 & 31, sign) } else { Move::Unknown };
        }
        // stp and ldp of 64-bit registers that write SP back, before (3) or after (1) the access.
        if word & 0xfe00_0000 == 0xa800_0000 && rn == SP && word >> 23 & 1 == 1 {
            let offset = i64::from((word << 10) as i32 >> 25) * 8;
            return known.moved(Move::Down(-offset));
        }
        // str and ldr of a 64-bit register that write SP back.
        if word & 0xffa0_0400 == 0xf800_0400 && rn == SP {
            return known.moved(Move::Down(-i64::from((word << 11) as i32 >> 23)));
        }
        // and, immediate, 32 or 64 bits, of a run of ones at the low end: a bound.
        if word & 0x7f80_0000 == 0x1200_0000 && word >> 16 & 63 == 0 && word >> 10 & 63 < 32 {
            return known.constant(rd, (2 << (word >> 10 & 63)) - 1);
        }
        // Whatever else writes to a register names it here; what only reads it is taken for a
        // write, too: less is known, and nothing wrong. Data processing may compute from SP; the
        // number 31 is SP in some of it.
        let with_sp = word & 0x1fe0_0000 == 0x0b20_0000;
        let is_of_sp = |register| if register == SP { with_sp } else { known.is_of_sp(register) };
        let is_register = word >> 25 & 7 == 5;
        let is_immediate = word >> 26 & 7 == 4;
        let of_sp = (is_register || is_immediate) && is_of_sp(rn)
            || is_register && word >> 16 & 31 != SP && is_of_sp(word >> 16 & 31);
        known.computed(rd, of_sp)
    }
}

/// A32: add and sub of SP with an immediate or a register, alignment of SP, push and pop. Arm ARM
/// (v7-A), A5.2, A5.4 and A5.5.
fn arm32_moves() -> impl FnMut(u32) -> Move {
    const SP: u32 = 13;
    const FP: u32 = 11;
    let mut known = Known::default();
    known.derived.insert(SP);
    move |word| {
        let (rn, rd) = (word >> 16 & 15, word >> 12 & 15);
        let wide = i64::from(word >> 4 & 0xf000 | word & 0xfff);
        match word >> 20 & 0xff {
            // movw, movt.
            0x30 if rd != SP => return known.constant(rd, wide),
            0x34 => {
                if let Some(low) = known.constants.get_mut(&rd) {
                    *low |= wide << 16;
                }
                return Move::None;
            }
            _ => {}
        }
        let immediate = i64::from((word & 0xff).rotate_right(2 * (word >> 8 & 15)));
        let registers = i64::from((word & 0xffff).count_ones()) * 4;
        let (rm, is_unshifted) = (word & 15, word & 0xff0 == 0);
        let step = match word >> 21 & 0x7f {
            // mov with an immediate.
            0x1d if rd != SP => known.constant(rd, immediate),
            0x12 if rd == SP && rn == SP => Move::Down(immediate),
            0x14 if rd == SP && rn == SP => Move::Down(-immediate),
            // sub and add of a register, unshifted.
            0x02 if rd == SP && rn == SP && is_unshifted => return known.moved_by(rm, 1),
            0x04 if rd == SP && rn == SP && is_unshifted => return known.moved_by(rm, -1),
            // bic with an immediate, bfc of the lowest bits: aligned down, at most by so much.
            0x1e if rd == SP && rn == SP => Move::Down(immediate),
            0x3e if rd == SP && word & 0xfff == 0x1f => Move::Down((2 << (word >> 16 & 31)) - 1),
            // Back to where the frame begins: from r11, or by an offset from it.
            0x12 | 0x14 if rd == SP && rn == FP => Move::None,
            0x0d if rd == SP && rm == FP && is_unshifted => Move::None,
            0x0d if rm == SP && is_unshifted => {
                known.copy(rd, 0);
                Move::None
            }
            // mov, add and sub from any other register: another stack, unless it was computed from
            // SP.
            0x0d if rd == SP && is_unshifted => return known.set_from(rm, 0),
            0x12 if rd == SP => return known.set_from(rn, immediate),
            0x14 if rd == SP => return known.set_from(rn, -immediate),
            // ldr of SP.
            op if rd == SP && op >> 5 == 2 && word >> 20 & 1 == 1 && rn != SP => Move::Away,
            0x00..=0x1f if rd == SP && !matches!(word >> 21 & 15, 8..=11) => Move::Unknown,
            // stmdb sp! and ldmia sp!: bit 20 tells them apart, above.
            0x49 if rn == SP && word >> 20 & 1 == 0 => Move::Down(registers),
            0x45 if rn == SP && word >> 20 & 1 == 1 => Move::Down(-registers),
            // str and ldr of one register that write SP back: push and pop of one.
            0x29 if rn == SP && word >> 20 & 1 == 0 => Move::Down(i64::from(word & 0xfff)),
            0x24 if rn == SP && word >> 20 & 1 == 1 => Move::Down(-i64::from(word & 0xfff)),
            // Other data processing; compares (8 to 11) write no register.
            0x00..=0x1f if !matches!(word >> 21 & 15, 8..=11) => {
                let of_sp = word >> 21 & 15 != 13 && known.is_of_sp(rn)
                    || word >> 25 & 1 == 0 && known.is_of_sp(rm);
                known.computed(rd, of_sp)
            }
            _ => Move::None,
        };
        known.moved(step)
    }
}

#[cfg(test)]
mod tests;
