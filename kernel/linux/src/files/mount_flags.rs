//! What a mount does not let be done with what is in it (mount(2)), and which of that stays so for
//! those who have less to say than who mounted it (mount_namespaces(7)).

use crate::error::Errno;
use core::fmt::{self, Write};

/// Flags of mount(2).
pub(crate) mod flag {
    pub(crate) const READ_ONLY: u32 = 1;
    pub(crate) const NO_SET_ID: u32 = 2;
    pub(crate) const NO_DEVICES: u32 = 4;
    pub(crate) const NO_PROGRAMS: u32 = 8;
    pub(crate) const NO_LINKS: u32 = 0x100;
    pub(crate) const NO_ACCESS_TIMES: u32 = 0x400;
    pub(crate) const NO_DIRECTORY_TIMES: u32 = 0x800;
    pub(crate) const RELATIVE_TIMES: u32 = 1 << 21;
    pub(crate) const STRICT_TIMES: u32 = 1 << 24;
    /// About times of access.
    pub(crate) const TIMES: u32 =
        NO_ACCESS_TIMES | NO_DIRECTORY_TIMES | RELATIVE_TIMES | STRICT_TIMES;
    /// All that a mount keeps.
    pub(crate) const KEPT: u32 =
        READ_ONLY | NO_SET_ID | NO_DEVICES | NO_PROGRAMS | NO_LINKS | TIMES;
}

/// What is kept of the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    flags: u32,
    /// What cannot be taken away again.
    locked: u32,
}

/// Times of access as they are kept: with none said, relative ones (`path_mount`).
const fn normal(flags: u32) -> u32 {
    let flags = flags & flag::KEPT;
    if flags & (flag::STRICT_TIMES | flag::NO_ACCESS_TIMES) != 0 {
        flags & !(flag::RELATIVE_TIMES | flag::STRICT_TIMES)
    } else {
        flags | flag::RELATIVE_TIMES
    }
}

impl Rules {
    pub(crate) const fn new(flags: u32) -> Self {
        Self { flags: normal(flags), locked: 0 }
    }

    pub(crate) const fn flags(self) -> u32 {
        self.flags
    }

    /// The same for one who may not take away what there is (`lock_mnt_tree`).
    pub(crate) const fn locked(self) -> Self {
        use flag::{NO_DEVICES, NO_PROGRAMS, NO_SET_ID, READ_ONLY, TIMES};
        let kept = self.flags & (READ_ONLY | NO_SET_ID | NO_DEVICES | NO_PROGRAMS) | TIMES;
        Self { locked: self.locked | kept, ..self }
    }

    /// Others instead (`MS_REMOUNT`); `EPERM`: it has what cannot be taken away.
    pub(crate) fn change(self, to: u32) -> Result<Self, Errno> {
        let flags = match to & flag::TIMES {
            // Nothing said of times: they stay.
            0 => to & flag::KEPT & !flag::TIMES | self.flags & flag::TIMES,
            _ => normal(to),
        };
        let of_times = self.locked & flag::TIMES;
        let is_less = self.locked & !flag::TIMES & !flags != 0;
        if is_less || (self.flags ^ flags) & of_times != 0 {
            return Err(Errno::EPERM);
        }
        Ok(Self { flags, ..self })
    }

    /// As statfs(2) tells them.
    pub(crate) const fn for_statfs(self) -> u64 {
        const VALID: u32 = 0x20;
        const SAME: u32 = flag::READ_ONLY
            | flag::NO_SET_ID
            | flag::NO_DEVICES
            | flag::NO_PROGRAMS
            | flag::NO_ACCESS_TIMES
            | flag::NO_DIRECTORY_TIMES;
        let links = if self.flags & flag::NO_LINKS != 0 { 0x2000 } else { 0 };
        let relative = if self.flags & flag::RELATIVE_TIMES != 0 { 0x1000 } else { 0 };
        (self.flags & SAME | links | relative | VALID) as u64
    }

    /// As /proc/mounts shows them.
    pub(crate) fn write(self, to: &mut dyn Write) -> fmt::Result {
        const NAMES: [(u32, &str); 7] = [
            (flag::NO_SET_ID, ",nosuid"),
            (flag::NO_DEVICES, ",nodev"),
            (flag::NO_PROGRAMS, ",noexec"),
            (flag::NO_ACCESS_TIMES, ",noatime"),
            (flag::NO_DIRECTORY_TIMES, ",nodiratime"),
            (flag::RELATIVE_TIMES, ",relatime"),
            (flag::NO_LINKS, ",nosymfollow"),
        ];
        to.write_str(if self.flags & flag::READ_ONLY != 0 { "ro" } else { "rw" })?;
        let has = |&&(bit, _): &&(u32, &str)| self.flags & bit != 0;
        NAMES.iter().filter(has).try_for_each(|(_, name)| to.write_str(name))
    }
}
