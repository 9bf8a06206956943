//! What of a CPU threads of real time get: three files of /proc/sys/kernel (sched(7)).

use crate::error::Errno;
use core::fmt::{self, Write};
use machine::memory::fallible::Text;
use machine::spin::SpinLock;
use threads::sched;

/// Milliseconds of a slice that was not set.
const USUAL_SLICE: i64 = 100;
const MICROSECOND: u64 = 1000;
const MILLISECOND: u64 = 1_000_000;

/// As they were set: milliseconds of a slice; microseconds of a period, and of real time's share of
/// it, -1: all.
struct Set {
    slice: i64,
    period: i64,
    share: i64,
}

static SET: SpinLock<Set> =
    SpinLock::new(Set { slice: USUAL_SLICE, period: 1_000_000, share: 950_000 });

fn number(from: &[u8]) -> Result<i64, Errno> {
    let text = core::str::from_utf8(from).map_err(|_| Errno::EINVAL)?;
    let number: i32 =
        text.trim_matches(['\0', ' ', '\n', '\t']).parse().map_err(|_| Errno::EINVAL)?;
    Ok(number.into())
}

pub(super) fn write_slice(text: &mut Text) -> fmt::Result {
    let slice = SET.lock().slice;
    writeln!(text, "{slice}")
}

/// Nothing, or less: the usual one.
pub(super) fn set_slice(from: &[u8]) -> Result<(), Errno> {
    let number = number(from)?;
    let slice = if number <= 0 { USUAL_SLICE } else { number };
    SET.lock().slice = slice;
    sched::set_slice(slice as u64 * MILLISECOND);
    Ok(())
}

pub(super) fn write_period(text: &mut Text) -> fmt::Result {
    let period = SET.lock().period;
    writeln!(text, "{period}")
}

pub(super) fn write_share(text: &mut Text) -> fmt::Result {
    let share = SET.lock().share;
    writeln!(text, "{share}")
}

pub(super) fn set_period(from: &[u8]) -> Result<(), Errno> {
    let number = number(from)?;
    change(|set| set.period = number)
}

pub(super) fn set_share(from: &[u8]) -> Result<(), Errno> {
    let number = number(from)?;
    change(|set| set.share = number)
}

/// A share is none of a period, or a part of it.
fn change(change: impl FnOnce(&mut Set)) -> Result<(), Errno> {
    let mut set = SET.lock();
    let mut new = Set { ..*set };
    change(&mut new);
    if new.period < 1 || new.share < -1 || new.share > new.period {
        return Err(Errno::EINVAL);
    }
    let share = u64::try_from(new.share).ok().map(|share| share * MICROSECOND);
    sched::set_share(new.period as u64 * MICROSECOND, share);
    *set = new;
    Ok(())
}
