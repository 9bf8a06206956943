//! What a core file says besides memory (`PT_NOTE`): of each thread its registers, of the process
//! who it was, why it ended, where its parts lie.

use crate::abi::WORD;
use crate::abi::registers;
use crate::abi::signals::Info;
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use crate::memory::areas::PAGE;
use crate::memory::space::Memory;
use crate::process::names::numbers;
use crate::process::task::Task;
use crate::process::time::cpu_time;
use crate::process::{Process, current, current_task, first_stack};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible::{self, NoMemory};
use threads::sched;

/// `NT_…`.
mod kind {
    pub(super) const STATUS: u32 = 1;
    pub(super) const FLOATS: u32 = 2;
    pub(super) const PROCESS: u32 = 3;
    pub(super) const AUXILIARY: u32 = 6;
    pub(super) const EXTENDED: u32 = 0x202;
    pub(super) const LEGACY: u32 = 0x46e6_2b7f;
    pub(super) const FILES: u32 = 0x4649_4c45;
    pub(super) const INFO: u32 = 0x5349_4749;
}

/// Bytes of the floating point as `fxsave` has it.
const LEGACY_BYTES: usize = 512;

/// A structure that is being laid out: each number where its size wants it.
#[derive(Debug, Default)]
pub(super) struct Laid(pub(super) Vec<u8>);

impl Laid {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        self.0.try_reserve(bytes.len()).map_err(|_| NoMemory)?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn align(&mut self, to: usize) -> Result<(), NoMemory> {
        let more = self.0.len().next_multiple_of(to) - self.0.len();
        self.bytes(&[0; 64][..more.min(64)])
    }

    pub(super) fn number<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), NoMemory> {
        self.align(N)?;
        self.bytes(&bytes)
    }

    pub(super) fn word(&mut self, word: u64) -> Result<(), NoMemory> {
        match WORD {
            WordSize::Four => self.number((word as u32).to_le_bytes()),
            WordSize::Eight => self.number(word.to_le_bytes()),
        }
    }

    fn words(&mut self, words: &[u64]) -> Result<(), NoMemory> {
        words.iter().try_for_each(|&word| self.word(word))
    }

    fn numbers(&mut self, numbers: &[u64]) -> Result<(), NoMemory> {
        numbers.iter().try_for_each(|&number| self.number((number as u32).to_le_bytes()))
    }

    /// Text in a field of so many bytes, the last of them a NUL.
    fn text(&mut self, text: &[u8], bytes: usize) -> Result<(), NoMemory> {
        let text = &text[..text.len().min(bytes - 1)];
        self.bytes(text)?;
        (text.len()..bytes).try_for_each(|_| self.bytes(&[0]))
    }

    /// A note.
    fn note(&mut self, owner: &[u8], kind: u32, content: &[u8]) -> Result<(), NoMemory> {
        self.numbers(&[owner.len() as u64 + 1, content.len() as u64, kind.into()])?;
        self.bytes(owner)?;
        self.bytes(&[0])?;
        self.align(4)?;
        self.bytes(content)?;
        self.align(4)
    }
}

/// The process's number, its parent's, its group's and its session's, as it sees them.
fn relations(process: &Process) -> [u64; 3] {
    let [group, session] = [&process.group, &process.session]
        .map(|number| numbers::told(number.load(Ordering::Relaxed)));
    [process.parent_in(&process.space), group, session]
}

/// `struct elf_prstatus`.
fn status(regs: &SavedRegs, info: Option<&Info>, task: &Task) -> Result<Vec<u8>, NoMemory> {
    const MICROSECONDS: u64 = 1_000_000;
    let mut laid = Laid::default();
    let (process, thread) = (&task.process, sched::current());
    let (signal, code) = info.map_or((0, 0), |info| (info.signal.number(), info.code));
    let (pending, blocked) = {
        let signals = task.signals.lock();
        (signals.pending.set(), signals.blocked)
    };
    laid.numbers(&[signal.into(), code as u64, 0])?;
    laid.number(u16::from(signal).to_le_bytes())?;
    laid.words(&[pending.0, blocked.0])?;
    laid.number((task.number() as u32).to_le_bytes())?;
    laid.numbers(&relations(process))?;
    let own = cpu_time::of_thread(thread);
    let children = cpu_time::of_children(process).times;
    for time in [own.user, own.system, children.user, children.system] {
        let time = time / 1000;
        laid.words(&[time / MICROSECONDS, time % MICROSECONDS])?;
    }
    laid.bytes(&registers::read(regs, &thread.bases()))?;
    laid.number(u32::from(registers::float_bytes() > 0).to_le_bytes())?;
    laid.align(WORD.bytes())?;
    Ok(laid.0)
}

/// The notes about the calling thread; `first`: it is the one that the signal ended, and what is
/// said of the process comes behind its first note.
pub(super) fn of_thread(
    regs: &SavedRegs,
    first: Option<(&Info, &[u8])>,
) -> Result<Vec<u8>, NoMemory> {
    let mut laid = Laid::default();
    let status = status(regs, first.map(|first| first.0), current_task())?;
    laid.note(b"CORE", kind::STATUS, &status)?;
    if let Some((_, process)) = first {
        laid.bytes(process)?;
    }
    let Some(floats) = sched::current().fpu() else { return Ok(laid.0) };
    let mut bytes = fallible::zeros(registers::float_bytes())?;
    registers::read_floats(floats, &mut bytes);
    if let Some(legacy) = bytes.get(..LEGACY_BYTES) {
        match WORD {
            WordSize::Four => laid.note(b"LINUX", kind::LEGACY, legacy)?,
            WordSize::Eight => laid.note(b"CORE", kind::FLOATS, legacy)?,
        }
    }
    if bytes.len() > LEGACY_BYTES {
        laid.note(b"LINUX", kind::EXTENDED, &bytes)?;
    }
    Ok(laid.0)
}

/// `struct elf_prpsinfo`.
fn who(process: &Process) -> Result<Vec<u8>, Errno> {
    const NAME_BYTES: usize = 16;
    const LINE_BYTES: usize = 80;
    let task = current_task();
    let mut laid = Laid::default();
    let nice = task.nice.load(Ordering::Relaxed) as u8;
    laid.bytes(&[0, b'R', 0, nice])?;
    laid.word(0)?;
    let (user, group) = {
        let all = task.credentials();
        (all.user.real, all.group.real)
    };
    for number in [user, group] {
        // Of the machines here, those with short words have the older, short numbers there.
        match WORD {
            WordSize::Four => laid.number((number as u16).to_le_bytes())?,
            WordSize::Eight => laid.number(number.to_le_bytes())?,
        }
    }
    laid.numbers(&[numbers::told(process.id)])?;
    laid.numbers(&relations(process))?;
    laid.text(process.name().as_str().as_bytes(), NAME_BYTES)?;
    let mut line = first_stack::command_line(process)?;
    line.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    laid.text(line.trim_ascii_end(), LINE_BYTES)?;
    Ok(laid.0)
}

/// Which file lies where (`NT_FILE`).
fn files(memory: &Memory) -> Result<Vec<u8>, Errno> {
    let with_file = || memory.areas().iter().filter(|area| area.has_file());
    let mut laid = Laid::default();
    laid.words(&[with_file().count() as u64, PAGE])?;
    for area in with_file() {
        let offset = area.source.as_ref().map_or(0, |source| source.offset / PAGE);
        laid.words(&[area.lowest, area.top, offset])?;
    }
    for area in with_file() {
        let path = area.source.as_ref().map(|source| source.object.known.path()).transpose()?;
        laid.bytes(path.as_deref().unwrap_or_default().as_bytes())?;
        laid.bytes(&[0])?;
    }
    Ok(laid.0)
}

/// The notes about the calling process, which a signal ends.
pub(super) fn of_process(info: &Info) -> Result<Vec<u8>, Errno> {
    let process = current();
    let mut laid = Laid::default();
    laid.note(b"CORE", kind::PROCESS, &who(process)?)?;
    laid.note(b"CORE", kind::INFO, &info.encode())?;
    let auxiliary = first_stack::auxiliary(process)?;
    laid.note(b"CORE", kind::AUXILIARY, &auxiliary)?;
    let memory = process.memory().ok_or(Errno::ESRCH)?;
    let files = files(&memory.lock())?;
    laid.note(b"CORE", kind::FILES, &files)?;
    Ok(laid.0)
}
