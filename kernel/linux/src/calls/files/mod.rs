//! Calls about files.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `at` | what a descriptor or a path leads to |
//! | `descriptors` | open, close, pipe, eventfd, dup, fcntl |
//! | `transfer` | read, write, sendfile, seek, truncate |
//! | `stat`, `names` | stat and access; directories, links, the current directory |
//! | `poll`, `epoll`, `terminal` | waiting for files; ioctl |

mod at;
mod descriptors;
mod epoll;
mod names;
mod poll;
mod stat;
mod terminal;
mod transfer;

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use at::HERE;

/// A number of 64 bits whose halves are two arguments, on every machine: where a word has 64 bits, the first is all of it.
const fn halves(low: u64, high: u64) -> u64 {
    match abi::WORD {
        WordSize::Four => low & 0xffff_ffff | high << 32,
        WordSize::Eight => low,
    }
}

/// Half a number of 64 bits and the other half.
#[cfg(target_pointer_width = "32")]
const fn wide(low: u64, high: u64) -> u64 {
    low | high << 32
}

calls! {
    "read" (fd, to, length) => read(fd, to, length);
    "write" (fd, from, length) => write(fd, from, length);
    "open" (path, flags, mode) => open(HERE, path, flags as u32, mode as u32);
    "openat" (from, path, flags, mode) => open(from, path, flags as u32, mode as u32);
    "creat" (path, mode) => open(HERE, path, CREATE_TRUNCATE, mode as u32);
    "close" (fd) => close(fd);
    #[cfg(target_pointer_width = "64")]
    "stat" (path, to) => stat(path, to, true);
    #[cfg(target_pointer_width = "64")]
    "lstat" (path, to) => stat(path, to, false);
    #[cfg(target_pointer_width = "64")]
    "fstat" (fd, to) => fstat(fd, to);
    #[cfg(target_pointer_width = "32")]
    "stat64" (path, to) => stat(path, to, true);
    #[cfg(target_pointer_width = "32")]
    "lstat64" (path, to) => stat(path, to, false);
    #[cfg(target_pointer_width = "32")]
    "fstat64" (fd, to) => fstat(fd, to);
    "newfstatat" | "fstatat64" (from, path, to, flags) => fstatat(from, path, to, flags);
    "statx" (from, path, flags, _mask, to) => statx(from, path, flags, to);
    "poll" (at, count, timeout) => poll(at, count, timeout as i32);
    "ppoll" (at, count, timeout, mask, bytes) => ppoll([at, count, timeout, mask, bytes], abi::WORD);
    "ppoll_time64" (at, count, timeout, mask, bytes) => ppoll([at, count, timeout, mask, bytes], WordSize::Eight);
    #[cfg(not(target_arch = "x86"))]
    "select" (count, read, write, except, timeout) => select(count, [read, write, except], timeout);
    #[cfg(target_arch = "x86")]
    "select" (at) => poll::old_select(at);
    "_newselect" (count, read, write, except, timeout) => select(count, [read, write, except], timeout);
    "pselect6" (count, read, write, except, timeout, mask) => pselect(count, [read, write, except], timeout, mask, abi::WORD);
    "pselect6_time64" (count, read, write, except, timeout, mask) => pselect(count, [read, write, except], timeout, mask, WordSize::Eight);
    "epoll_create" (size) => epoll::create_with_size(size);
    "epoll_create1" (flags) => epoll::create(flags);
    "epoll_ctl" (epoll, operation, fd, at) => epoll::control(epoll, operation, fd, at);
    "epoll_wait" (epoll, at, count, timeout) => epoll::wait(epoll, at, count, timeout);
    "epoll_pwait" (epoll, at, count, timeout, mask, bytes) => epoll::wait_with_mask([epoll, at, count, timeout, mask, bytes]);
    "epoll_pwait2" (epoll, at, count, timeout, mask, bytes) => epoll::wait_with_timespec([epoll, at, count, timeout, mask, bytes]);
    "eventfd" (value) => eventfd(value, 0);
    "eventfd2" (value, flags) => eventfd(value, flags);
    #[cfg(target_pointer_width = "64")]
    "lseek" (fd, offset, whence) => seek(fd, offset as i64, whence);
    #[cfg(target_pointer_width = "32")]
    "lseek" (fd, offset, whence) => seek(fd, i64::from(offset as i32), whence);
    "_llseek" (fd, high, low, to, whence) => long_seek(fd, high << 32 | low, to, whence);
    #[cfg(target_pointer_width = "64")]
    "pread64" (fd, to, length, offset) => pread(fd, to, length, offset);
    #[cfg(target_arch = "x86")]
    "pread64" (fd, to, length, low, high) => pread(fd, to, length, wide(low, high));
    // A number of 64 bits begins in an even register.
    #[cfg(target_arch = "arm")]
    "pread64" (fd, to, length, _pad, low, high) => pread(fd, to, length, wide(low, high));
    #[cfg(target_pointer_width = "64")]
    "pwrite64" (fd, from, length, offset) => pwrite(fd, from, length, offset);
    #[cfg(target_arch = "x86")]
    "pwrite64" (fd, from, length, low, high) => pwrite(fd, from, length, wide(low, high));
    #[cfg(target_arch = "arm")]
    "pwrite64" (fd, from, length, _pad, low, high) => pwrite(fd, from, length, wide(low, high));
    "readv" (fd, vector, count) => vectored(fd, vector, count, None, Direction::Read);
    "writev" (fd, vector, count) => vectored(fd, vector, count, None, Direction::Write);
    "preadv" (fd, vector, count, low, high) => vectored(fd, vector, count, Some(halves(low, high)), Direction::Read);
    "pwritev" (fd, vector, count, low, high) => vectored(fd, vector, count, Some(halves(low, high)), Direction::Write);
    "preadv2" (fd, vector, count, low, high, flags) => vectored_with_flags(fd, vector, count, halves(low, high), flags, Direction::Read);
    "pwritev2" (fd, vector, count, low, high, flags) => vectored_with_flags(fd, vector, count, halves(low, high), flags, Direction::Write);
    "copy_file_range" (from, from_offset, to, to_offset, length, flags) => copy_file_range([from, from_offset, to, to_offset, length, flags]);
    "access" (path) => access(HERE, path);
    "faccessat" | "faccessat2" (from, path) => access(from, path);
    "pipe" (to) => pipe(to, 0);
    "pipe2" (to, flags) => pipe(to, flags);
    "dup" (fd) => dup(fd);
    "dup2" (fd, to) => dup_to(fd, to, 0, true);
    "dup3" (fd, to, flags) => dup_to(fd, to, flags, false);
    "close_range" (first, last, flags) => close_range(first, last, flags);
    "fcntl" | "fcntl64" (fd, command, argument) => fcntl(fd, command, argument);
    "ioctl" (fd, request, argument) => ioctl(fd, request, argument);
    "getdents64" (fd, to, length) => getdents64(fd, to, length);
    "getcwd" (to, length) => getcwd(to, length);
    "chdir" (path) => chdir(path);
    "mkdir" (path, mode) => mkdir(HERE, path, mode as u32);
    "mkdirat" (from, path, mode) => mkdir(from, path, mode as u32);
    "rmdir" (path) => unlink(HERE, path, true);
    "unlink" (path) => unlink(HERE, path, false);
    "unlinkat" (from, path, flags) => unlink(from, path, flags & 0x200 != 0);
    "rename" (from, to) => rename(HERE, from, HERE, to);
    "renameat" | "renameat2" (from_directory, from, to_directory, to) => rename(from_directory, from, to_directory, to);
    "symlink" (target, path) => symlink(target, HERE, path);
    "symlinkat" (target, from, path) => symlink(target, from, path);
    "readlink" (path, to, length) => readlink(HERE, path, to, length);
    "readlinkat" (from, path, to, length) => readlink(from, path, to, length);
    "ftruncate" (fd, length) => truncate(fd, length);
    #[cfg(target_arch = "x86")]
    "ftruncate64" (fd, low, high) => truncate(fd, wide(low, high));
    #[cfg(target_arch = "arm")]
    "ftruncate64" (fd, _pad, low, high) => truncate(fd, wide(low, high));
    "sendfile" (to, from, offset, length) => sendfile(to, from, offset, abi::WORD, length);
    "sendfile64" (to, from, offset, length) => sendfile(to, from, offset, WordSize::Eight, length);
    #[cfg(target_pointer_width = "64")]
    "statfs" (_path, to) => statfs(to);
    #[cfg(target_pointer_width = "32")]
    "statfs64" (_path, _length, to) => statfs(to);
    "chmod" | "fchmod" | "fchmodat" | "chown" | "fchown" | "lchown" | "utimensat" | "fsync" | "sync" | "utimensat_time64" | "chown32" | "lchown32" | "fchown32" () => Ok(0);
}

use descriptors::{CREATE_TRUNCATE, close, close_range, dup, dup_to, eventfd, fcntl, open, pipe};
use names::{chdir, getcwd, getdents64, mkdir, readlink, rename, symlink, unlink};
use poll::{poll, ppoll, pselect, select};
use stat::{access, fstat, fstatat, stat, statfs, statx};
use terminal::ioctl;
use transfer::{
    Direction, copy_file_range, long_seek, pread, pwrite, read, seek, sendfile, truncate, vectored,
    vectored_with_flags, write,
};
