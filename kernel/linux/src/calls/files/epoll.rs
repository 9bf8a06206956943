//! epoll_create, epoll_ctl, epoll_wait and their kin.

use super::at::{file, file_arc};
use super::descriptors::{CLOSE_ON_EXEC, give};
use super::poll::{Deadline, with_mask};
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::epoll::{Epoll, Wanted, flag};
use crate::files::open::{Descriptor, OpenFile, flag as status};
use crate::files::readiness::event;
use crate::process::user_memory::{get, put, timespec};
use threads::sched::Waited;

/// `struct epoll_event`: events, then eight bytes of the program's own; packed on x86_64, as it was
/// on i386.
const DATA_AT: usize = crate::abi::EPOLL_DATA_AT;
const EVENT_BYTES: usize = DATA_AT + 8;

pub(crate) fn create(flags: u64) -> SysResult {
    if flags & 0xffff_ffff & !CLOSE_ON_EXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let file = OpenFile::of_object(Epoll::new()?, status::READ_WRITE)?;
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    give(Descriptor { file, close_on_exec }, 0)
}

/// epoll_create: its size means nothing, but must be there.
pub(crate) fn create_with_size(size: u64) -> SysResult {
    if (size as i32) <= 0 { Err(Errno::EINVAL) } else { create(0) }
}

fn epoll(file: &OpenFile) -> Result<&Epoll, Errno> {
    file.object().and_then(|object| object.of_kind()).ok_or(Errno::EINVAL)
}

pub(crate) fn control(number: u64, operation: u64, target: u64, at: u64) -> SysResult {
    const ADD: u32 = 1;
    const DELETE: u32 = 2;
    const MODIFY: u32 = 3;
    let operation = operation as u32;
    let mut wanted = Wanted { events: 0, data: 0 };
    if operation != DELETE {
        let bytes: [u8; EVENT_BYTES] = get(at)?;
        let (events, data) = (bytes.first_chunk(), bytes.last_chunk());
        wanted.events = events.map_or(0, |events| u32::from_le_bytes(*events));
        wanted.data = data.map_or(0, |data| u64::from_le_bytes(*data));
    }
    let outer = file(number)?;
    let inner = file_arc(target)?;
    if inner.readiness().is_none() {
        return Err(Errno::EPERM);
    }
    let epoll = epoll(outer)?;
    if core::ptr::eq(outer, &*inner) {
        return Err(Errno::EINVAL);
    }
    let alone = flag::EXCLUSIVE
        | flag::WAKEUP
        | flag::EDGE
        | event::IN
        | event::OUT
        | event::ERR
        | event::HUP;
    if wanted.events & flag::EXCLUSIVE != 0
        && (operation == MODIFY || wanted.events & !alone != 0 || self::epoll(&inner).is_ok())
    {
        return Err(Errno::EINVAL);
    }
    wanted.events |= event::ERR | event::HUP;
    match operation {
        ADD => epoll.add(&inner, target, wanted)?,
        DELETE => epoll.remove(&inner, target)?,
        MODIFY => epoll.modify(&inner, target, wanted)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn wait_until(number: u64, at: u64, count: u64, deadline: Deadline) -> SysResult {
    let count = count as i32;
    if count <= 0 || count as usize > i32::MAX as usize / EVENT_BYTES {
        return Err(Errno::EINVAL);
    }
    let file = file(number)?;
    let epoll = epoll(file)?;
    let take = |i: usize, events: u32, data: u64| {
        let mut bytes = [0; EVENT_BYTES];
        bytes[..4].copy_from_slice(&events.to_le_bytes());
        bytes[DATA_AT..].copy_from_slice(&data.to_le_bytes());
        put(at.checked_add((i * EVENT_BYTES) as u64).ok_or(Errno::EFAULT)?, &bytes)
    };
    let until = match deadline {
        Deadline::Now => return epoll.collect(count as usize, take).map(|ready| ready as u64),
        Deadline::At(time) => Some(time),
        Deadline::Never => None,
    };
    loop {
        let ready = epoll.collect(count as usize, take)?;
        if ready > 0 {
            return Ok(ready as u64);
        }
        // It is never made again (signal(7)).
        let waited = epoll.wait(until).map_err(|_| Errno::EINTR)?;
        if waited == Waited::TimedOut {
            return epoll.collect(count as usize, take).map(|ready| ready as u64);
        }
    }
}

pub(crate) fn wait(number: u64, at: u64, count: u64, timeout: u64) -> SysResult {
    wait_until(number, at, count, Deadline::after_milliseconds(timeout as i32))
}

pub(crate) fn wait_with_mask([number, at, count, timeout, mask, bytes]: [u64; 6]) -> SysResult {
    with_mask(mask, bytes, || wait(number, at, count, timeout))
}

/// epoll_pwait2: the time as a `timespec` of 64 bits.
pub(crate) fn wait_with_timespec([number, at, count, timeout, mask, bytes]: [u64; 6]) -> SysResult {
    let deadline = match timeout {
        0 => Deadline::Never,
        at => Deadline::after(timespec(at, WordSize::Eight)?),
    };
    with_mask(mask, bytes, || wait_until(number, at, count, deadline))
}
