//! Calls about what has a number and a key (sysvipc(7)): semaphores, messages, segments of shared
//! memory.

pub(crate) mod messages;
pub(crate) mod multiplexed;
pub(crate) mod semaphores;
pub(crate) mod shared;

use crate::abi;
use crate::error::{Errno, SysResult};
use crate::ipc::table::{Access, PRIVATE, sequence};
use crate::process::current_task;
use crate::process::identity::credentials::{Credentials, capability};
use crate::process::names::ipc::here;
use crate::process::user_memory::put;
use crate::time::wall;

pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
/// Bits of the flags that are permissions.
pub(super) const MODE: u32 = 0o777;
/// Of the flags of a call that looks for a key.
const CREATE: u32 = 0o1000;
const EXCLUSIVE: u32 = 0o2000;

/// What the calls that control have in common.
pub(super) const REMOVE: u64 = 0;
pub(super) const SET: u64 = 1;
pub(super) const STAT: u64 = 2;
pub(super) const INFO: u64 = 3;
/// `IPC_64`: said by programs of machines that had another form once.
const NEW_FORM: u64 = 0x100;

/// What a call that controls is to do.
pub(super) fn command(given: u64) -> u64 {
    u64::from(given as u32) & !NEW_FORM
}

pub(super) fn now() -> u64 {
    wall::nanoseconds() / 1_000_000_000
}

/// Whether the caller may use a thing so (`ipcperms`).
pub(super) fn check(access: &Access, wanted: u32) -> Result<(), Errno> {
    let mine = current_task().credentials();
    let granted = if [access.owner[0], access.maker[0]].contains(&mine.user.effective) {
        access.mode >> 6
    } else if is_in_group(&mine, access) {
        access.mode >> 3
    } else {
        access.mode
    };
    let may = wanted & !granted & 7 == 0 || mine.can_here(capability::IPC_OWNER);
    if may { Ok(()) } else { Err(Errno::EACCES) }
}

fn is_in_group(mine: &Credentials, access: &Access) -> bool {
    [access.owner[1], access.maker[1]]
        .iter()
        .any(|group| mine.group.effective == *group || mine.groups.contains(group))
}

/// Whether the caller may change or remove a thing.
pub(super) fn check_owner(access: &Access) -> Result<(), Errno> {
    let mine = current_task().credentials();
    let is_own = [access.owner[0], access.maker[0]].contains(&mine.user.effective);
    let may = is_own || mine.can_here(capability::SYS_ADMIN);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

/// What flags ask for, of any of the three who may be allowed.
const fn asked(flags: u32) -> u32 {
    (flags >> 6 | flags >> 3 | flags) & 7
}

/// What is told of a new thing, and who may use it.
fn access_for(key: i32, flags: u32) -> Access {
    let mine = current_task().credentials();
    let owner = [mine.user.effective, mine.group.effective];
    let space = here();
    Access { space, number: 0, key, owner, maker: owner, mode: flags & MODE, changed: now() }
}

/// Finds the thing with a key, or makes one. `check`: whether the one with this number is what the
/// caller wants; it is given what the flags ask for.
pub(super) fn find_or_make(
    key: u64,
    flags: u64,
    find: impl Fn(u64, i32) -> Option<i32>,
    check: impl Fn(i32, u32) -> Result<(), Errno>,
    make: impl Fn(Access) -> Result<i32, Errno>,
) -> SysResult {
    let (key, flags) = (key as i32, flags as u32);
    loop {
        let found = if key == PRIVATE { None } else { find(here(), key) };
        if let Some(number) = found {
            if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                return Err(Errno::EEXIST);
            }
            match check(number, asked(flags)) {
                // Removed meanwhile.
                Err(Errno::EIDRM) => continue,
                checked => return checked.map(|()| number as u64),
            }
        }
        if key != PRIVATE && flags & CREATE == 0 {
            return Err(Errno::ENOENT);
        }
        match make(access_for(key, flags)) {
            // Made meanwhile.
            Err(Errno::EEXIST) => {}
            made => return made.map(|number| number as u64),
        }
    }
}

/// The number that a call which looks at things one after another means: a place of the table, but
/// for [`STAT`].
pub(super) fn named(
    command: u64,
    number: i32,
    at_place: impl Fn(u64, usize) -> Option<i32>,
) -> Result<i32, Errno> {
    if command == STAT {
        return Ok(number);
    }
    let place = usize::try_from(number).map_err(|_| Errno::EINVAL)?;
    at_place(here(), place).ok_or(Errno::EINVAL)
}

/// Bytes that are put one behind another.
pub(super) struct Structure {
    bytes: [u8; 128],
    at: usize,
}

impl Structure {
    /// Begins with `struct ipc64_perm`: key, user, group, maker's, mode, how often the place was
    /// used (include/uapi/asm-generic/ipcbuf.h). `more`: bits of the mode besides.
    pub(super) fn of(access: &Access, more: u32) -> Self {
        let mut structure = Self { bytes: [0; 128], at: 0 };
        let Access { key, owner, maker, mode, .. } = access;
        for number in [*key as u32, owner[0], owner[1], maker[0], maker[1], mode | more] {
            structure.add(number.into(), 4);
        }
        // And room: up to a multiple of a word, and two words.
        structure.add(sequence(access.number), 4);
        let word = abi::WORD.bytes();
        structure.at = structure.at.next_multiple_of(word) + 2 * word;
        structure
    }

    pub(super) fn add(&mut self, value: u64, size: usize) {
        self.bytes[self.at..self.at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        self.at += size;
    }

    /// Leaves room.
    pub(super) fn skip(&mut self, size: usize) {
        self.at += size;
    }

    pub(super) fn word(&mut self, value: u64) {
        self.add(value, abi::WORD.bytes());
    }

    /// Puts it where the program wants it, with two words of room behind.
    pub(super) fn put(mut self, to: u64) -> Result<(), Errno> {
        self.at += 2 * abi::WORD.bytes();
        put(to, &self.bytes[..self.at])
    }
}

/// What is changed of a thing by [`SET`]: user, group and mode of the structure there.
pub(super) fn set(access: &mut Access, given: &[u8; 24]) {
    let word = |at: usize| given[at..at + 4].first_chunk().copied().map_or(0, u32::from_le_bytes);
    access.owner = [word(4), word(8)];
    access.mode = word(20) & MODE;
    access.changed = now();
}

/// Puts numbers of four bytes.
pub(super) fn put_numbers(mut to: u64, numbers: &[u64]) -> Result<(), Errno> {
    for number in numbers {
        put(to, &(*number as u32).to_le_bytes())?;
        to = to.checked_add(4).ok_or(Errno::EFAULT)?;
    }
    Ok(())
}
