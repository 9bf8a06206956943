//! From a file to a process that can start: the ELF image and the initial stack.
//!
//! The file is untrusted: every number in it is checked before it is used, and a bad one makes the whole program
//! unloadable (`ENOEXEC`), with nothing left behind.

use super::random::random_bytes;
use crate::abi::stack_image::{self, Auxiliary, StackImage, WordSize};
use crate::abi::{
    self, DYNAMIC_BASE, ELF_MACHINE, MACHINE, OWN_AUXILIARY, PLATFORM, USER_LOWEST, USER_TOP,
    random,
};
use crate::error::Errno;
use crate::files::tree::Node;
use crate::memory::areas::{Area, PAGE, Source, flag};
use crate::memory::layout::Layout;
use crate::memory::limits::Limits;
use crate::memory::object::Object;
use crate::memory::space::Memory;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use elf::ElfBytes;
use elf::abi::{ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::SegmentTable;
use machine::arch::paging::Access;
use machine::memory::fallible;

/// A program ready to start.
#[derive(Debug)]
pub struct Loaded {
    pub memory: Memory,
    pub entry: u64,
    pub sp: u64,
}

/// A program's file: its bytes, and where its pages come from, if it is in the tree.
#[derive(Debug)]
pub struct File<'f> {
    pub bytes: &'f [u8],
    pub node: Option<(Arc<Node>, String)>,
}

/// What a program starts with that its caller decides.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub limits: Limits,
    /// Whether its parts lie where they always do (personality ADDR_NO_RANDOMIZE).
    pub is_fixed: bool,
}

/// What the file says of where things are.
struct Plan {
    base: u64,
    entry: u64,
    headers_at: u64,
    header_bytes: u64,
    headers: u64,
}

/// Loads a program with these arguments.
pub fn load<S: AsRef<[u8]>>(
    file: File<'_>,
    path: &[u8],
    argv: &[S],
    envp: &[S],
    terms: Terms,
) -> Result<Loaded, Errno> {
    let bytes = [random_bytes(), random_bytes()];
    let places = Layout::draw(bytes, terms.is_fixed, terms.limits.stack);
    let mut memory = Memory::new(terms.limits, places)?;
    let plan = load_image(file, &mut memory)?;
    memory.map_trampoline(abi::TRAMPOLINE)?;
    let for_all = [
        (Auxiliary::PAGESZ, PAGE),
        (Auxiliary::CLKTCK, 100),
        (Auxiliary::PHDR, plan.headers_at),
        (Auxiliary::PHENT, plan.header_bytes),
        (Auxiliary::PHNUM, plan.headers),
        (Auxiliary::BASE, 0),
        (Auxiliary::FLAGS, 0),
        (Auxiliary::ENTRY, plan.entry),
        (Auxiliary::UID, 0),
        (Auxiliary::EUID, 0),
        (Auxiliary::GID, 0),
        (Auxiliary::EGID, 0),
        (Auxiliary::SECURE, 0),
        (Auxiliary::HWCAP, abi::hardware()),
        (Auxiliary::HWCAP2, 0),
    ];
    let auxiliary = fallible::collect(OWN_AUXILIARY.iter().chain(&for_all).copied())?;
    let image = StackImage {
        argv,
        envp,
        auxiliary: &auxiliary,
        random: random_bytes(),
        platform: PLATFORM.as_bytes(),
        path,
        word: abi::WORD,
    };
    let limit = stack_image::string_limit(terms.limits.stack);
    let layout = image.layout(limit).map_err(|_| Errno::E2BIG)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(layout.bytes()).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(layout.bytes(), 0);
    let top = places.stack_top - places.stack_offset;
    image.write(layout, top, &mut bytes);
    let sp = top - layout.bytes() as u64;
    memory.write(sp, &bytes)?;
    memory.start_stack = sp;
    Ok(Loaded { memory, entry: plan.entry, sp })
}

fn load_image(file: File<'_>, memory: &mut Memory) -> Result<Plan, Errno> {
    let bad = || Errno::ENOEXEC;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file.bytes).map_err(|_| bad())?;
    let header = &elf.ehdr;
    if header.e_machine != ELF_MACHINE {
        log!("program is for machine {}, this is {ELF_MACHINE} ({MACHINE})", header.e_machine);
        return Err(bad());
    }
    let word = match header.class {
        Class::ELF32 => WordSize::Four,
        Class::ELF64 => WordSize::Eight,
    };
    if word != abi::WORD {
        return Err(bad());
    }
    let segments = elf.segments().ok_or_else(bad)?;
    let base = match header.e_type {
        ET_EXEC => 0,
        ET_DYN => memory.layout.image & !(alignment(&segments) - 1),
        _ => return Err(bad()),
    };
    let object = match file.node {
        Some((node, path)) => Some(Object::of(node, path, false)?),
        None => None,
    };
    let most = (DYNAMIC_BASE + (PAGE << random::MMAP_BITS)) / 4 * 5;
    let mut top = 0;
    let mut first = None;
    for segment in segments.iter() {
        if segment.p_type == PT_INTERP {
            log!("program wants a dynamic linker; only static programs run");
            return Err(bad());
        }
        if segment.p_type != PT_LOAD || segment.p_memsz == 0 {
            continue;
        }
        let lowest = base.checked_add(segment.p_vaddr).ok_or_else(bad)?;
        let segment_top = lowest.checked_add(segment.p_memsz).ok_or_else(bad)?;
        if segment.p_filesz > segment.p_memsz || lowest < USER_LOWEST || segment_top > most {
            return Err(bad());
        }
        // Linux's "obvious overcommit": what all of memory could not hold. The rest is decided page by page.
        if segment.p_memsz / PAGE > machine::memory::frames::total_count() as u64 {
            return Err(Errno::ENOMEM);
        }
        let from = usize::try_from(segment.p_offset).map_err(|_| bad())?;
        let to = from.checked_add(segment.p_filesz as usize).ok_or_else(bad)?;
        let contents = file.bytes.get(from..to).ok_or_else(bad)?;
        let segment_top = segment_top.checked_next_multiple_of(PAGE).ok_or_else(bad)?;
        // As for mmap: what can be written or executed can be read.
        let read = segment.p_flags & (PF_R | PF_W | PF_X) != 0;
        let access =
            Access { write: segment.p_flags & PF_W != 0, exec: segment.p_flags & PF_X != 0 };
        let area = Area::anonymous(lowest & !(PAGE - 1), segment_top, read, access);
        let object = object.as_ref().filter(|_| segment.p_offset % PAGE == lowest % PAGE);
        match map_segment(memory, area, object, segment.p_offset, (lowest, contents)) {
            Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
            mapped => mapped.map_err(|_| bad())?,
        }
        top = top.max(segment_top);
        first.get_or_insert(lowest - segment.p_offset.min(lowest));
    }
    let first = first.ok_or_else(bad)?;
    memory.set_brk_lowest(top + memory.layout.heap_offset + 16 * PAGE);
    Ok(Plan {
        base,
        entry: base
            .checked_add(header.e_entry)
            .filter(|&entry| entry < USER_TOP)
            .ok_or_else(bad)?,
        headers_at: first.wrapping_add(header.e_phoff),
        header_bytes: u64::from(header.e_phentsize),
        headers: u64::from(header.e_phnum),
    })
    .inspect(|plan| debug_assert!(plan.base <= memory.layout.image))
}

/// Maps a segment: of the file what the file has, and zeros behind that. Without an object its bytes are copied.
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

/// What the base of a program that lies anywhere is a multiple of: the largest alignment that a segment asks for, and a page.
/// An alignment that is no power of two is none, as for Linux.
fn alignment(segments: &SegmentTable<'_, LittleEndian>) -> u64 {
    let loaded = segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let wanted = loaded.map(|segment| segment.p_align).filter(|align| align.is_power_of_two());
    wanted.max().unwrap_or(PAGE).max(PAGE)
}
