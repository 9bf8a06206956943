//! getsockopt and setsockopt, of the socket itself (SOL_SOCKET): other levels are of networks. What
//! means something to a network alone is kept, as on Linux.

use super::at::file;
use super::local;
use super::socket_args::{MAKER_BYTES, SOL_SOCKET, UNIX, socket_of};
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::socket::Socket;
use crate::files::socket_bounds::MAX_BYTES;
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::user_memory::{get, get_numbers, put};
use core::sync::atomic::{AtomicU64, Ordering};

/// Options of SOL_SOCKET.
pub(super) mod option {
    pub(in super::super) use crate::files::socket_bounds::PASS_CREDENTIALS;
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
    pub(super) const SEND_BYTES_FORCED: u32 = 32;
    pub(super) const RECEIVE_BYTES_FORCED: u32 = 33;
    pub(super) const PROTOCOL: u32 = 38;
    pub(super) const DOMAIN: u32 = 39;
    pub(super) const RECEIVE_TIME_LONG: u32 = 66;
    pub(super) const SEND_TIME_LONG: u32 = 67;
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
/// Bytes of `struct linger`.
const LINGER_BYTES: u64 = 8;
/// The highest priority that takes no capability.
const USUAL_PRIORITY: u32 = 6;

/// SO_PEERCRED.
fn put_peer(socket: &Socket, to: u64, length: u64) -> SysResult {
    let room = i32::from_le_bytes(get(length)?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?.min(MAKER_BYTES);
    let maker = local::told(socket.maker_of_other());
    let mut bytes = [0; MAKER_BYTES];
    // Where there is no other end, the numbers of none.
    let none = u32::MAX;
    let ids = if maker.process == 0 { [none; 2] } else { [maker.user, maker.group] };
    for (place, number) in bytes.chunks_exact_mut(4).zip([maker.process, ids[0], ids[1]]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    put(to, &bytes[..room])?;
    put(length, &(room as u32).to_le_bytes())?;
    Ok(0)
}

/// How long calls wait: which of a socket's times an option is, and of what numbers.
fn time(socket: &Socket, option: u32) -> Option<(&AtomicU64, WordSize)> {
    let bounds = &socket.bounds;
    match option {
        option::RECEIVE_TIME => Some((&bounds.receive_time, abi::WORD)),
        option::SEND_TIME => Some((&bounds.send_time, abi::WORD)),
        option::RECEIVE_TIME_LONG => Some((&bounds.receive_time, WordSize::Eight)),
        option::SEND_TIME_LONG => Some((&bounds.send_time, WordSize::Eight)),
        _ => None,
    }
}

/// Nanoseconds that a `struct timeval` says; 0: as long as it takes. Below zero nothing is waited
/// for: the shortest time that there is.
fn read_time(at: u64, length: u64, size: WordSize) -> Result<u64, Errno> {
    const MICROSECONDS: i64 = 1_000_000;
    if length < 2 * size.bytes() as u64 {
        return Err(Errno::EINVAL);
    }
    let signed = |number: u64| match size {
        WordSize::Four => i64::from(number as u32 as i32),
        WordSize::Eight => number as i64,
    };
    let [seconds, rest] = get_numbers(at, size)?.map(signed);
    if !(0..MICROSECONDS).contains(&rest) {
        return Err(Errno::EDOM);
    }
    match u64::try_from(seconds) {
        Err(_) => Ok(1),
        Ok(seconds) => Ok(seconds.saturating_mul(1_000_000_000).saturating_add(rest as u64 * 1000)),
    }
}

/// Writes as much of what an option is as the caller has room for.
fn put_value(value: &[u8], to: u64, length: u64) -> SysResult {
    let room = i32::from_le_bytes(get(length)?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?.min(value.len());
    put(to, &value[..room])?;
    put(length, &(room as u32).to_le_bytes())?;
    Ok(0)
}

pub(crate) fn get_option(number: u64, level: u64, option: u64, to: u64, length: u64) -> SysResult {
    let socket = socket_of(file(number)?)?;
    if level as u32 != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let option = option as u32;
    if let Some((time, size)) = time(socket, option) {
        // In microseconds, not less than was asked for.
        let microseconds = time.load(Ordering::Relaxed).div_ceil(1000);
        let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
        return match size {
            WordSize::Four => {
                let (seconds, rest) = ((seconds as u32).to_le_bytes(), (rest as u32).to_le_bytes());
                let mut bytes = [0; 8];
                bytes[..4].copy_from_slice(&seconds);
                bytes[4..].copy_from_slice(&rest);
                put_value(&bytes, to, length)
            }
            WordSize::Eight => put_value(&abi::encode_long_pair(seconds, rest), to, length),
        };
    }
    let value = match option {
        option::PEER => return put_peer(socket, to, length),
        option::LINGER => {
            let mut bytes = [0; LINGER_BYTES as usize];
            bytes[0] = socket.has(option::LINGER).into();
            let seconds = socket.bounds.linger.load(Ordering::Relaxed);
            bytes[4..].copy_from_slice(&seconds.to_le_bytes());
            return put_value(&bytes, to, length);
        }
        switch if SWITCHES.contains(&switch) => socket.has(switch).into(),
        option::TYPE => socket.kind as u32,
        option::ERROR | option::PROTOCOL | option::REUSE_PORT => 0,
        option::RECEIVE_AT_LEAST | option::SEND_AT_LEAST => 1,
        option::PRIORITY => socket.bounds.priority.load(Ordering::Relaxed),
        option::ACCEPTS => socket.is_listening().into(),
        option::SEND_BYTES => socket.bounds.send_bytes.load(Ordering::Relaxed),
        option::RECEIVE_BYTES => socket.bounds.receive_bytes.load(Ordering::Relaxed),
        option::DOMAIN => UNIX as u32,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    put_value(&value.to_le_bytes(), to, length)
}

/// What a buffer is that a program wants so large: twice that, so that what the kernel needs for
/// itself has room too, and no smaller than one that works (`__sock_set_rcvbuf`,
/// `sock_setsockopt`).
fn buffer(wanted: u32, least: u32, is_forced: bool) -> u32 {
    const MOST: u32 = MAX_BYTES as u32;
    let wanted = if is_forced { (wanted as i32).max(0) as u32 } else { wanted };
    wanted.saturating_mul(2).clamp(least, MOST)
}

/// setsockopt.
pub(crate) fn set_option([number, level, option, at, length]: [u64; 5]) -> SysResult {
    /// The least that Linux lets a socket have, to send and to receive.
    const LEAST_TO_SEND: u32 = 4608;
    const LEAST_TO_RECEIVE: u32 = 2304;
    let socket = socket_of(file(number)?)?;
    if level as u32 != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    if (length as i32) < 4 {
        return Err(Errno::EINVAL);
    }
    let option = option as u32;
    if let Some((time, size)) = time(socket, option) {
        time.store(read_time(at, length, size)?, Ordering::Relaxed);
        return Ok(0);
    }
    let value = u32::from_le_bytes(get(at)?);
    let is_forced = matches!(option, option::SEND_BYTES_FORCED | option::RECEIVE_BYTES_FORCED);
    if is_forced && !current_task().credentials().can(capability::NET_ADMIN) {
        return Err(Errno::EPERM);
    }
    match option {
        option::SEND_BYTES | option::SEND_BYTES_FORCED => {
            let bytes = buffer(value, LEAST_TO_SEND, is_forced);
            socket.bounds.send_bytes.store(bytes, Ordering::Relaxed);
            socket.room_changed();
        }
        option::RECEIVE_BYTES | option::RECEIVE_BYTES_FORCED => {
            let bytes = buffer(value, LEAST_TO_RECEIVE, is_forced);
            socket.bounds.receive_bytes.store(bytes, Ordering::Relaxed);
        }
        option::PRIORITY => {
            let mine = current_task().credentials();
            let may = [capability::NET_RAW, capability::NET_ADMIN].map(|one| mine.can(one));
            if value > USUAL_PRIORITY && may == [false; 2] {
                return Err(Errno::EPERM);
            }
            socket.bounds.priority.store(value, Ordering::Relaxed);
        }
        option::LINGER => {
            if length < LINGER_BYTES {
                return Err(Errno::EINVAL);
            }
            let [_, seconds] = get_numbers(at, WordSize::Four)?;
            if value != 0 {
                socket.bounds.linger.store(seconds as u32, Ordering::Relaxed);
            }
            socket.switch(option::LINGER, value != 0);
        }
        // Of a network's sockets alone.
        option::REUSE_PORT if value != 0 => return Err(Errno::EOPNOTSUPP),
        option::REUSE_PORT => {}
        _ if SWITCHES.contains(&option) => socket.switch(option, value != 0),
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(0)
}
