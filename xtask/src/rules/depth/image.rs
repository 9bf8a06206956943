//! What a kernel's image has: functions with their instructions, and who names what.
//!
//! A function's address may lie in another function's code or in data that this one names: a table
//! of methods, an array of such tables. Data has no boundaries in an image; a piece ends where the
//! next one that is named begins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::{
    Architecture, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget,
    SectionKind, SymbolKind,
};

use super::listed;
use super::step::{Known, Next, Step, read};

/// A function, or a piece of assembly that begins with a label.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) steps: Vec<Step>,
    /// Addresses that its code names, calls and jumps left out.
    names: BTreeSet<u64>,
    /// Where in the table of hooks its code reads.
    pub(super) hooks: BTreeSet<i64>,
}

/// A part of the image that has bytes.
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) is_code: bool,
}

impl Part {
    fn contains(&self, at: u64) -> bool {
        (self.at..self.at + self.bytes.len() as u64).contains(&at)
    }
}

/// Functions by address: size, if it is known, and name.
pub(super) type Symbols = BTreeMap<u64, (u64, String)>;

/// The image.
pub(super) struct Image {
    pub(super) architecture: Architecture,
    /// Bytes of an address.
    pub(super) word: u64,
    pub(super) functions: Vec<Function>,
    by_address: BTreeMap<u64, usize>,
    parts: Vec<Part>,
    /// Where pieces of data begin.
    starts: BTreeSet<u64>,
    /// Statics by their names, and how large they are.
    statics: HashMap<String, (u64, u64)>,
}

impl Image {
    pub(super) fn read(kernel: &Path) -> Result<Self> {
        let bytes =
            fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
        let file = object::File::parse(&*bytes)
            .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
        let mut parts = Vec::new();
        for section in file.sections() {
            let is_code = section.kind() == SectionKind::Text;
            let is_data = matches!(
                section.kind(),
                SectionKind::Data | SectionKind::ReadOnlyData | SectionKind::ReadOnlyString
            );
            if (is_code || is_data) && section.address() != 0 {
                let bytes = section.data()?.to_vec();
                parts.push(Part { at: section.address(), bytes, is_code });
            }
        }
        let (mut statics, mut places) = (HashMap::new(), Symbols::new());
        let is_code = |at: u64| parts.iter().any(|part| part.is_code && part.contains(at));
        for symbol in file.symbols() {
            let Ok(name) = symbol.name() else { continue };
            let is_place =
                matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown);
            let at = symbol.address() & !u64::from(symbol.kind() == SymbolKind::Text);
            // Mapping symbols and the assembler's own labels are no places that anything goes to.
            if name.is_empty() || name.starts_with(['$', '.']) || !symbol.is_definition() {
                continue;
            }
            let demangled = || format!("{:#}", rustc_demangle::demangle(name));
            if symbol.kind() == SymbolKind::Data {
                statics.insert(demangled(), (at, symbol.size()));
            } else if is_place && is_code(at) {
                let known = places.entry(at).or_insert_with(|| (symbol.size(), demangled()));
                // Of two names the one with a size is the function's.
                if known.0 == 0 && symbol.size() > 0 {
                    *known = (symbol.size(), demangled());
                }
            }
        }
        let relocated = relocated(&file)?;
        Self::of(file.architecture(), parts, statics, places, &relocated)
    }

    /// An image of these parts.
    pub(super) fn of(
        architecture: Architecture,
        parts: Vec<Part>,
        statics: HashMap<String, (u64, u64)>,
        symbols: Symbols,
        relocated: &BTreeMap<u64, u64>,
    ) -> Result<Self> {
        let is_narrow = matches!(architecture, Architecture::I386 | Architecture::Arm);
        let mut image = Self {
            architecture,
            word: if is_narrow { 4 } else { 8 },
            functions: Vec::new(),
            by_address: BTreeMap::new(),
            parts,
            starts: BTreeSet::new(),
            statics,
        };
        image.read_functions(symbols, relocated)?;
        image.find_starts();
        Ok(image)
    }

    fn read_functions(&mut self, symbols: Symbols, relocated: &BTreeMap<u64, u64>) -> Result<()> {
        let (cell, _) = self.static_named(listed::CELL)?;
        let known = Known { architecture: self.architecture, cell, relocated };
        let all: Vec<u64> = symbols.keys().copied().collect();
        for (number, (at, (size, name))) in symbols.into_iter().enumerate() {
            let part = self.part(at).context("a function in no section")?;
            let top = part.at + part.bytes.len() as u64;
            // A label's piece ends where the next one begins.
            let next = all.get(number + 1).copied().unwrap_or(top).min(top);
            let end = if size > 0 { (at + size).min(top) } else { next };
            let code = &part.bytes[(at - part.at) as usize..(end - part.at) as usize];
            let code = read(&known, at, code);
            let mut names = code.names;
            names.extend(relocated.range(at..end).map(|(_, &target)| target));
            let outside = |name: &u64| !(at..end).contains(name);
            let names = names.into_iter().filter(outside);
            let names = names.filter(|&name| self.part(name).is_some()).collect();
            self.by_address.insert(at, self.functions.len());
            let (mut steps, hooks) = (code.steps, code.hooks);
            for step in &mut steps {
                if let Next::CallAt(at) = step.next {
                    // In no static: the linker put it there, and nothing changes it.
                    let target = self.word_at(at).filter(|_| !self.is_in_static(at));
                    step.next = target.map_or(Next::CallBy, Next::Call);
                }
            }
            self.functions.push(Function { name, at, end, steps, names, hooks });
        }
        ensure!(!self.functions.is_empty(), "the image has no functions");
        Ok(())
    }

    fn find_starts(&mut self) {
        let mut starts: BTreeSet<u64> = self.statics.values().map(|&(at, _)| at).collect();
        starts.extend(self.functions.iter().flat_map(|function| function.names.iter().copied()));
        for part in self.parts.iter().filter(|part| !part.is_code) {
            starts.extend(self.words(part.at, part.at + part.bytes.len() as u64));
        }
        self.starts = starts;
    }

    fn part(&self, at: u64) -> Option<&Part> {
        self.parts.iter().find(|part| part.contains(at))
    }

    /// The word at an address.
    pub(super) fn word_at(&self, at: u64) -> Option<u64> {
        let part = self.part(at)?;
        let offset = (at - part.at) as usize;
        let bytes = part.bytes.get(offset..offset + self.word as usize)?;
        Some(bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
    }

    /// The words between two addresses that are addresses themselves.
    fn words(&self, from: u64, to: u64) -> Vec<u64> {
        let first = from.next_multiple_of(self.word);
        let places = (first..to.saturating_sub(self.word - 1)).step_by(self.word as usize);
        let words = places.filter_map(|at| self.word_at(at));
        words.filter(|&word| self.part(word).is_some()).collect()
    }

    /// The function that begins at an address.
    pub(super) fn function_at(&self, at: u64) -> Option<usize> {
        self.by_address.get(&at).copied()
    }

    /// The only function of this name.
    pub(super) fn named(&self, name: &str) -> Result<usize> {
        let mut found = self.all_named(name);
        let first = found.next().with_context(|| format!("the kernel has no function {name}"))?;
        ensure!(found.next().is_none(), "the kernel has two functions {name}");
        Ok(first)
    }

    pub(super) fn all_named(&self, name: &str) -> impl Iterator<Item = usize> {
        let all = self.functions.iter().enumerate();
        all.filter(move |(_, function)| function.name == name).map(|(number, _)| number)
    }

    /// Where a static lies, and how large it is.
    pub(super) fn static_named(&self, name: &str) -> Result<(u64, u64)> {
        self.statics.get(name).copied().with_context(|| format!("the kernel has no static {name}"))
    }

    fn is_in_static(&self, at: u64) -> bool {
        self.statics.values().any(|&(start, size)| (start..start + size).contains(&at))
    }

    /// Functions whose address a function takes, in its code or in the data that it names.
    pub(super) fn taken(&self, function: usize) -> BTreeSet<usize> {
        let mut taken = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<u64> = self.functions[function].names.iter().copied().collect();
        while let Some(at) = open.pop() {
            let Some(part) = self.part(at) else { continue };
            if part.is_code {
                taken.extend(self.function_at(at));
                continue;
            }
            if seen.insert(at) {
                let top = part.at + part.bytes.len() as u64;
                let end = self.starts.range(at + 1..).next().copied().unwrap_or(top).min(top);
                open.extend(self.words(at, end));
            }
        }
        taken
    }
}

/// What is named where, by the linker's relocations, for CPUs whose addresses are made of several
/// instructions; calls and jumps are left out.
fn relocated(file: &object::File<'_>) -> Result<BTreeMap<u64, u64>> {
    /// ELF for the Arm 64-bit architecture, 5.7; RISC-V ELF psABI, 8.5.
    const ARM64_JUMPS: std::ops::RangeInclusive<u32> = 279..=283;
    const RISCV_JUMPS: [u32; 7] = [16, 17, 18, 19, 44, 45, 51];
    let mut named = BTreeMap::new();
    let architecture = file.architecture();
    if !matches!(architecture, Architecture::Aarch64 | Architecture::Riscv64) {
        return Ok(named);
    }
    let mut found = 0;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (place, relocation) in section.relocations() {
            found += 1;
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            let is_jump = match architecture {
                Architecture::Aarch64 => ARM64_JUMPS.contains(&r_type.0),
                _ => RISCV_JUMPS.contains(&r_type.0),
            };
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            if !is_jump {
                let base = file.symbol_by_index(symbol)?.address();
                named.insert(place, base.wrapping_add_signed(relocation.addend()));
            }
        }
    }
    ensure!(found > 0, "the kernel was linked without --emit-relocs");
    Ok(named)
}

/// Calls and jumps that leave a function.
pub(super) fn is_direct(next: Next) -> Option<u64> {
    match next {
        Next::Call(to) | Next::Jump(to) | Next::Branch(to) => Some(to),
        _ => None,
    }
}
