//! System calls about files.

use super::abi::{self, Stat, open as flag};
use super::current;
use super::error::{Errno, SysResult};
use super::file_bytes::FileBytes;
use super::files::{self, Descriptor, OpenFile, Pipe, Target};
use super::proc_fs;
use super::syscall::{WORD_BYTES, get, get_numbers, path, put};
use super::tree::{self, Content, MOST_NAME, Node};
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched;

const WRITE_ONLY: u32 = 1;
const READ_WRITE: u32 = 2;
const CREATE: u32 = 0o100;
const EXCLUSIVE: u32 = 0o200;
const TRUNCATE: u32 = 0o1000;
const APPEND: u32 = 0o2000;
const CLOEXEC: u32 = 0o2000000;
/// What `creat` adds.
pub(super) const CREATE_TRUNCATE: u32 = CREATE | WRITE_ONLY | TRUNCATE;
/// The flag, as dup3 and pipe2 have it.
pub(super) const CLOSE_ON_EXEC: u64 = CLOEXEC as u64;
const AT_EMPTY_PATH: u64 = 0x1000;
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// Bytes moved between program and file at a time: they lie on the kernel stack.
const PIECE: usize = 512;

/// The open file behind a descriptor, pinned in the thread until the call ends.
fn file(number: u64) -> Result<&'static OpenFile, Errno> {
    let descriptor = current().files.lock().get(number)?;
    sched::current().pin(descriptor.file).ok_or(Errno::ENFILE)
}

fn directory() -> Arc<String> {
    current().directory.lock().clone()
}

/// "The current directory", where a call takes a directory.
pub(super) const HERE: u64 = -100_i64 as u64;

/// A path of the program, made absolute: seen from an open directory, or from the current one.
fn path_at(from: u64, at: u64) -> Result<String, Errno> {
    let path = path(at)?;
    if path.starts_with('/') || from as i32 == HERE as i32 {
        return tree::absolute(&directory(), &path);
    }
    match &file(from)?.target {
        Target::Node(node, directory) if node.is_directory() => tree::absolute(directory, &path),
        _ => Err(Errno::ENOTDIR),
    }
}

pub(super) fn read(number: u64, to: u64, length: u64) -> SysResult {
    read_from(file(number)?, to, length)
}

pub(super) fn write(number: u64, from: u64, length: u64) -> SysResult {
    write_to(file(number)?, from, length)
}

pub(super) fn read_from(file: &OpenFile, to: u64, length: u64) -> SysResult {
    transfer(length, |done, piece| {
        let read = file.read(piece)?;
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..read])?;
        Ok(read)
    })
}

pub(super) fn pread(number: u64, to: u64, length: u64, offset: u64) -> SysResult {
    let file = file(number)?;
    // What has no places has no place to read from; and nothing to wait for.
    if matches!(file.target, Target::PipeReader(_) | Target::Console) {
        return Err(Errno::ESPIPE);
    }
    transfer(length, |done, piece| {
        let read = file.read_at(offset.saturating_add(done), piece)?;
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..read])?;
        Ok(read)
    })
}

pub(super) fn write_to(file: &OpenFile, from: u64, length: u64) -> SysResult {
    let result = transfer(length, |done, piece| {
        let at = from.checked_add(done).ok_or(Errno::EFAULT)?;
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        memory.lock().read(at, piece)?;
        drop(memory);
        file.write(piece)
    });
    if result == Err(Errno::EPIPE) {
        super::life::send_signal(current(), super::signals::SIGPIPE)?;
    }
    result
}

/// Moves up to `length` bytes in pieces; ends early where a piece falls short. What was moved counts more than an error later on.
fn transfer(
    length: u64,
    mut step: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>,
) -> SysResult {
    // What Linux moves at once, at most.
    let length = length.min(0x7fff_f000);
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < length {
        // From a file without an end to one that takes everything, this is long.
        if sched::current().killed() {
            return if done == 0 { Err(Errno::EINTR) } else { Ok(done) };
        }
        let wanted = (length - done).min(PIECE as u64) as usize;
        match step(done, &mut piece[..wanted]) {
            Ok(moved) => {
                done += moved as u64;
                if moved < wanted {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

pub(super) fn vectored(
    number: u64,
    vector: u64,
    count: u64,
    one: fn(&OpenFile, u64, u64) -> SysResult,
) -> SysResult {
    let file = file(number)?;
    if count > 1024 {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    for i in 0..count {
        let entry = vector.checked_add(2 * WORD_BYTES * i).ok_or(Errno::EFAULT)?;
        let [base, length] = get_numbers(entry, abi::WORD)?;
        match one(file, base, length) {
            Ok(moved) => {
                done += moved;
                if moved < length {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

pub(super) fn open(from: u64, at: u64, flags: u32, mode: u32) -> SysResult {
    let path = path_at(from, at)?;
    let opened = if let Some(target) = proc_fs::open_path(&path) {
        OpenFile::new(target?)?
    } else {
        let follow = flags & flag::NOFOLLOW == 0;
        let node = match tree::find("/", &path, follow) {
            Ok(_) if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE => {
                return Err(Errno::EEXIST);
            }
            Ok(node) => node,
            Err(Errno::ENOENT) if flags & CREATE != 0 => {
                let file = Content::File(SpinLock::new(FileBytes::new()));
                let node = Node::new(file, mode & 0o777)?;
                match tree::add("/", &path, node.clone()) {
                    Ok(()) => node,
                    // Another thread was faster: its file is the one.
                    Err(Errno::EEXIST) if flags & EXCLUSIVE == 0 => tree::find("/", &path, follow)?,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        if flags & flag::DIRECTORY != 0 && !node.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if flags & (WRITE_ONLY | READ_WRITE) != 0 {
            match &node.content {
                Content::Directory(_) => return Err(Errno::EISDIR),
                Content::Fixed(_) => return Err(Errno::EROFS),
                Content::File(bytes) if flags & TRUNCATE != 0 => {
                    let cut = bytes.lock().set_length(0);
                    drop(cut);
                }
                _ => {}
            }
        }
        OpenFile::of_node(node, path, flags & APPEND != 0)?
    };
    let descriptor = Descriptor { file: opened, close_on_exec: flags & CLOEXEC != 0 };
    files::add(&current().files, descriptor, 0)
}

pub(super) fn close(number: u64) -> SysResult {
    let closed = current().files.lock().set(number, None)?;
    // Its end may wake others: not under the lock.
    closed.map(|_| 0).ok_or(Errno::EBADF)
}

fn stat_of(file: &OpenFile) -> Stat {
    target_stat(&file.target)
}

fn target_stat(target: &Target) -> Stat {
    let special = |mode| Stat { inode: 1, mode, links: 1, ..Stat::default() };
    match target {
        Target::Node(node, _) => node_stat(node),
        Target::Text(text) => Stat { bytes: text.len() as u64, ..special(0o100444) },
        Target::Names(_) => special(0o040555),
        Target::PipeReader(_) | Target::PipeWriter(_) | Target::Capture(_) => special(0o010600),
        Target::Console => Stat { device: 5 << 8 | 1, ..special(0o020620) },
        Target::Provoke => special(0o100222),
    }
}

fn node_stat(node: &Node) -> Stat {
    let device = if node.mode() & 0o170000 == 0o020000 { 1 << 8 | 3 } else { 0 };
    Stat {
        inode: node.inode,
        mode: node.mode(),
        links: 1,
        bytes: node.bytes(),
        device,
        modified_seconds: 0,
    }
}

fn stat_by_path(from: u64, at: u64, follow: bool) -> Result<Stat, Errno> {
    let path = path_at(from, at)?;
    Ok(match proc_fs::open_path(&path) {
        Some(target) => target_stat(&target?),
        None => node_stat(&*tree::find("/", &path, follow)?),
    })
}

pub(super) fn stat(at: u64, to: u64, follow: bool) -> SysResult {
    put(to, &abi::encode_stat(&stat_by_path(HERE, at, follow)?))?;
    Ok(0)
}

pub(super) fn fstat(number: u64, to: u64) -> SysResult {
    put(to, &abi::encode_stat(&stat_of(file(number)?)))?;
    Ok(0)
}

/// What a directory, a path and flags lead to: the directory itself, if the path is empty and may be.
fn stat_at(number: u64, at: u64, flags: u64) -> Result<Stat, Errno> {
    if flags & AT_EMPTY_PATH != 0 && get::<1>(at)? == [0] {
        return Ok(stat_of(file(number)?));
    }
    stat_by_path(number, at, flags & AT_SYMLINK_NOFOLLOW == 0)
}

pub(super) fn fstatat(number: u64, at: u64, to: u64, flags: u64) -> SysResult {
    put(to, &abi::encode_stat(&stat_at(number, at, flags)?))?;
    Ok(0)
}

pub(super) fn statx(number: u64, at: u64, flags: u64, to: u64) -> SysResult {
    put(to, &abi::encode_statx(&stat_at(number, at, flags)?))?;
    Ok(0)
}

/// Everything but an empty pipe is ready at once.
pub(super) fn poll(at: u64, count: u64, timeout: i32) -> SysResult {
    const IN: u16 = 1;
    const OUT: u16 = 4;
    const INVALID: u16 = 0x20;
    if count > files::MOST_FILES as u64 {
        return Err(Errno::EINVAL);
    }
    let deadline = match timeout {
        ..0 => u64::MAX,
        timeout => threads::time::nanoseconds() + timeout as u64 * 1_000_000,
    };
    loop {
        let mut ready = 0;
        for i in 0..count {
            let place = at.checked_add(8 * i).ok_or(Errno::EFAULT)?;
            let entry: [u8; 8] = get(place)?;
            let number = i32::from_le_bytes(entry[..4].try_into().unwrap_or_default());
            let wanted = u16::from_le_bytes([entry[4], entry[5]]);
            let found = if number < 0 {
                0
            } else {
                // Without the lock: the last user of a file may be this look at it.
                let file = current().files.lock().get(number as u64);
                match file.map(|descriptor| descriptor.file) {
                    Ok(file) => match &file.target {
                        Target::PipeReader(pipe) if !pipe.is_readable() => 0,
                        Target::Console => {
                            wanted & (OUT | if threads::terminal::has_input() { IN } else { 0 })
                        }
                        _ => wanted & (IN | OUT),
                    },
                    Err(_) => INVALID,
                }
            };
            put(place + 6, &found.to_le_bytes())?;
            ready += u64::from(found != 0);
        }
        if ready > 0 || threads::time::nanoseconds() >= deadline {
            return Ok(ready);
        }
        threads::time::sleep(1_000_000).map_err(|_| Errno::EINTR)?;
    }
}

pub(super) fn seek(number: u64, offset: i64, whence: u64) -> SysResult {
    let file = file(number)?;
    let top = match &file.target {
        Target::Node(node, _) => node.bytes(),
        Target::Text(text) => text.len() as u64,
        Target::Names(_) => 0,
        _ => return Err(Errno::ESPIPE),
    };
    let base = match whence {
        0 => 0,
        1 => file.position.load(Ordering::Relaxed),
        2 => top,
        _ => return Err(Errno::EINVAL),
    };
    let position = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
    file.position.store(position, Ordering::Relaxed);
    Ok(position)
}

/// The same for a program whose words are too small for the result: it goes to memory.
pub(super) fn long_seek(number: u64, offset: u64, to: u64, whence: u64) -> SysResult {
    let position = seek(number, offset as i64, whence)?;
    put(to, &position.to_le_bytes())?;
    Ok(0)
}

pub(super) fn access(from: u64, at: u64) -> SysResult {
    let path = path_at(from, at)?;
    if let Some(target) = proc_fs::open_path(&path) {
        return target.map(|_| 0);
    }
    tree::find("/", &path, true).map(|_| 0)
}

pub(super) fn pipe(at: u64, flags: u64) -> SysResult {
    let (reader, writer) = Pipe::ends()?;
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    let descriptors = &current().files;
    let take_back = |number: u64| {
        let taken = descriptors.lock().set(number, None);
        drop(taken);
    };
    let read = files::add(descriptors, Descriptor { file: reader, close_on_exec }, 0)?;
    let write = files::add(descriptors, Descriptor { file: writer, close_on_exec }, 0);
    let write = write.inspect_err(|_| take_back(read))?;
    let mut numbers = [0; 8];
    numbers[..4].copy_from_slice(&(read as u32).to_le_bytes());
    numbers[4..].copy_from_slice(&(write as u32).to_le_bytes());
    put(at, &numbers).inspect_err(|_| {
        take_back(read);
        take_back(write);
    })?;
    Ok(0)
}

pub(super) fn dup(number: u64) -> SysResult {
    let file = current().files.lock().get(number)?.file;
    files::add(&current().files, Descriptor { file, close_on_exec: false }, 0)
}

pub(super) fn dup_to(from: u64, to: u64, close_on_exec: bool, same_is_fine: bool) -> SysResult {
    let file = current().files.lock().get(from)?.file;
    if from == to {
        return if same_is_fine { Ok(to) } else { Err(Errno::EINVAL) };
    }
    // Used until the lock is open again, whatever becomes of the descriptor.
    let _used = file.clone();
    let replaced = current().files.lock().set(to, Some(Descriptor { file, close_on_exec }));
    drop(replaced?);
    Ok(to)
}

pub(super) fn fcntl(number: u64, command: u64, argument: u64) -> SysResult {
    let descriptor = current().files.lock().get(number)?;
    match command {
        // F_DUPFD, F_DUPFD_CLOEXEC
        0 | 1030 => {
            let close_on_exec = command == 1030;
            files::add(&current().files, Descriptor { close_on_exec, ..descriptor }, argument)
        }
        // F_GETFD, F_SETFD
        1 => Ok(u64::from(descriptor.close_on_exec)),
        2 => current().files.lock().set_close_on_exec(number, argument & 1 != 0).map(|()| 0),
        // F_GETFL, F_SETFL
        3 => Ok(u64::from(READ_WRITE)),
        4 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn ioctl(number: u64, request: u64, at: u64) -> SysResult {
    const TCGETS: u64 = 0x5401;
    const TCSETS: core::ops::RangeInclusive<u64> = 0x5402..=0x5404;
    const TIOCGPGRP: u64 = 0x540f;
    const TIOCSPGRP: u64 = 0x5410;
    const TIOCGWINSZ: u64 = 0x5413;
    if !matches!(file(number)?.target, Target::Console) {
        return Err(Errno::ENOTTY);
    }
    match request {
        TCGETS => {
            // struct termios: flags for input, output, control, local; line; 19 control characters.
            let mut bytes = [0; 36];
            for (offset, value) in [(0, 0x500_u32), (4, 5), (8, 0xbf), (12, 0x8a3b)] {
                bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            }
            put(at, &bytes)?;
            Ok(0)
        }
        TIOCGPGRP => put(at, &(current().id as u32).to_le_bytes()).map(|()| 0),
        TIOCGWINSZ => put(at, &[24, 0, 80, 0, 0, 0, 0, 0]).map(|()| 0),
        TIOCSPGRP => Ok(0),
        request if TCSETS.contains(&request) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn getdents64(number: u64, to: u64, length: u64) -> SysResult {
    let file = file(number)?;
    let mut done = 0;
    let mut name = [0; MOST_NAME];
    while let Some((name_bytes, inode, mode)) = file.next_name(&mut name)? {
        // inode 8, offset 8, length 2, type 1, name, NUL; a multiple of 8.
        let bytes = (19 + name_bytes + 1).next_multiple_of(8);
        if done + bytes as u64 > length {
            if done == 0 {
                return Err(Errno::EINVAL);
            }
            break;
        }
        let name = &name[..name_bytes];
        let at = to.checked_add(done).ok_or(Errno::EFAULT)?;
        let mut entry = [0; 19 + MOST_NAME + 9];
        entry[..8].copy_from_slice(&inode.to_le_bytes());
        entry[16..18].copy_from_slice(&(bytes as u16).to_le_bytes());
        entry[18] = (mode >> 12) as u8;
        entry[19..19 + name.len()].copy_from_slice(name);
        match put(at, &entry[..bytes]) {
            Ok(()) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        // Only now: a program that could not take the name gets it again.
        let position = file.passed(name)?;
        put(at + 8, &position.to_le_bytes())?;
        done += bytes as u64;
    }
    Ok(done)
}

pub(super) fn getcwd(to: u64, length: u64) -> SysResult {
    let path = directory();
    let bytes = path.len() as u64 + 1;
    if bytes > length {
        return Err(Errno::ERANGE);
    }
    put(to, path.as_bytes())?;
    put(to.checked_add(bytes - 1).ok_or(Errno::EFAULT)?, &[0])?;
    Ok(bytes)
}

pub(super) fn chdir(at: u64) -> SysResult {
    let path = path_at(HERE, at)?;
    let node = tree::find("/", &path, true)?;
    if node.mode() & 0o170000 != 0o040000 {
        return Err(Errno::ENOTDIR);
    }
    let path = fallible::shared(path)?;
    let before = core::mem::replace(&mut *current().directory.lock(), path);
    drop(before);
    Ok(0)
}

pub(super) fn mkdir(from: u64, at: u64, _mode: u32) -> SysResult {
    tree::add("/", &path_at(from, at)?, Node::directory()?).map(|()| 0)
}

pub(super) fn unlink(from: u64, at: u64, is_directory: bool) -> SysResult {
    tree::remove("/", &path_at(from, at)?, is_directory).map(|()| 0)
}

pub(super) fn rename(from_directory: u64, from: u64, to_directory: u64, to: u64) -> SysResult {
    let from = path_at(from_directory, from)?;
    tree::rename("/", &from, &path_at(to_directory, to)?).map(|()| 0)
}

pub(super) fn symlink(target: u64, from: u64, at: u64) -> SysResult {
    tree::add("/", &path_at(from, at)?, tree::link_to(&path(target)?)?).map(|()| 0)
}

pub(super) fn readlink(from: u64, at: u64, to: u64, length: u64) -> SysResult {
    let path = path_at(from, at)?;
    let answer = |target: &[u8]| {
        let bytes = &target[..(target.len() as u64).min(length) as usize];
        put(to, bytes)?;
        Ok(bytes.len() as u64)
    };
    match path.as_str() {
        "/proc/self" => {
            let mut digits = [0; 20];
            answer(proc_fs::decimal(current().id, &mut digits))
        }
        "/proc/self/exe" => {
            let executable = current().executable.lock().clone();
            answer(executable.as_bytes())
        }
        _ => match &tree::find("/", &path, false)?.content {
            Content::Link(target) => answer(target.as_bytes()),
            _ => Err(Errno::EINVAL),
        },
    }
}

pub(super) fn truncate(number: u64, length: u64) -> SysResult {
    let Target::Node(node, _) = &file(number)?.target else { return Err(Errno::EINVAL) };
    let Content::File(bytes) = &node.content else { return Err(Errno::EINVAL) };
    // What is cut off goes without the lock.
    let cut = bytes.lock().set_length(length)?;
    drop(cut);
    Ok(0)
}

pub(super) fn sendfile(to: u64, from: u64, offset: u64, length: u64) -> SysResult {
    if offset != 0 {
        return Err(Errno::EINVAL);
    }
    let (to, from) = (file(to)?, file(from)?);
    transfer(length, |_, piece| {
        let read = from.read(piece)?;
        to.write(&piece[..read])
    })
}

pub(super) fn statfs(to: u64) -> SysResult {
    const RAMFS: u64 = 0x8584_58f6;
    let frames = machine::memory::frames::total_count() as u64;
    put(to, &abi::encode_statfs(RAMFS, frames, machine::memory::frames::free_count() as u64))?;
    Ok(0)
}
