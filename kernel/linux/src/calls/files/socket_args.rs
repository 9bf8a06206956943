//! What calls of sockets have in common: the family, the flags of messages, the socket behind a
//! descriptor.

use crate::error::Errno;
use crate::files::open::{OpenFile, flag};
use crate::files::socket::Socket;

pub(super) const SOL_SOCKET: u32 = 1;
/// Bytes of `struct ucred`.
pub(super) const MAKER_BYTES: usize = 12;
/// `AF_UNIX`.
pub(super) const UNIX: u64 = 1;

pub(super) mod message {
    pub(in super::super) const OUT_OF_BAND: u64 = 1;
    pub(in super::super) const PEEK: u64 = 2;
    pub(in super::super) const CONTROL_CUT: u64 = 8;
    pub(in super::super) const CUT: u64 = 0x20;
    pub(in super::super) const DONT_WAIT: u64 = 0x40;
    pub(in super::super) const END_OF_RECORD: u64 = 0x80;
    pub(in super::super) const WAIT_ALL: u64 = 0x100;
    pub(in super::super) const NO_SIGNAL: u64 = 0x4000;
    pub(in super::super) const WAIT_FOR_ONE: u64 = 0x1_0000;
    pub(in super::super) const CLOEXEC: u64 = 0x4000_0000;
}

pub(super) fn socket_of(file: &OpenFile) -> Result<&Socket, Errno> {
    if file.flags() & flag::PATH != 0 {
        return Err(Errno::EBADF);
    }
    file.object().and_then(|object| object.of_kind()).ok_or(Errno::ENOTSOCK)
}

pub(super) fn nonblocking(file: &OpenFile, flags: u64) -> bool {
    flags & message::DONT_WAIT != 0 || file.flags() & flag::NONBLOCK != 0
}
