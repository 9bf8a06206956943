//! Calls about time: clocks, sleeping, and the machine's time of day.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::identity::credentials::capability;
use crate::process::task::Continuation;
use crate::process::time::clocks::{Clock, RealClock};
use crate::process::time::cpu_time;
use crate::process::user_memory::{get, get_numbers, put, put_word, timespec};
use crate::process::{current, current_task};
use crate::signals::restart;
use crate::time::{SECOND, wall};
use core::sync::atomic::{AtomicU64, Ordering};
use threads::sched;
use threads::time;

calls! {
    "nanosleep" (at, left) => nanosleep(at, left);
    "clock_nanosleep" (clock, flags, at, left) => clock_nanosleep(clock, flags, at, left, abi::WORD);
    "clock_nanosleep_time64" (clock, flags, at, left) => clock_nanosleep(clock, flags, at, left, WordSize::Eight);
    "clock_gettime" (clock, to) => clock_gettime(clock, to, abi::WORD);
    "clock_gettime64" (clock, to) => clock_gettime(clock, to, WordSize::Eight);
    "clock_getres" (clock, to) => clock_getres(clock, to, abi::WORD);
    "clock_getres_time64" (clock, to) => clock_getres(clock, to, WordSize::Eight);
    "clock_settime" (clock, from) => clock_settime(clock, from, abi::WORD);
    "clock_settime64" (clock, from) => clock_settime(clock, from, WordSize::Eight);
    "gettimeofday" (to, zone) => gettimeofday(to, zone);
    "settimeofday" (from, zone) => settimeofday(from, zone);
    "time" (to) => time(to);
    "stime" (from) => stime(from);
    "times" (to) => times(to);
}

/// Writes a `struct timespec` with numbers of a size.
pub(super) fn put_timespec(to: u64, nanoseconds: u64, size: WordSize) -> Result<(), Errno> {
    let (seconds, rest) = (nanoseconds / SECOND, nanoseconds % SECOND);
    match size {
        WordSize::Eight => put(to, &abi::encode_long_pair(seconds, rest)),
        WordSize::Four => put(to, &abi::encode_pair(seconds, rest)),
    }
}

fn nanosleep(at: u64, left: u64) -> SysResult {
    let length = timespec(at, abi::WORD)?;
    sleep(time::later(length), left, abi::WORD)
}

/// Sleeps until a time since boot; what is left of it is told to a program that a signal woke.
fn sleep(deadline: u64, left: u64, size: WordSize) -> SysResult {
    if sched::sleep_until(deadline).is_ok() {
        return Ok(0);
    }
    let now = time::nanoseconds();
    if now >= deadline {
        return Ok(0);
    }
    if left != 0 {
        put_timespec(left, deadline - now, size)?;
    }
    let arguments = [left, size.bytes() as u64, 0, 0];
    Err(restart::continue_later(Continuation { run: sleep_again, deadline, arguments }))
}

fn sleep_again(before: Continuation) -> SysResult {
    let [left, bytes, ..] = before.arguments;
    let size = if bytes == 8 { WordSize::Eight } else { WordSize::Four };
    sleep(before.deadline, left, size)
}

fn clock_nanosleep(number: u64, flags: u64, at: u64, left: u64, size: WordSize) -> SysResult {
    const ABSOLUTE: u64 = 1;
    let clock = Clock::of(number as i32)?;
    // The caller's own thread as it is called 3 has no sleep, and by its number it has no sense.
    const OF_CALLING_THREAD: i32 = 3;
    if !clock.has_timers() || number as i32 == OF_CALLING_THREAD {
        return Err(Errno::EOPNOTSUPP);
    }
    let when = timespec(at, size)?;
    let is_absolute = flags & ABSOLUTE != 0;
    match &clock {
        Clock::Real(RealClock::OfDay | RealClock::Atomic) if is_absolute => {
            sleep_until_of_day(&clock, when)
        }
        Clock::Real(_) if is_absolute => {
            sched::sleep_until(clock.meant(when)).map_err(|_| Errno::ERESTARTNOHAND)?;
            Ok(0)
        }
        Clock::Real(_) => sleep(time::later(when), left, size),
        Clock::Cpu(..) => {
            if clock.is_of_calling_thread() {
                return Err(Errno::EINVAL);
            }
            let target = if is_absolute { when } else { clock.now()?.saturating_add(when) };
            let left = if is_absolute { None } else { Some((left, size)) };
            sleep_by_cpu_time(number as i32, target, left)
        }
    }
}

/// The clock may be set meanwhile.
fn sleep_until_of_day(clock: &Clock, when: u64) -> SysResult {
    loop {
        let set = wall::times_set();
        if clock.now()? >= when {
            return Ok(0);
        }
        let was_set = || wall::times_set() != set;
        wall::CHANGED
            .wait_deadline(was_set, Some(clock.look_at(when)))
            .map_err(|_| Errno::ERESTARTNOHAND)?;
    }
}

/// `left`: where what is left is told, of a stretch of CPU time.
fn sleep_by_cpu_time(number: i32, target: u64, left: Option<(u64, WordSize)>) -> SysResult {
    let clock = Clock::of(number)?;
    loop {
        let now = clock.now()?;
        if now >= target {
            return Ok(0);
        }
        if sched::sleep_until(clock.look_at(target)).is_ok() {
            continue;
        }
        let Some((to, size)) = left else { return Err(Errno::ERESTARTNOHAND) };
        if to != 0 {
            put_timespec(to, target.saturating_sub(clock.now()?), size)?;
        }
        let arguments = [to, size.bytes() as u64, number as u64, 0];
        let again = Continuation { run: sleep_by_cpu_time_again, deadline: target, arguments };
        return Err(restart::continue_later(again));
    }
}

fn sleep_by_cpu_time_again(before: Continuation) -> SysResult {
    let [to, bytes, number, _] = before.arguments;
    let size = if bytes == 8 { WordSize::Eight } else { WordSize::Four };
    sleep_by_cpu_time(number as i32, before.deadline, Some((to, size)))
}

fn clock_gettime(clock: u64, to: u64, size: WordSize) -> SysResult {
    put_timespec(to, Clock::of(clock as i32)?.told()?, size)?;
    Ok(0)
}

fn clock_getres(clock: u64, to: u64, size: WordSize) -> SysResult {
    let resolution = Clock::of(clock as i32)?.resolution();
    if to != 0 {
        put_timespec(to, resolution, size)?;
    }
    Ok(0)
}

/// Sets the time of day, for one who may.
pub(super) fn set_time_of_day(to: u64) -> SysResult {
    if !current_task().credentials().can(capability::SYS_TIME) {
        return Err(Errno::EPERM);
    }
    wall::set(to)?;
    Ok(0)
}

fn clock_settime(number: u64, from: u64, size: WordSize) -> SysResult {
    /// The only clock that can be set.
    const OF_DAY: i32 = 0;
    match Clock::of(number as i32)? {
        // Those of CPU time that are named by a process are set by no one.
        Clock::Cpu(..) if (number as i32) < 0 => Err(Errno::EPERM),
        Clock::Cpu(..) => Err(Errno::EINVAL),
        Clock::Real(_) if number as i32 != OF_DAY => Err(Errno::EINVAL),
        Clock::Real(_) => set_time_of_day(timespec(from, size)?),
    }
}

/// The time zone that was set, two numbers of four bytes: the kernel only keeps it.
static ZONE: AtomicU64 = AtomicU64::new(0);

fn gettimeofday(to: u64, zone: u64) -> SysResult {
    if to != 0 {
        let now = wall::nanoseconds() / 1000;
        put(to, &abi::encode_pair(now / 1_000_000, now % 1_000_000))?;
    }
    if zone != 0 {
        put(zone, &ZONE.load(Ordering::Relaxed).to_le_bytes())?;
    }
    Ok(0)
}

fn settimeofday(from: u64, zone: u64) -> SysResult {
    let now = match from {
        0 => None,
        at => Some(timeval(at)?),
    };
    if zone != 0 {
        /// Hours of the zones farthest from the zeroth meridian, in minutes.
        const MAX_WEST: i32 = 15 * 60;
        let bytes: [u8; 8] = get(zone)?;
        let [west, _] = get_numbers::<2>(zone, WordSize::Four)?;
        if (west as i32).unsigned_abs() > MAX_WEST as u32 {
            return Err(Errno::EINVAL);
        }
        ZONE.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
    }
    now.map_or(Ok(0), set_time_of_day)
}

/// A `struct timeval`, in nanoseconds.
pub(super) fn timeval(at: u64) -> Result<u64, Errno> {
    let [seconds, microseconds] = get_numbers(at, abi::WORD)?;
    let is_negative = match abi::WORD {
        WordSize::Four => (seconds as i32) < 0,
        WordSize::Eight => (seconds as i64) < 0,
    };
    if microseconds >= 1_000_000 || is_negative {
        return Err(Errno::EINVAL);
    }
    // A hundred years are as good as any number beyond.
    Ok(seconds.min(100 * 366 * 86_400) * SECOND + microseconds * 1000)
}

fn time(to: u64) -> SysResult {
    let now = wall::nanoseconds() / SECOND;
    if to != 0 {
        put_word(to, now)?;
    }
    Ok(now)
}

fn stime(from: u64) -> SysResult {
    let [seconds] = get_numbers(from, abi::WORD)?;
    set_time_of_day(seconds.checked_mul(SECOND).ok_or(Errno::EINVAL)?)
}

/// Clock ticks: of the caller's time in user mode and in the kernel, its children's, since boot.
fn times(to: u64) -> SysResult {
    const CLOCK_TICK: u64 = 10_000_000;
    if to != 0 {
        let (own, children) =
            (cpu_time::of_process(current()), cpu_time::of_children(current()).times);
        let numbers = [own.user, own.system, children.user, children.system];
        for (number, at) in numbers.iter().zip((0..).step_by(abi::WORD.bytes())) {
            put_word(to.checked_add(at).ok_or(Errno::EFAULT)?, number / CLOCK_TICK)?;
        }
    }
    Ok(time::nanoseconds() / CLOCK_TICK)
}
