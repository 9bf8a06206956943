//! adjtimex and its kin: what programs that keep the clock right tell of it.

use super::table::calls;
use super::time::set_time_of_day;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::time::clocks::{Clock, RealClock};
use crate::process::user_memory::{get, get_numbers, put};
use crate::time::adjust::{self, IN_NANOSECONDS, MAX_ERROR, READ_ONLY, UNSYNCHRONISED};
use crate::time::{SECOND, wall};

calls! {
    "adjtimex" (at) => adjtimex(at, abi::WORD);
    "clock_adjtime" (clock, at) => clock_adjtime(clock, at, abi::WORD);
    "clock_adjtime64" (clock, at) => clock_adjtime(clock, at, WordSize::Eight);
}

/// Bits of `modes`.
mod mode {
    pub(super) const OFFSET: u32 = 1;
    pub(super) const FREQUENCY: u32 = 2;
    pub(super) const MAX_ERROR: u32 = 4;
    pub(super) const ERROR: u32 = 8;
    pub(super) const STATUS: u32 = 0x10;
    pub(super) const CONSTANT: u32 = 0x20;
    pub(super) const ATOMIC: u32 = 0x80;
    pub(super) const SET: u32 = 0x100;
    pub(super) const MICROSECONDS: u32 = 0x1000;
    pub(super) const NANOSECONDS: u32 = 0x2000;
    pub(super) const TICK: u32 = 0x4000;
    /// The older call: a single offset, or only what is left of one.
    pub(super) const OLD: u32 = 0x8000;
}

/// Words of `struct timex`, by their place: the first one is `modes`.
mod word {
    pub(super) const OFFSET: usize = 1;
    pub(super) const FREQUENCY: usize = 2;
    pub(super) const MAX_ERROR: usize = 3;
    pub(super) const ERROR: usize = 4;
    pub(super) const STATUS: usize = 5;
    pub(super) const CONSTANT: usize = 6;
    pub(super) const PRECISION: usize = 7;
    pub(super) const TOLERANCE: usize = 8;
    pub(super) const SECONDS: usize = 9;
    pub(super) const FRACTION: usize = 10;
    pub(super) const TICK: usize = 11;
    pub(super) const ATOMIC: usize = 20;
    pub(super) const COUNT: usize = 21;
}

/// Microseconds of a tick of the clock as it is, and what a program may ask for.
const TICK: i64 = 10_000;
const TICKS: core::ops::RangeInclusive<i64> = 9_000..=11_000;
/// Leap seconds that are asked for: none comes.
const LEAPS: u32 = 0x30;
/// The most that atomic time can be ahead.
const MAX_ATOMIC: i64 = 100_000;

fn adjtimex(at: u64, size: WordSize) -> SysResult {
    /// What it answers: all is well; the clock is kept right by nothing.
    const WELL: u64 = 0;
    const ERROR: u64 = 5;
    const TOLERANCE: u64 = 500 << 16;
    let modes = u32::from_le_bytes(get(at)?);
    let asked = get_numbers::<{ word::COUNT }>(at, size)?;
    let asked = asked.map(|word| match size {
        WordSize::Four => i64::from(word as i32),
        WordSize::Eight => word as i64,
    });
    change(modes, &asked)?;
    let told = adjust::now();
    let now = wall::nanoseconds();
    let in_nanoseconds = told.status & IN_NANOSECONDS != 0;
    let mut words = [0; word::COUNT];
    words[0] = modes.into();
    words[word::MAX_ERROR] = told.max_error;
    words[word::ERROR] = told.error;
    words[word::STATUS] = told.status.into();
    words[word::CONSTANT] = told.constant;
    words[word::PRECISION] = 1;
    words[word::TOLERANCE] = TOLERANCE;
    words[word::SECONDS] = now / SECOND;
    words[word::FRACTION] = if in_nanoseconds { now % SECOND } else { now % SECOND / 1000 };
    words[word::TICK] = TICK as u64;
    words[word::ATOMIC] = told.atomic;
    // Bits of a word beyond four bytes of a number stay as they were, as those behind the last.
    const HALF: usize = 4;
    for (i, number) in words.into_iter().enumerate() {
        let bytes = match i {
            0 | word::STATUS | word::ATOMIC => HALF,
            _ => size.bytes(),
        };
        let to = at.checked_add((i * size.bytes()) as u64).ok_or(Errno::EFAULT)?;
        put(to, &number.to_le_bytes()[..bytes])?;
    }
    Ok(if told.status & UNSYNCHRONISED != 0 { ERROR } else { WELL })
}

/// Takes what is told. `EOPNOTSUPP`: the clock would have to run faster or slower.
fn change(modes: u32, asked: &[i64; word::COUNT]) -> Result<(), Errno> {
    let has = |bit: u32| modes & bit != 0;
    let is_old = has(mode::OLD);
    if is_old && !has(mode::OFFSET) {
        return Err(Errno::EINVAL);
    }
    let only_reads = modes == 0 || is_old && has(mode::NANOSECONDS);
    if only_reads {
        return Ok(());
    }
    if !current_task().credentials().can(capability::SYS_TIME) {
        return Err(Errno::EPERM);
    }
    if has(mode::TICK) && !TICKS.contains(&asked[word::TICK]) {
        return Err(Errno::EINVAL);
    }
    let asks_for_leap = has(mode::STATUS) && asked[word::STATUS] as u32 & LEAPS != 0;
    if has(mode::OFFSET) && asked[word::OFFSET] != 0
        || !is_old && has(mode::FREQUENCY) && asked[word::FREQUENCY] != 0
        || !is_old && has(mode::TICK) && asked[word::TICK] != TICK
        || !is_old && asks_for_leap
    {
        return Err(Errno::EOPNOTSUPP);
    }
    if is_old {
        return Ok(());
    }
    if has(mode::SET) {
        let (seconds, fraction) = (asked[word::SECONDS], asked[word::FRACTION]);
        let unit = if has(mode::NANOSECONDS) { 1 } else { 1000 };
        if fraction < 0 || fraction.saturating_mul(unit) >= SECOND as i64 {
            return Err(Errno::EINVAL);
        }
        let by = seconds.checked_mul(SECOND as i64).and_then(|by| by.checked_add(fraction * unit));
        let to = by.and_then(|by| wall::nanoseconds().checked_add_signed(by));
        set_time_of_day(to.ok_or(Errno::EINVAL)?)?;
    }
    let error = |word: usize| asked[word].clamp(0, MAX_ERROR as i64) as u64;
    adjust::tell(|told| {
        if has(mode::STATUS) {
            told.status = told.status & READ_ONLY | asked[word::STATUS] as u32 & !READ_ONLY;
        }
        if has(mode::NANOSECONDS) {
            told.status |= IN_NANOSECONDS;
        }
        if has(mode::MICROSECONDS) {
            told.status &= !IN_NANOSECONDS;
        }
        if has(mode::MAX_ERROR) {
            told.max_error = error(word::MAX_ERROR);
        }
        if has(mode::ERROR) {
            told.error = error(word::ERROR);
        }
        if has(mode::CONSTANT) {
            // `MAXTC`; in microseconds, four more are meant.
            let more = if told.status & IN_NANOSECONDS == 0 { 4 } else { 0 };
            told.constant = (asked[word::CONSTANT].max(0) + more).clamp(0, 10) as u64;
        }
        if has(mode::ATOMIC) && (0..=MAX_ATOMIC).contains(&asked[word::CONSTANT]) {
            told.atomic = asked[word::CONSTANT] as u64;
        }
    });
    Ok(())
}

fn clock_adjtime(number: u64, at: u64, size: WordSize) -> SysResult {
    const OF_DAY: i32 = 0;
    match Clock::of(number as i32)? {
        Clock::Real(RealClock::OfDay) if number as i32 == OF_DAY => adjtimex(at, size),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
