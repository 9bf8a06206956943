//! Calls about time: clocks, and sleeping.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::task::Continuation;
use crate::process::user_memory::{WORD_BYTES, put, put_word, timespec, write_zeros};
use crate::signals::restart;
use threads::{sched, time};

calls! {
    "nanosleep" (at, left) => nanosleep(at, left);
    "clock_nanosleep" (_clock, flags, at) => clock_nanosleep(flags, at, abi::WORD);
    "clock_nanosleep_time64" (_clock, flags, at) => clock_nanosleep(flags, at, WordSize::Eight);
    "clock_gettime" (_clock, to) => clock_gettime(to, abi::encode_pair);
    "clock_gettime64" (_clock, to) => clock_gettime(to, abi::encode_long_pair);
    "clock_getres" (_clock, to) => clock_getres(to, abi::encode_pair);
    "clock_getres_time64" (_clock, to) => clock_getres(to, abi::encode_long_pair);
    "gettimeofday" (to) => gettimeofday(to);
    "time" (to) => time(to);
    "times" (to) => times(to);
}

/// Sleeps for a time; a signal that a handler takes ends it, with the time that is left at `left`.
pub(crate) fn nanosleep(at: u64, left: u64) -> SysResult {
    sleep_on(time::later(timespec(at, abi::WORD)?), left)
}

fn sleep_on(deadline: u64, left: u64) -> SysResult {
    if sched::sleep_until(deadline).is_ok() {
        return Ok(0);
    }
    if left != 0 {
        let remaining = deadline.saturating_sub(time::nanoseconds());
        put(left, &abi::encode_pair(remaining / 1_000_000_000, remaining % 1_000_000_000))?;
    }
    let run = |sleep: Continuation| sleep_on(sleep.deadline, sleep.argument);
    Err(restart::continue_later(Continuation { run, deadline, argument: left }))
}

pub(crate) fn clock_nanosleep(flags: u64, at: u64, size: WordSize) -> SysResult {
    const ABSOLUTE: u64 = 1;
    let when = timespec(at, size)?;
    let length =
        if flags & ABSOLUTE != 0 { when.saturating_sub(time::nanoseconds()) } else { when };
    time::sleep(length).map_err(|_| Errno::ERESTARTNOHAND)?;
    Ok(0)
}

/// `encode`: how the structure looks that is asked for.
pub(crate) fn clock_gettime<const N: usize>(to: u64, encode: fn(u64, u64) -> [u8; N]) -> SysResult {
    let now = time::nanoseconds();
    put(to, &encode(now / 1_000_000_000, now % 1_000_000_000))?;
    Ok(0)
}

pub(crate) fn clock_getres<const N: usize>(to: u64, encode: fn(u64, u64) -> [u8; N]) -> SysResult {
    if to != 0 {
        put(to, &encode(0, 1_000_000_000 / machine::arch::irqchip::HZ))?;
    }
    Ok(0)
}

pub(crate) fn gettimeofday(to: u64) -> SysResult {
    if to != 0 {
        let now = time::nanoseconds() / 1000;
        put(to, &abi::encode_pair(now / 1_000_000, now % 1_000_000))?;
    }
    Ok(0)
}

pub(crate) fn time(to: u64) -> SysResult {
    let now = time::nanoseconds() / 1_000_000_000;
    if to != 0 {
        put_word(to, now)?;
    }
    Ok(now)
}

pub(crate) fn times(to: u64) -> SysResult {
    if to != 0 {
        write_zeros(to, 4 * WORD_BYTES)?;
    }
    Ok(time::nanoseconds() / 10_000_000)
}
