//! Shared memory by number and key: shmget, shmat, shmdt, shmctl.

use super::range::memory;
use super::{PROT_EXEC, PROT_READ, PROT_WRITE, access, implied};
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::spot::Known;
use crate::memory::areas::{Area, PAGE, Source, flag};
use crate::memory::limits::is_too_much;
use crate::memory::object::Object;
use crate::memory::segments::{self, Segment};
use crate::memory::space::Wanted;
use crate::process::identity::credentials::{Credentials, capability};
use crate::process::user_memory::{get, put};
use crate::process::{current, current_task};
use crate::time::wall;
use alloc::string::String;
use core::fmt::Write;

const READ: u32 = 4;
const WRITE: u32 = 2;
/// Bits of the flags that are permissions.
const MODE: u32 = 0o777;

fn now() -> u64 {
    wall::nanoseconds() / 1_000_000_000
}

/// Whether the caller may use a segment so (`ipcperms`).
fn check(segment: &Segment, wanted: u32) -> Result<(), Errno> {
    let mine = current_task().credentials();
    let granted = if [segment.owner[0], segment.maker[0]].contains(&mine.user.effective) {
        segment.mode >> 6
    } else if is_in_group(&mine, segment) {
        segment.mode >> 3
    } else {
        segment.mode
    };
    let may = wanted & !granted & 7 == 0 || mine.can_here(capability::IPC_OWNER);
    if may { Ok(()) } else { Err(Errno::EACCES) }
}

fn is_in_group(mine: &Credentials, segment: &Segment) -> bool {
    [segment.owner[1], segment.maker[1]]
        .iter()
        .any(|group| mine.group.effective == *group || mine.groups.contains(group))
}

pub(super) fn shmget(key: u64, bytes: u64, flags: u64) -> SysResult {
    const CREATE: u32 = 0o1000;
    const EXCLUSIVE: u32 = 0o2000;
    const HUGE: u32 = 0o4000;
    let (key, flags) = (key as i32, flags as u32);
    loop {
        let found = if key == segments::PRIVATE { None } else { segments::find(key) };
        if let Some(number) = found {
            if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                return Err(Errno::EEXIST);
            }
            let checked = segments::with(number, |segment, _| {
                if bytes > segment.bytes {
                    return Err(Errno::EINVAL);
                }
                // What the flags ask for, of any of the three.
                check(segment, (flags >> 6 | flags >> 3 | flags) & 7)
            });
            return checked.map(|()| number as u64);
        }
        if key != segments::PRIVATE && flags & CREATE == 0 {
            return Err(Errno::ENOENT);
        }
        if bytes == 0 || bytes.checked_next_multiple_of(PAGE).is_none() {
            return Err(Errno::EINVAL);
        }
        if flags & HUGE != 0 || is_too_much(bytes) {
            // There are no huge pages to be had.
            return Err(Errno::ENOMEM);
        }
        let mine = current_task().credentials();
        let owner = [mine.user.effective, mine.group.effective];
        let new = Segment {
            number: 0,
            key,
            bytes,
            owner,
            maker: owner,
            mode: flags & MODE,
            is_removed: false,
            is_locked: false,
            times: [0, 0, now()],
            processes: [current().id, 0],
            node: segments::pages(bytes)?,
        };
        match segments::make(new) {
            // Made meanwhile.
            Err(Errno::EEXIST) => {}
            made => return made.map(|number| number as u64),
        }
    }
}

pub(super) fn shmat(number: u64, at: u64, flags: u64) -> SysResult {
    const READ_ONLY: u64 = 0o10000;
    const ROUND: u64 = 0o20000;
    const REMAP: u64 = 0o40000;
    const EXEC: u64 = 0o100000;
    let number = number as i32;
    let wanted = match at {
        0 if flags & REMAP != 0 => return Err(Errno::EINVAL),
        0 => Wanted::Anywhere(0),
        _ if !at.is_multiple_of(PAGE) && flags & ROUND == 0 => return Err(Errno::EINVAL),
        _ if flags & REMAP != 0 => Wanted::Exactly(at & !(PAGE - 1)),
        _ => Wanted::There(at & !(PAGE - 1)),
    };
    let mut protection = match flags & READ_ONLY {
        0 => PROT_READ | PROT_WRITE,
        _ => PROT_READ,
    };
    if flags & EXEC != 0 {
        protection |= PROT_EXEC;
    }
    let bits = READ | if flags & READ_ONLY == 0 { WRITE } else { 0 } | u32::from(flags & EXEC != 0);
    let (node, key, bytes) = segments::with(number, |segment, _| {
        check(segment, bits)?;
        Ok((segment.node.clone(), segment.key, segment.bytes))
    })?;
    let mut path = String::new();
    path.try_reserve(32).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: reserved above.
    let _fits = write!(path, "/SYSV{key:08x} (deleted)");
    let is_writable = flags & READ_ONLY == 0;
    let object = Object::of(node, Known::called(path)?, is_writable)?;
    segments::attach(number, &object)?;
    let never = if is_writable { 0 } else { flag::NEVER_WRITE };
    let protection = implied(protection);
    let like = Area {
        flags: flag::SHARED | never,
        source: Some(Source { object, offset: 0 }),
        ..Area::anonymous(0, 0, true, access(protection))
    };
    let length = bytes.next_multiple_of(PAGE);
    let mapped = memory()?.lock().map(wanted, length, like);
    let lowest = mapped.map_err(|error| match error {
        Errno::EEXIST | Errno::EPERM => Errno::EINVAL,
        error => error,
    })?;
    let _gone_meanwhile = segments::with(number, |segment, _| {
        segment.times[0] = now();
        segment.processes[1] = current().id;
        Ok(())
    });
    Ok(lowest)
}

pub(super) fn shmdt(at: u64) -> SysResult {
    let memory = memory()?;
    let mut number = None;
    {
        let mut memory = memory.lock();
        loop {
            // The first one names the segment; what else is left of the attachment goes with it.
            let found = memory.areas().iter().find_map(|area| {
                let source = area.source.as_ref()?;
                let is_its = area.lowest.checked_sub(source.offset) == Some(at);
                let found = segments::of_node(&source.object.node).filter(|_| is_its)?;
                let is_same = number.is_none_or(|number| number == found);
                is_same.then_some((area.lowest, area.top, found))
            });
            let Some((lowest, top, found)) = found else { break };
            memory.unmap(lowest, top)?;
            number = Some(found);
        }
    }
    let number = number.ok_or(Errno::EINVAL)?;
    let _gone = segments::with(number, |segment, _| {
        segment.times[1] = now();
        segment.processes[1] = current().id;
        Ok(())
    });
    Ok(0)
}

/// Whether the caller may change or remove a segment.
fn check_owner(segment: &Segment) -> Result<(), Errno> {
    let mine = current_task().credentials();
    let is_own = [segment.owner[0], segment.maker[0]].contains(&mine.user.effective);
    let may = is_own || mine.can_here(capability::SYS_ADMIN);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

pub(super) fn shmctl(number: u64, command: u64, to: u64) -> SysResult {
    const REMOVE: u64 = 0;
    const SET: u64 = 1;
    const STAT: u64 = 2;
    const INFO: u64 = 3;
    const LOCK: u64 = 11;
    const UNLOCK: u64 = 12;
    const STAT_AT: u64 = 13;
    const ALL_INFO: u64 = 14;
    const STAT_ANY: u64 = 15;
    /// `IPC_64`: said by programs of machines that had another form once.
    const NEW_FORM: u64 = 0x100;
    let (number, command) = (number as i32, u64::from(command as u32) & !NEW_FORM);
    match command {
        REMOVE => segments::with(number, |segment, _| {
            check_owner(segment)?;
            (segment.is_removed, segment.key) = (true, segments::PRIVATE);
            Ok(0)
        }),
        SET => {
            let words = get::<24>(to)?;
            let word =
                |at: usize| words[at..at + 4].first_chunk().copied().map_or(0, u32::from_le_bytes);
            segments::with(number, |segment, _| {
                check_owner(segment)?;
                segment.owner = [word(4), word(8)];
                segment.mode = word(20) & MODE;
                segment.times[2] = now();
                Ok(0)
            })
        }
        STAT | STAT_AT | STAT_ANY => {
            let given = match command {
                STAT => number,
                _ => {
                    let place = usize::try_from(number).map_err(|_| Errno::EINVAL)?;
                    segments::at_place(place).ok_or(Errno::EINVAL)?
                }
            };
            let (segment, count) = segments::with(given, |segment, count| {
                if command != STAT_ANY {
                    check(segment, READ)?;
                }
                Ok((segment.clone(), count))
            })?;
            let (bytes, length) = encode(&segment, count as u64);
            put(to, &bytes[..length])?;
            Ok(if command == STAT { 0 } else { given as u64 })
        }
        LOCK | UNLOCK => segments::with(number, |segment, _| {
            let mine = current_task().credentials();
            if !mine.can_here(capability::IPC_LOCK) {
                check_owner(segment)?;
            }
            segment.is_locked = command == LOCK;
            Ok(0)
        }),
        INFO => {
            let most = match abi::WORD {
                WordSize::Four => u64::from(u32::MAX - (1 << 24)),
                WordSize::Eight => u64::MAX - (1 << 24),
            };
            let count = segments::MOST as u64;
            put_words(to, &[most, 1, count, count, most, 0, 0, 0, 0])?;
            Ok(segments::totals().2 as u64)
        }
        ALL_INFO => {
            let (count, pages, highest) = segments::totals();
            put_words(to, &[count as u64, pages, pages, 0, 0, 0])?;
            Ok(highest as u64)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn put_words(mut to: u64, words: &[u64]) -> Result<(), Errno> {
    let size = abi::WORD.bytes();
    for word in words {
        put(to, &word.to_le_bytes()[..size])?;
        to = to.checked_add(size as u64).ok_or(Errno::EFAULT)?;
    }
    Ok(())
}

/// `struct shmid64_ds`, and its bytes: key, user, group, maker's, mode; then, from a multiple of a
/// word on, size, times (two words each on 32 bits), the processes, and how often it is attached
/// (include/uapi/asm-generic/{ipcbuf,shmbuf}.h).
fn encode(segment: &Segment, count: u64) -> ([u8; 112], usize) {
    const REMOVED: u32 = 0o1000;
    const LOCKED: u32 = 0o2000;
    let removed = if segment.is_removed { REMOVED } else { 0 };
    let locked = if segment.is_locked { LOCKED } else { 0 };
    let mut bytes = [0; 112];
    let mut at = 0;
    let mut put = |value: u64, size: usize| {
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        at += size;
    };
    let [owner, maker] = [segment.owner, segment.maker];
    let head = [segment.key as u32, owner[0], owner[1], maker[0], maker[1]];
    head.into_iter().for_each(|number| put(number.into(), 4));
    put(u64::from(segment.mode | removed | locked), 4);
    let word = abi::WORD.bytes();
    // A number that says how often the place was used, and room.
    put(segment.number as u64 >> 15, 4);
    if word == 8 {
        put(0, 4);
    }
    put(0, word);
    put(0, word);
    put(segment.bytes, word);
    segment.times.into_iter().for_each(|time| put(time, 8));
    segment.processes.into_iter().for_each(|process| put(process, 4));
    put(count, word);
    let length = at + 2 * word;
    (bytes, length)
}
