//! From a file to a process that can start: the ELF image and the initial stack.
//!
//! The file is untrusted: every number in it is checked before it is used, and a bad one makes the whole program
//! unloadable (`ENOEXEC`), with nothing left behind.

use super::random::random_bytes;
use crate::abi::stack_image::{self, Auxiliary, StackImage, WordSize};
use crate::abi::{
    self, DYNAMIC_BASE, ELF_MACHINE, MACHINE, OWN_AUXILIARY, PLATFORM, USER_LOWEST, USER_TOP,
};
use crate::error::Errno;
use crate::memory::areas::{Area, PAGE};
use crate::memory::space::{Memory, STACK_LIMIT};
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
    file: &[u8],
    path: &[u8],
    argv: &[S],
    envp: &[S],
) -> Result<Loaded, Errno> {
    let mut memory = Memory::new()?;
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
    let limit = stack_image::string_limit(STACK_LIMIT);
    let layout = image.layout(limit).map_err(|_| Errno::E2BIG)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(layout.bytes()).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(layout.bytes(), 0);
    image.write(layout, USER_TOP, &mut bytes);
    let sp = USER_TOP - layout.bytes() as u64;
    memory.write(sp, &bytes)?;
    memory.start_stack = sp;
    Ok(Loaded { memory, entry: plan.entry, sp })
}

fn load_image(file: &[u8], memory: &mut Memory) -> Result<Plan, Errno> {
    let bad = || Errno::ENOEXEC;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| bad())?;
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
        ET_DYN => DYNAMIC_BASE & !(alignment(&segments) - 1),
        _ => return Err(bad()),
    };
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
        if segment.p_filesz > segment.p_memsz
            || lowest < USER_LOWEST
            || segment_top > DYNAMIC_BASE * 5 / 4
        {
            return Err(bad());
        }
        // Linux's "obvious overcommit": what all of memory could not hold. The rest is decided page by page.
        if segment.p_memsz / PAGE > machine::memory::frames::total_count() as u64 {
            return Err(Errno::ENOMEM);
        }
        let from = usize::try_from(segment.p_offset).map_err(|_| bad())?;
        let to = from.checked_add(segment.p_filesz as usize).ok_or_else(bad)?;
        let contents = file.get(from..to).ok_or_else(bad)?;
        let area = Area {
            lowest: lowest & !(PAGE - 1),
            top: segment_top.checked_next_multiple_of(PAGE).ok_or_else(bad)?,
            // As for mmap: what can be written or executed can be read.
            read: segment.p_flags & (PF_R | PF_W | PF_X) != 0,
            access: Access {
                write: segment.p_flags & PF_W != 0,
                exec: segment.p_flags & PF_X != 0,
            },
            grows: false,
            of_file: true,
        };
        match memory.add(area) {
            Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
            added => added.map_err(|_| bad())?,
        }
        memory.write_image(lowest, contents)?;
        top = top.max(area.top);
        first.get_or_insert(lowest - segment.p_offset.min(lowest));
    }
    let first = first.ok_or_else(bad)?;
    memory.set_brk_lowest(top + 16 * PAGE);
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
    .inspect(|plan| debug_assert!(plan.base <= DYNAMIC_BASE))
}

/// What the base of a program that lies anywhere is a multiple of: the largest alignment that a segment asks for, and a page.
/// An alignment that is no power of two is none, as for Linux.
fn alignment(segments: &SegmentTable<'_, LittleEndian>) -> u64 {
    let loaded = segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let wanted = loaded.map(|segment| segment.p_align).filter(|align| align.is_power_of_two());
    wanted.max().unwrap_or(PAGE).max(PAGE)
}
