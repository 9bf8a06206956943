//! The groups: making, finding and removing them, and which controllers those below one have.

use super::tasks::{Tasks, UNLIMITED};
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use kstack::groups::GroupError;
use kstack::record::AccountId;
use machine::memory::fallible;
use machine::spin::{SpinGuard, SpinLock};
use threads::stacks::accounts;

/// Controllers, as bits.
pub(crate) const MEMORY: u8 = 1;
pub(crate) const PIDS: u8 = 2;
/// What the root has.
pub(crate) const ALL: u8 = MEMORY | PIDS;
/// Their names.
pub(crate) const CONTROLLERS: [(u8, &str); 2] = [(MEMORY, "memory"), (PIDS, "pids")];

/// So many lie below one another at most: as deep as paths of the file system go.
pub(crate) const MAX_DEPTH: usize = 12;

/// A group, or the root, which is none.
pub(crate) type Where = Option<Arc<Group>>;

/// A group that is not the root.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) above: Where,
    below: SpinLock<Vec<Arc<Group>>>,
    /// The controllers of those below.
    controllers: AtomicU8,
    pub(crate) tasks: Tasks,
    /// Processes in it that have not ended, those that are being born among them.
    pub(super) processes: AtomicU64,
    is_removed: AtomicBool,
}

/// The lock of all changes.
static TREE: SpinLock<()> = SpinLock::new(());
static ROOT_BELOW: SpinLock<Vec<Arc<Group>>> = SpinLock::new(Vec::new());
static ROOT_CONTROLLERS: AtomicU8 = AtomicU8::new(0);

/// Keeps all groups as they are.
pub(super) fn lock() -> SpinGuard<'static, ()> {
    TREE.lock()
}

fn below(group: &Where) -> &SpinLock<Vec<Arc<Group>>> {
    group.as_ref().map_or(&ROOT_BELOW, |group| &group.below)
}

fn controllers_below(group: &Where) -> &AtomicU8 {
    group.as_ref().map_or(&ROOT_CONTROLLERS, |group| &group.controllers)
}

/// What its stacks are charged to.
pub(crate) fn account(group: &Where) -> AccountId {
    group.as_ref().map_or(AccountId::SYSTEM, |group| group.account)
}

/// The controllers that a group has: of those below another, what that one gives them.
pub(crate) fn enabled(group: &Where) -> u8 {
    group.as_ref().map_or(ALL, |group| enabled_here(&group.above))
}

/// The controllers that those below a group have.
pub(crate) fn enabled_here(group: &Where) -> u8 {
    controllers_below(group).load(Ordering::Relaxed)
}

impl Group {
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// Whether processes are in it that have not ended.
    pub(super) fn has_processes(&self) -> bool {
        self.processes.load(Ordering::Relaxed) != 0
    }

    /// The same of it and of all below it. The tree has no more levels than [`MAX_DEPTH`].
    pub(crate) fn is_populated(&self) -> bool {
        self.has_processes() || self.below.lock().iter().any(|one| one.is_populated())
    }

    /// Its path from the root.
    pub(crate) fn write_path(&self, to: &mut dyn Write) -> fmt::Result {
        if let Some(above) = &self.above {
            above.write_path(to)?;
        }
        write!(to, "/{}", self.name)
    }
}

/// A group and all above it but the root, from below.
pub(super) fn upwards(of: &Where) -> impl Iterator<Item = &Group> {
    core::iter::successors(of.as_deref(), |group| group.above.as_deref())
}

/// The group at a path; `ENOENT`: there is none.
pub(crate) fn find(path: &[&str]) -> Result<Where, Errno> {
    path.iter().try_fold(None, |at, name| {
        let found = below(&at).lock().iter().find(|one| one.name == *name).cloned();
        found.map(Some).ok_or(Errno::ENOENT)
    })
}

/// The names of those right below a group, a line each.
pub(crate) fn names_below(group: &Where, to: &mut dyn Write) -> fmt::Result {
    below(group).lock().iter().try_for_each(|one| writeln!(to, "{}", one.name))
}

/// How many there are below a group at all levels.
pub(crate) fn count_below(group: &Where) -> usize {
    let below = below(group).lock();
    below.iter().map(|one| 1 + count_below(&Some(one.clone()))).sum()
}

/// Makes a group right below another.
///
/// # Errors
///
/// `EEXIST`; `EINVAL`: a name with a line's end; `EAGAIN`: too deep; `ENOSPC`: there are too many;
/// `ENOENT`: what is above was removed.
pub(crate) fn make(above: Where, name: &str) -> Result<(), Errno> {
    if name.contains('\n') {
        return Err(Errno::EINVAL);
    }
    if upwards(&above).count() >= MAX_DEPTH {
        return Err(Errno::EAGAIN);
    }
    let name = fallible::text(name)?;
    let create = || accounts::groups().create(account(&above));
    let created = match create() {
        Err(GroupError::NoRoom) => {
            // Some may be kept by what is in stock.
            accounts::drain();
            create()
        }
        created => created,
    };
    let account = created.map_err(|error| match error {
        GroupError::Gone => Errno::ENOENT,
        _ => Errno::ENOSPC,
    })?;
    let entered = enter(account, name, above);
    if entered.is_err() {
        let _removed = accounts::groups().remove(account);
    }
    entered
}

fn enter(account: AccountId, name: String, above: Where) -> Result<(), Errno> {
    let group = fallible::shared(Group {
        account,
        name,
        above,
        below: SpinLock::new(Vec::new()),
        controllers: AtomicU8::new(0),
        tasks: Tasks::new(),
        processes: AtomicU64::new(0),
        is_removed: AtomicBool::new(false),
    })?;
    let _tree = lock();
    if group.above.as_ref().is_some_and(|above| above.is_removed()) {
        return Err(Errno::ENOENT);
    }
    let mut siblings = below(&group.above).lock();
    if siblings.iter().any(|one| one.name == group.name) {
        return Err(Errno::EEXIST);
    }
    Ok(fallible::push(&mut siblings, group.clone())?)
}

/// Removes a group. Its account's number stays in use until the last stack that is charged to it
/// has been taken back.
///
/// # Errors
///
/// `EBUSY`: processes are in it, or groups below it; `ENOENT`: another caller was faster.
pub(crate) fn remove(group: &Arc<Group>) -> Result<(), Errno> {
    let taken = {
        let _tree = lock();
        if group.is_removed() {
            return Err(Errno::ENOENT);
        }
        if group.has_processes() {
            return Err(Errno::EBUSY);
        }
        accounts::groups().remove(group.account).map_err(|_| Errno::EBUSY)?;
        group.is_removed.store(true, Ordering::Relaxed);
        let mut siblings = below(&group.above).lock();
        let at = siblings.iter().position(|one| Arc::ptr_eq(one, group));
        at.map(|at| siblings.remove(at))
    };
    drop(taken);
    accounts::drain();
    Ok(())
}

/// Gives controllers to those below a group and takes others away: limits go with them.
///
/// # Errors
///
/// `ENOENT`: the group itself has not got one; `EBUSY`: processes are in it, or one below has
/// given further what would be taken away.
pub(crate) fn set_controllers(group: &Where, more: u8, fewer: u8) -> Result<(), Errno> {
    let _tree = lock();
    if more & !enabled(group) != 0 {
        return Err(Errno::ENOENT);
    }
    if more != 0 && group.as_ref().is_some_and(|group| group.has_processes()) {
        return Err(Errno::EBUSY);
    }
    let all = below(group).lock();
    if all.iter().any(|one| one.controllers.load(Ordering::Relaxed) & fewer != 0) {
        return Err(Errno::EBUSY);
    }
    let kept = controllers_below(group);
    kept.store(kept.load(Ordering::Relaxed) & !fewer | more, Ordering::Relaxed);
    for one in all.iter() {
        if fewer & MEMORY != 0 {
            let _used = accounts::set_group_limit(one.account, kstack::groups::UNLIMITED);
        }
        if fewer & PIDS != 0 {
            one.tasks.most.store(UNLIMITED, Ordering::Relaxed);
        }
    }
    Ok(())
}
