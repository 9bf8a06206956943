//! User namespaces (user_namespaces(7)): which users and groups inside stand for which outside, and
//! who may do what with what belongs to one.
//!
//! The kernel knows users and groups by their numbers in the first namespace; what programs say and
//! are told is translated where it comes in and goes out.
//!
//! # Invariants
//!
//! 1. A map is written once, whole, and does not change then.
//! 2. Capabilities are looked at relative to a namespace: one has those of its own namespace there,
//!    all of them in those that lie in it if it has the capability in its own, and all in those
//!    that its user made ([`may`]).

use super::{first, next_number};
use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// Namespaces within each other below the first one.
const MAX_LEVEL: usize = 33;
/// Lines of a map (`UID_GID_MAP_MAX_EXTENTS`).
pub(crate) const MAX_LINES: usize = 340;
/// Who is not mapped (/proc/sys/kernel/overflowuid).
pub(crate) const OVERFLOW: u32 = 65_534;

/// Numbers inside from `inside` on, which stand for those from `outside` on in the first namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// What is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Users,
    Groups,
    Projects,
}

/// A user namespace below the first one.
#[derive(Debug)]
pub(crate) struct UserSpace {
    number: u64,
    level: usize,
    /// `None`: the first one.
    parent: Users,
    /// Who made it: user and group, as in the first namespace.
    pub(crate) owner: (u32, u32),
    /// Whether who made it had the capability to give files capabilities.
    pub(crate) may_map_root: bool,
    /// As many processes may its maker have in it and below it (RLIMIT_NPROC when it was made).
    pub(crate) most_processes: u64,
    may_set_groups: AtomicBool,
    maps: SpinLock<[Vec<Line>; 3]>,
}

/// A namespace; `None`: the first one.
pub(crate) type Users = Option<Arc<UserSpace>>;

impl UserSpace {
    /// One that a user makes below its own. `ENOSPC`: there are too many around it.
    pub(crate) fn below(
        parent: &Users,
        owner: (u32, u32),
        may_map_root: bool,
        most_processes: u64,
    ) -> Result<Arc<Self>, Errno> {
        let level = level(parent) + 1;
        if level > MAX_LEVEL {
            return Err(Errno::ENOSPC);
        }
        let may_set_groups = parent.as_ref().is_none_or(|parent| parent.may_set_groups());
        EXIST.store(true, Ordering::SeqCst);
        Ok(fallible::shared(Self {
            number: next_number(),
            level,
            parent: parent.clone(),
            owner,
            may_map_root,
            most_processes,
            may_set_groups: AtomicBool::new(may_set_groups),
            maps: SpinLock::new([const { Vec::new() }; 3]),
        })?)
    }

    pub(crate) const fn parent(&self) -> &Users {
        &self.parent
    }

    pub(crate) fn may_set_groups(&self) -> bool {
        self.may_set_groups.load(Ordering::Relaxed)
    }

    /// Whether there are groups at all: before, none can be set.
    pub(crate) fn has_map(&self, kind: Kind) -> bool {
        !self.maps.lock()[kind as usize].is_empty()
    }

    /// Writes `deny` or `allow` to setgroups. `EPERM`: it is too late, or was denied.
    pub(crate) fn allow_set_groups(&self, is_allowed: bool) -> Result<(), Errno> {
        let maps = self.maps.lock();
        match is_allowed {
            true if self.may_set_groups() => Ok(()),
            false if maps[Kind::Groups as usize].is_empty() => {
                self.may_set_groups.store(false, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(Errno::EPERM),
        }
    }

    /// Sets a map, once.
    pub(crate) fn set_map(&self, kind: Kind, lines: Vec<Line>) -> Result<(), Errno> {
        let mut maps = self.maps.lock();
        let map = &mut maps[kind as usize];
        if !map.is_empty() {
            return Err(Errno::EPERM);
        }
        *map = lines;
        Ok(())
    }

    /// A line of a map, by its place.
    pub(crate) fn line(&self, kind: Kind, at: usize) -> Option<Line> {
        self.maps.lock()[kind as usize].get(at).copied()
    }

    fn outside(&self, kind: Kind, inside: u32, count: u32) -> Option<u32> {
        let maps = self.maps.lock();
        maps[kind as usize].iter().find_map(|line| {
            let offset = inside.checked_sub(line.inside)?;
            (offset.checked_add(count)? <= line.count).then(|| line.outside + offset)
        })
    }

    fn inside(&self, kind: Kind, outside: u32) -> Option<u32> {
        let maps = self.maps.lock();
        maps[kind as usize].iter().find_map(|line| {
            let offset = outside.checked_sub(line.outside)?;
            (offset < line.count).then(|| line.inside + offset)
        })
    }
}

/// Whether there has ever been one: before, all is as it is in the first one.
static EXIST: AtomicBool = AtomicBool::new(false);

/// See [`EXIST`].
pub(crate) fn exist() -> bool {
    EXIST.load(Ordering::Relaxed)
}

fn level(of: &Users) -> usize {
    of.as_ref().map_or(0, |of| of.level)
}

/// The number that a namespace is known by.
pub(crate) fn number(of: &Users) -> u64 {
    of.as_ref().map_or(first::USER, |own| own.number)
}

/// Whether two are one.
pub(crate) fn is_same(one: &Users, other: &Users) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// Whether `inner` is `outer` or lies in it.
pub(crate) fn is_within(inner: &Users, outer: &Users) -> bool {
    let Some(outer) = outer else { return true };
    let mut at = inner;
    while let Some(space) = at {
        if Arc::ptr_eq(space, outer) {
            return true;
        }
        at = &space.parent;
    }
    false
}

/// What a number inside stands for in the first namespace (`make_kuid`). `None`: for none.
pub(crate) fn outside(of: &Users, kind: Kind, inside: u32) -> Option<u32> {
    outside_all(of, kind, inside, 1)
}

/// The same of so many in a row, as one piece.
pub(crate) fn outside_all(of: &Users, kind: Kind, inside: u32, count: u32) -> Option<u32> {
    match of {
        None => (inside != u32::MAX).then_some(inside),
        Some(of) => of.outside(kind, inside, count),
    }
}

/// What a number of the first namespace is inside (`from_kuid`). `None`: it is not seen there.
pub(crate) fn inside(of: &Users, kind: Kind, outside: u32) -> Option<u32> {
    match of {
        None => Some(outside),
        Some(of) => of.inside(kind, outside),
    }
}

/// The same as programs are shown it (`from_kuid_munged`).
pub(crate) fn shown(of: &Users, kind: Kind, outside: u32) -> u32 {
    inside(of, kind, outside).unwrap_or(OVERFLOW)
}

/// Whether one in `mine`, with this effective user and having the capability there or not, has it
/// in `target` (`cap_capable`).
pub(crate) fn may(mine: &Users, user: u32, has: bool, target: &Users) -> bool {
    let mut at = target;
    loop {
        if is_same(at, mine) {
            return has;
        }
        if level(at) <= level(mine) {
            return false;
        }
        let Some(space) = at else { return false };
        // Who made it has all in it.
        if is_same(&space.parent, mine) && space.owner.0 == user {
            return true;
        }
        at = &space.parent;
    }
}
