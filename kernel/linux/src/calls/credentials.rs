//! Calls about users, groups and capabilities. On machines of 32 bits the oldest have numbers of 16
//! bits.

use super::table::calls;
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::identity::credentials::{ALL, Credentials, Ids, KEEP, capability};
use crate::process::identity::users;
use crate::process::names::named;
use crate::process::user_memory::{get, get_numbers, put};
use crate::spaces::user::{self, Kind};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use machine::memory::fallible;

calls! {
    "getuid" | "getuid32" () => shown(Kind::Users, |all| all.user.real);
    "geteuid" | "geteuid32" () => shown(Kind::Users, |all| all.user.effective);
    "getgid" | "getgid32" () => shown(Kind::Groups, |all| all.group.real);
    "getegid" | "getegid32" () => shown(Kind::Groups, |all| all.group.effective);
    #[cfg(target_pointer_width = "64")]
    "setuid" (to) => set_user_to(to as u32);
    #[cfg(target_pointer_width = "64")]
    "setgid" (to) => set_group_to(to as u32);
    #[cfg(target_pointer_width = "64")]
    "setreuid" (real, effective) => set_user_two([real as u32, effective as u32]);
    #[cfg(target_pointer_width = "64")]
    "setregid" (real, effective) => set_group_two([real as u32, effective as u32]);
    #[cfg(target_pointer_width = "64")]
    "setresuid" (real, effective, saved) => set_user_three([real, effective, saved].map(|id| id as u32));
    #[cfg(target_pointer_width = "64")]
    "setresgid" (real, effective, saved) => set_group_three([real, effective, saved].map(|id| id as u32));
    #[cfg(target_pointer_width = "64")]
    "setfsuid" (to) => set_file_user(to as u32);
    #[cfg(target_pointer_width = "64")]
    "setfsgid" (to) => set_file_group(to as u32);
    #[cfg(target_pointer_width = "64")]
    "getresuid" (real, effective, saved) => three(Kind::Users, |all| all.user, [real, effective, saved], 4);
    #[cfg(target_pointer_width = "64")]
    "getresgid" (real, effective, saved) => three(Kind::Groups, |all| all.group, [real, effective, saved], 4);
    #[cfg(target_pointer_width = "64")]
    "getgroups" (count, to) => getgroups(count, to, 4);
    #[cfg(target_pointer_width = "64")]
    "setgroups" (count, from) => setgroups(count, from, 4);
    "setuid32" (to) => set_user_to(to as u32);
    "setgid32" (to) => set_group_to(to as u32);
    "setreuid32" (real, effective) => set_user_two([real as u32, effective as u32]);
    "setregid32" (real, effective) => set_group_two([real as u32, effective as u32]);
    "setresuid32" (real, effective, saved) => set_user_three([real, effective, saved].map(|id| id as u32));
    "setresgid32" (real, effective, saved) => set_group_three([real, effective, saved].map(|id| id as u32));
    "setfsuid32" (to) => set_file_user(to as u32);
    "setfsgid32" (to) => set_file_group(to as u32);
    "getresuid32" (real, effective, saved) => three(Kind::Users, |all| all.user, [real, effective, saved], 4);
    "getresgid32" (real, effective, saved) => three(Kind::Groups, |all| all.group, [real, effective, saved], 4);
    "getgroups32" (count, to) => getgroups(count, to, 4);
    "setgroups32" (count, from) => setgroups(count, from, 4);
    #[cfg(target_pointer_width = "32")]
    "setuid" (to) => set_user_to(wide(to));
    #[cfg(target_pointer_width = "32")]
    "setgid" (to) => set_group_to(wide(to));
    #[cfg(target_pointer_width = "32")]
    "setreuid" (real, effective) => set_user_two([wide(real), wide(effective)]);
    #[cfg(target_pointer_width = "32")]
    "setregid" (real, effective) => set_group_two([wide(real), wide(effective)]);
    #[cfg(target_pointer_width = "32")]
    "setresuid" (real, effective, saved) => set_user_three([real, effective, saved].map(wide));
    #[cfg(target_pointer_width = "32")]
    "setresgid" (real, effective, saved) => set_group_three([real, effective, saved].map(wide));
    #[cfg(target_pointer_width = "32")]
    "setfsuid" (to) => set_file_user(wide(to));
    #[cfg(target_pointer_width = "32")]
    "setfsgid" (to) => set_file_group(wide(to));
    #[cfg(target_pointer_width = "32")]
    "getresuid" (real, effective, saved) => three(Kind::Users, |all| all.user, [real, effective, saved], 2);
    #[cfg(target_pointer_width = "32")]
    "getresgid" (real, effective, saved) => three(Kind::Groups, |all| all.group, [real, effective, saved], 2);
    #[cfg(target_pointer_width = "32")]
    "getgroups" (count, to) => getgroups(count, to, 2);
    #[cfg(target_pointer_width = "32")]
    "setgroups" (count, from) => setgroups(count, from, 2);
    "capget" (header, to) => capget(header, to);
    "capset" (header, from) => capset(header, from);
}

/// A number of 16 bits as one of 32.
#[cfg(target_pointer_width = "32")]
const fn wide(id: u64) -> u32 {
    if id as u16 == u16::MAX { KEEP } else { id as u16 as u32 }
}

fn shown(kind: Kind, which: impl FnOnce(&Credentials) -> u32) -> SysResult {
    let all = current_task().credentials();
    Ok(user::shown(&all.space, kind, which(&all)).into())
}

fn set_user(change: impl FnOnce(&mut Ids, bool) -> Result<(), Errno>) -> SysResult {
    current_task().change(|all| all.change_user(change)).map(|()| 0)
}

fn set_group(change: impl FnOnce(&mut Ids, bool) -> Result<(), Errno>) -> SysResult {
    current_task().change(|all| {
        let is_privileged = all.can_here(capability::SETGID);
        change(&mut all.group, is_privileged)
    })?;
    Ok(0)
}

fn set_user_to(to: u32) -> SysResult {
    let to = users::meant(Kind::Users, to)?;
    set_user(|ids, privileged| ids.set(to, privileged))
}

fn set_user_two(to: [u32; 2]) -> SysResult {
    let [real, effective] = meant(Kind::Users, to)?;
    set_user(|ids, privileged| ids.set_two(real, effective, privileged))
}

fn set_user_three(to: [u32; 3]) -> SysResult {
    let to = meant(Kind::Users, to)?;
    set_user(|ids, privileged| ids.set_three(to, privileged))
}

fn set_group_to(to: u32) -> SysResult {
    let to = users::meant(Kind::Groups, to)?;
    set_group(|ids, privileged| ids.set(to, privileged))
}

fn set_group_two(to: [u32; 2]) -> SysResult {
    let [real, effective] = meant(Kind::Groups, to)?;
    set_group(|ids, privileged| ids.set_two(real, effective, privileged))
}

fn set_group_three(to: [u32; 3]) -> SysResult {
    let to = meant(Kind::Groups, to)?;
    set_group(|ids, privileged| ids.set_three(to, privileged))
}

/// Users or groups that the caller names, some of which may stay.
fn meant<const N: usize>(kind: Kind, to: [u32; N]) -> Result<[u32; N], Errno> {
    let mut all = to;
    for id in &mut all {
        *id = users::meant_or_keep(kind, *id)?;
    }
    Ok(all)
}

fn set_file_user(to: u32) -> SysResult {
    let to = users::meant(Kind::Users, to).unwrap_or(KEEP);
    let before = current_task().change(|all| {
        let is_privileged = all.can_here(capability::SETUID);
        Ok(all.user.set_file(to, is_privileged))
    });
    Ok(users::told(Kind::Users, before?).into())
}

fn set_file_group(to: u32) -> SysResult {
    let to = users::meant(Kind::Groups, to).unwrap_or(KEEP);
    let before = current_task().change(|all| {
        let is_privileged = all.can_here(capability::SETGID);
        Ok(all.group.set_file(to, is_privileged))
    });
    Ok(users::told(Kind::Groups, before?).into())
}

/// Writes the real, the effective and the saved one, of so many bytes each.
fn three(
    kind: Kind,
    which: impl FnOnce(&Credentials) -> Ids,
    to: [u64; 3],
    bytes: usize,
) -> SysResult {
    let all = current_task().credentials();
    let ids = which(&all);
    let ids = [ids.real, ids.effective, ids.saved].map(|id| user::shown(&all.space, kind, id));
    for (at, id) in to.into_iter().zip(ids) {
        put(at, &id.to_le_bytes()[..bytes])?;
    }
    Ok(0)
}

/// Groups that one can be in.
const MAX_GROUPS: u64 = 65_536;

fn getgroups(count: u64, to: u64, bytes: usize) -> SysResult {
    let groups = current_task().credentials().groups.clone();
    let room = count as i32;
    if room < 0 || room != 0 && (room as usize) < groups.len() {
        return Err(Errno::EINVAL);
    }
    if room != 0 {
        for (group, index) in groups.iter().zip(0..) {
            let at = to.checked_add(index * bytes as u64).ok_or(Errno::EFAULT)?;
            put(at, &users::told(Kind::Groups, *group).to_le_bytes()[..bytes])?;
        }
    }
    Ok(groups.len() as u64)
}

fn setgroups(count: u64, from: u64, bytes: u64) -> SysResult {
    if !users::may_set_groups(&current_task().credentials()) {
        return Err(Errno::EPERM);
    }
    let count = count & 0xffff_ffff;
    if count > MAX_GROUPS {
        return Err(Errno::EINVAL);
    }
    let mut groups = Vec::new();
    for index in 0..count {
        let at = from.checked_add(index * bytes).ok_or(Errno::EFAULT)?;
        let group = if bytes == 2 {
            u16::from_le_bytes(get(at)?).into()
        } else {
            u32::from_le_bytes(get(at)?)
        };
        fallible::push(&mut groups, users::meant(Kind::Groups, group)?)?;
    }
    // In place, by a heap: it calls nothing again and again, whatever the program has chosen.
    let groups = fallible::shared(BinaryHeap::from(groups).into_sorted_vec())?;
    current_task().change(|all| {
        all.groups = groups;
        Ok(0)
    })
}

/// The versions of the header, and how many words of 32 bits each set has; an unknown one is
/// answered with the newest.
fn version(header: u64) -> Result<(Option<u64>, i32), Errno> {
    const FIRST: u32 = 0x1998_0330;
    const SECOND: u32 = 0x2007_1026;
    const THIRD: u32 = 0x2008_0522;
    let [version, process] =
        get_numbers(header, abi::stack_image::WordSize::Four)?.map(|word| word as u32);
    let words = match version {
        FIRST => Some(1),
        SECOND | THIRD => Some(2),
        _ => {
            put(header, &THIRD.to_le_bytes())?;
            None
        }
    };
    Ok((words, process as i32))
}

/// A structure is three words, effective, permitted and inheritable: the lower ones of the sets,
/// then, if asked for, the upper ones.
const SET_BYTES: u64 = 12;

fn capget(header: u64, to: u64) -> SysResult {
    let (words, process) = version(header)?;
    let Some(words) = words else {
        return if to == 0 { Ok(0) } else { Err(Errno::EINVAL) };
    };
    let all = match process {
        0 => current_task().credentials(),
        1.. => {
            let number = process as u64;
            let found = named::find_by_any(number).ok_or(Errno::ESRCH)?;
            found.credentials()
        }
        _ => return Err(Errno::EINVAL),
    };
    if to == 0 {
        return Ok(0);
    }
    for word in 0..words {
        for (set, index) in [all.effective, all.permitted, all.inheritable].into_iter().zip(0..) {
            let at = to.checked_add(word * SET_BYTES + index * 4).ok_or(Errno::EFAULT)?;
            put(at, &((set >> (32 * word)) as u32).to_le_bytes())?;
        }
    }
    Ok(0)
}

fn capset(header: u64, from: u64) -> SysResult {
    let (words, process) = version(header)?;
    let words = words.ok_or(Errno::EINVAL)?;
    if process != 0 && process as u64 != current_task().number() {
        return Err(Errno::EPERM);
    }
    let mut sets = [0_u64; 3];
    for word in 0..words {
        for (set, index) in sets.iter_mut().zip(0..) {
            let at = from.checked_add(word * SET_BYTES + index * 4).ok_or(Errno::EFAULT)?;
            *set |= u64::from(u32::from_le_bytes(get(at)?)) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets.map(|set| set & ALL);
    current_task().change(|all| {
        let may_inherit = all.inheritable | all.permitted;
        if !all.can_here(capability::SETPCAP) && inheritable & !may_inherit != 0
            || inheritable & !(all.inheritable | all.bounding) != 0
            || permitted & !all.permitted != 0
            || effective & !permitted != 0
        {
            return Err(Errno::EPERM);
        }
        (all.effective, all.permitted, all.inheritable) = (effective, permitted, inheritable);
        all.ambient &= permitted & inheritable;
        Ok(0)
    })
}
