//! Messages: msgget, msgsnd, msgrcv, msgctl.

use super::{
    INFO, READ, REMOVE, SET, STAT, Structure, WRITE, check, check_owner, command, find_or_make,
    named, now, put_numbers, set,
};
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::calls::table::calls;
use crate::error::{Errno, SysResult};
use crate::ipc::messages::{
    self, How, MAX_BYTES, MAX_IN_QUEUE, MAX_QUEUES, Message, Totals, Wanted,
};
use crate::process::identity::credentials::capability;
use crate::process::names::ipc::here;
use crate::process::user_memory::{get, get_numbers, put, put_word};
use crate::process::{current, current_task};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;

calls! {
    "msgget" (key, flags) => obtain(key, flags);
    "msgsnd" (number, from, length, flags) => send(number, from, length, flags);
    "msgrcv" (number, to, length, kind, flags) => receive(number, to, length, kind, flags);
    "msgctl" (number, command, to) => control(number, command, to);
}

const NO_WAIT: u64 = 0o4000;

/// A number of the width of a word, with its sign.
fn signed(word: u64) -> i64 {
    match abi::WORD {
        WordSize::Four => i64::from(word as i32),
        WordSize::Eight => word as i64,
    }
}

pub(super) fn obtain(key: u64, flags: u64) -> SysResult {
    let is_right = |number, wanted| {
        let queue = messages::get(here(), number).map_err(|_| Errno::EIDRM)?;
        queue.with(|state| check(&state.access, wanted))
    };
    find_or_make(key, flags, messages::find, is_right, messages::make)
}

fn kept(limit: &AtomicU64) -> u64 {
    limit.load(Ordering::Relaxed)
}

pub(super) fn send(number: u64, from: u64, length: u64, flags: u64) -> SysResult {
    let number = number as i32;
    let [kind] = get_numbers(from, abi::WORD)?;
    let kind = signed(kind);
    if length > kept(&MAX_BYTES) || number < 0 || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let text = from.checked_add(abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
    let mut bytes = fallible::zeros(length as usize)?;
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    memory.lock().read(text, &mut bytes)?;
    let queue = messages::get(here(), number)?;
    queue.with(|state| check(&state.access, WRITE))?;
    queue.send(Message { kind, bytes }, flags & NO_WAIT != 0, current().id, now)?;
    Ok(0)
}

pub(super) fn receive(number: u64, to: u64, length: u64, kind: u64, flags: u64) -> SysResult {
    const CUT: u64 = 0o10000;
    const EXCEPT: u64 = 0o20000;
    const COPY: u64 = 0o40000;
    let (number, kind) = (number as i32, signed(kind));
    if number < 0 || signed(length) < 0 {
        return Err(Errno::EINVAL);
    }
    let (nonblocking, cuts, room) = (flags & NO_WAIT != 0, flags & CUT != 0, length as usize);
    if flags & COPY != 0 && (flags & EXCEPT != 0 || !nonblocking) {
        return Err(Errno::EINVAL);
    }
    let queue = messages::get(here(), number)?;
    queue.with(|state| check(&state.access, READ))?;
    let received = if flags & COPY != 0 {
        let place = usize::try_from(kind).map_err(|_| Errno::ENOMSG)?;
        queue.copy(place, room, cuts)?
    } else {
        let wanted = match kind {
            0 => Wanted::First,
            1.. if flags & EXCEPT != 0 => Wanted::NotOf(kind),
            1.. => Wanted::OfKind(kind),
            _ => Wanted::Lowest(kind.checked_neg().unwrap_or(i64::MAX)),
        };
        queue.receive(How { wanted, room, cuts, nonblocking }, current().id, now)?
    };
    put_word(to, received.message.kind as u64)?;
    let text = to.checked_add(abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
    put(text, &received.message.bytes[..received.length])?;
    Ok(received.length as u64)
}

/// Where in `struct msqid64_ds` it stands how many bytes a queue may hold: behind its head, three
/// times, and two numbers (include/uapi/asm-generic/msgbuf.h).
const MAX_AT: usize = match abi::WORD {
    WordSize::Four => 36 + 3 * 8 + 2 * 4,
    WordSize::Eight => 48 + 3 * 8 + 2 * 8,
};

pub(super) fn control(number: u64, what: u64, to: u64) -> SysResult {
    const STAT_AT: u64 = 11;
    const ALL_INFO: u64 = 12;
    const STAT_ANY: u64 = 13;
    let (number, what) = (number as i32, command(what));
    if number < 0 {
        return Err(Errno::EINVAL);
    }
    match what {
        REMOVE => {
            messages::get(here(), number)?.remove(check_owner)?;
            Ok(0)
        }
        SET => {
            let given = get::<24>(to)?;
            let [most] = get_numbers(to + MAX_AT as u64, abi::WORD)?;
            messages::get(here(), number)?.change(|state| {
                check_owner(&state.access)?;
                let may_more = current_task().credentials().can(capability::SYS_RESOURCE);
                if most > kept(&MAX_IN_QUEUE) && !may_more {
                    return Err(Errno::EPERM);
                }
                state.most_bytes = most;
                set(&mut state.access, &given);
                Ok(0)
            })
        }
        STAT | STAT_AT | STAT_ANY => {
            let number = named(what, number, messages::at_place)?;
            let structure = messages::get(here(), number)?.with(|state| {
                if what != STAT_ANY {
                    check(&state.access, READ)?;
                }
                let mut structure = Structure::of(&state.access, 0);
                for time in [state.times[0], state.times[1], state.access.changed] {
                    structure.add(time, 8);
                }
                for word in [state.bytes, state.count() as u64, state.most_bytes] {
                    structure.word(word);
                }
                state.processes.into_iter().for_each(|process| structure.add(process, 4));
                Ok(structure)
            })?;
            structure.put(to)?;
            Ok(if what == STAT { 0 } else { number as u64 })
        }
        INFO | ALL_INFO => {
            let Totals { queues, highest, messages, bytes } = messages::totals(here());
            let (queues_at_most, in_queue) = (kept(&MAX_QUEUES), kept(&MAX_IN_QUEUE));
            let [pool, map, all] = match what {
                INFO => [queues_at_most * in_queue / 1024, in_queue, in_queue],
                _ => [queues as u64, messages as u64, bytes],
            };
            // `struct msginfo`.
            let most = [kept(&MAX_BYTES), in_queue, queues_at_most];
            put_numbers(to, &[pool, map, most[0], most[1], most[2], 16, all, 0xffff])?;
            Ok(highest as u64)
        }
        _ => Err(Errno::EINVAL),
    }
}
