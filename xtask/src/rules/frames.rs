//! The largest stack frame of a kernel image, read from its machine code.
//!
//! Where the compiler puts no stack probes, a function whose frame is wider than the guard below a stack could step over it without
//! touching it. So every build looks at every function: how far does it move the stack pointer down? A frame wider than
//! the guard is an error that names the function.
//!
//! The code is read in a straight line, which is right for what compilers make: a prologue moves SP down by constants, aligns it if
//! something in the frame wants more than SP has anyway, and an epilogue moves it up. SP moved by a register is followed if a constant was loaded into that register right before; otherwise the function
//! is reported as one whose frame cannot be known.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use kstack_core::geometry::Geometry;
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Functions that overflow a stack on purpose, with a frame as wide as they like.
const ON_PURPOSE: [&str; 1] = ["threads::report::on_purpose::one_giant_frame"];

/// How far one instruction moves the stack pointer down (or, negative, up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    None,
    Down(i64),
    /// By something that is not known.
    Unknown,
}

/// A function's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) bytes: u64,
}

/// The shape of stacks in a kernel of this architecture.
fn geometry(architecture: Architecture) -> Option<Geometry> {
    Some(match architecture {
        Architecture::X86_64 => Geometry::X86_64,
        Architecture::I386 => Geometry::I386,
        Architecture::Aarch64 => Geometry::ARM64,
        Architecture::Arm => Geometry::ARM32,
        Architecture::Riscv64 => Geometry::RISCV64,
        _ => return None,
    })
}

/// Looks at a kernel's ELF image; the widest frame, or an error if one is wider than the guard below stacks or cannot be known.
pub(crate) fn check(kernel: &Path) -> Result<Frame> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    let geometry = geometry(file.architecture()).context("a kernel for an unknown machine")?;
    let guard = geometry.guard_below().get() as u64;
    let mut widest = Frame { function: String::new(), bytes: 0 };
    let mut number = 0;
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        let is_function = symbol.kind() == SymbolKind::Text && symbol.size() > 0;
        let Some(section) = symbol.section_index().filter(|_| is_function) else { continue };
        let section = file.section_by_index(section)?;
        let code = section.data_range(symbol.address() & !1, symbol.size())?;
        let Some(code) = code else { continue };
        let function = format!("{:#}", rustc_demangle::demangle(name));
        number += 1;
        let Some(bytes) = frame(file.architecture(), code) else {
            bail!("the frame of {function} cannot be known: SP is moved by a register");
        };
        if bytes > widest.bytes && !ON_PURPOSE.contains(&function.as_str()) {
            widest = Frame { function, bytes };
        }
    }
    ensure!(number > 0, "{} has no functions", kernel.display());
    ensure!(
        widest.bytes <= guard,
        "the frame of {} is {} bytes, wider than the guard of {guard}: it could step over it; make the frame smaller (a \
         large array belongs on the heap or in a static)",
        widest.function,
        widest.bytes,
    );
    Ok(widest)
}

/// How far this function moves SP down at most; `None`: by something that is not known.
fn frame(architecture: Architecture, code: &[u8]) -> Option<u64> {
    match architecture {
        Architecture::X86_64 => deepest(x86(64, code)),
        Architecture::I386 => deepest(x86(32, code)),
        Architecture::Aarch64 => deepest(words(code).map(arm64_moves())),
        Architecture::Arm => deepest(words(code).map(arm32_moves())),
        Architecture::Riscv64 => deepest(riscv(code)),
        _ => None,
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
    // The register that SP was copied to by the instruction before.
    let mut copy = Register::None;
    Decoder::new(bits, code, DecoderOptions::NONE).into_iter().map(
        move |instruction: Instruction| {
            let copied_before = core::mem::replace(&mut copy, Register::None);
            let immediate = |instruction: &Instruction| match instruction.op1_kind() {
                OpKind::Register | OpKind::Memory => None,
                _ => Some(instruction.immediate(1) as i64),
            };
            match instruction.mnemonic() {
                Mnemonic::Sub if is_sp(instruction.op0_register()) => {
                    // A register: a probe loop counts down to what `lea` has computed; only entry code does anything else.
                    immediate(&instruction).map_or(Move::None, Move::Down)
                }
                Mnemonic::Add if is_sp(instruction.op0_register()) => {
                    immediate(&instruction).map_or(Move::None, |bytes| Move::Down(-bytes))
                }
                // Aligned down, at most by so much.
                Mnemonic::And if is_sp(instruction.op0_register()) => {
                    immediate(&instruction).map_or(Move::Unknown, |mask| Move::Down(-mask - 1))
                }
                // Where a probe loop ends: the frame, less what comes after the loop. Computed in one instruction or in two.
                Mnemonic::Lea
                    if is_sp(instruction.memory_base())
                        && instruction.memory_index() == Register::None =>
                {
                    let displacement = match bits {
                        32 => i64::from(instruction.memory_displacement32() as i32),
                        _ => instruction.memory_displacement64() as i64,
                    };
                    if displacement <= -PAGE { Move::Down(-displacement) } else { Move::None }
                }
                Mnemonic::Mov
                    if instruction.op1_kind() == OpKind::Register
                        && is_sp(instruction.op1_register()) =>
                {
                    copy = instruction.op0_register();
                    Move::None
                }
                Mnemonic::Sub
                    if copied_before != Register::None
                        && instruction.op0_register() == copied_before =>
                {
                    let pages = immediate(&instruction).filter(|bytes| bytes % PAGE == 0);
                    pages.map_or(Move::None, Move::Down)
                }
                Mnemonic::Push => Move::Down(word),
                Mnemonic::Pop if instruction.code() != Code::INVALID => Move::Down(-word),
                _ => Move::None,
            }
        },
    )
}

/// A64: add and sub of SP with an immediate or a register, and stores and loads that write SP back. Arm ARM, C4.1.
fn arm64_moves() -> impl FnMut(u32) -> Move {
    const SP: u32 = 31;
    let mut constants: HashMap<u32, i64> = HashMap::new();
    move |word| {
        let (rd, rn) = (word & 31, word >> 5 & 31);
        // movz, movk (64 bits): bits 30-29 are the operation.
        if word & 0x9f80_0000 == 0x9280_0000 {
            let value = i64::from(word >> 5 & 0xffff) << (16 * (word >> 21 & 3));
            match word >> 29 & 3 {
                2 => constants.insert(rd, value),
                3 => constants.get(&rd).copied().and_then(|old| constants.insert(rd, old | value)),
                _ => constants.remove(&rd),
            };
            return Move::None;
        }
        // mov from the zero register (orr).
        if word & 0xffff_ffe0 == 0xaa1f_03e0 {
            constants.insert(rd, 0);
            return Move::None;
        }
        // add and sub, immediate, 64 bits.
        if word & 0xbf80_0000 == 0x9100_0000 && rn == SP {
            let bytes = i64::from(word >> 10 & 0xfff) << (12 * (word >> 22 & 1));
            let is_sub = word >> 30 & 1 == 1;
            return match (rd == SP, is_sub) {
                (true, false) => Move::Down(-bytes),
                (true, true) => Move::Down(bytes),
                // Another register, whole pages below SP: where a probe loop ends, which moves SP a page at a time. With less it is
                // a comparison (`kstack::room`).
                (false, true) if bytes % 4096 == 0 => Move::Down(bytes),
                (false, _) => Move::None,
            };
        }
        // add and sub, extended register, 64 bits: SP by a register.
        if word & 0xbfe0_0000 == 0x8b20_0000 && rd == SP && rn == SP {
            return match constants.get(&(word >> 16 & 31)) {
                Some(&bytes) => Move::Down(if word >> 30 & 1 == 1 { bytes } else { -bytes }),
                None => Move::Unknown,
            };
        }
        // stp and ldp of 64-bit registers that write SP back, before (3) or after (1) the access.
        if word & 0xfe00_0000 == 0xa800_0000 && rn == SP && word >> 23 & 1 == 1 {
            let offset = i64::from((word << 10) as i32 >> 25) * 8;
            return Move::Down(-offset);
        }
        // str and ldr of a 64-bit register that write SP back.
        if word & 0xffa0_0400 == 0xf800_0400 && rn == SP {
            return Move::Down(-i64::from((word << 11) as i32 >> 23));
        }
        Move::None
    }
}

/// A32: add and sub of SP with an immediate or a register, alignment of SP, push and pop. Arm ARM (v7-A), A5.2, A5.4 and A5.5.
fn arm32_moves() -> impl FnMut(u32) -> Move {
    const SP: u32 = 13;
    let mut constants: HashMap<u32, i64> = HashMap::new();
    move |word| {
        let (rn, rd) = (word >> 16 & 15, word >> 12 & 15);
        let wide = i64::from(word >> 4 & 0xf000 | word & 0xfff);
        match word >> 20 & 0xff {
            // movw, movt.
            0x30 => {
                constants.insert(rd, wide);
                return Move::None;
            }
            0x34 => {
                if let Some(low) = constants.get_mut(&rd) {
                    *low |= wide << 16;
                }
                return Move::None;
            }
            _ => {}
        }
        let immediate = i64::from((word & 0xff).rotate_right(2 * (word >> 8 & 15)));
        let registers = i64::from((word & 0xffff).count_ones()) * 4;
        match word >> 21 & 0x7f {
            // mov with an immediate.
            0x1d => {
                constants.insert(rd, immediate);
                Move::None
            }
            0x12 if rd == SP && rn == SP => Move::Down(immediate),
            0x14 if rd == SP && rn == SP => Move::Down(-immediate),
            // sub and add of a register, unshifted.
            op @ (0x02 | 0x04) if rd == SP && rn == SP => match constants.get(&(word & 15)) {
                Some(&bytes) if word & 0xff0 == 0 => {
                    Move::Down(if op == 0x02 { bytes } else { -bytes })
                }
                _ => Move::Unknown,
            },
            // bic with an immediate, bfc of the lowest bits: aligned down, at most by so much.
            0x1e if rd == SP && rn == SP => Move::Down(immediate),
            0x3e if rd == SP && word & 0xfff == 0x1f => Move::Down((2 << (word >> 16 & 31)) - 1),
            // stmdb sp! and ldmia sp!: bit 20 tells them apart, above.
            0x49 if rn == SP && word >> 20 & 1 == 0 => Move::Down(registers),
            0x45 if rn == SP && word >> 20 & 1 == 1 => Move::Down(-registers),
            // str and ldr of one register that write SP back: push and pop of one.
            0x29 if rn == SP && word >> 20 & 1 == 0 => Move::Down(i64::from(word & 0xfff)),
            0x24 if rn == SP && word >> 20 & 1 == 1 => Move::Down(-i64::from(word & 0xfff)),
            _ => Move::None,
        }
    }
}

/// RV64 with compressed instructions: addi, c.addi16sp, c.addi of sp; add and sub of sp with a register that `lui` and `addi` have
/// just set. The RISC-V unprivileged manual, chapters 2, 27 and 35.
fn riscv(code: &[u8]) -> impl Iterator<Item = Move> {
    const SP: u32 = 2;
    let mut constants: HashMap<u32, i64> = HashMap::new();
    let mut at = 0;
    std::iter::from_fn(move || {
        let half =
            |at: usize| code.get(at..at + 2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
        let low = half(at)?;
        if low & 3 != 3 {
            at += 2;
            return Some(riscv_compressed(low, &mut constants));
        }
        let word = low | half(at + 2)? << 16;
        at += 4;
        let (rd, rs1, rs2) = (word >> 7 & 31, word >> 15 & 31, word >> 20 & 31);
        let immediate = i64::from(word as i32 >> 20);
        Some(match (word & 0x7f, word >> 12 & 7) {
            // lui
            (0x37, _) => {
                constants.insert(rd, i64::from((word & 0xffff_f000) as i32));
                Move::None
            }
            // addi, addiw
            (0x13 | 0x1b, 0) if rd == SP && rs1 == SP => Move::Down(-immediate),
            (0x13 | 0x1b, 0) => {
                let base = if rs1 == 0 { Some(0) } else { constants.get(&rs1).copied() };
                match base {
                    Some(base) => constants.insert(rd, base + immediate),
                    None => constants.remove(&rd),
                };
                Move::None
            }
            // add, sub
            (0x33, 0) if rd == SP && (rs1 == SP || rs2 == SP) => {
                let other = if rs1 == SP { rs2 } else { rs1 };
                match (constants.get(&other), word >> 25) {
                    (Some(&bytes), 0) => Move::Down(-bytes),
                    (Some(&bytes), 0x20) => Move::Down(bytes),
                    _ => Move::Unknown,
                }
            }
            _ => Move::None,
        })
    })
}

fn riscv_compressed(half: u32, constants: &mut HashMap<u32, i64>) -> Move {
    const SP: u32 = 2;
    let rd = half >> 7 & 31;
    // A six-bit immediate with its sign in bit 12.
    let six = i64::from((half >> 2 & 31) as i32 | -((half >> 12 & 1) as i32) << 5);
    match (half & 3, half >> 13) {
        // c.addi16sp: bits 9|4|6|8:7|5.
        (1, 3) if rd == SP => {
            let bits =
                half >> 6 & 1 | (half >> 2 & 1) << 1 | (half >> 5 & 1) << 2 | (half >> 3 & 3) << 3;
            let value = i64::from(bits as i32 | -((half >> 12 & 1) as i32) << 5) * 16;
            Move::Down(-value)
        }
        // c.addi
        (1, 0) if rd == SP => Move::Down(-six),
        // c.lui
        (1, 3) => {
            constants.insert(rd, six << 12);
            Move::None
        }
        // c.li
        (1, 2) => {
            constants.insert(rd, six);
            Move::None
        }
        // c.addi and c.addiw of another register
        (1, 0 | 1) => {
            if let Some(value) = constants.get_mut(&rd) {
                *value += six;
            }
            Move::None
        }
        // c.add
        (2, 4) if rd == SP && half >> 12 & 1 == 1 && half >> 2 & 31 != 0 => {
            constants.get(&(half >> 2 & 31)).map_or(Move::Unknown, |&bytes| Move::Down(-bytes))
        }
        _ => Move::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn o2_frames_of_every_architecture_are_read_from_their_code() {
        // push rbp; mov rbp, rsp; sub rsp, 0x1230; ...; add rsp, 0x1230; pop rbp; ret
        let x86_64 = [
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0x30, 0x12, 0, 0, 0x48, 0x81, 0xc4, 0x30,
            0x12, 0, 0, 0x5d, 0xc3,
        ];
        assert_eq!(frame(Architecture::X86_64, &x86_64), Some(0x1238));
        // lea r11, [rsp - 0x9000]; 2: sub rsp, 0x1000; mov qword ptr [rsp], 0; cmp rsp, r11; jne 2b; sub rsp, 0x3c0
        let probes = [
            0x4c, 0x8d, 0x9c, 0x24, 0, 0x70, 0xff, 0xff, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48,
            0xc7, 0x04, 0x24, 0, 0, 0, 0, 0x4c, 0x39, 0xdc, 0x75, 0xef, 0x48, 0x81, 0xec, 0xc0, 3,
            0, 0,
        ];
        // A page more than it is: the loop's body counts once more. Too wide is the safe side.
        assert_eq!(frame(Architecture::X86_64, &probes), Some(0xa3c0));
        // mov rbp, rsp; mov r11, rsp; sub r11, 0x9000; 2: sub rsp, 0x1000; ...; sub rsp, 0x3c0: the loop's end in two instructions
        let probes = [
            0x48, 0x89, 0xe5, 0x49, 0x89, 0xe3, 0x49, 0x81, 0xeb, 0, 0x90, 0, 0, 0x48, 0x81, 0xec,
            0, 0x10, 0, 0, 0x48, 0x81, 0xec, 0xc0, 3, 0, 0,
        ];
        assert_eq!(frame(Architecture::X86_64, &probes), Some(0xa3c0));
        // mov eax, esp; sub eax, 0x9000; 2: sub esp, 0x1000
        let probes = [0x89, 0xe0, 0x2d, 0, 0x90, 0, 0, 0x81, 0xec, 0, 0x10, 0, 0];
        assert_eq!(frame(Architecture::I386, &probes), Some(0xa000));
        // and esp, -64; sub esp, 0x18
        assert_eq!(frame(Architecture::I386, &[0x83, 0xe4, 0xc0, 0x83, 0xec, 0x18]), Some(63 + 24));
        // push ebp; sub esp, 0x18
        assert_eq!(frame(Architecture::I386, &[0x55, 0x83, 0xec, 0x18]), Some(0x1c));
        // stp x29, x30, [sp, #-32]!; sub sp, sp, #0x3, lsl #12; sub sp, sp, #0x10; ...; ldp x29, x30, [sp], #32
        let arm64 = bytes(&[0xa9be_7bfd, 0xd140_0fff, 0xd100_43ff, 0xa8c2_7bfd]);
        assert_eq!(frame(Architecture::Aarch64, &arm64), Some(32 + 0x3000 + 16));
        // mov x9, #0x9c40; sub sp, sp, x9
        let arm64 = bytes(&[0xd293_8809, 0xcb29_63ff]);
        assert_eq!(frame(Architecture::Aarch64, &arm64), Some(0x9c40));
        // sub x9, sp, #0x9, lsl #12; 2: sub sp, sp, #0x1, lsl #12; cmp sp, x9; str xzr, [sp]; b.ne 2b; sub sp, sp, #0x3c0
        let probes = [0xd140_27e9, 0xd140_07ff, 0xeb29_63ff, 0xf900_03ff, 0x54ff_ffa1, 0xd10f_03ff];
        // As on x86_64, a page more than it is.
        assert_eq!(frame(Architecture::Aarch64, &bytes(&probes)), Some(0xa3c0));
        // sub x10, sp, #0x400: a look at SP
        assert_eq!(frame(Architecture::Aarch64, &bytes(&[0xd110_03ea])), Some(0));
        // sub sp, sp, x9 with nothing known of x9
        assert_eq!(frame(Architecture::Aarch64, &bytes(&[0xcb29_63ff])), None);
        // push {r4, r11, lr}; sub sp, sp, #0x1000; sub sp, sp, #12
        let arm32 = bytes(&[0xe92d_4810, 0xe24d_da01, 0xe24d_d00c]);
        assert_eq!(frame(Architecture::Arm, &arm32), Some(12 + 0x1000 + 12));
        // sub sp, sp, #0xff0; sub sp, sp, #0x1000; bfc sp, #0, #12
        let arm32 = bytes(&[0xe24d_deff, 0xe24d_da01, 0xe7cb_d01f]);
        assert_eq!(frame(Architecture::Arm, &arm32), Some(0xff0 + 0x1000 + 0xfff));
        // bic sp, sp, #63; sub sp, sp, r0, lsl #2
        assert_eq!(frame(Architecture::Arm, &bytes(&[0xe3cd_d03f])), Some(63));
        assert_eq!(frame(Architecture::Arm, &bytes(&[0xe04d_d100])), None);
        // movw r12, #0x9c40; sub sp, sp, r12
        let arm32 = bytes(&[0xe309_cc40, 0xe04d_d00c]);
        assert_eq!(frame(Architecture::Arm, &arm32), Some(0x9c40));
        // addi sp, sp, -2032; lui t0, 0x2; sub sp, sp, t0
        let riscv = bytes(&[0x8101_0113, 0x0000_22b7, 0x4051_0133]);
        assert_eq!(frame(Architecture::Riscv64, &riscv), Some(2032 + 0x2000));
        // c.addi16sp sp, -64
        assert_eq!(frame(Architecture::Riscv64, &0x7139_u16.to_le_bytes()), Some(64));
    }
}
