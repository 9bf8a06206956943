//! Calls about files.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `at` | what a descriptor or a path leads to |
//! | `descriptors` | open, close, pipe, dup, fcntl |
//! | `transfer` | read, write, sendfile, seek, truncate |
//! | `stat`, `names` | stat and access; directories, links, the current directory |
//! | `poll`, `terminal` | waiting for files; ioctl |

mod at;
mod descriptors;
mod names;
mod poll;
mod stat;
mod terminal;
mod transfer;

use super::table::calls;
#[cfg(target_pointer_width = "32")]
use crate::abi;
use at::HERE;

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
    "ppoll" | "ppoll_time64" (at, count, timeout) => poll(at, count, if timeout == 0 { -1 } else { 0 });
    #[cfg(target_pointer_width = "64")]
    "lseek" (fd, offset, whence) => seek(fd, offset as i64, whence);
    #[cfg(target_pointer_width = "32")]
    "lseek" (fd, offset, whence) => seek(fd, i64::from(offset as i32), whence);
    "_llseek" (fd, high, low, to, whence) => long_seek(fd, high << 32 | low, to, whence);
    #[cfg(target_pointer_width = "64")]
    "pread64" (fd, to, length, offset) => pread(fd, to, length, offset);
    #[cfg(target_pointer_width = "32")]
    "pread64" (fd, to, length, a, b, c) => pread(fd, to, length, abi::wide_argument(a, b, c));
    "readv" (fd, vector, count) => vectored(fd, vector, count, read_from);
    "writev" (fd, vector, count) => vectored(fd, vector, count, write_to);
    "access" (path) => access(HERE, path);
    "faccessat" | "faccessat2" (from, path) => access(from, path);
    "pipe" (to) => pipe(to, 0);
    "pipe2" (to, flags) => pipe(to, flags);
    "dup" (fd) => dup(fd);
    "dup2" (fd, to) => dup_to(fd, to, false, true);
    "dup3" (fd, to, flags) => dup_to(fd, to, flags & CLOSE_ON_EXEC != 0, false);
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
    #[cfg(target_pointer_width = "64")]
    "ftruncate" (fd, length) => truncate(fd, length);
    #[cfg(target_pointer_width = "32")]
    "ftruncate" (fd, length) => truncate(fd, i64::from(length as i32) as u64);
    #[cfg(target_pointer_width = "32")]
    "ftruncate64" (fd, a, b, c) => truncate(fd, abi::wide_argument(a, b, c));
    #[cfg(target_pointer_width = "64")]
    "truncate" (path, length) => truncate_path(path, length);
    #[cfg(target_pointer_width = "32")]
    "truncate" (path, length) => truncate_path(path, i64::from(length as i32) as u64);
    #[cfg(target_pointer_width = "32")]
    "truncate64" (path, a, b, c) => truncate_path(path, abi::wide_argument(a, b, c));
    "sendfile" | "sendfile64" (to, from, offset, length) => sendfile(to, from, offset, length);
    #[cfg(target_pointer_width = "64")]
    "statfs" (_path, to) => statfs(to);
    #[cfg(target_pointer_width = "32")]
    "statfs64" (_path, _length, to) => statfs(to);
    "chmod" | "fchmod" | "fchmodat" | "chown" | "fchown" | "lchown" | "utimensat" | "fsync" | "sync" | "utimensat_time64" | "chown32" | "lchown32" | "fchown32" () => Ok(0);
}

use descriptors::{CLOSE_ON_EXEC, CREATE_TRUNCATE, close, dup, dup_to, fcntl, open, pipe};
use names::{chdir, getcwd, getdents64, mkdir, readlink, rename, symlink, unlink};
use poll::poll;
use stat::{access, fstat, fstatat, stat, statfs, statx};
use terminal::ioctl;
use transfer::{
    long_seek, pread, read, read_from, seek, sendfile, truncate, truncate_path, vectored, write,
    write_to,
};
