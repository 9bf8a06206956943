//! The core file of a program that a signal ends (core(5)).
//!
//! ```text
//!   one thread takes the signal ──▶ the others end, and leave their registers (Process::core_notes)
//!                                        │
//!                                        ▼  it is alone
//!   headers, notes, then each area: of pages that are nowhere there is a hole
//! ```
//!
//! There is one if the program may be looked into, and RLIMIT_CORE lets a page be written. What
//! cannot be written of it is missing; without its beginning, there is none.

use super::core_name;
use super::core_notes::{self, Laid};
use crate::abi::signals::{Info, Signal};
use crate::abi::stack_image::WordSize;
use crate::abi::{ELF_MACHINE, WORD};
use crate::error::Errno;
use crate::files::file_bytes::FileBytes;
use crate::files::open::{OpenFile, Target, flag as open_flag};
use crate::files::spot::Lies;
use crate::files::tree::{self, Content, Node, Parent};
use crate::limits::Resource;
use crate::memory::areas::{Area, PAGE, flag};
use crate::memory::cut;
use crate::memory::space::Memory;
use crate::process::identity::permissions;
use crate::process::walk::{self, Route};
use crate::process::{current, current_task};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Mutex};

/// Headers that an image can have: with more areas there is no file.
const MAX_HEADERS: usize = 0xfffe;

/// What has become of it.
pub(super) enum Outcome {
    Written,
    Nothing,
    /// Another thread decides, and has told the caller to die.
    AnotherThreads,
}

/// What is of an area in the file.
struct Piece {
    lowest: u64,
    top: u64,
    bytes: u64,
    flags: u32,
}

/// Ends the other threads of the calling one's process, and writes the file. Whatever it takes for
/// that it has given back when it returns: the caller's frames may never be left.
#[inline(never)]
pub(super) fn write(regs: &SavedRegs, info: &Info) -> Outcome {
    let process = current();
    let is_wanted = process.limits.soft(Resource::Core) >= PAGE
        && process.attributes.is_dumpable.load(Ordering::Relaxed);
    if !is_wanted {
        return Outcome::Nothing;
    }
    {
        let mut notes = process.core_notes.lock();
        if notes.is_some() {
            return Outcome::AnotherThreads;
        }
        *notes = Some(Vec::new());
    }
    let is_alone = process.crew.begin_alone().is_ok()
        && process.changed.wait_unless_killed(|| process.crew.is_alone()).is_ok();
    let notes = process.core_notes.lock().take().unwrap_or_default();
    if !is_alone {
        // It starts another program, or is on its way out already.
        return Outcome::AnotherThreads;
    }
    match dump(regs, info, &notes) {
        Ok(()) => Outcome::Written,
        Err(_) => Outcome::Nothing,
    }
}

/// The calling thread was told to die: what a core file says of it is left for the thread that
/// writes one.
pub(super) fn leave_notes(regs: &SavedRegs) {
    let process = current();
    if process.core_notes.lock().is_none() {
        return;
    }
    // Without memory for it, the file says nothing of this thread.
    let Ok(mut own) = core_notes::of_thread(regs, None) else { return };
    if let Some(list) = process.core_notes.lock().as_mut()
        && list.try_reserve(1).is_ok()
    {
        list.push(core::mem::take(&mut own));
    }
}

/// Makes the file, in place of one that was there: of the caller, and no other may read it.
fn create(signal: Signal) -> Result<(Arc<Node>, Arc<OpenFile>), Errno> {
    let name = core_name::of_caller(signal)?;
    let route = Route::new(&current_task().place().directory(), &name)?;
    let Parent::In(spot, name) = walk::parent(route)? else { return Err(Errno::ENOENT) };
    if let Ok(before) = spot.node().child(&name) {
        permissions::remove_name(&spot, &before)?;
        drop(before);
        tree::remove_in(&spot, &name, false)?;
    }
    permissions::change_names(&spot)?;
    let umask = current_task().place().umask.load(Ordering::Relaxed);
    let bytes = Content::File(SpinLock::new(FileBytes::new()));
    let node = Node::new(bytes, 0o600 & !umask)?;
    permissions::own(&node, spot.node());
    tree::add_in(&spot, &name, node.clone())?;
    let known = Lies::In(spot, name).keep(&node)?;
    let file = OpenFile::with_flags(Target::Node(node.clone(), known), open_flag::WRITE_ONLY)?;
    file.begin_using()?;
    Ok((node, file))
}

/// The file as it grows.
struct Out {
    file: Arc<OpenFile>,
    at: u64,
    /// Bytes that may still be written.
    left: u64,
}

impl Out {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Errno::EFBIG)?;
        while !bytes.is_empty() {
            let written = self.file.write_at(self.at, bytes)?;
            if written == 0 {
                return Err(Errno::ENOSPC);
            }
            self.at += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

fn dump(regs: &SavedRegs, info: &Info, others: &[Vec<u8>]) -> Result<(), Errno> {
    let process = current();
    let (node, file) = create(info.signal)?;
    let memory = process.memory().ok_or(Errno::ESRCH)?;
    let filter = process.attributes.core_filter.load(Ordering::Relaxed);
    let pieces = {
        let mut memory = memory.lock();
        pieces(&mut memory, filter)?
    };
    let of_process = core_notes::of_process(info)?;
    let first = core_notes::of_thread(regs, Some((info, &of_process)))?;
    drop(of_process);
    let notes = first.len() + others.iter().map(Vec::len).sum::<usize>();
    let head = head(&pieces, notes)?;
    let mut out = Out { file, at: 0, left: process.limits.soft(Resource::Core) };
    out.put(&head)?;
    out.put(&first)?;
    // From here on there is a file, whatever becomes of the rest.
    let _cut_short = rest(&memory, &pieces, others, &mut out);
    let _without_its_end = cut::grow(&node, out.at);
    Ok(())
}

/// The notes of other threads, and the pages.
fn rest(
    memory: &Mutex<Memory>,
    pieces: &[Piece],
    others: &[Vec<u8>],
    out: &mut Out,
) -> Result<(), Errno> {
    others.iter().try_for_each(|notes| out.put(notes))?;
    out.at = out.at.next_multiple_of(PAGE);
    let mut page = fallible::zeros(PAGE as usize)?;
    for piece in pieces {
        for at in (piece.lowest..piece.lowest + piece.bytes).step_by(PAGE as usize) {
            if sched::current().killed() {
                return Err(Errno::EINTR);
            }
            let is_there = {
                let mut memory = memory.lock();
                has_page(&memory, at) && memory.read_forced(at, &mut page).is_ok()
            };
            if is_there {
                out.put(&page)?;
            } else {
                out.at += PAGE;
            }
        }
    }
    Ok(())
}

/// Whether there is something at an address besides zeros that were never touched.
fn has_page(memory: &Memory, at: u64) -> bool {
    let Some(area) = memory.areas().at(at) else { return false };
    memory.page_of(area, at).is_some()
        || area.source.as_ref().is_some_and(|source| match &source.object.node.content {
            Content::File(bytes) => bytes.lock().has(area.number_at(at)),
            _ => false,
        })
}

/// What the file has of each area.
fn pieces(memory: &mut Memory, filter: u32) -> Result<Vec<Piece>, Errno> {
    if memory.areas().len() >= MAX_HEADERS {
        return Err(Errno::EFBIG);
    }
    let mut pieces = Vec::new();
    pieces.try_reserve_exact(memory.areas().len()).map_err(|_| Errno::ENOMEM)?;
    for area in memory.areas().iter() {
        let flags = [(area.access.exec, 1), (area.access.write, 2), (area.is_read_asked(), 4)];
        let flags = flags.into_iter().map(|(is_set, bit)| if is_set { bit } else { 0 }).sum();
        let bytes = area.top - area.lowest;
        pieces.push(Piece { lowest: area.lowest, top: area.top, bytes, flags });
    }
    for piece in &mut pieces {
        piece.bytes = kept(memory, piece.lowest, filter).min(piece.bytes);
    }
    Ok(pieces)
}

/// How many bytes of the area at an address the filter keeps.
fn kept(memory: &mut Memory, lowest: u64, filter: u32) -> u64 {
    /// Bits of the filter.
    const OWN: u32 = 1;
    const SHARED: u32 = 1 << 1;
    const FILES: u32 = 1 << 2;
    const SHARED_FILES: u32 = 1 << 3;
    const PROGRAMS: u32 = 1 << 4;
    let has = |bit| filter & bit != 0;
    let Some(area) = memory.areas().at(lowest) else { return 0 };
    let whole = area.top - area.lowest;
    let either = |is_kept| if is_kept { whole } else { 0 };
    // The kernel's own is there whatever is asked for.
    if memory.vdso != 0 && lowest == memory.vdso && area.has(flag::KEPT) {
        return whole;
    }
    if area.has(flag::NOT_DUMPED | flag::DROPPABLE) {
        return 0;
    }
    let node = area.source.as_ref().map(|source| &source.object.node);
    if area.is_shared() {
        let is_nameless = node.is_none_or(|node| node.stat().links == 0 || is_unnamed(area));
        return either(has(if is_nameless { SHARED } else { SHARED_FILES }));
    }
    if has(OWN) && memory.figures(area).anonymous > 0 {
        return whole;
    }
    if !area.has_file() || has(FILES) {
        return either(area.has_file());
    }
    let is_begin = area.source.as_ref().is_some_and(|source| source.offset == 0);
    if !has(PROGRAMS) || !is_begin || !area.read {
        return 0;
    }
    let mut magic = [0; 4];
    let is_program = memory.read_forced(lowest, &mut magic).is_ok_and(|read| read == 4);
    if is_program && magic == *b"\x7fELF" { PAGE } else { 0 }
}

/// Whether an area's memory was shared by nothing but forks.
fn is_unnamed(area: &Area) -> bool {
    let known = area.source.as_ref().map(|source| &source.object.known);
    known.is_some_and(|known| known.path().is_ok_and(|path| path.ends_with(" (deleted)")))
}

/// The headers, for notes of so many bytes.
fn head(pieces: &[Piece], notes: usize) -> Result<Vec<u8>, Errno> {
    const CORE: u16 = 4;
    const NOTE: u32 = 4;
    const LOAD: u32 = 1;
    let (class, header, each): (u8, u16, u16) = match WORD {
        WordSize::Four => (1, 52, 32),
        WordSize::Eight => (2, 64, 56),
    };
    let count = pieces.len() + 1;
    let mut laid = Laid::default();
    let begin = usize::from(header) + usize::from(each) * count;
    laid.0.try_reserve_exact(begin).map_err(|_| Errno::ENOMEM)?;
    laid.bytes(&[0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    [CORE, ELF_MACHINE].into_iter().try_for_each(|half| laid.number(half.to_le_bytes()))?;
    laid.number(1_u32.to_le_bytes())?;
    [0, header.into(), 0].into_iter().try_for_each(|word| laid.word(word))?;
    laid.number(0_u32.to_le_bytes())?;
    for half in [header, each, count as u16, 0, 0, 0] {
        laid.number(half.to_le_bytes())?;
    }
    let mut one = |kind: u32, flags: u32, words: [u64; 5], align: u64| {
        laid.number(kind.to_le_bytes())?;
        match WORD {
            WordSize::Four => {
                words.into_iter().try_for_each(|word| laid.word(word))?;
                laid.number(flags.to_le_bytes())?;
            }
            WordSize::Eight => {
                laid.number(flags.to_le_bytes())?;
                words.into_iter().try_for_each(|word| laid.word(word))?;
            }
        }
        laid.word(align)
    };
    one(NOTE, 0, [begin as u64, 0, 0, notes as u64, 0], 4)?;
    let mut at = (begin as u64 + notes as u64).next_multiple_of(PAGE);
    for piece in pieces {
        let whole = piece.top - piece.lowest;
        one(LOAD, piece.flags, [at, piece.lowest, 0, piece.bytes, whole], PAGE)?;
        at += piece.bytes;
    }
    Ok(laid.0)
}
