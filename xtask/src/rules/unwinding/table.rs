//! Where the caller of each instruction is, as a table that the kernel's unwinder reads
//! ([`kstack_core::unwind::frames`]), from the image's call frame information.
//!
//! | the CFA is told by | the return address | the frame |
//! |---|---|---|
//! | the frame pointer | in the record that it leads to | the record |
//! | the frame pointer with its mark | in the saved registers | likewise: the mark leads there |
//! | SP | saved, as a call leaves it | called; the caller's frame pointer is in its register or saved |
//! | SP | saved by the CPU or an entry | entered: address and SP of what was interrupted |
//! | SP | in its register | the link register |
//! | SP | on a PC, in a register | a program: `syscall` leaves it there |
//! | SP | on a PC, lost, while the caller's SP is in a register | a program: so does `sysenter` |
//!
//! Where there is a link register, compilers' functions are followed instead ([`flow`]).
//!
//! What is described otherwise, or not at all, has no row.

mod flow;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kstack_core::unwind::frames::{Entered, Frame, MAGIC, Pointer};
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SectionKind};

use super::declared::saved_regs;
use super::frames::{self, Function, Row, Rule};
use super::machines::{self, Machine};

/// The table of a kernel's ELF image.
pub(crate) fn table(kernel: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    let machine = machines::of(file.architecture()).context("a kernel for an unknown machine")?;
    let size = saved_regs(machine)?.size;
    let section = file.section_by_name(".debug_frame").context("the kernel has no .debug_frame")?;
    // What the linker has left out is described at address 0.
    let text: Vec<_> = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text && section.size() > 0)
        .map(|section| section.address()..section.address() + section.size())
        .collect();
    let mut rows: BTreeMap<u64, (u64, Option<Frame>)> = BTreeMap::new();
    for description in frames::read(section.data()?, machine.word)? {
        let of_text = |row: &&Row| text.iter().any(|text| text.contains(&row.start));
        for row in description.rows.iter().filter(of_text) {
            let frame = frame(machine, size, description.return_address, row);
            rows.insert(row.start, (row.end, frame));
        }
    }
    // Compilers do not describe there how a frame is given up, or do not describe it at all.
    if machine.has_link {
        let entry = entry_code(&file)?;
        for function in frames::functions(&file)? {
            // Assembly without frames is described by hand.
            let by_hand = is_ours(&function.name)
                && rows.contains_key(&function.address)
                && !flow::keeps_frames(file.architecture(), &function.code);
            if !entry.contains(&function.address) && !by_hand {
                follow(file.architecture(), &function, &mut rows);
            }
        }
    }
    let text = file.section_by_name(".text").context("the kernel has no .text")?;
    written(text.address(), &rows)
}

/// Where the library's entry code lies.
pub(super) fn entry_code(file: &object::File<'_>) -> Result<Range<u64>> {
    let at = |name: &str| {
        let mut symbols = file.symbols();
        let found = symbols.find(|symbol| symbol.name() == Ok(name));
        found.map(|symbol| symbol.address()).with_context(|| format!("the kernel has no {name}"))
    };
    Ok(at("kstack_entry_lowest")?..at("kstack_entry_top")?)
}

/// Whether a function is of a tree of the library's: assembly outside of the entry code.
fn is_ours(name: &str) -> bool {
    name.starts_with("kstack::arch::")
}

/// What is described of a function gives way to what its code says.
fn follow(
    architecture: Architecture,
    function: &Function,
    rows: &mut BTreeMap<u64, (u64, Option<Frame>)>,
) {
    let end = function.address + function.code.len() as u64;
    let described: Vec<u64> = rows.range(function.address..end).map(|(&start, _)| start).collect();
    for start in described {
        rows.remove(&start);
    }
    for (from, to, frame) in flow::frames(architecture, &function.code) {
        rows.insert(function.address + from, (function.address + to, frame));
    }
}

/// The bytes of a table with these rows: start, end, frame.
fn written(base: u64, rows: &BTreeMap<u64, (u64, Option<Frame>)>) -> Result<Vec<u8>> {
    ensure!(rows.range(base..).next().is_some(), "the kernel describes no frames");
    // The first kind is that of what is not known.
    let mut kinds = vec![0];
    let mut starts: Vec<(u32, u8)> = Vec::new();
    let mut add = |address: u64, frame: Option<Frame>| -> Result<()> {
        let kind = frame.map_or(0, Frame::encode);
        let number = kinds.iter().position(|&known| known == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        let number = u8::try_from(number).context("more than 256 kinds of frames")?;
        let offset = u32::try_from(address - base).context("code further than 4 GiB")?;
        if starts.last().is_none_or(|&(_, last)| last != number) {
            starts.push((offset, number));
        }
        Ok(())
    };
    let mut end_of_last = None;
    for (&start, &(end, frame)) in rows.range(base..) {
        match end_of_last {
            Some(last) if last < start => add(last, None)?,
            _ => {}
        }
        add(start, frame)?;
        end_of_last = Some(end);
    }
    if let Some(last) = end_of_last {
        add(last, None)?;
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(base.to_le_bytes());
    bytes.extend(u32::try_from(starts.len())?.to_le_bytes());
    bytes.extend(u32::try_from(kinds.len())?.to_le_bytes());
    kinds.iter().for_each(|kind: &u64| bytes.extend(kind.to_le_bytes()));
    starts.iter().for_each(|(start, _)| bytes.extend(start.to_le_bytes()));
    bytes.extend(starts.iter().map(|(_, kind)| kind));
    Ok(bytes)
}

/// Where the caller is in this row. `size`: bytes of the saved registers.
fn frame(machine: &Machine, size: i64, return_address: u16, row: &Row) -> Option<Frame> {
    let word = i64::from(machine.word);
    let (base, above) = row.cfa;
    let rule = |register: u16| row.rules.get(&register).copied();
    let (interrupted, ..) = machine.saved[0];
    if base == machine.fp {
        let of_fp = |register| match rule(register) {
            Some(Rule::At(offset)) => Some(above + offset),
            _ => None,
        };
        let marked = above == size - 1 && of_fp(interrupted).is_some();
        let record = if machine.fp_is_cfa { -2 * word } else { 0 };
        let is_record =
            of_fp(machine.fp) == Some(record) && of_fp(return_address) == Some(record + word);
        return (marked || is_record).then_some(Frame::Record);
    }
    if base != machine.sp {
        return None;
    }
    // A place as words above SP.
    let words = |offset: i64| {
        let bytes = above + offset;
        (bytes >= 0 && bytes % word == 0).then_some(bytes / word)
    };
    let near = |offset: i64| words(offset).and_then(|words| u8::try_from(words).ok());
    // In its register, or where.
    let kept = |register: u16| match rule(register) {
        None | Some(Rule::Same) => Some(None),
        // Below SP nothing is kept: the register has been loaded from there. Compilers do not say
        // so before a tail call.
        Some(Rule::At(offset)) if above + offset < 0 => Some(None),
        Some(Rule::At(offset)) => near(offset).map(Some),
        _ => None,
    };
    let sp = rule(machine.sp);
    // A call leaves the return address right below the CFA, and SP is known by it.
    let is_called = |offset: i64| sp.is_none() && (machine.has_link || offset == -word);
    if let Some(Rule::At(offset)) = rule(interrupted)
        && (interrupted != return_address || !is_called(offset))
    {
        let sp = match sp {
            Some(Rule::At(offset)) => Pointer::At(near(offset)?),
            None if !machine.has_link => Pointer::Was(near(0)?),
            _ => return None,
        };
        let link = if machine.has_link && interrupted != return_address {
            kept(return_address)?
        } else {
            None
        };
        return Some(Frame::Entered(Entered {
            pc: near(offset)?,
            sp,
            fp: kept(machine.fp)?,
            link,
        }));
    }
    match rule(return_address) {
        Some(Rule::At(offset)) => {
            let pc = words(offset).and_then(|words| u16::try_from(words).ok())?;
            Some(Frame::Called { pc, fp: kept(machine.fp)? })
        }
        None | Some(Rule::Same) if machine.has_link => Some(Frame::Link),
        // `syscall` leaves it in a register.
        Some(Rule::Other) if !machine.has_link => Some(Frame::Program),
        // `sysenter` keeps no address, and the program's SP where the program has put it.
        Some(Rule::Undefined) if !machine.has_link && sp == Some(Rule::Other) => {
            Some(Frame::Program)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
