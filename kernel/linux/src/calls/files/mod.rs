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

pub(crate) use at::HERE;
pub(crate) use descriptors::{
    CLOSE_ON_EXEC, CREATE_TRUNCATE, close, dup, dup_to, fcntl, open, pipe,
};
pub(crate) use names::{chdir, getcwd, getdents64, mkdir, readlink, rename, symlink, unlink};
pub(crate) use poll::poll;
pub(crate) use stat::{access, fstat, fstatat, stat, statfs, statx};
pub(crate) use terminal::ioctl;
pub(crate) use transfer::{
    long_seek, pread, read, read_from, seek, sendfile, truncate, vectored, write, write_to,
};
