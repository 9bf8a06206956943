//! Calls that wait for children: wait4, waitpid and waitid.

use super::system::put_usage;
use super::table::calls;
use crate::abi;
use crate::abi::signals::{Signal, code, how_ended};
use crate::error::{Errno, SysResult};
use crate::files::open::flag;
use crate::process::current;
use crate::process::life::exit;
use crate::process::names::pidfd;
use crate::process::table::{Kind, News, Wanted, Which};
use crate::process::user_memory::put;

calls! {
    "wait4" (which, status, options, usage) => wait4(i64::from(which as i32), status, options, usage);
    "waitpid" (which, status, options) => wait4(i64::from(which as i32), status, options, 0);
    "waitid" (kind, number, to, options, usage) => waitid(kind, number, to, options, usage);
}

/// Options.
mod option {
    pub(super) const NO_HANG: u64 = 1;
    pub(super) const STOPPED: u64 = 2;
    pub(super) const ENDED: u64 = 4;
    pub(super) const CONTINUED: u64 = 8;
    pub(super) const KEEP: u64 = 0x0100_0000;
    /// Only the caller's own children: those of its process are all that are ever meant.
    pub(super) const NOT_OF_THREADS: u64 = 0x2000_0000;
    pub(super) const ALL: u64 = 0x4000_0000;
    pub(super) const CLONE: u64 = 0x8000_0000;
}

fn wanted(options: u64, ended: bool) -> Wanted {
    let kind = match options {
        _ if options & option::ALL != 0 => Kind::Both,
        _ if options & option::CLONE != 0 => Kind::Clones,
        _ => Kind::Told,
    };
    Wanted {
        ended,
        stopped: options & option::STOPPED != 0,
        continued: options & option::CONTINUED != 0,
        keep: options & option::KEEP != 0,
        no_hang: options & option::NO_HANG != 0,
        kind,
    }
}

fn wait4(which: i64, status: u64, options: u64, usage: u64) -> SysResult {
    const OF_CLONE: u64 = option::NOT_OF_THREADS | option::ALL | option::CLONE;
    let options = options & 0xffff_ffff;
    if options & !(option::NO_HANG | option::STOPPED | option::CONTINUED | OF_CLONE) != 0 {
        return Err(Errno::EINVAL);
    }
    if which == i64::from(i32::MIN) {
        return Err(Errno::ESRCH);
    }
    let news = exit::wait(Which::of(which, current()), wanted(options, true))?;
    let Some(news) = news else { return Ok(0) };
    if status != 0 {
        put(status, &news.status.to_le_bytes())?;
    }
    if usage != 0 {
        put_usage(usage, news.used)?;
    }
    Ok(news.child)
}

fn waitid(kind: u64, number: u64, to: u64, options: u64, usage: u64) -> SysResult {
    const ANY: u32 = 0;
    const PROCESS: u32 = 1;
    const GROUP: u32 = 2;
    const PIDFD: u32 = 3;
    const KINDS: u64 = option::ENDED | option::STOPPED | option::CONTINUED;
    const KNOWN: u64 = KINDS
        | option::NO_HANG
        | option::KEEP
        | option::NOT_OF_THREADS
        | option::ALL
        | option::CLONE;
    let options = options & 0xffff_ffff;
    if options & !KNOWN != 0 || options & KINDS == 0 {
        return Err(Errno::EINVAL);
    }
    let number = number as i32;
    // One that is not to sleep says so in its flags, and is told by an error.
    let mut is_nonblocking = false;
    let which = match (kind as u32, number) {
        (ANY, _) => Which::Any,
        (PROCESS, 1..) => Which::of(number.into(), current()),
        // A caller's own group.
        (GROUP, 0) => Which::of(0, current()),
        (GROUP, 1..) => Which::of(-i64::from(number), current()),
        (PIDFD, 0..) => {
            let (process, flags) =
                pidfd::of_descriptor(number as u64).map_err(|error| match error {
                    // What was waited for is no child any more.
                    Errno::ESRCH => Errno::ECHILD,
                    error => error,
                })?;
            is_nonblocking = flags & flag::NONBLOCK != 0;
            Which::Number(process.id)
        }
        _ => return Err(Errno::EINVAL),
    };
    let mut wanted = wanted(options, options & option::ENDED != 0);
    wanted.no_hang |= is_nonblocking;
    let news = exit::wait(which, wanted)?;
    if news.is_none() && is_nonblocking && options & option::NO_HANG == 0 {
        return Err(Errno::EAGAIN);
    }
    if usage != 0
        && let Some(news) = news
    {
        put_usage(usage, news.used)?;
    }
    if to != 0 {
        tell(to, news)?;
    }
    Ok(0)
}

/// What waitid writes of a `siginfo_t`: signal 0, errno 4, code 8, then, aligned to a word,
/// process, user and status. Without a child, zeros.
fn tell(to: u64, news: Option<News>) -> Result<(), Errno> {
    let (signal, code, child, status) = match news {
        None => (0, 0, 0, 0),
        Some(News { child, status, is_traced, .. }) => {
            let (code, value) = match status {
                _ if is_traced => (code::CHILD_TRAPPED, status >> 8),
                0xffff => (code::CHILD_CONTINUED, Signal::CONT.status()),
                _ if status & 0xff == 0x7f => (code::CHILD_STOPPED, status >> 8 & 0xff),
                _ => how_ended(status),
            };
            (Signal::CHLD.status(), code, child as i32, value)
        }
    };
    let mut head = [0; 12];
    for (place, number) in head.chunks_exact_mut(4).zip([signal, 0, code]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    put(to, &head)?;
    let mut fields = [0; 12];
    for (place, number) in fields.chunks_exact_mut(4).zip([child, 0, status]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    const FIELDS: u64 = 12_u64.next_multiple_of(abi::WORD.bytes() as u64);
    put(to.checked_add(FIELDS).ok_or(Errno::EFAULT)?, &fields)
}
