//! From files to a process that can start: the images of the program and of its loader, and the
//! initial stack.
//!
//! Everything is checked and made before the caller gives anything up: a program that cannot be
//! loaded is an error, with nothing left behind.

use super::elf::{Image, Placed};
use super::program;
use super::random::random_bytes;
use crate::abi::stack_image::{self, Auxiliary, StackImage};
use crate::abi::vdso;
use crate::abi::{self, DYNAMIC_BASE, OWN_AUXILIARY, PLATFORM, USER_TOP};
use crate::error::Errno;
use crate::files::standing::Standing;
use crate::memory::areas::PAGE;
use crate::memory::layout::Layout;
use crate::memory::limits::Limits;
use crate::memory::object::Object;
use crate::memory::space::{Memory, Rights};
use crate::process::walk::Route;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::arch::paging::Access;
use machine::memory::fallible;
use threads::sched::Mutex;

/// One past the highest address of a program, with its heap's first pages.
const HIGHEST_PROGRAM: u64 = (DYNAMIC_BASE + (PAGE << abi::random::MMAP_BITS)) / 4 * 5;
/// Pages between a program and its heap.
const HEAP_GAP: u64 = 16 * PAGE;

/// What every program finds as its vDSO.
static VDSO: vdso::Image = vdso::image(&abi::VDSO);

/// A program ready to start.
#[derive(Debug)]
pub struct Loaded {
    /// Among all others not yet: [`Memory::enter`].
    pub memory: Arc<Mutex<Memory>>,
    pub entry: u64,
    pub sp: u64,
    /// It says nothing of its stack, on a machine where such programs execute what they read.
    pub reads_imply_instructions: bool,
}

/// What a program starts with that its caller decides.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub limits: Limits,
    /// Whether its parts lie where they always do (personality ADDR_NO_RANDOMIZE).
    pub is_fixed: bool,
    /// AT_UID, AT_EUID, AT_GID, AT_EGID and AT_SECURE.
    pub identity: [u64; 5],
}

/// Loads a program with these arguments. `path`: what it is called by; its loader is looked for
/// from `directory`.
pub fn load<S: AsRef<[u8]>>(
    (file, object): (&[u8], Option<Arc<Object>>),
    directory: &Standing,
    path: &[u8],
    argv: &[S],
    envp: &[S],
    terms: &Terms,
) -> Result<Loaded, Errno> {
    let image = Image::parse(file, object)?;
    let interpreter = match image.interpreter()? {
        Some(path) => {
            let loader = program::open(Route::new(directory, path)?, true)?;
            Some((loader.bytes()?, loader.object()?))
        }
        None => None,
    };
    let interpreter = match &interpreter {
        // What is wrong with the loader is told apart from what is wrong with the program.
        Some((file, object)) => {
            Some(Image::parse(file, Some(object.clone())).map_err(|_| Errno::ELIBBAD)?)
        }
        None => None,
    };
    let random = [random_bytes(), random_bytes()];
    let layout = Layout::draw(random, terms.is_fixed, terms.limits.stack);
    let made = Memory::new(&terms.limits, &layout)?;
    let (entry, sp) = {
        let memory = &mut *made.lock();
        let parts = (&image, interpreter.as_ref());
        fill(memory, &layout, parts, path, argv, envp, terms.identity)?
    };
    let reads_imply_instructions = image.reads_imply_instructions();
    Ok(Loaded { memory: made, entry, sp, reads_imply_instructions })
}

/// Maps a program and its loader, and writes the stack; gives out where it begins, and the SP.
#[inline(never)]
fn fill<S: AsRef<[u8]>>(
    memory: &mut Memory,
    layout: &Layout,
    (image, interpreter): (&Image<'_>, Option<&Image<'_>>),
    path: &[u8],
    argv: &[S],
    envp: &[S],
    identity: [u64; 5],
) -> Result<(u64, u64), Errno> {
    if image.stack().unwrap_or(abi::EXECUTABLE_STACK_UNASKED) {
        make_stack_executable(memory)?;
    }
    let base = if image.is_movable() { layout.image & !(image.alignment() - 1) } else { 0 };
    let placed = image.map(base, HIGHEST_PROGRAM, memory)?;
    memory.set_brk_lowest(placed.top + layout.heap_offset + HEAP_GAP);
    (memory.extents.code, memory.extents.data) = (placed.code, placed.data);
    let loader = match interpreter {
        Some(image) => Some(map_loader(image, memory)?),
        None => None,
    };
    if image.reads_imply_instructions() {
        make_all_executable(memory)?;
    }
    memory.map_vdso(&VDSO.bytes, VDSO.trampoline as u64)?;
    let sp = write_stack(memory, &placed, loader.as_ref(), path, argv, envp, identity)?;
    let entry = loader.map_or(placed.entry, |loader| loader.entry);
    Ok((entry, sp))
}

/// Maps a program's loader where a mapping would go.
#[inline(never)]
fn map_loader(image: &Image<'_>, memory: &mut Memory) -> Result<Placed, Errno> {
    let refused = |error| if error == Errno::ENOEXEC { Errno::ELIBBAD } else { error };
    let (lowest, top) = image.span().map_err(refused)?;
    let mut base = 0;
    if image.is_movable() {
        let alignment = image.alignment();
        let room = (top - lowest).checked_add(alignment - PAGE).ok_or(Errno::ENOMEM)?;
        let space = memory.find_space(room).ok_or(Errno::ENOMEM)?;
        base = space.checked_next_multiple_of(alignment).ok_or(Errno::ENOMEM)?;
        base = base.wrapping_sub(lowest);
    }
    image.map(base, USER_TOP, memory).map_err(refused)
}

/// All that may be done with memory, or all but writing.
const fn rights(write: bool) -> Rights {
    Rights { read: true, access: Access { write, exec: true }, is_asked: true }
}

fn make_stack_executable(memory: &mut Memory) -> Result<(), Errno> {
    let stack = memory.areas().iter().find(|area| area.grows).ok_or(Errno::ENOMEM)?;
    let (lowest, top) = (stack.lowest, stack.top);
    memory.protect(lowest, top, rights(true))
}

/// Makes executable what may be read.
#[inline(never)]
fn make_all_executable(memory: &mut Memory) -> Result<(), Errno> {
    let readable = memory.areas().iter().filter(|area| area.read);
    let ranges = readable.map(|area| (area.lowest, area.top, area.access.write));
    for (lowest, top, write) in fallible::collect(ranges)? {
        memory.protect(lowest, top, rights(write))?;
    }
    Ok(())
}

/// Writes the first contents of the stack; gives out the SP.
#[inline(never)]
fn write_stack<S: AsRef<[u8]>>(
    memory: &mut Memory,
    program: &Placed,
    loader: Option<&Placed>,
    path: &[u8],
    argv: &[S],
    envp: &[S],
    [user, effective_user, group, effective_group, is_secure]: [u64; 5],
) -> Result<u64, Errno> {
    // The order is Linux's: what only this machine has comes first.
    let for_all = [
        (Auxiliary::HWCAP, abi::hardware()),
        (Auxiliary::PAGESZ, PAGE),
        (Auxiliary::CLKTCK, 100),
        (Auxiliary::PHDR, program.headers_at),
        (Auxiliary::PHENT, program.header_bytes),
        (Auxiliary::PHNUM, program.headers),
        (Auxiliary::BASE, loader.map_or(0, |loader| loader.base)),
        (Auxiliary::FLAGS, 0),
        (Auxiliary::ENTRY, program.entry),
        (Auxiliary::UID, user),
        (Auxiliary::EUID, effective_user),
        (Auxiliary::GID, group),
        (Auxiliary::EGID, effective_group),
        (Auxiliary::SECURE, is_secure),
    ];
    let vdso = [(Auxiliary::SYSINFO_EHDR, memory.vdso)];
    let least = abi::frame::least_stack_told().map(|bytes| (Auxiliary::MINSIGSTKSZ, bytes));
    let auxiliary = OWN_AUXILIARY.iter().chain(&vdso).chain(&least).chain(&for_all);
    let auxiliary = fallible::collect(auxiliary.copied())?;
    let image = StackImage {
        argv,
        envp,
        auxiliary: &auxiliary,
        random: random_bytes(),
        more_hardware: 0,
        platform: PLATFORM.as_bytes(),
        path,
        word: abi::WORD,
    };
    let limit = stack_image::string_limit(memory.limits.stack);
    let layout = image.layout(limit).map_err(|_| Errno::E2BIG)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(layout.bytes()).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(layout.bytes(), 0);
    let top = memory.layout.stack_top - memory.layout.stack_offset;
    image.write(layout, top, &mut bytes);
    let sp = top - layout.bytes() as u64;
    memory.write(sp, &bytes)?;
    memory.start_stack = sp;
    let [arguments, environment, end] = image.strings_at(layout).map(|at| sp + at as u64);
    memory.extents.arguments = [arguments, environment];
    memory.extents.environment = [environment, end];
    Ok(sp)
}
