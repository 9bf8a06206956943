//! sendmmsg and recvmmsg: messages one after the other, with one call.

use super::socket_args::message;
use super::sockets::{receive_message, send_message};
use crate::abi::stack_image::WordSize;
use crate::calls::time::put_timespec;
use crate::error::SysResult;
use crate::process::user_memory::{WORD_BYTES, put, timespec};
use threads::time;

/// Bytes of a `struct mmsghdr`: a `msghdr`, and how long its message was.
const ENTRY_BYTES: u64 = 8 * WORD_BYTES;
const LENGTH_AT: u64 = 7 * WORD_BYTES;

/// sendmmsg: how many have gone. What comes behind one that did not go, or not whole, is not tried.
pub(crate) fn send_many(number: u64, at: u64, count: u64, flags: u64) -> SysResult {
    /// `UIO_MAXIOV`.
    const MAX_MESSAGES: u64 = 1024;
    let count = u64::from(count as u32).min(MAX_MESSAGES);
    one_by_one(at, count, |entry, _| send_message(number, entry, flags), || false)
}

/// recvmmsg: how many have come. `timeout` ends it behind a message that came later than that, as
/// on Linux: no wait for one is shorter.
pub(crate) fn receive_many(
    [number, at, count, flags, timeout]: [u64; 5],
    size: WordSize,
) -> SysResult {
    let limit = if timeout == 0 { None } else { Some(timespec(timeout, size)?) };
    let deadline = limit.map(time::later);
    let waits_for_one = flags & message::WAIT_FOR_ONE != 0;
    let flags = flags & !message::WAIT_FOR_ONE;
    let receive = |entry, done| {
        // The rest only as far as it is there.
        let waits = done == 0 || !waits_for_one;
        receive_message(number, entry, if waits { flags } else { flags | message::DONT_WAIT })
    };
    let is_late = || deadline.is_some_and(|deadline| time::nanoseconds() >= deadline);
    let received = one_by_one(at, u64::from(count as u32), receive, is_late)?;
    if let Some(deadline) = deadline {
        put_timespec(timeout, deadline.saturating_sub(time::nanoseconds()), size)?;
    }
    Ok(received)
}

/// Does something with one entry after the other, and says how long each message was. An error
/// only where it is the first one that fails.
fn one_by_one(
    at: u64,
    count: u64,
    mut with: impl FnMut(u64, u64) -> SysResult,
    is_over: impl Fn() -> bool,
) -> SysResult {
    let mut done = 0;
    while done < count {
        let entry = at.wrapping_add(done * ENTRY_BYTES);
        let put_length =
            |length: u64| put(entry.wrapping_add(LENGTH_AT), &(length as u32).to_le_bytes());
        match with(entry, done).and_then(|length| put_length(length).map(|()| length)) {
            Ok(_) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        if is_over() {
            break;
        }
    }
    Ok(done)
}
