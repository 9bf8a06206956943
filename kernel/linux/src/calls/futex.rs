//! Calls about words that threads sleep on.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::futex::{self, ANY_BIT, Awaited, Deadline};
use crate::process::identity::permissions::{self, Looks};
use crate::process::names::named;
use crate::process::time::times;
use crate::process::user_memory::{get_numbers, put_word, timespec};
use crate::spaces::time::Ahead;
use crate::time::wall;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use threads::time;

calls! {
    "futex" (at, operation, value, timeout, second, encoded) => futex(at, operation, value, timeout, second, encoded, abi::WORD);
    "futex_time64" (at, operation, value, timeout, second, encoded) => futex(at, operation, value, timeout, second, encoded, WordSize::Eight);
    "futex_wake" (at, bits, most, flags) => wake(at, bits, most, flags);
    "futex_wait" (at, value, bits, flags, timeout, clock) => wait([at, value, bits], flags, timeout, clock);
    "futex_requeue" (words, flags, wake, more) => requeue(words, flags, [wake as i32, more as i32]);
    "futex_waitv" (words, count, flags, timeout, clock) => waitv(words, count, flags, timeout, clock);
    "set_robust_list" (head, bytes) => set_robust_list(head, bytes);
    "get_robust_list" (thread, head, bytes) => get_robust_list(thread, head, bytes);
}

fn futex(
    at: u64,
    operation: u64,
    value: u64,
    timeout: u64,
    second: u64,
    encoded: u64,
    size: WordSize,
) -> SysResult {
    const WAIT: u32 = 0;
    const WAKE: u32 = 1;
    const REQUEUE: u32 = 3;
    const CMP_REQUEUE: u32 = 4;
    const WAKE_OP: u32 = 5;
    const LOCK_PI: u32 = 6;
    const UNLOCK_PI: u32 = 7;
    const TRYLOCK_PI: u32 = 8;
    const WAIT_BITSET: u32 = 9;
    const WAKE_BITSET: u32 = 10;
    const WAIT_REQUEUE_PI: u32 = 11;
    const CMP_REQUEUE_PI: u32 = 12;
    const LOCK_PI2: u32 = 13;
    const PRIVATE: u32 = 128;
    const REAL_TIME: u32 = 256;
    let operation = operation as u32;
    let command = operation & !(PRIVATE | REAL_TIME);
    let is_private = operation & PRIVATE != 0;
    let mut is_real_time = operation & REAL_TIME != 0;
    if is_real_time && !matches!(command, WAIT_BITSET | WAIT_REQUEUE_PI | LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    is_real_time |= command == LOCK_PI;
    let deadline: Deadline = match command {
        WAIT | WAIT_BITSET | LOCK_PI | LOCK_PI2 | WAIT_REQUEUE_PI if timeout != 0 => {
            let when = timespec(timeout, size)?;
            Some(match command {
                WAIT => time::later(when),
                _ if is_real_time => wall::since_boot(when),
                _ => times::meant(Ahead::Monotonic, when),
            })
        }
        _ => None,
    };
    let (value, encoded) = (value as u32, encoded as u32);
    let counts = [value as i32, timeout as i32];
    match command {
        WAIT => futex::wait(at, is_private, value, ANY_BIT, deadline),
        WAIT_BITSET => futex::wait(at, is_private, value, encoded, deadline),
        WAKE => futex::wake(at, is_private, ANY_BIT, value as i32),
        WAKE_BITSET => futex::wake(at, is_private, encoded, value as i32),
        REQUEUE => futex::requeue(at, second, is_private, counts, None),
        CMP_REQUEUE => futex::requeue(at, second, is_private, counts, Some(encoded)),
        WAKE_OP => futex::wake_and_change(at, second, is_private, counts, encoded),
        LOCK_PI | LOCK_PI2 => futex::lock(at, is_private, true, deadline),
        TRYLOCK_PI => futex::lock(at, is_private, false, None),
        UNLOCK_PI => futex::unlock(at, is_private),
        WAIT_REQUEUE_PI => {
            futex::wait_for_lock_of(at, second, is_private, value, ANY_BIT, deadline)
        }
        CMP_REQUEUE_PI => futex::requeue_to_lock(at, second, is_private, counts, encoded),
        _ => Err(Errno::ENOSYS),
    }
}

/// Flags of a word, in the calls of the second kind: its size, and who uses it.
const OF_32_BITS: u32 = 2;
const PRIVATE: u32 = 128;

/// Whether only the caller's process uses a word with these flags. There are words of 32 bits only.
const fn is_private(flags: u64) -> Result<bool, Errno> {
    match flags as u32 & !PRIVATE {
        OF_32_BITS => Ok(flags as u32 & PRIVATE != 0),
        _ => Err(Errno::EINVAL),
    }
}

/// A value of a word, or bits that are waited for and woken.
fn of_word(number: u64) -> Result<u32, Errno> {
    u32::try_from(number).map_err(|_| Errno::EINVAL)
}

/// A time of a clock: when it comes.
fn moment(timeout: u64, clock: u64) -> Result<Deadline, Errno> {
    const REAL_TIME: u32 = 0;
    const MONOTONIC: u32 = 1;
    Ok(match (timeout, clock as u32) {
        (0, _) => None,
        (at, REAL_TIME) => Some(wall::since_boot(timespec(at, WordSize::Eight)?)),
        (at, MONOTONIC) => Some(times::meant(Ahead::Monotonic, timespec(at, WordSize::Eight)?)),
        _ => return Err(Errno::EINVAL),
    })
}

fn wake(at: u64, bits: u64, most: u64, flags: u64) -> SysResult {
    let (is_private, bits) = (is_private(flags)?, of_word(bits)?);
    match most as i32 {
        0 if bits != 0 => Ok(0),
        most => futex::wake(at, is_private, bits, most),
    }
}

fn wait([at, value, bits]: [u64; 3], flags: u64, timeout: u64, clock: u64) -> SysResult {
    let (is_private, value, bits) = (is_private(flags)?, of_word(value)?, of_word(bits)?);
    futex::wait(at, is_private, value, bits, moment(timeout, clock)?)
}

/// Two words: that from which waiters go, with its value, and that to which.
fn requeue(words: u64, flags: u64, counts: [i32; 2]) -> SysResult {
    if flags as u32 != 0 || words == 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (awaited(words, 0)?, awaited(words, 1)?);
    let is_private = from.is_private && to.is_private;
    futex::requeue(from.address, to.address, is_private, counts, Some(from.value))
}

/// An entry of a list: `struct futex_waitv` is value 0, address 8, flags 16, reserved 20.
fn awaited(words: u64, index: u64) -> Result<Awaited, Errno> {
    const BYTES: u64 = 24;
    let at = words.checked_add(index * BYTES).ok_or(Errno::EFAULT)?;
    let [value, address] = get_numbers(at, WordSize::Eight)?;
    let [flags, reserved] = get_numbers(at + 16, WordSize::Four)?;
    if reserved != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Awaited { address, value: value as u32, is_private: is_private(flags)? })
}

/// futex_waitv: for the first of several words.
fn waitv(words: u64, count: u64, flags: u64, timeout: u64, clock: u64) -> SysResult {
    const MAX_WORDS: u64 = 128;
    let count = count & 0xffff_ffff;
    if flags as u32 != 0 || !(1..=MAX_WORDS).contains(&count) || words == 0 {
        return Err(Errno::EINVAL);
    }
    let deadline = moment(timeout, clock)?;
    let mut all = Vec::new();
    for index in 0..count {
        fallible::push(&mut all, awaited(words, index)?)?;
    }
    futex::wait_for_any(&all, deadline)
}

/// Words of the head of a list: the first entry, the offset of a lock in its entry, the entry that
/// is being taken or released.
const HEAD_BYTES: u64 = 3 * abi::WORD.bytes() as u64;

fn set_robust_list(head: u64, bytes: u64) -> SysResult {
    if bytes != HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    current_task().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

fn get_robust_list(thread: u64, head: u64, bytes: u64) -> SysResult {
    let head_there = match thread as i32 {
        0 => current_task().robust_list.load(Ordering::Relaxed),
        number @ 1.. => {
            let number = number as u64;
            let (process, thread) = named::find_thread(None, number).ok_or(Errno::ESRCH)?;
            if !permissions::may_look_into(&process, Looks::AsReal) {
                return Err(Errno::EPERM);
            }
            futex::robust_list_of(&thread).ok_or(Errno::ESRCH)?
        }
        _ => return Err(Errno::ESRCH),
    };
    put_word(bytes, HEAD_BYTES)?;
    put_word(head, head_there)?;
    Ok(0)
}
