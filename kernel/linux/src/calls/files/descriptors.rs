//! Descriptors: opening, closing, duplicating, and their flags.

use super::super::memory::seals;
use super::at::path_at;
use crate::abi::open as flag;
use crate::error::{Errno, SysResult};
use crate::files::file_bytes::FileBytes;
use crate::files::open::{self as files, Descriptor, MAY_READ, MAY_WRITE, OpenFile, Pipe};
use crate::files::tree::{self, Content, Node};
use crate::memory::cut;
use crate::proc;
use crate::process::current;
use crate::process::user_memory::put;
use machine::spin::SpinLock;

const WRITE_ONLY: u32 = 1;
const READ_WRITE: u32 = 2;
const CREATE: u32 = 0o100;
const EXCLUSIVE: u32 = 0o200;
const TRUNCATE: u32 = 0o1000;
const APPEND: u32 = 0o2000;
const CLOEXEC: u32 = 0o2000000;
/// What `creat` adds.
pub(crate) const CREATE_TRUNCATE: u32 = CREATE | WRITE_ONLY | TRUNCATE;
/// The flag, as dup3 and pipe2 have it.
pub(crate) const CLOSE_ON_EXEC: u64 = CLOEXEC as u64;

pub(crate) fn open(from: u64, at: u64, flags: u32, mode: u32) -> SysResult {
    let path = path_at(from, at)?;
    let opened = if let Some(target) = proc::open_path(&path) {
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
                Content::File(_) if flags & TRUNCATE != 0 => cut::set_length(&node, 0)?,
                _ => {}
            }
        }
        let opened = OpenFile::of_node(node, path, flags & APPEND != 0)?;
        opened.set_uses(match flags & (WRITE_ONLY | READ_WRITE) {
            0 => MAY_READ,
            WRITE_ONLY => MAY_WRITE,
            _ => MAY_READ | MAY_WRITE,
        });
        opened
    };
    let descriptor = Descriptor { file: opened, close_on_exec: flags & CLOEXEC != 0 };
    files::add(&current().files(), descriptor, 0)
}

pub(crate) fn close(number: u64) -> SysResult {
    let closed = current().files().lock().set(number, None)?;
    // Its end may wake others: not under the lock.
    closed.map(|_| 0).ok_or(Errno::EBADF)
}

pub(crate) fn pipe(at: u64, flags: u64) -> SysResult {
    let (reader, writer) = Pipe::ends()?;
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    let descriptors = &current().files();
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

pub(crate) fn dup(number: u64) -> SysResult {
    let file = current().files().lock().get(number)?.file;
    files::add(&current().files(), Descriptor { file, close_on_exec: false }, 0)
}

pub(crate) fn dup_to(from: u64, to: u64, close_on_exec: bool, same_is_fine: bool) -> SysResult {
    let file = current().files().lock().get(from)?.file;
    if from == to {
        return if same_is_fine { Ok(to) } else { Err(Errno::EINVAL) };
    }
    // Used until the lock is open again, whatever becomes of the descriptor.
    let _used = file.clone();
    let replaced = current().files().lock().set(to, Some(Descriptor { file, close_on_exec }));
    drop(replaced?);
    Ok(to)
}

pub(crate) fn fcntl(number: u64, command: u64, argument: u64) -> SysResult {
    let descriptor = current().files().lock().get(number)?;
    match command {
        // F_DUPFD, F_DUPFD_CLOEXEC
        0 | 1030 => {
            let close_on_exec = command == 1030;
            files::add(&current().files(), Descriptor { close_on_exec, ..descriptor }, argument)
        }
        // F_GETFD, F_SETFD
        1 => Ok(u64::from(descriptor.close_on_exec)),
        2 => current().files().lock().set_close_on_exec(number, argument & 1 != 0).map(|()| 0),
        // F_GETFL, F_SETFL
        3 => Ok(u64::from(READ_WRITE)),
        4 => Ok(0),
        // F_ADD_SEALS, F_GET_SEALS
        1033 => seals(&descriptor.file, Some(argument)),
        1034 => seals(&descriptor.file, None),
        _ => Err(Errno::EINVAL),
    }
}
