//! Calls about files.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `at` | what a descriptor or a path leads to |
//! | `scoped` | openat2 |
//! | `descriptors` | open, close, pipe, eventfd, dup, fcntl |
//! | `transfer` | read, write, sendfile, seek, truncate |
//! | `attributes` | modes, owners and times; more names for a file, named pipes |
//! | `mounts` | mount and umount |
//! | `locks` | flock, and the ranges of fcntl |
//! | `leases` | leases of files, and what they hold up |
//! | `devices` | devices that need more of the kernel than files know |
//! | `splice` | bytes between pipes and other files |
//! | `local` | local sockets with names |
//! | `sockets`, `socket_options` | local sockets: what they send and receive; what is set of them |
//! | `stat`, `names` | stat and access; directories, links, the current directory |
//! | `poll`, `epoll`, `terminal` | waiting for files; ioctl |
//! | `supervisor` | what is asked of the listener of a seccomp filter |
//! | `inotify` | being told what happens to files |

pub(super) mod at;
mod attributes;
mod background;
mod descriptors;
mod devices;
mod epoll;
mod extended;
mod inotify;
mod leases;
mod local;
mod locks;
mod many_messages;
mod mounts;
mod names;
mod notices;
mod poll;
mod scoped;
mod socket_args;
mod socket_options;
mod sockets;
mod splice;
mod stat;
mod supervisor;
mod terminal;
mod transfer;

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use at::HERE;
use extended::Of;

/// A number of 64 bits whose halves are two arguments, on every machine: where a word has 64 bits,
/// the first is all of it.
const fn halves(low: u64, high: u64) -> u64 {
    match abi::WORD {
        WordSize::Four => low & 0xffff_ffff | high << 32,
        WordSize::Eight => low,
    }
}

calls! {
    "read" (fd, to, length) => read(fd, to, length);
    "write" (fd, from, length) => write(fd, from, length);
    "open" (path, flags, mode) => open(HERE, path, flags as u32, mode as u32);
    "openat" (from, path, flags, mode) => open(from, path, flags as u32, mode as u32);
    "openat2" (from, path, how, size) => scoped::openat2(from, path, how, size);
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
    "statx" (from, path, flags, mask, to) => statx(from, path, flags, mask, to);
    "poll" (at, count, timeout) => poll(at, count, timeout as i32);
    "ppoll" (at, count, timeout, mask, bytes) => ppoll([at, count, timeout, mask, bytes], abi::WORD);
    "ppoll_time64" (at, count, timeout, mask, bytes) => ppoll([at, count, timeout, mask, bytes], WordSize::Eight);
    #[cfg(target_pointer_width = "64")]
    "select" (count, read, write, except, timeout) => select(count, [read, write, except], timeout);
    #[cfg(target_pointer_width = "32")]
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
    "socket" (domain, kind, protocol) => local::socket(domain, kind, protocol);
    "socketpair" (domain, kind, protocol, to) => sockets::socketpair(domain, kind, protocol, to);
    "bind" (fd, at, length) => local::bind(fd, at, length);
    "connect" (fd, at, length) => local::connect(fd, at, length);
    "listen" (fd, backlog) => local::listen(fd, backlog);
    "accept" (fd, at, length) => local::accept([fd, at, length, 0]);
    "accept4" (fd, at, length, flags) => local::accept([fd, at, length, flags]);
    "getsockname" (fd, to, length) => local::name(fd, to, length, false);
    "getpeername" (fd, to, length) => local::name(fd, to, length, true);
    "sendto" (fd, from, length, flags, to, to_length) => sockets::send([fd, from, length, flags, to, to_length]);
    "send" (fd, from, length, flags) => sockets::send([fd, from, length, flags, 0, 0]);
    "recvfrom" (fd, to, length, flags, from, from_length) => sockets::receive([fd, to, length, flags, from, from_length]);
    "recv" (fd, to, length, flags) => sockets::receive([fd, to, length, flags, 0, 0]);
    "sendmsg" (fd, at, flags) => sockets::send_message(fd, at, flags);
    "recvmsg" (fd, at, flags) => sockets::receive_message(fd, at, flags);
    "sendmmsg" (fd, at, count, flags) => many_messages::send_many(fd, at, count, flags);
    "recvmmsg" (fd, at, count, flags, timeout) => many_messages::receive_many([fd, at, count, flags, timeout], abi::WORD);
    "recvmmsg_time64" (fd, at, count, flags, timeout) => many_messages::receive_many([fd, at, count, flags, timeout], WordSize::Eight);
    "shutdown" (fd, how) => sockets::shutdown(fd, how);
    "getsockopt" (fd, level, option, to, length) => socket_options::get_option(fd, level, option, to, length);
    "setsockopt" (fd, level, option, at, length) => socket_options::set_option([fd, level, option, at, length]);
    #[cfg(target_pointer_width = "32")]
    "socketcall" (call, at) => sockets::call(call, at);
    "inotify_init" () => inotify::inotify_init(0);
    "inotify_init1" (flags) => inotify::inotify_init(flags);
    "inotify_add_watch" (fd, path, mask) => inotify::inotify_add_watch(fd, path, mask);
    "inotify_rm_watch" (fd, watch) => inotify::inotify_rm_watch(fd, watch);
    "eventfd" (value) => eventfd(value, 0);
    "eventfd2" (value, flags) => eventfd(value, flags);
    #[cfg(target_pointer_width = "64")]
    "lseek" (fd, offset, whence) => seek(fd, offset as i64, whence);
    #[cfg(target_pointer_width = "32")]
    "lseek" (fd, offset, whence) => seek(fd, i64::from(offset as i32), whence);
    "_llseek" (fd, high, low, to, whence) => long_seek(fd, high << 32 | low, to, whence);
    #[cfg(target_pointer_width = "64")]
    "pread64" (fd, to, length, offset) => pread(fd, to, length, offset);
    #[cfg(target_pointer_width = "32")]
    "pread64" (fd, to, length, a, b, c) => pread(fd, to, length, abi::wide_argument(a, b, c));
    #[cfg(target_pointer_width = "64")]
    "pwrite64" (fd, from, length, offset) => pwrite(fd, from, length, offset);
    #[cfg(target_pointer_width = "32")]
    "pwrite64" (fd, from, length, a, b, c) => pwrite(fd, from, length, abi::wide_argument(a, b, c));
    "readv" (fd, vector, count) => vectored(fd, vector, count, None, Direction::Read);
    "writev" (fd, vector, count) => vectored(fd, vector, count, None, Direction::Write);
    "preadv" (fd, vector, count, low, high) => vectored(fd, vector, count, Some(halves(low, high)), Direction::Read);
    "pwritev" (fd, vector, count, low, high) => vectored(fd, vector, count, Some(halves(low, high)), Direction::Write);
    "preadv2" (fd, vector, count, low, high, flags) => vectored_with_flags(fd, vector, count, halves(low, high), flags, Direction::Read);
    "pwritev2" (fd, vector, count, low, high, flags) => vectored_with_flags(fd, vector, count, halves(low, high), flags, Direction::Write);
    "splice" (from, from_offset, to, to_offset, length, flags) => splice::splice([from, from_offset, to, to_offset, length, flags]);
    "tee" (from, to, length, flags) => splice::tee(from, to, length, flags);
    "vmsplice" (fd, vector, count, flags) => splice::vmsplice(fd, vector, count, flags);
    "copy_file_range" (from, from_offset, to, to_offset, length, flags) => copy_file_range([from, from_offset, to, to_offset, length, flags]);
    "access" (path, mode) => access(HERE, path, mode, 0);
    "faccessat" (from, path, mode) => access(from, path, mode, 0);
    "faccessat2" (from, path, mode, flags) => access(from, path, mode, flags);
    "pipe" (to) => pipe(to, 0);
    "pipe2" (to, flags) => pipe(to, flags);
    "dup" (fd) => dup(fd);
    "dup2" (fd, to) => dup_to(fd, to, 0, true);
    "dup3" (fd, to, flags) => dup_to(fd, to, flags, false);
    "close_range" (first, last, flags) => close_range(first, last, flags);
    "fcntl" | "fcntl64" (fd, command, argument) => fcntl(fd, command, argument);
    "flock" (fd, operation) => locks::flock(fd, operation);
    "ioctl" (fd, request, argument) => ioctl(fd, request, argument);
    "getdents64" (fd, to, length) => names::getdents(fd, to, length, Names::Wide);
    "getdents" (fd, to, length) => names::getdents(fd, to, length, Names::Old);
    "ustat" (device, to) => stat::ustat(device, to);
    "sysfs" (option, first, second) => stat::file_systems(option, first, second);
    "vhangup" () => terminal::vhangup();
    "getcwd" (to, length) => getcwd(to, length);
    "chdir" (path) => chdir(path);
    "mkdir" (path, mode) => mkdir(HERE, path, mode as u32);
    "mkdirat" (from, path, mode) => mkdir(from, path, mode as u32);
    "rmdir" (path) => unlink(HERE, path, names::DIRECTORY);
    "unlink" (path) => unlink(HERE, path, 0);
    "unlinkat" (from, path, flags) => unlink(from, path, flags);
    "rename" (from, to) => attributes::rename([HERE, from, HERE, to, 0]);
    "renameat" (from_directory, from, to_directory, to) => attributes::rename([from_directory, from, to_directory, to, 0]);
    "renameat2" (from_directory, from, to_directory, to, flags) => attributes::rename([from_directory, from, to_directory, to, flags]);
    "link" (from, to) => attributes::link([HERE, from, HERE, to, 0]);
    "linkat" (from_directory, from, to_directory, to, flags) => attributes::link([from_directory, from, to_directory, to, flags]);
    "mknod" (path, mode, device) => attributes::mknod(HERE, path, mode, device);
    "mknodat" (from, path, mode, device) => attributes::mknod(from, path, mode, device);
    "fchdir" (fd) => attributes::fchdir(fd);
    "umask" (mask) => attributes::umask(mask);
    "symlink" (target, path) => symlink(target, HERE, path);
    "symlinkat" (target, from, path) => symlink(target, from, path);
    "readlink" (path, to, length) => readlink(HERE, path, to, length);
    "readlinkat" (from, path, to, length) => readlink(from, path, to, length);
    #[cfg(target_pointer_width = "64")]
    "ftruncate" (fd, length) => truncate(fd, length);
    #[cfg(target_pointer_width = "32")]
    "ftruncate" (fd, length) => truncate(fd, i64::from(length as i32) as u64);
    #[cfg(target_pointer_width = "64")]
    "truncate" (path, length) => truncate_path(path, length);
    #[cfg(target_pointer_width = "32")]
    "truncate" (path, length) => truncate_path(path, i64::from(length as i32) as u64);
    #[cfg(target_pointer_width = "32")]
    "truncate64" (path, a, b, c) => truncate_path(path, abi::wide_argument(a, b, c));
    #[cfg(target_pointer_width = "32")]
    "ftruncate64" (fd, a, b, c) => truncate(fd, abi::wide_argument(a, b, c));
    "sendfile" (to, from, offset, length) => sendfile(to, from, offset, abi::WORD, length);
    "sendfile64" (to, from, offset, length) => sendfile(to, from, offset, WordSize::Eight, length);
    #[cfg(target_pointer_width = "64")]
    "statfs" (path, to) => statfs(path, to);
    #[cfg(target_pointer_width = "64")]
    "fstatfs" (fd, to) => fstatfs(fd, to);
    #[cfg(target_pointer_width = "32")]
    "statfs64" (path, size, to) => stat::with_size(size, || statfs(path, to));
    #[cfg(target_pointer_width = "32")]
    "fstatfs64" (fd, size, to) => stat::with_size(size, || fstatfs(fd, to));
    "chmod" (path, mode) => attributes::chmod(HERE, path, mode, 0);
    "fchmod" (fd, mode) => attributes::fchmod(fd, mode);
    "fchmodat" (from, path, mode) => attributes::chmod(from, path, mode, 0);
    "fchmodat2" (from, path, mode, flags) => attributes::chmod(from, path, mode, flags);
    #[cfg(target_pointer_width = "64")]
    "chown" (path, user, group) => attributes::chown(HERE, path, user, group, 0);
    #[cfg(target_pointer_width = "32")]
    "chown" (path, user, group) => attributes::chown(HERE, path, attributes::narrow(user), attributes::narrow(group), 0);
    "chown32" (path, user, group) => attributes::chown(HERE, path, user, group, 0);
    #[cfg(target_pointer_width = "64")]
    "lchown" (path, user, group) => attributes::chown(HERE, path, user, group, attributes::NOFOLLOW);
    #[cfg(target_pointer_width = "32")]
    "lchown" (path, user, group) => attributes::chown(HERE, path, attributes::narrow(user), attributes::narrow(group), attributes::NOFOLLOW);
    "lchown32" (path, user, group) => attributes::chown(HERE, path, user, group, attributes::NOFOLLOW);
    #[cfg(target_pointer_width = "64")]
    "fchown" (fd, user, group) => attributes::fchown(fd, user, group);
    #[cfg(target_pointer_width = "32")]
    "fchown" (fd, user, group) => attributes::fchown(fd, attributes::narrow(user), attributes::narrow(group));
    "fchown32" (fd, user, group) => attributes::fchown(fd, user, group);
    "fchownat" (from, path, user, group, flags) => attributes::chown(from, path, user, group, flags);
    "utimensat" (from, path, times, flags) => attributes::utimens(from, path, times, flags, abi::WORD);
    "utimensat_time64" (from, path, times, flags) => attributes::utimens(from, path, times, flags, WordSize::Eight);
    "utimes" (path, times) => attributes::utimes(HERE, path, times);
    "futimesat" (from, path, times) => attributes::utimes(from, path, times);
    "utime" (path, times) => attributes::utime(path, times);
    #[cfg(target_pointer_width = "64")]
    "fallocate" (fd, mode, offset, length) => attributes::fallocate(fd, mode, offset, length);
    #[cfg(target_pointer_width = "32")]
    "fallocate" (fd, mode, low, high, length_low, length_high) => attributes::fallocate(fd, mode, low | high << 32, length_low | length_high << 32);
    "fsync" | "fdatasync" (fd) => attributes::sync_file(fd);
    "sync" () => Ok(0);
    #[cfg(target_pointer_width = "64")]
    "fadvise64" (fd, _offset, length, advice) => attributes::advise(fd, length, advice);
    #[cfg(target_pointer_width = "64")]
    "readahead" (fd) => attributes::read_ahead(fd);
    #[cfg(target_pointer_width = "64")]
    "sync_file_range" (fd, offset, length, flags) => attributes::sync_range(fd, offset, length, flags);
    "cachestat" (fd, range, to, flags) => attributes::cached(fd, range, to, flags);
    "syncfs" (fd) => at::file(fd).map(|_| 0);
    "setxattr" (path, name, from, length, flags) => extended::set([name, from, length, flags], Of::Path(path));
    "lsetxattr" (path, name, from, length, flags) => extended::set([name, from, length, flags], Of::Link(path));
    "fsetxattr" (fd, name, from, length, flags) => extended::set([name, from, length, flags], Of::File(fd));
    "getxattr" (path, name, to, length) => extended::get([name, to, length], Of::Path(path));
    "lgetxattr" (path, name, to, length) => extended::get([name, to, length], Of::Link(path));
    "fgetxattr" (fd, name, to, length) => extended::get([name, to, length], Of::File(fd));
    "listxattr" (path, to, length) => extended::list([to, length], Of::Path(path));
    "llistxattr" (path, to, length) => extended::list([to, length], Of::Link(path));
    "flistxattr" (fd, to, length) => extended::list([to, length], Of::File(fd));
    "removexattr" (path, name) => extended::remove(name, Of::Path(path));
    "lremovexattr" (path, name) => extended::remove(name, Of::Link(path));
    "fremovexattr" (fd, name) => extended::remove(name, Of::File(fd));
    "mount" (source, target, kind, flags, data) => mounts::mount(source, target, kind, flags, data);
    "umount" (target) => mounts::unmount(target, 0);
    "umount2" (target, flags) => mounts::unmount(target, flags);
    "chroot" (path) => names::change_root(path);
    "pivot_root" (_new, old) => attributes::not_permitted(old);
}

use descriptors::{CREATE_TRUNCATE, close, close_range, dup, dup_to, eventfd, fcntl, open, pipe};
use names::{Names, chdir, getcwd, mkdir, readlink, symlink, unlink};
use poll::{poll, ppoll, pselect, select};
use stat::{access, fstat, fstatat, fstatfs, stat, statfs, statx};
pub(crate) use supervisor::take as take_given;
use terminal::ioctl;
use transfer::{
    Direction, copy_file_range, long_seek, pread, pwrite, read, seek, sendfile, truncate,
    truncate_path, vectored, vectored_with_flags, write,
};
