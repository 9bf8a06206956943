//! Calls about timers that are files.

use super::table::calls;
use super::time::put_timespec;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::object::Object;
use crate::files::open::{OpenFile, flag as status};
use crate::files::table::{self as files, Descriptor};
use crate::files::timerfd::{FileSetting, TimerFile};
use crate::process::current_task;
use crate::process::time::times;
use crate::process::user_memory::timespec;
use crate::spaces::time::Ahead;

calls! {
    "timerfd_create" (clock, flags) => timerfd_create(clock, flags);
    "timerfd_settime" (fd, flags, new, old) => timerfd_settime(fd, flags, new, old, abi::WORD);
    "timerfd_settime64" (fd, flags, new, old) => timerfd_settime(fd, flags, new, old, WordSize::Eight);
    "timerfd_gettime" (fd, to) => timerfd_gettime(fd, to, abi::WORD);
    "timerfd_gettime64" (fd, to) => timerfd_gettime(fd, to, WordSize::Eight);
}

fn timerfd_create(clock: u64, flags: u64) -> SysResult {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let flags = flags as u32;
    if flags & !(CLOSE_ON_EXEC | status::NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    // Those of the time of day, and of the time since boot.
    let ahead = match clock as u32 {
        0 | 8 => None,
        1 => Some(Ahead::Monotonic),
        7 | 9 => Some(Ahead::SinceBoot),
        _ => return Err(Errno::EINVAL),
    };
    let file =
        OpenFile::of_object(TimerFile::new(ahead)?, flags & status::NONBLOCK | status::READ_WRITE)?;
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    files::add(&current_task().files(), Descriptor { file, close_on_exec }, 0)
}

/// Calls `body` with the timer that a descriptor leads to.
fn with_timer<R>(fd: u64, body: impl FnOnce(&TimerFile) -> R) -> Result<R, Errno> {
    let file = current_task().files().lock().get(fd)?.file;
    let timer = file.object().and_then(<dyn Object>::of_kind::<TimerFile>);
    Ok(body(timer.ok_or(Errno::EINVAL)?))
}

fn put_setting(to: u64, setting: FileSetting, size: WordSize) -> Result<(), Errno> {
    put_timespec(to, setting.interval, size)?;
    let second = to.checked_add(2 * size.bytes() as u64).ok_or(Errno::EFAULT)?;
    put_timespec(second, setting.value, size)
}

fn timerfd_settime(fd: u64, flags: u64, new: u64, old: u64, size: WordSize) -> SysResult {
    const ABSOLUTE: u64 = 1;
    const CANCEL_ON_SET: u64 = 2;
    let second = new.checked_add(2 * size.bytes() as u64).ok_or(Errno::EFAULT)?;
    if flags & 0xffff_ffff & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let setting = FileSetting {
        interval: timespec(new, size)?,
        value: timespec(second, size)?,
        is_absolute: flags & ABSOLUTE != 0,
        cancel_on_set: flags & CANCEL_ON_SET != 0,
    };
    let before = with_timer(fd, |timer| {
        let value = match timer.ahead() {
            Some(clock) if setting.is_absolute && setting.value != 0 => {
                // In the past of the machine's clock is at once.
                times::meant(clock, setting.value).max(1)
            }
            _ => setting.value,
        };
        timer.set(FileSetting { value, ..setting })
    })?;
    if old != 0 {
        put_setting(old, before, size)?;
    }
    Ok(0)
}

fn timerfd_gettime(fd: u64, to: u64, size: WordSize) -> SysResult {
    put_setting(to, with_timer(fd, TimerFile::get)?, size)?;
    Ok(0)
}
