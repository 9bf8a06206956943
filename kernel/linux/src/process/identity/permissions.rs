//! Who may use a file (path_resolution(7)): read, write and search permissions of users and groups,
//! and whose new files are.
//!
//! The superuser's capabilities are looked at first: for one who may all, nothing is walked twice.

use super::credentials::{Credentials, capability};
use crate::abi::Stat;
use crate::error::Errno;
use crate::files::attributes::file_flag;
use crate::files::mounts;
use crate::files::spot::Spot;
use crate::files::tree::Node;
use crate::process::{Process, current, current_task, task};
use crate::spaces::user::{self, Kind};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use threads::sched;

/// What is wanted of a file: bits, as in its permissions.
pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;
/// To run a program, or to find a name in a directory.
pub(crate) const EXECUTE: u32 = 1;

const KIND: u32 = 0o170000;
const DIRECTORY: u32 = 0o040000;
const STICKY: u32 = 0o1000;
const SET_GROUP: u32 = 0o2000;

/// The caller's credentials; `None`: the kernel itself, which may all.
fn mine() -> Option<Arc<Credentials>> {
    task::of(sched::current()).map(|task| task.credentials())
}

fn is_in_group(all: &Credentials, group: u32) -> bool {
    all.group.file == group || all.groups.contains(&group)
}

/// Whose identity counts when one process looks into another: that of file accesses, or the real
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    AsFile,
    AsReal,
}

/// Whether the caller may look into a process, and change it, as a debugger may
/// (`ptrace_may_access`).
pub(crate) fn may_look_into(process: &Process, how: Looks) -> bool {
    if process.id == current().id {
        return true;
    }
    let mine = current_task().credentials();
    let is_dumpable =
        process.attributes.is_dumpable.load(Ordering::Relaxed) || process.memory().is_none();
    let is_same = match how {
        Looks::AsFile => mine.is_same_as(&process.credentials(), mine.file_identity()),
        Looks::AsReal => mine.is_same_as(&process.credentials(), mine.real_identity()),
    };
    let theirs = process.credentials();
    mine.can_in(&theirs.space, capability::SYS_PTRACE) || is_same && is_dumpable
}

/// Whether credentials allow all of `wanted` of what has this status.
fn allow(all: &Credentials, stat: &Stat, wanted: u32) -> bool {
    let granted = if all.user.file == stat.user {
        stat.mode >> 6
    } else if is_in_group(all, stat.group) {
        stat.mode >> 3
    } else {
        stat.mode
    };
    if wanted & !granted & 7 == 0 {
        return true;
    }
    let is_directory = stat.mode & KIND == DIRECTORY;
    // A program without any right to run it is run by no user, root included.
    let can_run = is_directory || wanted & EXECUTE == 0 || stat.mode & 0o111 != 0;
    let only_reads = match is_directory {
        true => wanted & WRITE == 0,
        false => wanted == READ,
    };
    may_over(all, stat, capability::DAC_OVERRIDE) && can_run
        || may_over(all, stat, capability::DAC_READ_SEARCH) && only_reads
}

/// Whether credentials have a capability over a file: over those of users and groups that there are
/// in their namespace (`capable_wrt_inode_uidgid`).
fn may_over(all: &Credentials, stat: &Stat, capability: u32) -> bool {
    all.can_here(capability)
        && user::inside(&all.space, Kind::Users, stat.user).is_some()
        && user::inside(&all.space, Kind::Groups, stat.group).is_some()
}

/// Whether a file may be written at all: one that is not to change may not, by anyone.
const fn may_change(stat: &Stat, wanted: u32) -> Result<(), Errno> {
    match stat.flags & file_flag::IMMUTABLE {
        0 => Ok(()),
        _ if wanted & WRITE == 0 => Ok(()),
        _ => Err(Errno::EPERM),
    }
}

/// Whether the caller may use what has this status.
pub(crate) fn check(stat: &Stat, wanted: u32) -> Result<(), Errno> {
    may_change(stat, wanted)?;
    let may = mine().is_none_or(|mine| allow(&mine, stat, wanted));
    if may { Ok(()) } else { Err(Errno::EACCES) }
}

/// The same by its real user and group, as access(2) asks.
pub(crate) fn check_as_real(stat: &Stat, wanted: u32) -> Result<(), Errno> {
    may_change(stat, wanted)?;
    let mut all = Credentials::clone(&current_task().credentials());
    (all.user.file, all.group.file) = (all.user.real, all.group.real);
    let root = user::outside(&all.space, Kind::Users, 0);
    all.effective = if Some(all.user.real) == root { all.permitted } else { 0 };
    if allow(&all, stat, wanted) { Ok(()) } else { Err(Errno::EACCES) }
}

/// Whether nothing in the tree is closed to the caller but programs that no user may run.
pub(crate) fn are_all_given() -> bool {
    mine().is_none_or(|mine| mine.can(capability::DAC_OVERRIDE))
}

/// Whether the caller may look for a name in a directory.
pub(crate) fn search(directory: &Node) -> Result<(), Errno> {
    if directory.is_directory() { check(&directory.stat_of_access(), EXECUTE) } else { Ok(()) }
}

/// Whether the caller may change the names in a directory.
pub(crate) fn change_names(spot: &Spot) -> Result<(), Errno> {
    mounts::check_change(|| spot.path())?;
    spot.node().attributes.has_none_of(file_flag::IMMUTABLE)?;
    if are_all_given() {
        return Ok(());
    }
    check(&spot.node().stat_of_access(), WRITE | EXECUTE)
}

/// Whether the caller may take the name of a node out of a directory: not another's, where each may
/// only take its own (the sticky bit).
pub(crate) fn remove_name(spot: &Spot, node: &Node) -> Result<(), Errno> {
    change_names(spot)?;
    spot.node().attributes.has_none_of(file_flag::APPEND)?;
    let (directory, node) = (spot.node().stat_of_access(), node.stat_of_access());
    let user = current_task().credentials().user.file;
    let is_own = user == node.user || user == directory.user;
    if directory.mode & STICKY != 0 && !is_own {
        may_as_owner(&node)?;
    }
    if node.flags & file_flag::KEPT == 0 { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether the caller may do what only an owner may.
pub(crate) fn may_as_owner(stat: &Stat) -> Result<(), Errno> {
    let all = current_task().credentials();
    let is_mapped = || user::inside(&all.space, Kind::Users, stat.user).is_some();
    let may = all.user.file == stat.user || all.can_here(capability::FOWNER) && is_mapped();
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether the caller may give a file to a user and a group; `u32::MAX`: it stays.
pub(crate) fn may_give(stat: &Stat, user: u32, group: u32) -> Result<(), Errno> {
    let all = current_task().credentials();
    let owns = all.user.file == stat.user;
    let user_stays = user == u32::MAX || owns && user == stat.user;
    let group_may = group == u32::MAX || owns && (group == stat.group || is_in_group(&all, group));
    let may_any = may_over(&all, stat, capability::CHOWN);
    if may_any || user_stays && group_may { Ok(()) } else { Err(Errno::EPERM) }
}

/// The permissions that the caller may set: the group's identity only for a group that is its own.
pub(crate) fn settable(stat: &Stat, permissions: u32) -> u32 {
    let all = current_task().credentials();
    let may = is_in_group(&all, stat.group) || may_over(&all, stat, capability::FSETID);
    if may { permissions } else { permissions & !SET_GROUP }
}

/// Whether what the caller writes to a file leaves its set-user-ID and set-group-ID bits.
pub(crate) fn keeps_set_ids() -> bool {
    mine().is_none_or(|mine| mine.can(capability::FSETID))
}

/// A new node is the caller's; its group is that of the directory it is made in, if that says so.
pub(crate) fn own(node: &Node, directory: &Node) {
    let (user, group) = {
        let all = current_task().credentials();
        (all.user.file, all.group.file)
    };
    let directory = directory.stat_of_access();
    let is_given_on = directory.mode & SET_GROUP != 0;
    let group = if is_given_on { directory.group } else { group };
    if (user, group) != (0, 0) {
        node.attributes.set_owner(user, group);
    }
    if is_given_on && node.is_directory() {
        node.attributes.set_permissions(node.attributes.permissions() | SET_GROUP);
    }
}
