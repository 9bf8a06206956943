//! Whom a process acts for: users, groups and capabilities (credentials(7), capabilities(7)).
//!
//! The rules of Linux for calls that change users and groups. The kernel's first program is root's.
//! Each thread has its own ([`crate::process::apart`]), which the C libraries keep alike.

use crate::error::Errno;
use crate::spaces::user::{self, Kind, Users};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A user or group: real, effective, saved, and that of file accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
    pub(crate) file: u32,
}

/// "Leave it", where a call takes a user or group.
pub(crate) const KEEP: u32 = u32::MAX;

/// Capabilities that calls here ask for.
pub(crate) mod capability {
    pub(crate) const CHOWN: u32 = 0;
    /// Of files, whatever their permissions say: all, reading and searching, what only an owner
    /// may.
    pub(crate) const DAC_OVERRIDE: u32 = 1;
    pub(crate) const DAC_READ_SEARCH: u32 = 2;
    pub(crate) const FOWNER: u32 = 3;
    pub(crate) const FSETID: u32 = 4;
    pub(crate) const KILL: u32 = 5;
    pub(crate) const SETGID: u32 = 6;
    pub(crate) const SETUID: u32 = 7;
    pub(crate) const SETPCAP: u32 = 8;
    pub(crate) const LINUX_IMMUTABLE: u32 = 9;
    pub(crate) const NET_ADMIN: u32 = 12;
    pub(crate) const NET_RAW: u32 = 13;
    pub(crate) const IPC_LOCK: u32 = 14;
    pub(crate) const IPC_OWNER: u32 = 15;
    pub(crate) const SYS_RAWIO: u32 = 17;
    pub(crate) const SYS_CHROOT: u32 = 18;
    pub(crate) const SYS_PTRACE: u32 = 19;
    pub(crate) const SYS_ADMIN: u32 = 21;
    pub(crate) const SYS_BOOT: u32 = 22;
    pub(crate) const SYS_NICE: u32 = 23;
    pub(crate) const SYS_RESOURCE: u32 = 24;
    pub(crate) const SYS_TIME: u32 = 25;
    pub(crate) const TTY_CONFIG: u32 = 26;
    pub(crate) const MKNOD: u32 = 27;
    pub(crate) const LEASE: u32 = 28;
    pub(crate) const SETFCAP: u32 = 31;
    pub(crate) const SYSLOG: u32 = 34;
    pub(crate) const CHECKPOINT_RESTORE: u32 = 40;
    /// The highest one.
    pub(crate) const LAST: u32 = 40;
}

/// Bits of what a thread gave up of root's ways (securebits); above each one is its lock.
pub(crate) mod secure {
    /// Programs that root starts get no capabilities for that.
    pub(crate) const NO_ROOT: u32 = 1;
    /// Capabilities stay as they are when users change.
    pub(crate) const NO_SETUID_FIXUP: u32 = 1 << 2;
    /// The permitted ones stay when the last user is not root any more, until execve.
    pub(crate) const KEEP_CAPABILITIES: u32 = 1 << 4;
    /// None becomes ambient.
    pub(crate) const NO_AMBIENT_RAISE: u32 = 1 << 6;
    pub(crate) const ALL_BITS: u32 = 0x55;
    pub(crate) const ALL_LOCKS: u32 = ALL_BITS << 1;
}

/// All capabilities there are.
pub(crate) const ALL: u64 = (1 << (capability::LAST + 1)) - 1;

/// The user and the group that a program runs as, and not those of its caller (set-user-ID,
/// set-group-ID).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SetIds {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// See the module's head.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) user: Ids,
    pub(crate) group: Ids,
    pub(crate) groups: Arc<Vec<u32>>,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) bounding: u64,
    /// Those that go with it into programs that are not root's: permitted and inheritable ones.
    pub(crate) ambient: u64,
    /// What does not hold of root any more: bits of [`secure`].
    pub(crate) secure: u32,
    /// The user namespace that the capabilities are of; users and groups are those of the first
    /// one.
    pub(crate) space: Users,
}

impl Ids {
    const fn has(&self, id: u32) -> bool {
        id == self.real || id == self.effective || id == self.saved
    }

    /// setuid and setgid: the privileged change all of them, others the effective one to the real
    /// or the saved one.
    pub(crate) fn set(&mut self, to: u32, is_privileged: bool) -> Result<(), Errno> {
        if to == KEEP {
            return Err(Errno::EINVAL);
        }
        if is_privileged {
            (self.real, self.saved) = (to, to);
        } else if to != self.real && to != self.saved {
            return Err(Errno::EPERM);
        }
        (self.effective, self.file) = (to, to);
        Ok(())
    }

    /// setreuid and setregid.
    pub(crate) fn set_two(
        &mut self,
        real: u32,
        effective: u32,
        is_privileged: bool,
    ) -> Result<(), Errno> {
        let before = *self;
        if !is_privileged {
            let may_be_real = real == KEEP || real == before.real || real == before.effective;
            if !may_be_real || effective != KEEP && !before.has(effective) {
                return Err(Errno::EPERM);
            }
        }
        if real != KEEP {
            self.real = real;
        }
        if effective != KEEP {
            self.effective = effective;
        }
        if real != KEEP || effective != KEEP && effective != before.real {
            self.saved = self.effective;
        }
        self.file = self.effective;
        Ok(())
    }

    /// setresuid and setresgid.
    pub(crate) fn set_three(&mut self, to: [u32; 3], is_privileged: bool) -> Result<(), Errno> {
        if !is_privileged && to.iter().any(|&id| id != KEEP && !self.has(id)) {
            return Err(Errno::EPERM);
        }
        let [real, effective, saved] = to;
        for (id, to) in
            [(&mut self.real, real), (&mut self.effective, effective), (&mut self.saved, saved)]
        {
            if to != KEEP {
                *id = to;
            }
        }
        self.file = self.effective;
        Ok(())
    }

    /// setfsuid and setfsgid: what it was; one that may not be is left.
    pub(crate) fn set_file(&mut self, to: u32, is_privileged: bool) -> u32 {
        let before = self.file;
        if to != KEEP && (is_privileged || self.has(to) || to == before) {
            self.file = to;
        }
        before
    }
}

impl Credentials {
    /// Those of root.
    pub(crate) const fn root(groups: Arc<Vec<u32>>) -> Self {
        let root = Ids { real: 0, effective: 0, saved: 0, file: 0 };
        Self {
            user: root,
            group: root,
            groups,
            effective: ALL,
            permitted: ALL,
            inheritable: 0,
            bounding: ALL,
            ambient: 0,
            secure: 0,
            space: None,
        }
    }

    /// Whether it has a capability now for what belongs to the whole machine (`capable`).
    pub(crate) const fn can(&self, capability: u32) -> bool {
        self.space.is_none() && self.can_here(capability)
    }

    /// The same for what belongs to its own user namespace.
    pub(crate) const fn can_here(&self, capability: u32) -> bool {
        self.effective & 1 << capability != 0
    }

    /// The same for what belongs to a user namespace (`ns_capable`).
    pub(crate) fn can_in(&self, target: &Users, capability: u32) -> bool {
        user::may(&self.space, self.user.effective, self.can_here(capability), target)
    }

    /// Whether one of [`secure`] is set.
    pub(crate) const fn is(&self, bit: u32) -> bool {
        self.secure & bit != 0
    }

    /// Who is root in its namespace. `None`: no user is.
    fn root_user(&self) -> Option<u32> {
        user::outside(&self.space, Kind::Users, 0)
    }

    /// Changes the user by one of the rules above; capabilities come and go with root.
    pub(crate) fn change_user(
        &mut self,
        change: impl FnOnce(&mut Ids, bool) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let before = self.user;
        let mut user = before;
        change(&mut user, self.can_here(capability::SETUID))?;
        let root = self.root_user();
        let is_root = |user: &Ids| root.is_some_and(|root| user.has(root));
        self.user = user;
        if self.is(secure::NO_SETUID_FIXUP) {
            return Ok(());
        }
        if is_root(&before) && !is_root(&user) {
            if !self.is(secure::KEEP_CAPABILITIES) {
                (self.permitted, self.effective) = (0, 0);
            }
            // Who leaves root for good expects the next program to have none.
            self.ambient = 0;
        }
        match (Some(before.effective) == root, Some(user.effective) == root) {
            (true, false) => self.effective = 0,
            (false, true) => self.effective = self.permitted,
            _ => {}
        }
        Ok(())
    }

    /// What execve of a program leaves: the user and group that its file sets, if it does; root has
    /// all capabilities that are in bounds, others the ambient ones.
    pub(crate) fn after_execve(&self, set: SetIds) -> Self {
        let mut after = self.clone();
        after.user.effective = set.user.unwrap_or(after.user.effective);
        after.group.effective = set.group.unwrap_or(after.group.effective);
        after.user.saved = after.user.effective;
        after.group.saved = after.group.effective;
        (after.user.file, after.group.file) = (after.user.effective, after.group.effective);
        after.secure &= !secure::KEEP_CAPABILITIES;
        if after.user.effective != self.user.real || after.group.effective != self.group.real {
            after.ambient = 0;
        }
        let root = after.root_user().filter(|_| !after.is(secure::NO_ROOT));
        let has_root = root.is_some_and(|root| after.user.has(root));
        let of_root = if has_root { after.bounding | after.inheritable } else { 0 };
        after.permitted = of_root | after.ambient;
        let is_root = root == Some(after.user.effective);
        after.effective = if is_root { after.permitted } else { after.ambient };
        after
    }

    /// Whether a program has to be careful of what its caller gives it: it may what that may not.
    pub(crate) const fn is_secure(&self) -> bool {
        self.user.real != self.user.effective || self.group.real != self.group.effective
    }

    /// What the auxiliary vector tells: user and group, real and effective, and
    /// [`Self::is_secure`].
    pub(crate) fn told_to_program(&self) -> [u64; 5] {
        let of = |kind, id| u64::from(user::shown(&self.space, kind, id));
        let users = [self.user.real, self.user.effective].map(|id| of(Kind::Users, id));
        let groups = [self.group.real, self.group.effective].map(|id| of(Kind::Groups, id));
        [users[0], users[1], groups[0], groups[1], self.is_secure().into()]
    }

    /// Whether they are those of another user than before, or of one who may more.
    pub(in crate::process) fn is_another_than(&self, before: &Self) -> bool {
        let who = |all: &Self| [all.user, all.group].map(|ids| (ids.effective, ids.file));
        who(self) != who(before) || self.permitted & !before.permitted != 0
    }

    /// Who they are to files: user, group, and the capabilities that count.
    pub(crate) const fn file_identity(&self) -> (u32, u32, u64) {
        (self.user.file, self.group.file, self.effective)
    }

    /// Who they are really, with what they might have.
    pub(crate) const fn real_identity(&self) -> (u32, u32, u64) {
        (self.user.real, self.group.real, self.permitted)
    }

    /// Whether an identity is the only user and group of other credentials, and has every
    /// capability of theirs.
    pub(crate) fn is_same_as(&self, other: &Self, (one, group, may): (u32, u32, u64)) -> bool {
        let all = |ids: Ids, id| ids.real == id && ids.effective == id && ids.saved == id;
        all(other.user, one)
            && all(other.group, group)
            && user::is_same(&self.space, &other.space)
            && other.permitted & !may == 0
    }

    /// Whether they may change a process with those of another: its limits, its priority.
    pub(crate) fn may_change(&self, other: &Self, with: u32) -> bool {
        self.can_in(&other.space, with) || self.is_owner_of(other)
    }

    /// Whether a thread with those of another is of the same user.
    pub(crate) fn is_owner_of(&self, other: &Self) -> bool {
        let me = self.user.effective;
        me == other.user.real || me == other.user.effective
    }

    /// Whether it may send a signal to a process of another (kill(2)).
    pub(crate) fn may_signal(&self, other: &Self) -> bool {
        let theirs = [other.user.real, other.user.saved];
        self.can_in(&other.space, capability::KILL)
            || theirs.contains(&self.user.effective)
            || theirs.contains(&self.user.real)
    }
}
