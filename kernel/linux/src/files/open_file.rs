//! Open files: what a descriptor leads to.

use super::directory_notices;
use super::inotify::{self, bit};
use super::leases;
use super::locks::{self, Key};
use super::made::Made;
use super::notices::{Addressee, Notices};
use super::object::{How, Object};
use super::pipe::PipeEnd;
use super::readiness::{FileWatcher, Readiness, event};
use super::spot::Known;
use super::standing::Standing;
use crate::abi::Stat;
use crate::error::Errno;
use crate::files::tree::{Content, Entry, MAX_NAME_TEXT, Node};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// What an open file is.
#[derive(Debug)]
pub enum Target {
    /// A node of the tree, and by which name.
    Node(Arc<Node>, Arc<Known>),
    /// A file or folder of /proc or /sys.
    Made(Made),
    /// What has operations of its own: pipes, sockets, terminals, counters.
    Object(Arc<dyn Object>),
    /// Where a test collects a program's output.
    Capture(Arc<SpinLock<Vec<u8>>>),
}

/// Flags of an open file, as `open` has them.
pub(crate) mod flag {
    /// How it may be used: 0 to read, 1 to write, 2 for both, 3 for neither.
    pub(crate) const ACCESS: u32 = 3;
    pub(crate) const WRITE_ONLY: u32 = 1;
    pub(crate) const READ_WRITE: u32 = 2;
    pub(crate) const APPEND: u32 = 0o2000;
    pub(crate) const NONBLOCK: u32 = 0o4000;
    /// The file was made by this opening: no program sees this one.
    pub(crate) const CREATED: u32 = 1 << 31;
    pub(crate) const ASYNC: u32 = 0o20000;
    pub(crate) const NO_ATIME: u32 = 0o1000000;
    pub(crate) const PATH: u32 = 0o10000000;
    /// Of pipes: what is written at once is a packet.
    pub(crate) use crate::abi::open::DIRECT;
    /// Those that `F_SETFL` changes.
    pub(crate) const CHANGEABLE: u32 = APPEND | NONBLOCK | NO_ATIME;
}

/// An open file, shared by every descriptor that was duplicated from one.
#[derive(Debug)]
pub struct OpenFile {
    pub target: Target,
    /// For a directory of the tree: how many names have been read; in one of /proc, the bytes of
    /// them.
    pub position: AtomicU64,
    flags: AtomicU32,
    /// The last name that was read from a directory, and the position behind it: reading continues
    /// there, whatever has come and gone since.
    last_name: SpinLock<(u64, String)>,
    /// Entries of epolls that watch it.
    watched_by: SpinLock<Vec<Arc<dyn FileWatcher>>>,
    /// It counts among those that write its node.
    is_writer: AtomicBool,
    /// The same among those that only read it.
    is_reader: AtomicBool,
    /// Whom it tells of input and room by a signal, if it has `O_ASYNC`.
    addressee: SpinLock<Addressee>,
}

impl OpenFile {
    /// Opens something to read and write.
    pub fn new(target: Target) -> Result<Arc<Self>, Errno> {
        Self::with_flags(target, flag::READ_WRITE)
    }

    /// Opens something with flags of `open`.
    pub(crate) fn with_flags(target: Target, flags: u32) -> Result<Arc<Self>, Errno> {
        Ok(fallible::shared(Self {
            target,
            position: AtomicU64::new(0),
            flags: AtomicU32::new(flags),
            last_name: SpinLock::new((0, String::new())),
            watched_by: SpinLock::new(Vec::new()),
            is_writer: AtomicBool::new(false),
            is_reader: AtomicBool::new(false),
            addressee: SpinLock::new(Addressee::default()),
        })?)
    }

    /// Opened by a name: it counts among those that write the file, if it may, and no program runs
    /// from that; otherwise, among those that read it.
    pub(crate) fn begin_using(&self) -> Result<(), Errno> {
        if let Some(node) = self.read_node() {
            node.attributes.begin_reading();
            self.is_reader.store(true, Ordering::Relaxed);
        }
        if let Some(node) = self.written_node() {
            node.attributes.begin_writing()?;
            self.is_writer.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The directory that it is, to see paths from. `ENOTDIR`: it is none.
    pub(crate) fn directory(&self) -> Result<Standing, Errno> {
        match &self.target {
            Target::Node(_, known) => known.spot().map(Standing::Tree),
            Target::Made(made) if made.is_directory() => {
                Standing::made(fallible::text(made.path())?)
            }
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The file of the tree that it may only read.
    fn read_node(&self) -> Option<&Node> {
        let Target::Node(node, _) = &self.target else { return None };
        let is_file = matches!(node.content, Content::File(_));
        (is_file && !self.is_path() && self.flags() & flag::ACCESS == 0).then_some(node)
    }

    /// The file of the tree that it may write.
    fn written_node(&self) -> Option<&Node> {
        let Target::Node(node, _) = &self.target else { return None };
        let is_file = matches!(node.content, Content::File(_));
        (is_file && !self.is_path() && self.flags() & flag::ACCESS != 0).then_some(node)
    }

    /// An open file with operations of its own.
    pub(crate) fn of_object(object: Arc<dyn Object>, flags: u32) -> Result<Arc<Self>, Errno> {
        Self::with_flags(Target::Object(object), flags)
    }

    /// Its flags, as `F_GETFL` gives them out.
    pub(crate) fn flags(&self) -> u32 {
        self.all_flags() & !flag::CREATED
    }

    /// The same, with what only the kernel knows.
    pub(crate) fn all_flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// It was made when it was opened.
    pub(crate) fn note_created(&self) {
        self.flags.fetch_or(flag::CREATED, Ordering::Relaxed);
    }

    /// What its locks know it by: every open file of the same file has the same.
    pub(crate) fn lock_key(&self) -> Key {
        match &self.target {
            Target::Node(node, _) => Key("", node.inode),
            Target::Object(object) => Key(object.label(), object.stat().inode),
            Target::Made(made) => Key("made", made.stat().inode),
            Target::Capture(bytes) => Key("capture", Arc::as_ptr(bytes).addr() as u64),
        }
    }

    /// Sets those that can be changed.
    pub(crate) fn set_flags(&self, to: u32) {
        let is_pipe = self.object().is_some_and(|object| object.of_kind::<PipeEnd>().is_some());
        let can = flag::CHANGEABLE | if is_pipe { flag::DIRECT } else { 0 };
        let changed = |flags: u32| Some(flags & !can | to & can);
        let _always = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }

    /// Whom it tells by a signal.
    pub(crate) fn addressee(&self) -> Addressee {
        *self.addressee.lock()
    }

    /// Changes that.
    pub(crate) fn set_addressee(&self, change: impl FnOnce(Addressee) -> Addressee) {
        let changed = {
            let mut addressee = self.addressee.lock();
            *addressee = change(*addressee);
            *addressee
        };
        let me = core::ptr::from_ref(self).addr();
        leases::change_addressee(me, changed);
        self.notices().for_each(|notices| notices.change(me, changed));
        directory_notices::change(me, changed);
    }

    fn notices(&self) -> impl Iterator<Item = &Notices> {
        let both = self.object().map_or([None, None], |object| object.notices());
        both.into_iter().flatten()
    }

    /// Turns `O_ASYNC` on or off: what tells nothing stays without it.
    pub(crate) fn set_async(&self, descriptor: i32, is_on: bool) -> Result<(), Errno> {
        let me = core::ptr::from_ref(self).addr();
        if !is_on {
            self.notices().for_each(|notices| notices.remove(me));
            self.flags.fetch_and(!flag::ASYNC, Ordering::Relaxed);
            return Ok(());
        }
        let addressee = self.addressee();
        for notices in self.notices() {
            notices.add(me, descriptor, addressee)?;
            self.flags.fetch_or(flag::ASYNC, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What those know it by who must not keep it.
    pub(crate) fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Whether it is only a place in the tree (`O_PATH`).
    pub(crate) fn is_path(&self) -> bool {
        self.flags() & flag::PATH != 0
    }

    pub(crate) fn can_read(&self) -> bool {
        matches!(self.flags() & flag::ACCESS, 0 | flag::READ_WRITE) && !self.is_path()
    }

    pub(crate) fn can_write(&self) -> bool {
        matches!(self.flags() & flag::ACCESS, flag::WRITE_ONLY | flag::READ_WRITE)
            && !self.is_path()
    }

    fn how(&self) -> How {
        let has = |flag| self.flags() & flag != 0;
        How { nonblocking: has(flag::NONBLOCK), packets: has(flag::DIRECT) }
    }

    /// What it is, if it has operations of its own.
    pub(crate) fn object(&self) -> Option<&dyn Object> {
        match &self.target {
            Target::Object(object) => Some(&**object),
            _ => None,
        }
    }

    /// Where its changes are told.
    pub(crate) fn readiness(&self) -> Option<&Readiness> {
        self.object()?.readiness()
    }

    /// What it is ready for.
    pub(crate) fn events(&self) -> u32 {
        match &self.target {
            Target::Object(object) => object.events(),
            _ => event::READABLE | event::WRITABLE,
        }
    }

    /// What `stat` tells of it.
    pub(crate) fn stat(&self) -> Stat {
        match &self.target {
            Target::Node(node, _) => node.stat(),
            Target::Made(made) => made.stat(),
            Target::Object(object) => object.stat(),
            Target::Capture(_) => Stat { inode: 1, mode: 0o010600, links: 1, ..Stat::default() },
        }
    }

    /// An entry of an epoll watches it: it is told of the end.
    pub(super) fn note_watcher(&self, entry: Arc<dyn FileWatcher>) -> Result<(), Errno> {
        Ok(fallible::push(&mut self.watched_by.lock(), entry)?)
    }

    pub(super) fn forget_watcher(&self, watcher: *const ()) {
        let taken = {
            let mut watchers = self.watched_by.lock();
            let is_it = |one: &Arc<dyn FileWatcher>| Arc::as_ptr(one).cast::<()>() == watcher;
            let place = watchers.iter().position(is_it);
            place.map(|place| watchers.swap_remove(place))
        };
        drop(taken);
    }

    /// Something has happened to the file of the tree that it is: told to those who watch that.
    pub(crate) fn tell(&self, bits: u32) {
        if let Target::Node(node, known) = &self.target {
            inotify::tell_known(node, known, bits);
        }
    }

    /// The next name of an open directory, with number and mode: its bytes go to `to`. It is read
    /// once [`OpenFile::passed`] says so.
    pub(crate) fn next_name(
        &self,
        to: &mut [u8; MAX_NAME_TEXT],
    ) -> Result<Option<(usize, u64, u32)>, Errno> {
        let position = self.position.load(Ordering::Relaxed);
        // First the directory itself, and the one that it lies in.
        let number = match &self.target {
            Target::Node(node, _) if node.is_directory() => node.inode,
            Target::Made(made) if made.is_directory() => made.stat().inode,
            _ => return Err(Errno::ENOTDIR),
        };
        let Some(position) = position.checked_sub(2) else {
            let dots = &b".."[..position as usize + 1];
            to[..dots.len()].copy_from_slice(dots);
            let of_parent = || match self.directory() {
                Ok(Standing::Tree(spot)) => spot.above().map_or(number, |above| above.node().inode),
                _ => number,
            };
            let number = if dots.len() == 1 { number } else { of_parent() };
            return Ok(Some((dots.len(), number, 0o040000)));
        };
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        match &self.target {
            Target::Node(node, _) => {
                let (behind, last) = {
                    let last = self.last_name.lock();
                    (last.0, fallible::text(&last.1)?)
                };
                // Elsewhere than where reading stopped: the program went there.
                let is_next = position + 2 == behind && position != 0;
                node.entry(if is_next { Entry::After(&last) } else { Entry::At(index) }, to)
            }
            Target::Made(made) => made.name(index, to),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The name was read: the next one comes next. Gives out the new position.
    pub(crate) fn passed(&self, name: &[u8]) -> Result<u64, Errno> {
        let is_dots = matches!(name, b"." | b"..");
        if is_dots || !matches!(self.target, Target::Node(..)) {
            return Ok(self.position.fetch_add(1, Ordering::Relaxed) + 1);
        }
        let name = core::str::from_utf8(name).map_err(|_| Errno::EINVAL)?;
        let name = fallible::text(name)?;
        let mut last = self.last_name.lock();
        let position = self.position.fetch_add(1, Ordering::Relaxed) + 1;
        *last = (position, name);
        Ok(position)
    }

    /// Reads from where the file stands; sleeps where there is nothing yet. 0: the end.
    pub fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let position = self.position.load(Ordering::Relaxed);
        let read = self.read_at(position, to)?;
        self.position.store(position.wrapping_add(read as u64), Ordering::Relaxed);
        Ok(read)
    }

    /// Reads at an offset, where there are offsets.
    pub fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
        if !self.can_read() {
            return Err(Errno::EBADF);
        }
        match &self.target {
            Target::Node(node, known) => {
                let read = node.read_at(position, to)?;
                if read > 0 && self.flags() & flag::NO_ATIME == 0 {
                    node.attributes.was_read();
                }
                if read > 0 {
                    inotify::tell_known(node, known, bit::ACCESS);
                }
                Ok(read)
            }
            Target::Made(made) => made.read_at(position, to),
            Target::Object(object) => object.read(to, self.how()),
            Target::Capture(_) => Ok(0),
        }
    }

    /// Writes where the file stands.
    pub fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        let here = || self.position.load(Ordering::Relaxed);
        let position = match &self.target {
            Target::Node(node, _) if self.flags() & flag::APPEND != 0 => node.bytes(),
            Target::Node(..) => here(),
            Target::Made(made) if made.has_bytes() => here(),
            _ => return self.write_at(0, from),
        };
        let written = self.write_at(position, from)?;
        self.position.store(position + written as u64, Ordering::Relaxed);
        Ok(written)
    }

    /// Writes at an offset, where there are offsets.
    pub fn write_at(&self, position: u64, from: &[u8]) -> Result<usize, Errno> {
        if !self.can_write() {
            return Err(Errno::EBADF);
        }
        match &self.target {
            Target::Node(node, known) => {
                let written = node.write_at(position, from)?;
                node.attributes.was_written();
                if written > 0 {
                    inotify::tell_known(node, known, bit::MODIFY);
                }
                Ok(written)
            }
            Target::Object(object) => object.write(from, self.how()),
            Target::Capture(bytes) => {
                let mut bytes = bytes.lock();
                bytes.try_reserve(from.len()).map_err(|_| Errno::ENOSPC)?;
                bytes.extend_from_slice(from);
                Ok(from.len())
            }
            Target::Made(made) => made.write_at(position, from),
        }
    }

    /// Whether bytes have no place in it.
    pub(crate) fn is_stream(&self) -> bool {
        match &self.target {
            Target::Object(object) => object.is_stream(),
            Target::Capture(_) => true,
            _ => false,
        }
    }

    /// Whether it is a file whose bytes come in one piece for each read.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self.target, Target::Object(_))
    }

    /// Whether it is a node of the tree that is a file in memory.
    pub(crate) fn is_plain(&self) -> bool {
        match &self.target {
            Target::Node(node, _) => matches!(node.content, Content::File(_)),
            _ => false,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let me = core::ptr::from_ref(self).addr();
        locks::file_is_dropped(me);
        leases::file_is_dropped(me);
        directory_notices::file_is_dropped(me);
        if self.flags() & flag::ASYNC != 0 {
            self.notices().for_each(|notices| notices.remove(me));
        }
        if self.is_writer.load(Ordering::Relaxed)
            && let Target::Node(node, _) = &self.target
        {
            node.attributes.end_writing();
        }
        if self.is_reader.load(Ordering::Relaxed)
            && let Target::Node(node, _) = &self.target
        {
            node.attributes.end_reading();
        }
        if let Target::Node(node, known) = &self.target
            && !self.is_path()
        {
            let wrote = self.flags() & flag::ACCESS != 0;
            let closed = if wrote { bit::CLOSE_WRITE } else { bit::CLOSE_NOWRITE };
            inotify::tell_known(node, known, closed);
        }
        let entries = core::mem::take(&mut *self.watched_by.lock());
        for entry in entries {
            entry.forget(self.readiness());
        }
    }
}
