//! One ELF image: what its headers say, and its segments in an address space.
//!
//! The file is untrusted: every number in it is checked before it is used, and a bad one makes the
//! image unloadable (`ENOEXEC`).

use crate::abi::stack_image::WordSize;
use crate::abi::{self, ELF_MACHINE, MACHINE, USER_LOWEST, USER_TOP};
use crate::error::Errno;
use crate::memory::areas::{Area, PAGE, Source, flag};
use crate::memory::object::Object;
use crate::memory::space::Memory;
use alloc::sync::Arc;
use elf::ElfBytes;
use elf::abi::{ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use elf::segment::SegmentTable;
use machine::arch::paging::Access;

/// The shortest and the longest path of a program's loader, with its NUL.
const INTERPRETER_BYTES: core::ops::RangeInclusive<usize> = 2..=4096;

/// A file that is an ELF image for this machine.
#[derive(Debug)]
pub(super) struct Image<'f> {
    file: &'f [u8],
    header: FileHeader<LittleEndian>,
    segments: SegmentTable<'f, LittleEndian>,
    /// What its pages are mapped from; without it they are copied.
    object: Option<Arc<Object>>,
}

/// Where an image lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// What its own addresses are relative to.
    pub base: u64,
    pub entry: u64,
    /// One past its last page.
    pub top: u64,
    /// From the lowest segment with instructions to the highest one's end, in the file.
    pub code: [u64; 2],
    /// From the beginning of the highest segment to the highest end, in the file.
    pub data: [u64; 2],
    pub headers_at: u64,
    pub header_bytes: u64,
    pub headers: u64,
}

const fn bad() -> Errno {
    Errno::ENOEXEC
}

impl<'f> Image<'f> {
    pub(super) fn parse(file: &'f [u8], object: Option<Arc<Object>>) -> Result<Self, Errno> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| bad())?;
        let header = elf.ehdr;
        if header.e_machine != ELF_MACHINE {
            log!("program is for machine {}, this is {ELF_MACHINE} ({MACHINE})", header.e_machine);
            return Err(bad());
        }
        let word = match header.class {
            Class::ELF32 => WordSize::Four,
            Class::ELF64 => WordSize::Eight,
        };
        if word != abi::WORD || !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return Err(bad());
        }
        let segments = elf.segments().ok_or_else(bad)?;
        Ok(Self { file, header, segments, object })
    }

    /// Whether it lies anywhere.
    pub(super) const fn is_movable(&self) -> bool {
        self.header.e_type == ET_DYN
    }

    /// The path of the loader that it asks for.
    pub(super) fn interpreter(&self) -> Result<Option<&'f str>, Errno> {
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == PT_INTERP) else {
            return Ok(None);
        };
        let path = self.contents(segment.p_offset, segment.p_filesz)?;
        if !INTERPRETER_BYTES.contains(&path.len()) {
            return Err(bad());
        }
        // Its end must be there; the path ends at the first one.
        let path = path.strip_suffix(b"\0").ok_or_else(bad)?;
        let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
        core::str::from_utf8(path).map(Some).map_err(|_| Errno::ENOENT)
    }

    /// Whether it asks for a stack with or without instructions; `None`: it says nothing.
    pub(super) fn stack(&self) -> Option<bool> {
        let segment = self.segments.iter().find(|segment| segment.p_type == PT_GNU_STACK)?;
        Some(segment.p_flags & PF_X != 0)
    }

    /// Whether it says nothing of its stack, on a machine where such programs execute what they
    /// read.
    pub(super) fn reads_imply_instructions(&self) -> bool {
        abi::EXECUTABLE_STACK_UNASKED && self.stack().is_none()
    }

    /// What its place is a multiple of: the largest alignment that a segment asks for, and a page.
    /// An alignment that is no power of two is none, as for Linux.
    pub(super) fn alignment(&self) -> u64 {
        let loaded = self.segments.iter().filter(|segment| segment.p_type == PT_LOAD);
        let wanted = loaded.map(|segment| segment.p_align).filter(|align| align.is_power_of_two());
        wanted.max().unwrap_or(PAGE).max(PAGE)
    }

    /// The range of its own addresses, in whole pages.
    pub(super) fn span(&self) -> Result<(u64, u64), Errno> {
        let (mut lowest, mut top) = (u64::MAX, 0);
        for segment in self.segments.iter().filter(|segment| segment.p_type == PT_LOAD) {
            lowest = lowest.min(segment.p_vaddr & !(PAGE - 1));
            top = top.max(segment.p_vaddr.checked_add(segment.p_memsz).ok_or_else(bad)?);
        }
        if lowest >= top {
            return Err(bad());
        }
        Ok((lowest, top.checked_next_multiple_of(PAGE).ok_or_else(bad)?))
    }

    /// Bytes of the file. Where none at all would be does not matter: linkers let a segment that
    /// has zeros alone begin anywhere, beyond the file's end too.
    fn contents(&self, offset: u64, bytes: u64) -> Result<&'f [u8], Errno> {
        if bytes == 0 {
            return Ok(&[]);
        }
        let from = usize::try_from(offset).map_err(|_| bad())?;
        let to = from.checked_add(usize::try_from(bytes).map_err(|_| bad())?).ok_or_else(bad)?;
        self.file.get(from..to).ok_or_else(bad)
    }

    /// Maps its segments at `base`, all of them below `highest`.
    pub(super) fn map(
        &self,
        base: u64,
        highest: u64,
        memory: &mut Memory,
    ) -> Result<Placed, Errno> {
        let mut top = 0;
        let mut first = None;
        let (mut code, mut data) = ([u64::MAX, 0], [0, 0]);
        for segment in self.segments.iter() {
            if segment.p_type != PT_LOAD || segment.p_memsz == 0 {
                continue;
            }
            let lowest = base.wrapping_add(segment.p_vaddr);
            let segment_top = lowest.checked_add(segment.p_memsz).ok_or_else(bad)?;
            if segment.p_filesz > segment.p_memsz || lowest < USER_LOWEST || segment_top > highest {
                return Err(bad());
            }
            // Linux's "obvious overcommit": what all of memory could not hold. The rest is decided
            // page by page.
            if segment.p_memsz / PAGE > machine::memory::frames::total_count() as u64 {
                return Err(Errno::ENOMEM);
            }
            let contents = self.contents(segment.p_offset, segment.p_filesz)?;
            let segment_top = segment_top.checked_next_multiple_of(PAGE).ok_or_else(bad)?;
            // As for mmap: what can be written or executed can be read.
            let read = segment.p_flags & (PF_R | PF_W | PF_X) != 0;
            let access =
                Access { write: segment.p_flags & PF_W != 0, exec: segment.p_flags & PF_X != 0 };
            let area = Area::anonymous(lowest & !(PAGE - 1), segment_top, read, access);
            let object = self.object.as_ref();
            let object = object.filter(|_| segment.p_offset % PAGE == lowest % PAGE);
            match map_segment(memory, area, object, segment.p_offset, (lowest, contents)) {
                Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
                mapped => mapped.map_err(|_| bad())?,
            }
            top = top.max(segment_top);
            let end = lowest + segment.p_filesz;
            data = [lowest.max(data[0]), end.max(data[1])];
            if access.exec {
                code = [lowest.min(code[0]), end.max(code[1])];
            }
            first.get_or_insert(lowest - segment.p_offset.min(lowest));
        }
        let first = first.ok_or_else(bad)?;
        let entry = base.wrapping_add(self.header.e_entry);
        Ok(Placed {
            base,
            entry: Some(entry).filter(|&entry| entry < USER_TOP).ok_or_else(bad)?,
            top,
            code: [code[0].min(code[1]), code[1]],
            data,
            headers_at: first.wrapping_add(self.header.e_phoff),
            header_bytes: u64::from(self.header.e_phentsize),
            headers: u64::from(self.header.e_phnum),
        })
    }
}

/// Maps a segment: of the file what the file has, and zeros behind that. Without an object its
/// bytes are copied.
fn map_segment(
    memory: &mut Memory,
    area: Area,
    object: Option<&Arc<Object>>,
    offset: u64,
    (at, contents): (u64, &[u8]),
) -> Result<(), Errno> {
    let Some(object) = object.filter(|_| !contents.is_empty()) else {
        memory.add(Area { flags: flag::KEPT, ..area })?;
        return Ok(memory.write_image(at, contents)?);
    };
    let file_top = at + contents.len() as u64;
    let whole_top = file_top.next_multiple_of(PAGE);
    let source = Source { object: object.clone(), offset: offset & !(PAGE - 1) };
    let (zeros, top) = (area.from(whole_top.min(area.top)), area.top);
    memory.add(Area { source: Some(source), ..area.up_to(whole_top) })?;
    if whole_top < top {
        memory.add(zeros)?;
    }
    // What the file has behind the segment is none of it.
    if (whole_top < top || area.access.write) && file_top < whole_top {
        const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
        memory.write_image(file_top, &ZEROS[..(whole_top - file_top) as usize])?;
    }
    Ok(())
}
