//! Open files: what a descriptor leads to, and pipes.

use super::error::Errno;
use super::tree::{Content, Node, Special};
use crate::console;
use crate::sched::WaitQueue;
use crate::sync::SpinLock;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes a pipe holds.
const PIPE_BYTES: usize = 64 << 10;
/// Descriptors of a process.
const MOST_FILES: usize = 256;

/// A pipe: bytes on their way from writers to readers.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: SpinLock<VecDeque<u8>>,
    readers: AtomicU32,
    writers: AtomicU32,
    changed: WaitQueue,
}

/// What an open file is.
#[derive(Debug)]
pub(crate) enum Target {
    /// A node of the tree, with its path.
    Node(Arc<Node>, String),
    /// Text made when it was opened: a file of /proc.
    Text(Vec<u8>),
    /// The names in a directory of /proc.
    Names(Vec<String>),
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

/// An open file, shared by every descriptor that was duplicated from one.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) target: Target,
    pub(crate) position: AtomicU64,
    pub(crate) append: bool,
}

/// One descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) close_on_exec: bool,
}

/// All descriptors of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(Vec<Option<Descriptor>>);

impl OpenFile {
    pub(crate) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self { target, position: AtomicU64::new(0), append: false })
    }

    /// Opens a node.
    pub(crate) fn of_node(node: Arc<Node>, path: String, append: bool) -> Arc<Self> {
        let target = match &node.content {
            Content::Special(Special::Console) => Target::Console,
            _ => Target::Node(node, path),
        };
        Arc::new(Self { target, position: AtomicU64::new(0), append })
    }

    /// Reads from where the file stands; sleeps for pipes and the console. 0: the end.
    pub(crate) fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let position = self.position.load(Ordering::Relaxed);
        let read = self.read_at(position, to)?;
        self.position.store(position + read as u64, Ordering::Relaxed);
        Ok(read)
    }

    pub(crate) fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
        match &self.target {
            Target::Node(node, _) => node.read_at(position, to),
            Target::Text(text) => {
                let from = usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
                let length = to.len().min(text.len() - from);
                to[..length].copy_from_slice(&text[from..from + length]);
                Ok(length)
            }
            Target::Console => console::read(to).map_err(|_| Errno::EINTR),
            Target::PipeReader(pipe) => pipe.read(to),
            Target::Names(_) => Err(Errno::EISDIR),
            Target::PipeWriter(_) | Target::Provoke => Err(Errno::EBADF),
            Target::Capture(_) => Ok(0),
        }
    }

    /// Writes where the file stands.
    pub(crate) fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        match &self.target {
            Target::Node(node, _) => {
                let position =
                    if self.append { node.bytes() } else { self.position.load(Ordering::Relaxed) };
                let written = node.write_at(position, from)?;
                self.position.store(position + written as u64, Ordering::Relaxed);
                Ok(written)
            }
            Target::Console => {
                console::write_user(from);
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
                if crate::provoke::from_syscall(from) {
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
    pub(crate) fn ends() -> (Arc<OpenFile>, Arc<OpenFile>) {
        let pipe = Arc::new(Self {
            bytes: SpinLock::new(VecDeque::new()),
            readers: AtomicU32::new(1),
            writers: AtomicU32::new(1),
            changed: WaitQueue::new(),
        });
        (OpenFile::new(Target::PipeReader(pipe.clone())), OpenFile::new(Target::PipeWriter(pipe)))
    }

    fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let mut read = 0;
        self.changed
            .wait_until(|| {
                let mut bytes = self.bytes.lock();
                while read < to.len() {
                    let Some(byte) = bytes.pop_front() else { break };
                    to[read] = byte;
                    read += 1;
                }
                read > 0 || to.is_empty() || self.writers.load(Ordering::Acquire) == 0
            })
            .map_err(|_| Errno::EINTR)?;
        self.changed.wake_all();
        Ok(read)
    }

    fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < from.len() {
            let mut broken = false;
            let mut full = false;
            self.changed
                .wait_until(|| {
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
                    bytes.extend(&from[written..written + piece]);
                    written += piece;
                    true
                })
                .map_err(|_| Errno::EINTR)?;
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
    pub(crate) fn is_readable(&self) -> bool {
        !self.bytes.lock().is_empty() || self.writers.load(Ordering::Acquire) == 0
    }
}

impl Files {
    /// Input, output and errors on one file each.
    pub(crate) fn standard(input: Arc<OpenFile>, output: Arc<OpenFile>) -> Self {
        let descriptor =
            |file: &Arc<OpenFile>| Some(Descriptor { file: file.clone(), close_on_exec: false });
        Self(alloc::vec![descriptor(&input), descriptor(&output), descriptor(&output)])
    }

    pub(crate) fn get(&self, number: u64) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        slot.and_then(Clone::clone).ok_or(Errno::EBADF)
    }

    /// The lowest free number from `lowest` on.
    pub(crate) fn add(&mut self, descriptor: Descriptor, lowest: u64) -> Result<u64, Errno> {
        let lowest = usize::try_from(lowest).map_err(|_| Errno::EINVAL)?;
        let free = (lowest..MOST_FILES).find(|&i| self.0.get(i).is_none_or(Option::is_none));
        let number = free.ok_or(Errno::EMFILE)?;
        self.set(number as u64, Some(descriptor))?;
        Ok(number as u64)
    }

    /// Replaces what a number leads to; gives out what it led to before.
    pub(crate) fn set(
        &mut self,
        number: u64,
        to: Option<Descriptor>,
    ) -> Result<Option<Descriptor>, Errno> {
        let number =
            usize::try_from(number).ok().filter(|&i| i < MOST_FILES).ok_or(Errno::EBADF)?;
        if number >= self.0.len() {
            self.0.resize(number + 1, None);
        }
        Ok(core::mem::replace(&mut self.0[number], to))
    }

    /// What execve closes.
    pub(crate) fn close_on_exec(&mut self) -> Vec<Descriptor> {
        let closing = |slot: &mut Option<Descriptor>| slot.take_if(|d| d.close_on_exec);
        self.0.iter_mut().filter_map(closing).collect()
    }

    pub(crate) fn set_close_on_exec(&mut self, number: u64, to: bool) -> Result<(), Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.0.get_mut(number));
        slot.and_then(Option::as_mut).ok_or(Errno::EBADF)?.close_on_exec = to;
        Ok(())
    }
}
