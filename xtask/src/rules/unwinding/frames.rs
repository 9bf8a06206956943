//! What an image has: its functions with their calls, and what `.debug_frame` says.

use std::collections::BTreeMap;

use addr2line::gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, LittleEndian, RegisterRule, UnwindContext,
    UnwindSection,
};
use anyhow::{Context, Result, bail};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SectionKind};

/// What is said of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Saved, so far from the CFA.
    At(i64),
    Undefined,
    /// In its register.
    Same,
    Other,
}

/// What is said from one address up to another.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) start: u64,
    pub(super) end: u64,
    /// A register and what to add to it.
    pub(super) cfa: (u16, i64),
    pub(super) rules: BTreeMap<u16, Rule>,
}

/// What is said of one function.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) return_address: u16,
    pub(super) rows: Vec<Row>,
}

impl Description {
    pub(super) fn contains(&self, address: u64) -> bool {
        self.row(address).is_some()
    }

    pub(super) fn row(&self, address: u64) -> Option<&Row> {
        self.rows.iter().find(|row| (row.start..row.end).contains(&address))
    }
}

/// Reads a `.debug_frame` of words of this size.
pub(super) fn read(data: &[u8], word: u8) -> Result<Vec<Description>> {
    let mut section = DebugFrame::new(data, LittleEndian);
    section.set_address_size(word);
    let bases = BaseAddresses::default();
    let mut context = UnwindContext::new();
    let mut descriptions = Vec::new();
    let mut entries = section.entries(&bases);
    while let Some(entry) = entries.next()? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let entry = partial.parse(DebugFrame::cie_from_offset)?;
        let mut rows = Vec::new();
        let mut table = entry.rows(&section, &bases, &mut context)?;
        while let Some(row) = table.next_row()? {
            let &CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
                bail!("a CFA that is an expression, at {:#x}", row.start_address());
            };
            let rule = |rule: &RegisterRule<usize>| match *rule {
                RegisterRule::Offset(offset) => Rule::At(offset),
                RegisterRule::Undefined => Rule::Undefined,
                RegisterRule::SameValue => Rule::Same,
                _ => Rule::Other,
            };
            rows.push(Row {
                start: row.start_address(),
                end: row.end_address(),
                cfa: (register.0, offset),
                rules: row.registers().map(|(register, found)| (register.0, rule(found))).collect(),
            });
        }
        let information = entry.cie();
        descriptions
            .push(Description { return_address: information.return_address_register().0, rows });
    }
    Ok(descriptions)
}

/// A function, or a place in one that has a name.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) address: u64,
    pub(super) code: Vec<u8>,
}

/// All of them.
pub(super) fn functions(file: &object::File<'_>) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for symbol in file.symbols() {
        let (Some(section), Ok(name)) = (symbol.section_index(), symbol.name()) else { continue };
        let section = file.section_by_index(section)?;
        if section.kind() != SectionKind::Text || name.starts_with(['$', '.']) {
            continue;
        }
        let address = crate::rules::code_address(file, &symbol);
        let code = section.data_range(address, symbol.size())?.context("a symbol without code")?;
        let name = format!("{:#}", rustc_demangle::demangle(name));
        functions.push(Function { name, address, code: code.to_vec() });
    }
    Ok(functions)
}

impl Function {
    /// An address in each call instruction: its last byte, which is where debuggers look for the
    /// caller of what was called.
    pub(super) fn calls(&self, architecture: Architecture) -> Vec<u64> {
        let ends: Vec<usize> = match architecture {
            Architecture::X86_64 => x86_calls(64, &self.code),
            Architecture::I386 => x86_calls(32, &self.code),
            Architecture::Riscv64 => riscv_calls(&self.code),
            // `bl` and `blx` of a register: Arm ARM (v8-A) C6.2, (v7-A) A8.8.
            Architecture::Aarch64 => {
                word_calls(&self.code, &[(0xfc00_0000, 0x9400_0000), (0xffff_fc1f, 0xd63f_0000)])
            }
            _ => word_calls(&self.code, &[(0x0f00_0000, 0x0b00_0000), (0x0fff_fff0, 0x012f_ff30)]),
        };
        ends.into_iter().map(|end| self.address + end as u64 - 1).collect()
    }
}

fn x86_calls(bits: u32, code: &[u8]) -> Vec<usize> {
    let calls = Decoder::new(bits, code, DecoderOptions::NONE).into_iter();
    let calls = calls.filter(|instruction| instruction.mnemonic() == Mnemonic::Call);
    calls.map(|instruction| instruction.next_ip() as usize).collect()
}

fn word_calls(code: &[u8], calls: &[(u32, u32)]) -> Vec<usize> {
    let words = code.chunks_exact(4).enumerate();
    let words =
        words.map(|(place, word)| (place, u32::from_le_bytes(word.try_into().unwrap_or_default())));
    let is_call = |word: u32| calls.iter().any(|&(mask, value)| word & mask == value);
    words.filter(|&(_, word)| is_call(word)).map(|(place, _)| (place + 1) * 4).collect()
}

/// `jal` and `jalr` that leave the return address in ra, and `c.jalr`.
fn riscv_calls(code: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (0, Vec::new());
    while let Some(half) = code.get(at..at + 2) {
        let half = u32::from(half[0]) | u32::from(half[1]) << 8;
        let is_long = half & 3 == 3;
        let is_call =
            if is_long { matches!(half & 0xfff, 0x0ef | 0x0e7) } else { half & 0xf07f == 0x9002 };
        at += if is_long { 4 } else { 2 };
        if is_call {
            ends.push(at);
        }
    }
    ends
}
