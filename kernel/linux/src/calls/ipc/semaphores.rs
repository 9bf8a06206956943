//! Semaphores: semget, semop, semtimedop, semctl.

use super::{
    INFO, READ, REMOVE, SET, STAT, Structure, WRITE, check, check_owner, command, find_or_make,
    named, now, put_numbers, set,
};
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::calls::table::calls;
use crate::error::{Errno, SysResult};
use crate::ipc::semaphores::{self, MAX_IN_SET, MAX_OPERATIONS, MAX_SETS, MAX_VALUE, Operation};
use crate::process::current;
use crate::process::names::ipc::here;
use crate::process::user_memory::{get, put, timespec};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use threads::time;

calls! {
    "semget" (key, count, flags) => obtain(key, count, flags);
    "semop" (number, operations, count) => operate(number, operations, count, Ok(None));
    "semtimedop" (number, operations, count, time) => operate(number, operations, count, within(time, abi::WORD));
    "semtimedop_time64" (number, operations, count, time) => operate(number, operations, count, within(time, WordSize::Eight));
    "semctl" (number, semaphore, command, argument) => control(number, semaphore, command, argument);
}

/// The time that a call may wait; `None`: indefinitely.
pub(super) fn within(at: u64, size: WordSize) -> Result<Option<u64>, Errno> {
    if at == 0 { Ok(None) } else { timespec(at, size).map(Some) }
}

pub(super) fn obtain(key: u64, count: u64, flags: u64) -> SysResult {
    let count = count as u32 as u64;
    if count > MAX_IN_SET {
        return Err(Errno::EINVAL);
    }
    let is_right = |number, wanted| {
        semaphores::get(here(), number).map_err(|_| Errno::EIDRM)?.with(|state| {
            if count > state.semaphores.len() as u64 {
                return Err(Errno::EINVAL);
            }
            check(&state.access, wanted)
        })
    };
    find_or_make(key, flags, semaphores::find, is_right, |access| match count {
        0 => Err(Errno::EINVAL),
        _ => semaphores::make(access, count as usize),
    })
}

pub(super) fn operate(
    number: u64,
    from: u64,
    count: u64,
    within: Result<Option<u64>, Errno>,
) -> SysResult {
    const SIZE: usize = 6;
    let count = count as u32 as u64;
    if count == 0 || (number as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if count > MAX_OPERATIONS {
        return Err(Errno::E2BIG);
    }
    let mut bytes = fallible::zeros(count as usize * SIZE)?;
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    memory.lock().read(from, &mut bytes)?;
    let deadline = within?.map(time::later);
    let operations = bytes.as_chunks::<SIZE>().0.iter().map(|&[a, b, c, d, e, f]| Operation {
        number: u16::from_le_bytes([a, b]),
        change: i16::from_le_bytes([c, d]),
        flags: u16::from_le_bytes([e, f]),
    });
    let operations = fallible::collect(operations)?;
    let set = semaphores::get(here(), number as i32)?;
    set.with(|state| {
        if operations.iter().any(|one| usize::from(one.number) >= state.semaphores.len()) {
            return Err(Errno::EFBIG);
        }
        let changes = operations.iter().any(|one| one.change != 0);
        check(&state.access, if changes { WRITE } else { READ })
    })?;
    set.operate(&operations, current().id, now, deadline)?;
    Ok(0)
}

pub(super) fn control(number: u64, semaphore: u64, what: u64, argument: u64) -> SysResult {
    const PROCESS: u64 = 11;
    const VALUE: u64 = 12;
    const VALUES: u64 = 13;
    const WAITING: u64 = 14;
    const WAITING_FOR_ZERO: u64 = 15;
    const SET_VALUE: u64 = 16;
    const SET_VALUES: u64 = 17;
    const STAT_AT: u64 = 18;
    const ALL_INFO: u64 = 19;
    const STAT_ANY: u64 = 20;
    let (number, what) = (number as i32, command(what));
    if number < 0 {
        return Err(Errno::EINVAL);
    }
    match what {
        REMOVE => {
            semaphores::get(here(), number)?.remove(check_owner)?;
            Ok(0)
        }
        SET => {
            let given = get::<24>(argument)?;
            semaphores::get(here(), number)?.change(|state| {
                check_owner(&state.access)?;
                set(&mut state.access, &given);
                Ok(0)
            })
        }
        STAT | STAT_AT | STAT_ANY => {
            let number = named(what, number, semaphores::at_place)?;
            let structure = semaphores::get(here(), number)?.with(|state| {
                if what != STAT_ANY {
                    check(&state.access, READ)?;
                }
                let mut structure = Structure::of(&state.access, 0);
                // `struct semid64_ds`.
                for time in [state.operated, state.access.changed] {
                    structure.add(time, 8);
                    structure.skip(abi::SEMAPHORE_TIME - 8);
                }
                structure.word(state.semaphores.len() as u64);
                Ok(structure)
            })?;
            structure.put(argument)?;
            Ok(if what == STAT { 0 } else { number as u64 })
        }
        INFO | ALL_INFO => {
            let (count, highest, all) = semaphores::totals(here());
            let most = MAX_SETS.load(Ordering::Relaxed) * MAX_IN_SET;
            let value = MAX_VALUE as u64;
            let [size, last] = match what {
                INFO => [20, value],
                _ => [count as u64, all as u64],
            };
            let sets = MAX_SETS.load(Ordering::Relaxed);
            let operations = MAX_OPERATIONS;
            // `struct seminfo`.
            put_numbers(
                argument,
                &[most, sets, most, most, MAX_IN_SET, operations, operations, size, value, last],
            )?;
            Ok(highest as u64)
        }
        VALUES => {
            let bytes = semaphores::get(here(), number)?.with(|state| {
                check(&state.access, READ)?;
                let values = state.semaphores.iter();
                let values = values.flat_map(|one| (one.value as u16).to_le_bytes());
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(state.semaphores.len() * 2).map_err(|_| Errno::ENOMEM)?;
                // CANNOT FAIL: reserved above.
                bytes.extend(values);
                Ok(bytes)
            })?;
            put(argument, &bytes)?;
            Ok(0)
        }
        SET_VALUES => {
            let set = semaphores::get(here(), number)?;
            let count = set.with(|state| {
                check(&state.access, WRITE)?;
                Ok(state.semaphores.len())
            })?;
            let mut bytes = fallible::zeros(count * 2)?;
            let memory = current().memory().ok_or(Errno::EFAULT)?;
            memory.lock().read(argument, &mut bytes)?;
            let value = |bytes: &[u8; 2]| i32::from(u16::from_le_bytes(*bytes));
            let values = bytes.as_chunks::<2>().0;
            if values.iter().any(|bytes| value(bytes) > MAX_VALUE) {
                return Err(Errno::ERANGE);
            }
            set.change(|state| {
                for (semaphore, bytes) in state.semaphores.iter_mut().zip(values) {
                    (semaphore.value, semaphore.process) = (value(bytes), current().id);
                }
                state.forget(|_| true);
                state.access.changed = now();
                Ok(0)
            })
        }
        PROCESS | VALUE | WAITING | WAITING_FOR_ZERO => {
            semaphores::get(here(), number)?.with(|state| {
                check(&state.access, READ)?;
                let one = state.semaphores.get(semaphore as u32 as usize).ok_or(Errno::EINVAL)?;
                let place = semaphore as u16;
                Ok(match what {
                    PROCESS => one.process,
                    VALUE => one.value as u64,
                    _ => state.waiters(place, what == WAITING_FOR_ZERO) as u64,
                })
            })
        }
        SET_VALUE => semaphores::get(here(), number)?.change(|state| {
            let value = argument as i32;
            if !(0..=MAX_VALUE).contains(&value) {
                return Err(Errno::ERANGE);
            }
            check(&state.access, WRITE)?;
            let place = semaphore as u32 as usize;
            let one = state.semaphores.get_mut(place).ok_or(Errno::EINVAL)?;
            (one.value, one.process) = (value, current().id);
            state.forget(|other| usize::from(other) == place);
            state.access.changed = now();
            Ok(0)
        }),
        _ => Err(Errno::EINVAL),
    }
}
