//! Calls about time: clocks, and sleeping.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::user_memory::{put, put_word, timespec};
use crate::process::{cpu_time, current};
use threads::time;

calls! {
    "nanosleep" (at) => nanosleep(at);
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

pub(crate) fn nanosleep(at: u64) -> SysResult {
    time::sleep(timespec(at, abi::WORD)?).map_err(|_| Errno::ERESTARTNOHAND)?;
    Ok(0)
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

/// Clock ticks: of the caller's time in user mode and in the kernel, its children's, since boot.
pub(crate) fn times(to: u64) -> SysResult {
    const CLOCK_TICK: u64 = 10_000_000;
    if to != 0 {
        let (own, children) = (cpu_time::of_process(current()), cpu_time::of_children(current()));
        let numbers = [own.user, own.system, children.user, children.system];
        for (number, at) in numbers.iter().zip((0..).step_by(abi::WORD.bytes())) {
            put_word(to.checked_add(at).ok_or(Errno::EFAULT)?, number / CLOCK_TICK)?;
        }
    }
    Ok(time::nanoseconds() / CLOCK_TICK)
}
