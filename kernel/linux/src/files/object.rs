//! What an open file does: one set of operations, for each kind of file that is not a node of a
//! tree.

use super::notices::Notices;
use super::readiness::{Readiness, event};
use crate::abi::Stat;
use crate::error::{Errno, SysResult};
use core::any::Any;
use core::fmt;

/// How a file is used: as the flags of its open file have it.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub(crate) nonblocking: bool,
    /// What is written to a pipe at once is a packet (`O_DIRECT`).
    pub(crate) packets: bool,
}

/// The program that makes a request: its memory, and where it belongs.
pub trait Caller {
    fn get(&self, at: u64, to: &mut [u8]) -> Result<(), Errno>;
    fn put(&self, at: u64, from: &[u8]) -> Result<(), Errno>;
    /// Its session and its process group.
    fn session_and_group(&self) -> (u64, u64);
    /// What a number that it says of a group is to the kernel, and what it is told of one.
    fn number_meant(&self, number: u64) -> u64;
    fn number_told(&self, number: u64) -> u64;
    /// Whether it leads its session.
    fn leads_session(&self) -> bool;
    /// Whether its session has a process group of this number.
    fn has_group(&self, group: u64) -> bool;
    /// Whether it may change a terminal that a session has, with that group in the foreground: one
    /// in the background of it is stopped (SIGTTOU), and the call is made again.
    fn may_change_terminal(&self, session: u64, foreground: u64) -> Result<(), Errno>;
    /// Whether it may keep others from changing a terminal's modes.
    fn may_lock_terminal(&self) -> bool;
}

/// What has attributes of its own, as a node of the tree.
pub(crate) trait Named: Send + Sync + fmt::Debug {
    /// What `stat` tells of it.
    fn named_stat(&self) -> Stat;
}

/// Operations of an open file. What a kind does not know answers with Linux's error.
pub trait Object: Any + Send + Sync + fmt::Debug {
    /// Reads what is there, in one piece; sleeps for the first of it. 0: the end.
    fn read(&self, _to: &mut [u8], _how: How) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Writes; sleeps while there is no room. `EPIPE`: no reader is left, the caller gets SIGPIPE.
    fn write(&self, _from: &[u8], _how: How) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// What it is ready for.
    fn events(&self) -> u32 {
        event::READABLE | event::WRITABLE
    }

    /// Where changes of that are told; `None`: it is always ready for all, and cannot be watched by
    /// an epoll.
    fn readiness(&self) -> Option<&Readiness> {
        None
    }

    /// Who is told by a signal of input to it, and of room in it.
    fn notices(&self) -> [Option<&Notices>; 2] {
        [None, None]
    }

    /// The group in the foreground of a terminal; 0: none. `None`: it is no terminal.
    fn foreground(&self) -> Option<u64> {
        None
    }

    /// A request of a device, with its argument, a number or an address of the program.
    fn ioctl(&self, _request: u32, _argument: u64, _caller: &dyn Caller) -> SysResult {
        Err(Errno::ENOTTY)
    }

    /// What it is, for `stat`.
    fn stat(&self) -> Stat {
        Stat { inode: 1, mode: 0o600, links: 1, ..Stat::default() }
    }

    /// What a link in /proc/PID/fd says.
    fn label(&self) -> &'static str;

    /// Whether the pieces of a vector go through it at once, as of a pipe, where what one call
    /// writes stays together; not one after the other.
    fn is_gathered(&self) -> bool {
        false
    }

    /// Whether bytes have no place in it: reading at an offset is an error.
    fn is_stream(&self) -> bool {
        true
    }
}

impl dyn Object {
    /// The object as what it is.
    pub(crate) fn of_kind<T: Object>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}
