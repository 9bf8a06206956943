//! Open files: what a descriptor leads to, and pipes.

use crate::error::Errno;
use crate::files::tree::{Content, Entry, MOST_NAME, Node, Special};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::WaitQueue;
use threads::terminal;

/// Bytes a pipe holds.
const PIPE_BYTES: usize = 64 << 10;
/// Descriptors of a process: what Linux allows one that has not asked for more.
pub(crate) const MOST_FILES: usize = 1024;

/// A pipe: bytes on their way from writers to readers.
#[derive(Debug)]
pub struct Pipe {
    bytes: SpinLock<VecDeque<u8>>,
    readers: AtomicU32,
    writers: AtomicU32,
    changed: WaitQueue,
}

/// What an open file is.
#[derive(Debug)]
pub enum Target {
    /// A node of the tree, with its path.
    Node(Arc<Node>, String),
    /// Text made when it was opened: a file of /proc.
    Text(Vec<u8>),
    /// The names in a directory of /proc, a line each.
    Names(String),
    /// The end of a pipe that is read.
    PipeReader(Arc<Pipe>),
    /// The end that is written.
    PipeWriter(Arc<Pipe>),
    /// The console.
    Console,
    /// Where a test collects a program's output.
    Capture(Arc<SpinLock<Vec<u8>>>),
    /// /proc/kstack/provoke.
    Provoke,
}

/// Uses of an open file.
pub(crate) const MAY_READ: u32 = 1;
pub(crate) const MAY_WRITE: u32 = 2;

/// An open file, shared by every descriptor that was duplicated from one.
#[derive(Debug)]
pub struct OpenFile {
    pub target: Target,
    /// For a directory of the tree: how many names have been read; in one of /proc, the bytes of them.
    pub position: AtomicU64,
    pub append: bool,
    /// What it was opened for: bits of [`MAY_READ`] and [`MAY_WRITE`].
    uses: AtomicU32,
    /// The last name that was read from a directory, and the position behind it: reading continues there, whatever has come and
    /// gone since.
    last_name: SpinLock<(u64, String)>,
}

/// One descriptor.
#[derive(Debug, Clone)]
pub struct Descriptor {
    pub file: Arc<OpenFile>,
    pub close_on_exec: bool,
}

/// All descriptors of a process.
#[derive(Debug, Default)]
pub struct Files(Vec<Option<Descriptor>>);

impl OpenFile {
    pub fn new(target: Target) -> Result<Arc<Self>, Errno> {
        Self::made(target, false)
    }

    fn made(target: Target, append: bool) -> Result<Arc<Self>, Errno> {
        let (position, last_name) = (AtomicU64::new(0), SpinLock::new((0, String::new())));
        let uses = AtomicU32::new(MAY_READ | MAY_WRITE);
        Ok(fallible::shared(Self { target, position, append, uses, last_name })?)
    }

    /// Says what it was opened for, before others know of it.
    pub(crate) fn set_uses(&self, uses: u32) {
        self.uses.store(uses, Ordering::Relaxed);
    }

    pub(crate) fn can_read(&self) -> bool {
        self.uses.load(Ordering::Relaxed) & MAY_READ != 0
    }

    pub(crate) fn can_write(&self) -> bool {
        self.uses.load(Ordering::Relaxed) & MAY_WRITE != 0
    }

    /// Opens a node.
    pub fn of_node(node: Arc<Node>, path: String, append: bool) -> Result<Arc<Self>, Errno> {
        let target = match &node.content {
            Content::Special(Special::Console) => Target::Console,
            _ => Target::Node(node, path),
        };
        Self::made(target, append)
    }

    /// The next name of an open directory, with number and mode: its bytes go to `to`. It is read once [`OpenFile::passed`]
    /// says so.
    pub(crate) fn next_name(
        &self,
        to: &mut [u8; MOST_NAME],
    ) -> Result<Option<(usize, u64, u32)>, Errno> {
        let position = self.position.load(Ordering::Relaxed);
        match &self.target {
            Target::Node(node, _) => {
                let (behind, last) = {
                    let last = self.last_name.lock();
                    (last.0, fallible::text(&last.1)?)
                };
                // Elsewhere than where reading stopped: the program went there.
                let index = usize::try_from(position).unwrap_or(usize::MAX);
                let is_next = position == behind && position != 0;
                node.entry(if is_next { Entry::After(&last) } else { Entry::At(index) }, to)
            }
            Target::Names(names) => {
                let from = usize::try_from(position).ok().and_then(|from| names.get(from..));
                let Some(name) = from.and_then(|rest| rest.lines().next()) else { return Ok(None) };
                let length = name.len().min(to.len());
                to[..length].copy_from_slice(&name.as_bytes()[..length]);
                Ok(Some((length, 1, 0)))
            }
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The name was read: the next one comes next. Gives out the new position.
    pub(crate) fn passed(&self, name: &[u8]) -> Result<u64, Errno> {
        let Target::Node(..) = &self.target else {
            let step = name.len() as u64 + 1;
            return Ok(self.position.fetch_add(step, Ordering::Relaxed) + step);
        };
        let name = core::str::from_utf8(name).map_err(|_| Errno::EINVAL)?;
        let name = fallible::text(name)?;
        let mut last = self.last_name.lock();
        let position = self.position.fetch_add(1, Ordering::Relaxed) + 1;
        *last = (position, name);
        Ok(position)
    }

    /// Reads from where the file stands; sleeps for pipes and the console. 0: the end.
    pub fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let position = self.position.load(Ordering::Relaxed);
        let read = self.read_at(position, to)?;
        self.position.store(position + read as u64, Ordering::Relaxed);
        Ok(read)
    }

    pub fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
        match &self.target {
            Target::Node(node, _) => node.read_at(position, to),
            Target::Text(text) => {
                let from = usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
                let length = to.len().min(text.len() - from);
                to[..length].copy_from_slice(&text[from..from + length]);
                Ok(length)
            }
            Target::Console => Ok(terminal::read(to)?),
            Target::PipeReader(pipe) => pipe.read(to),
            Target::Names(_) => Err(Errno::EISDIR),
            Target::PipeWriter(_) | Target::Provoke => Err(Errno::EBADF),
            Target::Capture(_) => Ok(0),
        }
    }

    /// Writes where the file stands.
    pub fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        match &self.target {
            Target::Node(node, _) => {
                let position =
                    if self.append { node.bytes() } else { self.position.load(Ordering::Relaxed) };
                let written = node.write_at(position, from)?;
                self.position.store(position + written as u64, Ordering::Relaxed);
                Ok(written)
            }
            Target::Console => {
                terminal::write_user(from);
                Ok(from.len())
            }
            Target::Capture(bytes) => {
                let mut bytes = bytes.lock();
                bytes.try_reserve(from.len()).map_err(|_| Errno::ENOSPC)?;
                bytes.extend_from_slice(from);
                Ok(from.len())
            }
            Target::PipeWriter(pipe) => pipe.write(from),
            Target::Provoke => {
                if threads::report::on_purpose::from_syscall(from) {
                    Ok(from.len())
                } else {
                    Err(Errno::EINVAL)
                }
            }
            Target::Text(_) | Target::Names(_) | Target::PipeReader(_) => Err(Errno::EBADF),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        match &self.target {
            Target::PipeReader(pipe) => {
                pipe.readers.fetch_sub(1, Ordering::AcqRel);
                pipe.changed.wake_all();
            }
            Target::PipeWriter(pipe) => {
                pipe.writers.fetch_sub(1, Ordering::AcqRel);
                pipe.changed.wake_all();
            }
            _ => {}
        }
    }
}

impl Pipe {
    /// A pipe's two ends: read, write.
    pub fn ends() -> Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
        // An end takes itself off its count when it goes, so each is counted when it is there.
        let pipe = fallible::shared(Self {
            bytes: SpinLock::new(VecDeque::new()),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            changed: WaitQueue::new(),
        })?;
        let reader = OpenFile::new(Target::PipeReader(pipe.clone()));
        pipe.readers.store(1, Ordering::Release);
        let reader = reader?;
        let writer = OpenFile::new(Target::PipeWriter(pipe.clone()));
        pipe.writers.store(1, Ordering::Release);
        Ok((reader, writer?))
    }

    fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let mut read = 0;
        self.changed.wait_until(|| {
            let mut bytes = self.bytes.lock();
            while read < to.len() {
                let Some(byte) = bytes.pop_front() else { break };
                to[read] = byte;
                read += 1;
            }
            read > 0 || to.is_empty() || self.writers.load(Ordering::Acquire) == 0
        })?;
        self.changed.wake_all();
        Ok(read)
    }

    fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < from.len() {
            let mut broken = false;
            let mut full = false;
            self.changed.wait_until(|| {
                broken = self.readers.load(Ordering::Acquire) == 0;
                let mut bytes = self.bytes.lock();
                let room = PIPE_BYTES - bytes.len().min(PIPE_BYTES);
                if broken || room == 0 {
                    return broken;
                }
                let piece = room.min(from.len() - written);
                if bytes.try_reserve(piece).is_err() {
                    full = true;
                    return true;
                }
                // CANNOT FAIL: reserved above.
                bytes.extend(&from[written..written + piece]);
                written += piece;
                true
            })?;
            self.changed.wake_all();
            if broken {
                return Err(Errno::EPIPE);
            }
            if full {
                return Err(Errno::ENOMEM);
            }
        }
        Ok(written)
    }

    /// Whether a read would not sleep.
    pub fn is_readable(&self) -> bool {
        !self.bytes.lock().is_empty() || self.writers.load(Ordering::Acquire) == 0
    }
}

impl Files {
    /// Input, output and errors on one file each.
    pub fn standard(input: Arc<OpenFile>, output: Arc<OpenFile>) -> Result<Self, Errno> {
        let descriptor =
            |file: &Arc<OpenFile>| Some(Descriptor { file: file.clone(), close_on_exec: false });
        let three = [descriptor(&input), descriptor(&output), descriptor(&output)];
        Ok(Self(fallible::collect(three.into_iter())?))
    }

    /// The same descriptors for a child.
    pub fn try_clone(&self) -> Result<Self, Errno> {
        Ok(Self(fallible::collect(self.0.iter().cloned())?))
    }

    pub fn get(&self, number: u64) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        slot.and_then(Clone::clone).ok_or(Errno::EBADF)
    }

    /// The lowest free number from `lowest` on, with a place.
    fn free_number(&mut self, lowest: u64) -> Result<usize, Errno> {
        let lowest = usize::try_from(lowest).ok().filter(|&lowest| lowest < MOST_FILES);
        let mut numbers = lowest.ok_or(Errno::EINVAL)?..MOST_FILES;
        let free = numbers.find(|&i| self.0.get(i).is_none_or(Option::is_none));
        let number = free.ok_or(Errno::EMFILE)?;
        self.make_place(number)?;
        Ok(number)
    }

    fn make_place(&mut self, number: usize) -> Result<(), Errno> {
        if number >= self.0.len() {
            let more = number + 1 - self.0.len();
            self.0.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.0.resize(number + 1, None);
        }
        Ok(())
    }

    /// Replaces what a number leads to; gives out what it led to before.
    pub fn set(
        &mut self,
        number: u64,
        to: Option<Descriptor>,
    ) -> Result<Option<Descriptor>, Errno> {
        let number =
            usize::try_from(number).ok().filter(|&i| i < MOST_FILES).ok_or(Errno::EBADF)?;
        self.make_place(number)?;
        Ok(core::mem::replace(&mut self.0[number], to))
    }

    /// One descriptor that execve closes.
    pub fn take_close_on_exec(&mut self) -> Option<Descriptor> {
        self.0.iter_mut().find_map(|slot| slot.take_if(|descriptor| descriptor.close_on_exec))
    }

    pub fn set_close_on_exec(&mut self, number: u64, to: bool) -> Result<(), Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.0.get_mut(number));
        slot.and_then(Option::as_mut).ok_or(Errno::EBADF)?.close_on_exec = to;
        Ok(())
    }
}

/// Gives a descriptor the lowest free number from `lowest` on. One that finds no place is dropped without the lock: the last user
/// of a pipe wakes others, that of a directory takes a tree apart.
pub fn add(files: &SpinLock<Files>, descriptor: Descriptor, lowest: u64) -> Result<u64, Errno> {
    let mut files = files.lock();
    let number = files.free_number(lowest)?;
    files.0[number] = Some(descriptor);
    Ok(number as u64)
}
