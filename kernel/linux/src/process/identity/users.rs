//! Whom users and groups stand for that programs name, and what they are told of them; making user
//! namespaces, and writing their maps (user_namespaces(7)).

use super::credentials::{ALL, Credentials, KEEP, capability};
use crate::error::Errno;
use crate::process::{Process, current, current_task, task};
use crate::spaces::user::{self, Kind, Line, MAX_LINES, UserSpace, Users};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use machine::memory::fallible;

/// The caller's user namespace: of the kernel, the first one.
pub(crate) fn here() -> Users {
    if !user::exist() {
        return None;
    }
    task::of_current().and_then(|task| task.credentials().space.clone())
}

/// A user or group that the caller names. `EINVAL`: it stands for none.
pub(crate) fn meant(kind: Kind, number: u32) -> Result<u32, Errno> {
    user::outside(&here(), kind, number).ok_or(Errno::EINVAL)
}

/// The same, where [`KEEP`] may be said.
pub(crate) fn meant_or_keep(kind: Kind, number: u32) -> Result<u32, Errno> {
    if number == KEEP { Ok(KEEP) } else { meant(kind, number) }
}

/// A user or group as the caller is told of it.
pub(crate) fn told(kind: Kind, number: u32) -> u32 {
    user::shown(&here(), kind, number)
}

impl Credentials {
    /// Those of one who makes a user namespace, and is in it then with all capabilities.
    pub(in crate::process) fn in_new_space(
        &self,
        is_in_root: bool,
        most: u64,
    ) -> Result<Self, Errno> {
        let owner = (self.user.effective, self.group.effective);
        let is_mapped = user::inside(&self.space, Kind::Users, owner.0).is_some()
            && user::inside(&self.space, Kind::Groups, owner.1).is_some();
        // One in another root than all could leave it with capabilities of its own.
        if !is_in_root || !is_mapped {
            return Err(Errno::EPERM);
        }
        let may_map_root = self.can_here(capability::SETFCAP);
        let space = UserSpace::below(&self.space, owner, may_map_root, most)?;
        Ok(self.in_space(Some(space)))
    }

    /// Those of one that enters a user namespace: all capabilities in it (`set_cred_user_ns`).
    pub(in crate::process) fn in_space(&self, space: Users) -> Self {
        Self {
            space,
            permitted: ALL,
            effective: ALL,
            bounding: ALL,
            inheritable: 0,
            ambient: 0,
            secure: 0,
            ..self.clone()
        }
    }
}

/// The user namespace of a process.
pub(crate) fn space_of(process: &Process) -> Users {
    if user::exist() { process.credentials().space.clone() } else { None }
}

/// How many threads of programs, and processes that have ended, count for a user in a namespace,
/// where those count that are in one its user made (`inc_rlimit_ucounts`).
fn counts_for(of: &Credentials, space: &Users, user: u32) -> bool {
    let (mut at, mut who) = (&of.space, of.user.real);
    loop {
        if who == user && user::is_same(at, space) {
            return true;
        }
        let Some(inner) = at else { return false };
        who = inner.owner.0;
        at = inner.parent();
    }
}

/// Whether one more process of these users is more than may be: of theirs, or of who made the
/// namespace they are in (`is_rlimit_overlimit`).
pub(in crate::process) fn has_no_room(all: &Credentials, limit: u64) -> bool {
    let (mut space, mut user, mut limit) = (&all.space, all.user.real, limit);
    loop {
        let count = crate::process::table::task_count(|of| counts_for(of, space, user));
        if count as u64 >= limit {
            return true;
        }
        let Some(inner) = space else { return false };
        limit = inner.most_processes;
        user = inner.owner.0;
        space = inner.parent();
    }
}

/// Writes a map as the reader sees it (/proc/PID/uid_map).
pub(crate) fn write_map(of: &Users, kind: Kind, to: &mut dyn Write) -> fmt::Result {
    let Some(space) = of else { return writeln!(to, "{:10} {:10} {:10}", 0, 0, u32::MAX) };
    let reader = here();
    // From inside, what is outside is told by the numbers of the next one.
    let seen_from = if user::is_same(of, &reader) { space.parent() } else { &reader };
    let mut at = 0;
    while let Some(Line { inside, outside, count }) = space.line(kind, at) {
        let outside = user::inside(seen_from, kind, outside).unwrap_or(u32::MAX);
        writeln!(to, "{inside:10} {outside:10} {count:10}")?;
        at += 1;
    }
    Ok(())
}

/// One line of what is written as a map.
fn line(text: &[u8]) -> Option<Line> {
    let text = core::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace();
    let mut number = || words.next()?.parse::<u32>().ok();
    let line = Line { inside: number()?, outside: number()?, count: number()? };
    let fits = |from: u32| from != u32::MAX && from.checked_add(line.count).is_some();
    let is_all = words.next().is_none() && line.count > 0;
    (is_all && fits(line.inside) && fits(line.outside)).then_some(line)
}

fn overlap(one: &Line, other: &Line) -> bool {
    let meet = |a: u32, b: u32| {
        let (a, b) = (u64::from(a), u64::from(b));
        a < b + u64::from(other.count) && b < a + u64::from(one.count)
    };
    meet(one.inside, other.inside) || meet(one.outside, other.outside)
}

/// The lines of a map. `EINVAL`: they are none, or overlap.
fn lines(text: &[u8]) -> Result<Vec<Line>, Errno> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut all: Vec<Line> = Vec::new();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for part in text.split(|&byte| byte == b'\n') {
        let line = line(part).ok_or(Errno::EINVAL)?;
        if all.len() == MAX_LINES || all.iter().any(|other| overlap(&line, other)) {
            return Err(Errno::EINVAL);
        }
        fallible::push(&mut all, line)?;
    }
    Ok(all)
}

/// Whether the caller may set such a map (`new_idmap_permitted`). Its lines are as they were
/// written: what is outside is named in the parent namespace.
fn may_map(space: &Arc<UserSpace>, kind: Kind, lines: &[Line]) -> bool {
    let mine = current_task().credentials();
    let parent = space.parent();
    let has_root = lines.iter().any(|line| line.outside == 0);
    if kind == Kind::Users && has_root {
        let may = match &mine.space {
            Some(own) if Arc::ptr_eq(own, space) => space.may_map_root,
            _ => mine.can_in(parent, capability::SETFCAP),
        };
        if !may {
            return false;
        }
    }
    // Oneself, and no other.
    if let [Line { outside, count: 1, .. }] = lines
        && space.owner.0 == mine.user.effective
    {
        let outside = user::outside(parent, kind, *outside);
        let is_own = match kind {
            Kind::Users => outside == Some(mine.user.effective),
            Kind::Groups => !space.may_set_groups() && outside == Some(mine.group.effective),
            Kind::Projects => false,
        };
        if is_own {
            return true;
        }
    }
    match kind {
        Kind::Users => mine.can_in(parent, capability::SETUID),
        Kind::Groups => mine.can_in(parent, capability::SETGID),
        Kind::Projects => true,
    }
}

/// Takes what is written to a map of a process's user namespace (`map_write`).
pub(crate) fn set_map(of: &Process, kind: Kind, text: &[u8]) -> Result<(), Errno> {
    const PAGE: usize = 4096;
    let space = of.credentials().space.clone().ok_or(Errno::EPERM)?;
    let mine = current_task().credentials();
    let is_near = mine.space.as_ref().is_some_and(|own| Arc::ptr_eq(own, &space))
        || user::is_same(&mine.space, space.parent());
    if !is_near {
        return Err(Errno::EPERM);
    }
    if text.len() >= PAGE {
        return Err(Errno::EINVAL);
    }
    let target = Some(space.clone());
    let is_free = kind == Kind::Projects || mine.can_in(&target, capability::SYS_ADMIN);
    if space.has_map(kind) || !is_free {
        return Err(Errno::EPERM);
    }
    let mut lines = lines(text)?;
    if !may_map(&space, kind, &lines) {
        return Err(Errno::EPERM);
    }
    for line in &mut lines {
        let outside = user::outside_all(space.parent(), kind, line.outside, line.count);
        line.outside = outside.ok_or(Errno::EPERM)?;
    }
    space.set_map(kind, lines)
}

/// Takes what is written to /proc/PID/setgroups.
pub(crate) fn set_may_set_groups(of: &Process, text: &[u8]) -> Result<(), Errno> {
    /// The longest word, and a NUL.
    const MOST: usize = 8;
    if text.len() >= MOST {
        return Err(Errno::EINVAL);
    }
    let space = of.credentials().space.clone();
    if !current_task().credentials().can_in(&space, capability::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let is_allowed = match text.trim_ascii() {
        b"allow" => true,
        b"deny" => false,
        _ => return Err(Errno::EINVAL),
    };
    match space {
        Some(space) => space.allow_set_groups(is_allowed),
        // In the first namespace, it stays.
        None if is_allowed => Ok(()),
        None => Err(Errno::EPERM),
    }
}

/// Whether groups can be set in a namespace: not before there are any, nor where it was denied.
pub(crate) fn may_set_groups(all: &Credentials) -> bool {
    let is_allowed = |space: &Arc<UserSpace>| space.has_map(Kind::Groups) && space.may_set_groups();
    all.can_here(capability::SETGID) && all.space.as_ref().is_none_or(is_allowed)
}

/// Puts the caller into a user namespace (setns(2)).
pub(crate) fn enter(space: Users) -> Result<(), Errno> {
    let task = current_task();
    let mine = task.credentials();
    let is_alone = current().crew.count() == 1 && Arc::strong_count(&task.place()) <= 2;
    if user::is_same(&space, &mine.space) || !is_alone {
        return Err(Errno::EINVAL);
    }
    if !mine.can_in(&space, capability::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    task.change(|all| {
        *all = all.in_space(space);
        Ok(())
    })
}
