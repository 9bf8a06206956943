//! Calls about timers that send signals: timer_create and its kin, setitimer, alarm.

use super::table::calls;
use super::time::{put_timespec, timeval};
use crate::abi;
use crate::abi::signals::Signal;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::current;
use crate::process::names::numbers;
use crate::process::time::clocks::Clock;
use crate::process::time::timer_list::{INTERVAL_TIMERS, Setting};
use crate::process::time::timers::{self, Notice};
use crate::process::user_memory::{get_numbers, put, timespec};
use crate::time::SECOND;
use alloc::sync::Arc;

calls! {
    "timer_create" (clock, event, to) => timer_create(clock, event, to);
    "timer_settime" (timer, flags, new, old) => timer_settime(timer, flags, new, old, abi::WORD);
    "timer_settime64" (timer, flags, new, old) => timer_settime(timer, flags, new, old, WordSize::Eight);
    "timer_gettime" (timer, to) => timer_gettime(timer, to, abi::WORD);
    "timer_gettime64" (timer, to) => timer_gettime(timer, to, WordSize::Eight);
    "timer_getoverrun" (timer) => Ok(timers::find(timer as i32)?.overruns() as u64);
    "timer_delete" (timer) => timers::delete(timer as i32).map(|()| 0);
    "getitimer" (which, to) => getitimer(which, to);
    "setitimer" (which, new, old) => setitimer(which, new, old);
    "alarm" (seconds) => alarm(seconds);
}

/// What `struct sigevent` says: the value (a word), the signal, what to do, the thread.
fn notice(event: u64, number: i32) -> Result<Notice, Errno> {
    const SIGNAL: u32 = 0;
    const NOTHING: u32 = 1;
    /// What the C library makes of the signal is its own affair.
    const THREAD_BY_LIBRARY: u32 = 2;
    const THREAD: u32 = 4;
    if event == 0 {
        return Ok(Notice::Process(Signal::ALRM, number as u32 as u64));
    }
    let [value] = get_numbers(event, abi::WORD)?;
    let rest = event.checked_add(abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
    let [signal, what, thread] = get_numbers::<3>(rest, WordSize::Four)?;
    let signal = || Signal::new(signal).ok_or(Errno::EINVAL);
    match what as u32 {
        NOTHING => Ok(Notice::Nothing),
        SIGNAL | THREAD_BY_LIBRARY => Ok(Notice::Process(signal()?, value)),
        THREAD => {
            let thread = current().crew.find(numbers::meant(thread)).ok_or(Errno::EINVAL)?;
            Ok(Notice::Thread(signal()?, value, Arc::downgrade(&thread)))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn timer_create(clock: u64, event: u64, to: u64) -> SysResult {
    let clock = Clock::of(clock as i32)?;
    if !clock.has_timers() {
        return Err(Errno::EOPNOTSUPP);
    }
    let number = timers::create(clock, |number| notice(event, number))?;
    if let Err(error) = put(to, &number.to_le_bytes()) {
        // Another thread may have deleted it already.
        let _gone = timers::delete(number);
        return Err(error);
    }
    Ok(0)
}

/// Writes a `struct itimerspec`: the period, then the time.
fn put_setting(to: u64, setting: Setting, size: WordSize) -> Result<(), Errno> {
    put_timespec(to, setting.interval, size)?;
    let second = to.checked_add(2 * size.bytes() as u64).ok_or(Errno::EFAULT)?;
    put_timespec(second, setting.value, size)
}

fn timer_settime(number: u64, flags: u64, new: u64, old: u64, size: WordSize) -> SysResult {
    const ABSOLUTE: u64 = 1;
    if new == 0 {
        return Err(Errno::EINVAL);
    }
    let second = new.checked_add(2 * size.bytes() as u64).ok_or(Errno::EFAULT)?;
    let (interval, value) = (timespec(new, size)?, timespec(second, size)?);
    let timer = timers::find(number as i32)?;
    let before = timer.set(Setting { value, interval, is_absolute: flags & ABSOLUTE != 0 });
    if old != 0 {
        put_setting(old, before, size)?;
    }
    Ok(0)
}

fn timer_gettime(number: u64, to: u64, size: WordSize) -> SysResult {
    let setting = timers::find(number as i32)?.get();
    put_setting(to, setting, size)?;
    Ok(0)
}

fn which(which: u64) -> Result<usize, Errno> {
    usize::try_from(which as u32).ok().filter(|&it| it < INTERVAL_TIMERS).ok_or(Errno::EINVAL)
}

/// Writes a `struct itimerval`. A time that is left is never told as none.
fn put_interval(to: u64, setting: Setting) -> Result<(), Errno> {
    let pair = |nanoseconds: u64| {
        let microseconds = nanoseconds.div_ceil(1000);
        abi::encode_pair(microseconds / 1_000_000, microseconds % 1_000_000)
    };
    put(to, &pair(setting.interval))?;
    let second = to.checked_add(2 * abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
    put(second, &pair(setting.value))
}

fn getitimer(number: u64, to: u64) -> SysResult {
    let timer = timers::interval(which(number)?, false)?;
    put_interval(to, timer.map_or(Setting::default(), |timer| timer.get()))?;
    Ok(0)
}

fn setitimer(number: u64, new: u64, old: u64) -> SysResult {
    let setting = match new {
        // As Linux has it: no structure stands for one of zeros.
        0 => Setting::default(),
        at => {
            let second = at.checked_add(2 * abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
            Setting { interval: timeval(at)?, value: timeval(second)?, is_absolute: false }
        }
    };
    let timer = timers::interval(which(number)?, setting.value != 0)?;
    let before = timer.map_or(Setting::default(), |timer| timer.set(setting));
    if old != 0 {
        put_interval(old, before)?;
    }
    Ok(0)
}

/// Sets the timer of real time; how many seconds it had left, to the nearest, and not 0 of some.
fn alarm(seconds: u64) -> SysResult {
    const REAL: usize = 0;
    let value = u64::from(seconds as u32) * SECOND;
    let timer = timers::interval(REAL, value != 0)?;
    let set = |timer: Arc<dyn crate::process::time::timer_list::ProgramTimer>| {
        timer.set(Setting { value, interval: 0, is_absolute: false }).value
    };
    let left = timer.map_or(0, set);
    let whole = (left + SECOND / 2) / SECOND;
    Ok(if left != 0 { whole.max(1) } else { 0 })
}
