//! Instructions as the analysis of depth sees them: how far SP moves, and where the CPU goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic, OpKind, Register};
use object::Architecture;

use crate::rules::frames::{self, Move};

/// Where the CPU goes; targets are addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Falls,
    Call(u64),
    CallBy,
    /// Through a pointer that lies there.
    CallAt(u64),
    Jump(u64),
    /// Taken, or not.
    Branch(u64),
    JumpBy,
    /// Through what was computed: a table of places in the same function, most likely.
    Table,
    /// A return or a trap.
    Ends,
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at: u64,
    pub(super) moves: Move,
    pub(super) next: Next,
}

/// What the code of a function is.
pub(super) struct Code {
    pub(super) steps: Vec<Step>,
    /// Addresses in it, on the PCs and on arm32: elsewhere relocations tell them.
    pub(super) names: Vec<u64>,
    /// Where in the table of hooks it reads.
    pub(super) hooks: BTreeSet<i64>,
}

/// What is known of the image when code is read.
pub(super) struct Known<'i> {
    pub(super) architecture: Architecture,
    /// Where the address of the table of hooks is kept.
    pub(super) cell: u64,
    /// What an instruction names, where relocations tell it.
    pub(super) relocated: &'i BTreeMap<u64, u64>,
}

/// Reads the instructions of a function.
pub(super) fn read(known: &Known<'_>, at: u64, code: &[u8]) -> Code {
    let mut reader = Reader { known, held: HashMap::new(), hooks: BTreeSet::new(), names: vec![] };
    let found = match known.architecture {
        Architecture::X86_64 => x86(&mut reader, 64, at, code),
        Architecture::I386 => x86(&mut reader, 32, at, code),
        Architecture::Aarch64 => words(at, code, |word, at| arm64(&mut reader, word, at)),
        Architecture::Arm => {
            let mut low = HashMap::new();
            words(at, code, |word, at| arm32(&mut reader, &mut low, word, at))
        }
        _ => riscv64(&mut reader, at, code),
    };
    let moves = frames::moves(known.architecture, code);
    let steps = found.into_iter().zip(moves);
    let steps = steps.map(|((at, next), moves)| Step { at, moves, next }).collect();
    Code { steps, names: reader.names, hooks: reader.hooks }
}

type Found = Vec<(u64, Next)>;

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// The address at which that of the table of hooks is kept.
    Cell,
    /// The address of the table of hooks.
    Hooks,
    /// What was loaded from elsewhere.
    Loaded,
    /// A place in a table, on RISC-V: the sum of two registers.
    Indexed,
}

/// Reads in a straight line, which is right for one expression: `(hooks().stop)(report)`.
struct Reader<'i> {
    known: &'i Known<'i>,
    held: HashMap<u32, Held>,
    hooks: BTreeSet<i64>,
    names: Vec<u64>,
}

impl Reader<'_> {
    fn set(&mut self, register: u32, held: Held) {
        self.held.insert(register, held);
    }

    fn forget(&mut self, register: u32) {
        self.held.remove(&register);
    }

    fn copy(&mut self, to: u32, from: u32) {
        match self.held.get(&from).copied() {
            Some(held) => self.set(to, held),
            None => self.forget(to),
        }
    }

    /// A register is set to what lies so far behind where another one leads.
    fn load(&mut self, to: u32, base: u32, offset: i64) {
        let held = match self.held.get(&base) {
            Some(Held::Cell) => Held::Hooks,
            Some(Held::Hooks) => {
                self.hooks.insert(offset);
                Held::Loaded
            }
            Some(Held::Indexed) => return self.forget(to),
            _ => Held::Loaded,
        };
        self.set(to, held);
    }

    /// Whether the instruction there names where the table is found.
    fn names_cell(&self, at: u64) -> bool {
        self.known.relocated.get(&at) == Some(&self.known.cell)
    }

    fn jump(&self, register: u32) -> Next {
        match self.held.get(&register) {
            None | Some(Held::Indexed) => Next::Table,
            Some(_) => Next::JumpBy,
        }
    }
}

fn x86(reader: &mut Reader<'_>, bits: u32, at: u64, code: &[u8]) -> Found {
    let number = |register: Register| register.full_register() as u32;
    let mask = if bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    let mut found = Vec::new();
    for instruction in Decoder::with_ip(bits, code, at, DecoderOptions::NONE) {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let has_memory = (0..instruction.op_count())
            .any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        let displacement = match bits {
            32 => i64::from(instruction.memory_displacement32() as i32),
            _ => instruction.memory_displacement64() as i64,
        };
        let flow = instruction.flow_control();
        if !matches!(
            flow,
            FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        ) {
            if has_memory {
                reader.names.push(displacement as u64 & mask);
            }
            let immediates = (0..instruction.op_count())
                .filter_map(|operand| instruction.try_immediate(operand).ok());
            reader.names.extend(immediates.map(|value| value & mask));
        }
        let is_absolute = base == Register::None || base == Register::RIP;
        let load = |reader: &mut Reader<'_>, to: u32| {
            if is_absolute && index == Register::None {
                let is_cell = displacement as u64 & mask == reader.known.cell;
                reader.set(to, if is_cell { Held::Hooks } else { Held::Loaded });
            } else if index == Register::None {
                reader.load(to, number(base), displacement);
            } else {
                reader.forget(to);
            }
        };
        // A number that no register has: what a call or jump through memory loads.
        const NOWHERE: u32 = u32::MAX;
        let mut through = || match instruction.op0_kind() {
            OpKind::Register => reader.jump(number(instruction.op0_register())),
            _ => {
                load(reader, NOWHERE);
                reader.jump(NOWHERE)
            }
        };
        let next = match flow {
            FlowControl::Call => Next::Call(instruction.near_branch_target()),
            FlowControl::IndirectCall => {
                through();
                let is_at = has_memory
                    && is_absolute
                    && index == Register::None
                    && instruction.segment_prefix() == Register::None;
                if is_at { Next::CallAt(displacement as u64 & mask) } else { Next::CallBy }
            }
            FlowControl::IndirectBranch => through(),
            FlowControl::UnconditionalBranch => Next::Jump(instruction.near_branch_target()),
            FlowControl::ConditionalBranch => Next::Branch(instruction.near_branch_target()),
            FlowControl::Return | FlowControl::Exception => Next::Ends,
            _ => Next::Falls,
        };
        found.push((instruction.ip(), next));
        if instruction.op0_kind() == OpKind::Register && next == Next::Falls {
            let to = number(instruction.op0_register());
            match instruction.mnemonic() {
                Mnemonic::Mov if has_memory => load(reader, to),
                Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => {
                    reader.copy(to, number(instruction.op1_register()));
                }
                Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push => {}
                _ => reader.forget(to),
            }
        }
    }
    found
}

fn words(at: u64, code: &[u8], mut next: impl FnMut(u32, u64) -> Next) -> Found {
    let words = code.chunks_exact(4).enumerate();
    let one = |(number, word): (usize, &[u8])| {
        let at = at + 4 * number as u64;
        (at, next(u32::from_le_bytes([word[0], word[1], word[2], word[3]]), at))
    };
    words.map(one).collect()
}

/// A number of so many bits, the highest of which is its sign.
const fn signed(number: u32, bits: u32) -> i64 {
    ((number << (32 - bits)) as i32 >> (32 - bits)) as i64
}

/// The `bits` of `word` from bit `from` on.
const fn field(word: u32, from: u32, bits: u32) -> u32 {
    word >> from & ((1 << bits) - 1)
}

/// Arm ARM (v8-A), C4.1.
fn arm64(reader: &mut Reader<'_>, word: u32, at: u64) -> Next {
    let to =
        |from: u32, bits: u32| at.wrapping_add_signed(4 * signed(field(word, from, bits), bits));
    let (rd, rn) = (word & 31, field(word, 5, 5));
    match word {
        _ if word & 0xfc00_0000 == 0x1400_0000 => return Next::Jump(to(0, 26)),
        _ if word & 0xfc00_0000 == 0x9400_0000 => return Next::Call(to(0, 26)),
        // blr, br
        _ if word & 0xffff_fc1f == 0xd63f_0000 => return Next::CallBy,
        _ if word & 0xffff_fc1f == 0xd61f_0000 => return reader.jump(rn),
        // b.cond, cbz and cbnz; tbz and tbnz
        _ if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
            return Next::Branch(to(5, 19));
        }
        _ if word & 0x7e00_0000 == 0x3600_0000 => return Next::Branch(to(5, 14)),
        // ret, eret, brk, udf
        _ if word & 0xffff_fc1f == 0xd65f_0000
            || word == 0xd69f_03e0
            || word & 0xffe0_001f == 0xd420_0000
            || word & 0xffff_0000 == 0 =>
        {
            return Next::Ends;
        }
        // ldr of 64 bits: an offset in words, in bytes; ldar
        _ if word & 0xffc0_0000 == 0xf940_0000 => {
            reader.load(rd, rn, 8 * i64::from(field(word, 10, 12)));
        }
        _ if word & 0xffe0_0c00 == 0xf840_0000 => {
            reader.load(rd, rn, signed(field(word, 12, 9), 9));
        }
        _ if word & 0xffff_fc00 == 0xc8df_fc00 => reader.load(rd, rn, 0),
        // ldp of 64 bits, without writing the base
        _ if word & 0xffc0_0000 == 0xa940_0000 => {
            let offset = 8 * signed(field(word, 15, 7), 7);
            let second = field(word, 10, 5);
            reader.load(second, rn, offset + 8);
            if rn != second {
                reader.load(rd, rn, offset);
            }
        }
        // mov
        _ if word & 0xffe0_ffe0 == 0xaa00_03e0 => reader.copy(rd, field(word, 16, 5)),
        // adrp, adr, add: of the cell.
        _ if word & 0x1f00_0000 == 0x1000_0000 && reader.names_cell(at) => {
            reader.set(rd, Held::Cell);
        }
        _ if word & 0xff80_0000 == 0x9100_0000 && reader.names_cell(at) => {
            reader.set(rd, Held::Cell);
        }
        // Stores write no register, nor do compares (to the zero register).
        _ if word & 0x0a40_0000 == 0x0800_0000 => {}
        _ => reader.forget(rd),
    }
    Next::Falls
}

/// Arm ARM (v7-A), A5.
fn arm32(reader: &mut Reader<'_>, low: &mut HashMap<u32, u32>, word: u32, at: u64) -> Next {
    const SP: u32 = 13;
    const PC: u32 = 15;
    const ALWAYS: u32 = 0xe;
    let (rd, rn) = (field(word, 12, 4), field(word, 16, 4));
    let once = |next: Next| match (word >> 28, next) {
        (ALWAYS, next) => next,
        (_, Next::Jump(to)) => Next::Branch(to),
        (_, Next::Ends) => Next::Falls,
        (_, next) => next,
    };
    let to = at.wrapping_add_signed(8 + 4 * signed(field(word, 0, 24), 24));
    let wide = word >> 4 & 0xf000 | word & 0xfff;
    match word {
        _ if word >> 28 == 0xf => return Next::Falls,
        // udf
        _ if word & 0x0ff0_00f0 == 0x07f0_00f0 => return once(Next::Ends),
        _ if word & 0x0f00_0000 == 0x0b00_0000 => return Next::Call(to),
        _ if word & 0x0f00_0000 == 0x0a00_0000 => return once(Next::Jump(to)),
        // bx, blx
        0xe12f_ff1e => return Next::Ends,
        _ if word & 0x0fff_ffff == 0x012f_ff1e => return Next::Falls,
        _ if word & 0x0fff_fff0 == 0x012f_ff10 => return reader.jump(word & 15),
        _ if word & 0x0fff_fff0 == 0x012f_ff30 => return Next::CallBy,
        // ldr of pc from the stack, a table, elsewhere; ldm with pc; operations into pc
        _ if word & 0x0c50_0000 == 0x0410_0000 && rd == PC => {
            if rn == SP {
                return once(Next::Ends);
            }
            let is_table = word & 0x0200_0000 != 0;
            return if is_table { Next::Table } else { Next::JumpBy };
        }
        _ if word & 0x0e10_0000 == 0x0810_0000 && word >> PC & 1 == 1 => {
            return once(Next::Ends);
        }
        _ if word & 0x0c00_0000 == 0 && rd == PC && word & 0x0190_0000 != 0x0110_0000 => {
            return Next::Table;
        }
        // movw, movt
        _ if word & 0x0ff0_0000 == 0x0300_0000 => {
            low.insert(rd, wide);
            reader.forget(rd);
        }
        _ if word & 0x0ff0_0000 == 0x0340_0000 => {
            let low = low.get(&rd).copied().unwrap_or(0);
            let named = u64::from(wide << 16 | low);
            reader.names.push(named);
            if named == reader.known.cell {
                reader.set(rd, Held::Cell);
            }
        }
        // ldr with an offset
        _ if word & 0x0f70_0000 == 0x0510_0000 => {
            let bytes = i64::from(word & 0xfff);
            reader.load(rd, rn, if word >> 23 & 1 == 1 { bytes } else { -bytes });
        }
        // ldm from a register upwards
        _ if word & 0x0fd0_0000 == 0x0890_0000 => {
            let registers = (0..15).filter(|register| word >> register & 1 == 1);
            for (number, register) in registers.enumerate() {
                if register != rn {
                    reader.load(register, rn, 4 * number as i64);
                }
            }
        }
        // mov
        _ if word & 0x0fff_0ff0 == 0x01a0_0000 => reader.copy(rd, word & 15),
        // Stores, compares.
        _ if word & 0x0c10_0000 == 0x0400_0000 || word & 0x0e10_0000 == 0x0800_0000 => {}
        _ if word & 0x0d90_0000 == 0x0110_0000 => {}
        _ => reader.forget(rd),
    }
    Next::Falls
}

/// The RISC-V unprivileged manual, chapters 2, 27 and 35.
fn riscv64(reader: &mut Reader<'_>, at: u64, code: &[u8]) -> Found {
    let mut high: HashMap<u32, u64> = HashMap::new();
    let (mut place, mut found) = (0, Vec::new());
    let half = |place: usize| {
        code.get(place..place + 2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])))
    };
    while let Some(low) = half(place) {
        let here = at + place as u64;
        if low & 3 != 3 {
            found.push((here, compressed(reader, low, here)));
            place += 2;
            continue;
        }
        let Some(upper) = half(place + 2) else { break };
        let word = low | upper << 16;
        let (rd, rs1) = (field(word, 7, 5), field(word, 15, 5));
        let immediate = i64::from(word as i32 >> 20);
        let next = match word & 0x7f {
            0x17 => {
                high.insert(rd, here.wrapping_add_signed(i64::from((word & 0xffff_f000) as i32)));
                reader.forget(rd);
                if reader.names_cell(here) {
                    reader.set(rd, Held::Cell);
                }
                Next::Falls
            }
            // addi of the cell's upper part
            0x13 if field(word, 12, 3) == 0 && reader.held.get(&rs1) == Some(&Held::Cell) => {
                reader.set(rd, Held::Cell);
                Next::Falls
            }
            0x6f => {
                let to = field(word, 31, 1) << 20
                    | field(word, 12, 8) << 12
                    | field(word, 20, 1) << 11
                    | field(word, 21, 10) << 1;
                let to = here.wrapping_add_signed(signed(to, 21));
                if rd == 0 { Next::Jump(to) } else { Next::Call(to) }
            }
            0x67 => {
                let pair = high.get(&rs1).map(|&base| base.wrapping_add_signed(immediate));
                match (pair, rd) {
                    (Some(to), 0) => Next::Jump(to),
                    (Some(to), _) => Next::Call(to),
                    (None, 0) if rs1 == 1 => Next::Ends,
                    (None, 0) => reader.jump(rs1),
                    (None, _) => Next::CallBy,
                }
            }
            0x63 => {
                let to = field(word, 31, 1) << 12
                    | field(word, 7, 1) << 11
                    | field(word, 25, 6) << 5
                    | field(word, 8, 4) << 1;
                Next::Branch(here.wrapping_add_signed(signed(to, 13)))
            }
            // ld
            0x03 if field(word, 12, 3) == 3 => {
                reader.load(rd, rs1, immediate);
                Next::Falls
            }
            // add
            0x33 if field(word, 12, 3) == 0 && word >> 25 == 0 => {
                reader.set(rd, Held::Indexed);
                Next::Falls
            }
            // Stores.
            0x23 => Next::Falls,
            // ebreak, unimp, sret
            _ if matches!(word, 0x0010_0073 | 0xc000_1073 | 0x1020_0073) => Next::Ends,
            _ => {
                reader.forget(rd);
                Next::Falls
            }
        };
        if word & 0x7f != 0x17 && !matches!(word & 0x7f, 0x23 | 0x63) {
            high.remove(&rd);
        }
        found.push((here, next));
        place += 4;
    }
    found
}

fn compressed(reader: &mut Reader<'_>, half: u32, here: u64) -> Next {
    let rd = field(half, 7, 5);
    let rs2 = field(half, 2, 5);
    let (short_rs1, short_rd) = (field(half, 7, 3) + 8, field(half, 2, 3) + 8);
    match half {
        // c.unimp, c.ebreak, ret
        0 | 0x9002 | 0x8082 => return Next::Ends,
        _ if half & 0xe003 == 0xa001 => {
            let to = field(half, 12, 1) << 11
                | field(half, 11, 1) << 4
                | field(half, 9, 2) << 8
                | field(half, 8, 1) << 10
                | field(half, 7, 1) << 6
                | field(half, 6, 1) << 7
                | field(half, 3, 3) << 1
                | field(half, 2, 1) << 5;
            return Next::Jump(here.wrapping_add_signed(signed(to, 12)));
        }
        _ if matches!(half & 0xe003, 0xc001 | 0xe001) => {
            let to = field(half, 12, 1) << 8
                | field(half, 10, 2) << 3
                | field(half, 5, 2) << 6
                | field(half, 3, 2) << 1
                | field(half, 2, 1) << 5;
            return Next::Branch(here.wrapping_add_signed(signed(to, 9)));
        }
        // c.jr, c.jalr
        _ if half & 0xf07f == 0x8002 => return reader.jump(rd),
        _ if half & 0xf07f == 0x9002 => return Next::CallBy,
        // c.ld
        _ if half & 0xe003 == 0x6000 => {
            let offset = field(half, 10, 3) << 3 | field(half, 5, 2) << 6;
            reader.load(short_rd, short_rs1, i64::from(offset));
        }
        // c.ldsp
        _ if half & 0xe003 == 0x6002 => reader.set(rd, Held::Loaded),
        // c.add
        _ if half & 0xf003 == 0x9002 => reader.set(rd, Held::Indexed),
        // c.mv
        _ if half & 0xf003 == 0x8002 => reader.copy(rd, rs2),
        // Stores.
        _ if matches!(half & 0xe003, 0xc000 | 0xe000 | 0xc002 | 0xe002 | 0xa000 | 0xa002) => {}
        // c.addi of the cell's upper part
        _ if half & 0xe003 == 0x0001 && reader.held.get(&rd) == Some(&Held::Cell) => {}
        // What else is in the first quadrant has one of two registers as its result.
        _ if half & 3 == 0 => reader.forget(short_rd),
        _ if half & 0xe003 == 0x8001 => reader.forget(short_rs1),
        _ => reader.forget(rd),
    }
    Next::Falls
}
