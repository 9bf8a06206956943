//! getsockopt and setsockopt: what every socket has. What means something to a network alone is
//! kept, as on Linux.

use super::at::file;
use super::local;
use super::socket_args::{UNIX, socket_of};
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::socket::Socket;
use crate::files::socket_options::Patience;
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::user_memory::{get, get_numbers, put};
use core::sync::atomic::Ordering;

pub(super) const SOL_SOCKET: u32 = 1;
/// Bytes of `struct ucred`.
pub(super) const MAKER_BYTES: usize = 12;
/// Bytes of `struct linger`.
const LINGER_BYTES: usize = 8;
/// The highest priority that takes no capability.
const USUAL_PRIORITY: u32 = 6;

/// Options of SOL_SOCKET.
pub(super) mod option {
    pub(in super::super) use crate::files::socket_options::PASS_CREDENTIALS;
    pub(super) const REUSE: u32 = 2;
    pub(super) const TYPE: u32 = 3;
    pub(super) const ERROR: u32 = 4;
    pub(super) const DO_NOT_ROUTE: u32 = 5;
    pub(super) const BROADCAST: u32 = 6;
    pub(super) const SEND_BYTES: u32 = 7;
    pub(super) const RECEIVE_BYTES: u32 = 8;
    pub(super) const KEEP_ALIVE: u32 = 9;
    pub(super) const OUT_OF_BAND_INLINE: u32 = 10;
    pub(super) const NO_CHECK: u32 = 11;
    pub(super) const PRIORITY: u32 = 12;
    pub(super) const LINGER: u32 = 13;
    pub(super) const REUSE_PORT: u32 = 15;
    pub(super) const PEER: u32 = 17;
    pub(super) const RECEIVE_AT_LEAST: u32 = 18;
    pub(super) const SEND_AT_LEAST: u32 = 19;
    pub(super) const RECEIVE_TIME: u32 = 20;
    pub(super) const SEND_TIME: u32 = 21;
    pub(super) const ACCEPTS: u32 = 30;
    pub(super) const PROTOCOL: u32 = 38;
    pub(super) const DOMAIN: u32 = 39;
    pub(super) const RECEIVE_TIME_WIDE: u32 = 66;
    pub(super) const SEND_TIME_WIDE: u32 = 67;
}

/// Switches that a socket keeps. All but one mean something to other families only, as on Linux.
const SWITCHES: [u32; 7] = [
    option::REUSE,
    option::DO_NOT_ROUTE,
    option::BROADCAST,
    option::KEEP_ALIVE,
    option::OUT_OF_BAND_INLINE,
    option::NO_CHECK,
    option::PASS_CREDENTIALS,
];

/// How long a socket waits, if an option is about that, and how wide the numbers of it are.
fn patience(socket: &Socket, option: u32) -> Option<(&Patience, WordSize)> {
    let all = &socket.options;
    Some(match option {
        option::RECEIVE_TIME => (&all.receiving, abi::WORD),
        option::SEND_TIME => (&all.sending, abi::WORD),
        option::RECEIVE_TIME_WIDE => (&all.receiving, WordSize::Eight),
        option::SEND_TIME_WIDE => (&all.sending, WordSize::Eight),
        _ => return None,
    })
}

/// Writes a value, as much of it as there is room for, and how much that is.
fn put_value(value: &[u8], to: u64, length: u64) -> SysResult {
    let room = i32::from_le_bytes(get(length)?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?.min(value.len());
    put(to, &value[..room])?;
    put(length, &(room as u32).to_le_bytes())?;
    Ok(0)
}

/// SO_PEERCRED.
fn peer(socket: &Socket) -> [u8; MAKER_BYTES] {
    let maker = local::told(socket.maker_of_other());
    let mut bytes = [0; MAKER_BYTES];
    // Where there is no other end, the numbers of none.
    let none = u32::MAX;
    let ids = if maker.process == 0 { [none; 2] } else { [maker.user, maker.group] };
    for (place, number) in bytes.chunks_exact_mut(4).zip([maker.process, ids[0], ids[1]]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// getsockopt.
pub(crate) fn get_one(number: u64, level: u64, option: u64, to: u64, length: u64) -> SysResult {
    let socket = socket_of(file(number)?)?;
    if level as u32 != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let (all, option) = (&socket.options, option as u32);
    if let Some((patience, size)) = patience(socket, option) {
        let mut bytes = [0; 16];
        let width = size.bytes();
        for (place, number) in bytes.chunks_exact_mut(width).zip(patience.get()) {
            place.copy_from_slice(&number.to_le_bytes()[..width]);
        }
        return put_value(&bytes[..2 * width], to, length);
    }
    let value = match option {
        option::PEER => return put_value(&peer(socket), to, length),
        option::LINGER => {
            let mut bytes = [0; LINGER_BYTES];
            bytes[0] = all.has(option::LINGER).into();
            bytes[4..].copy_from_slice(&all.linger.load(Ordering::Relaxed).to_le_bytes());
            return put_value(&bytes, to, length);
        }
        switch if SWITCHES.contains(&switch) => all.has(switch).into(),
        option::TYPE => socket.kind as u32,
        option::ERROR | option::PROTOCOL | option::REUSE_PORT => 0,
        option::ACCEPTS => socket.is_listening().into(),
        option::SEND_BYTES => all.sent() as u32,
        option::RECEIVE_BYTES => all.received() as u32,
        option::RECEIVE_AT_LEAST | option::SEND_AT_LEAST => 1,
        option::PRIORITY => all.priority.load(Ordering::Relaxed),
        option::DOMAIN => UNIX as u32,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    put_value(&value.to_le_bytes(), to, length)
}

/// setsockopt.
pub(crate) fn set([number, level, option, at, length]: [u64; 5]) -> SysResult {
    let socket = socket_of(file(number)?)?;
    if level as u32 != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let length = usize::try_from(length as i32).map_err(|_| Errno::EINVAL)?;
    if length < 4 {
        return Err(Errno::EINVAL);
    }
    let value = u32::from_le_bytes(get(at)?);
    let (all, option) = (&socket.options, option as u32);
    if let Some((patience, size)) = patience(socket, option) {
        if length < 2 * size.bytes() {
            return Err(Errno::EINVAL);
        }
        let signed = |number: u64| match size {
            WordSize::Four => i64::from(number as i32),
            WordSize::Eight => number as i64,
        };
        let [seconds, microseconds] = get_numbers(at, size)?.map(signed);
        patience.set(seconds, microseconds)?;
        return Ok(0);
    }
    match option {
        switch if SWITCHES.contains(&switch) => all.switch(switch, value != 0),
        option::SEND_BYTES => all.set_sent(value),
        option::RECEIVE_BYTES => all.set_received(value),
        option::PRIORITY => {
            let all = current_task().credentials();
            let may = [capability::NET_RAW, capability::NET_ADMIN].map(|one| all.can(one));
            if value > USUAL_PRIORITY && may == [false; 2] {
                return Err(Errno::EPERM);
            }
            socket.options.priority.store(value, Ordering::Relaxed);
        }
        option::LINGER => {
            if length < LINGER_BYTES {
                return Err(Errno::EINVAL);
            }
            let [_, seconds] = get_numbers(at, WordSize::Four)?;
            if value != 0 {
                all.linger.store(seconds as u32, Ordering::Relaxed);
            }
            all.switch(option::LINGER, value != 0);
        }
        // Of a network's sockets alone.
        option::REUSE_PORT if value != 0 => return Err(Errno::EOPNOTSUPP),
        option::REUSE_PORT => {}
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(0)
}
