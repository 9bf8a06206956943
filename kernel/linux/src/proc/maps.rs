//! /proc/PID/maps, smaps, smaps_rollup and map_files: what an address space is made of.
//!
//! How `maps` knows its names: `[stack]` is the area that contains the SP with which the program
//! started, as Linux has it; `[heap]` is what lies where brk made the heap. Neither brk nor mmap
//! makes the stack: execve does.

use crate::abi;
use crate::error::Errno;
use crate::memory::areas::{Area, flag};
use crate::memory::figures::Figures;
use crate::memory::space::Memory;
use crate::process::Process;
use alloc::string::String;
use core::fmt::{self, Write};
use machine::memory::fallible::Text;

/// The beginning of a line, whose length tells where the name goes.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// The column that names begin behind: 25 and six for each byte of a word, less one
/// (fs/proc/task_mmu.c).
const NAME_COLUMN: usize = 24 + 6 * abi::WORD.bytes();

/// What an area is called that has no file.
fn special_name(memory: &Memory, area: &Area) -> Option<&'static str> {
    let holds = |address: u64| (area.lowest..area.top).contains(&address);
    if holds(memory.start_stack) {
        Some("[stack]")
    } else if memory.vdso != 0 && area.lowest == memory.vdso && area.has(flag::KEPT) {
        Some("[vdso]")
    } else if memory.is_heap(area) {
        Some("[heap]")
    } else {
        None
    }
}

fn letters(area: &Area) -> [char; 4] {
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    [
        flag(area.is_read_asked(), 'r'),
        flag(area.access.write, 'w'),
        flag(area.access.exec, 'x'),
        if area.is_shared() { 's' } else { 'p' },
    ]
}

/// The path of an area's file, as it is told.
fn path_of(area: &Area) -> Result<Option<String>, fmt::Error> {
    let object = area.source.as_ref().map(|source| &source.object);
    object.map(|object| object.known.told(&object.node).map_err(|_| fmt::Error)).transpose()
}

fn line(memory: &Memory, area: &Area, text: &mut Text) -> fmt::Result {
    let mut line = Line { bytes: [0; 160], length: 0 };
    let [read, write, exec, shared] = letters(area);
    let source = area.source.as_ref();
    let (offset, inode) = source.map_or((0, 0), |s| (s.offset, s.object.node.inode));
    let device = if source.is_some() { "00:01" } else { "00:00" };
    write!(
        line,
        "{:08x}-{:08x} {read}{write}{exec}{shared} {offset:08x} {device} {inode} ",
        area.lowest, area.top,
    )?;
    let begun = core::str::from_utf8(&line.bytes[..line.length]).map_err(|_| fmt::Error)?;
    text.write_str(begun)?;
    let path = path_of(area)?;
    let Some(name) = path.as_deref().or_else(|| special_name(memory, area)) else {
        return text.write_str("\n");
    };
    write!(text, "{:1$} ", "", NAME_COLUMN.saturating_sub(line.length))?;
    for part in name.split_inclusive('\n') {
        match part.strip_suffix('\n') {
            Some(part) => write!(text, "{part}\\012")?,
            None => text.write_str(part)?,
        }
    }
    text.write_str("\n")
}

/// What the name of an area's file reads as.
fn name(memory: &Memory, area: &Area, text: &mut Text) -> fmt::Result {
    let path = path_of(area)?;
    text.write_str(path.as_deref().or_else(|| special_name(memory, area)).unwrap_or_default())
}

/// The area that a request of /proc/PID/maps is about (PROCMAP_QUERY): its description in numbers,
/// and its name.
pub(super) fn query(process: &Process, at: u64, flags: u64) -> Result<(Asked, Text), Errno> {
    /// Those that an area must have all of are the bits below.
    const OR_NEXT: u64 = 0x10;
    const OF_FILE: u64 = 0x20;
    if flags & !0x3f != 0 {
        return Err(Errno::EINVAL);
    }
    let memory = process.memory().ok_or(Errno::ESRCH)?;
    let memory = memory.lock();
    let bits = |area: &Area| {
        let [read, write, exec, shared] =
            [area.read, area.access.write, area.access.exec, area.is_shared()].map(u64::from);
        read | write << 1 | exec << 2 | shared << 3
    };
    let fits =
        |area: &&Area| flags & 0xf & !bits(area) == 0 && (flags & OF_FILE == 0 || area.has_file());
    let area = match flags & OR_NEXT {
        0 => memory.areas().at(at).filter(fits),
        _ => memory.areas().within(at, u64::MAX).find(fits),
    };
    let area = area.ok_or(Errno::ENOENT)?;
    let source = area.source.as_ref();
    let mut text = Text::new();
    name(&memory, area, &mut text).map_err(|_| Errno::ENOMEM)?;
    let asked = Asked {
        lowest: area.lowest,
        top: area.top,
        flags: bits(area),
        offset: source.map_or(0, |source| source.offset),
        inode: source.map_or(0, |source| source.object.node.inode),
        device: source.map_or(0, |_| 1),
    };
    Ok((asked, text))
}

/// An area in the numbers of that request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) lowest: u64,
    pub(crate) top: u64,
    pub(crate) flags: u64,
    pub(crate) offset: u64,
    pub(crate) inode: u64,
    /// The minor number of its device; the major one is 0.
    pub(crate) device: u32,
}

/// Bytes after which a piece of the text ends, with the area that it is at: about what one call
/// reads.
const PIECE: usize = 4096;

/// The text about the areas from an address on, until it is long enough: the address that the next
/// piece begins at, if there is one.
pub(super) fn piece(
    process: &Process,
    with_figures: bool,
    from: u64,
    text: &mut Text,
) -> Result<Option<u64>, fmt::Error> {
    let Some(memory) = process.memory() else { return Ok(None) };
    let memory = memory.lock();
    for area in memory.areas().within(from, u64::MAX) {
        if text.len() >= PIECE {
            return Ok(Some(area.lowest.max(from)));
        }
        line(&memory, area, text)?;
        if with_figures {
            of_area(&memory, area, text)?;
        }
    }
    Ok(None)
}

/// All of it.
pub(super) fn all(process: &Process, with_figures: bool, text: &mut Text) -> fmt::Result {
    let Some(memory) = process.memory() else { return Ok(()) };
    let memory = memory.lock();
    memory.areas().iter().try_for_each(|area| {
        line(&memory, area, text)?;
        if with_figures { of_area(&memory, area, text) } else { Ok(()) }
    })
}

/// `by_kind`: also what the proportional size is made of, which a sum alone tells.
fn figures(sum: &Figures, locked: u64, by_kind: bool, text: &mut Text) -> fmt::Result {
    let mut field = |name: &str, bytes: u64| writeln!(text, "{name:<16}{:8} kB", bytes / 1024);
    field("Rss:", sum.present)?;
    field("Pss:", sum.proportional)?;
    field("Pss_Dirty:", sum.proportional_dirty)?;
    if by_kind {
        let of_memory = sum.proportional_anonymous + sum.proportional_shared;
        field("Pss_Anon:", sum.proportional_anonymous)?;
        field("Pss_File:", sum.proportional.saturating_sub(of_memory))?;
        field("Pss_Shmem:", sum.proportional_shared)?;
    }
    field("Shared_Clean:", sum.shared_clean)?;
    field("Shared_Dirty:", sum.shared_dirty)?;
    field("Private_Clean:", sum.private_clean)?;
    field("Private_Dirty:", sum.private_dirty)?;
    field("Referenced:", sum.present)?;
    field("Anonymous:", sum.anonymous)?;
    for none in [
        "KSM:",
        "LazyFree:",
        "AnonHugePages:",
        "ShmemPmdMapped:",
        "FilePmdMapped:",
        "Shared_Hugetlb:",
        "Private_Hugetlb:",
        "Swap:",
        "SwapPss:",
    ] {
        field(none, 0)?;
    }
    field("Locked:", locked)
}

/// The flags of an area in Linux's letters, in the order of Linux's bits.
fn flags(area: &Area, text: &mut Text) -> fmt::Result {
    let may_write = !area.has(flag::NEVER_WRITE);
    let is_accounted = area.access.write && !area.is_shared() && !area.has(flag::NO_RESERVE);
    text.write_str("VmFlags:")?;
    for (letters, is_set) in [
        ("rd", area.is_read_asked()),
        ("wr", area.access.write),
        ("ex", area.access.exec),
        ("sh", area.is_shared() && may_write),
        ("mr", true),
        ("mw", may_write),
        ("me", true),
        ("ms", area.is_shared()),
        ("gd", area.grows),
        ("lo", area.has(flag::LOCKED)),
        ("sr", area.has(flag::READ_IN_ORDER)),
        ("rr", area.has(flag::READ_RANDOMLY)),
        ("dc", area.has(flag::NOT_INHERITED)),
        ("lf", area.has(flag::LOCKED_ON_FAULT)),
        ("ac", is_accounted),
        ("nr", area.has(flag::NO_RESERVE)),
        ("wf", area.has(flag::WIPED_ON_FORK)),
        ("dd", area.has(flag::NOT_DUMPED)),
        ("ss", area.has(flag::SHADOW_STACK)),
        ("hg", area.has(flag::HUGE)),
        ("nh", area.has(flag::NOT_HUGE)),
        ("mg", area.has(flag::MERGEABLE)),
        ("dp", area.has(flag::DROPPABLE)),
        ("sl", area.has(flag::SEALED)),
    ] {
        if is_set {
            write!(text, " {letters}")?;
        }
    }
    text.write_str(" \n")
}

/// What smaps has below the line of an area.
fn of_area(memory: &Memory, area: &Area, text: &mut Text) -> fmt::Result {
    writeln!(text, "{:<16}{:8} kB", "Size:", (area.top - area.lowest) / 1024)?;
    writeln!(text, "{:<16}{:8} kB\n{:<16}{:8} kB", "KernelPageSize:", 4, "MMUPageSize:", 4)?;
    let sum = memory.figures(area);
    let locked = if area.has(flag::LOCKED) { sum.proportional } else { 0 };
    figures(&sum, locked, false, text)?;
    writeln!(text, "{:<16}{:8}", "THPeligible:", 0)?;
    flags(area, text)
}

pub(super) fn smaps_rollup(process: &Process, text: &mut Text) -> fmt::Result {
    let Some(memory) = process.memory() else { return Ok(()) };
    let memory = memory.lock();
    let mut sum = Figures::default();
    let (mut lowest, mut top, mut locked) = (None, 0, 0);
    for area in memory.areas().iter() {
        let figures = memory.figures(area);
        locked += if area.has(flag::LOCKED) { figures.proportional } else { 0 };
        sum.add(&figures);
        lowest.get_or_insert(area.lowest);
        top = area.top;
    }
    let begin = lowest.unwrap_or(0);
    let mut line = Line { bytes: [0; 160], length: 0 };
    write!(line, "{begin:08x}-{top:08x} ---p 00000000 00:00 0 ")?;
    let begun = core::str::from_utf8(&line.bytes[..line.length]).map_err(|_| fmt::Error)?;
    text.write_str(begun)?;
    writeln!(text, "{:1$} [rollup]", "", NAME_COLUMN.saturating_sub(line.length))?;
    figures(&sum, locked, true, text)
}

/// The names in map_files: a range for each area that has a file.
pub(super) fn map_files(process: &Process, text: &mut Text) -> fmt::Result {
    let Some(memory) = process.memory() else { return Ok(()) };
    let memory = memory.lock();
    let mut with_file = memory.areas().iter().filter(|area| area.source.is_some());
    with_file.try_for_each(|area| writeln!(text, "{:x}-{:x}", area.lowest, area.top))
}
