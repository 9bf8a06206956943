//! What clone and clone3 were asked for, and whether Linux would do it (`copy_process`,
//! `clone3_args_valid`).

use crate::abi::USER_TOP;
use crate::abi::signals::Signal;
use crate::error::Errno;
use alloc::vec::Vec;

/// Flags of clone (include/uapi/linux/sched.h).
pub(crate) mod flag {
    /// The exit signal, in the flags of clone; `CLONE_NEWTIME` is among its bits for clone3.
    pub(crate) const SIGNAL: u64 = 0xff;
    pub(crate) const NEW_TIME: u64 = 0x80;
    pub(crate) const VM: u64 = 0x100;
    pub(crate) const FS: u64 = 0x200;
    pub(crate) const FILES: u64 = 0x400;
    pub(crate) const SIGHAND: u64 = 0x800;
    pub(crate) const PIDFD: u64 = 0x1000;
    pub(crate) const VFORK: u64 = 0x4000;
    pub(crate) const PARENT: u64 = 0x8000;
    pub(crate) const THREAD: u64 = 0x1_0000;
    pub(crate) const NEW_MOUNTS: u64 = 0x2_0000;
    pub(crate) const SETTLS: u64 = 0x8_0000;
    pub(crate) const PARENT_SETTID: u64 = 0x10_0000;
    pub(crate) const CHILD_CLEARTID: u64 = 0x20_0000;
    pub(crate) const SYSVSEM: u64 = 0x4_0000;
    pub(crate) const DETACHED: u64 = 0x40_0000;
    pub(crate) const CHILD_SETTID: u64 = 0x100_0000;
    pub(crate) const NEW_USER: u64 = 0x1000_0000;
    pub(crate) const NEW_PID: u64 = 0x2000_0000;
    pub(crate) const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    pub(crate) const INTO_CGROUP: u64 = 0x2_0000_0000;
    pub(crate) const NEW_HOST: u64 = 0x400_0000;
    pub(crate) const NEW_IPC: u64 = 0x800_0000;
    pub(crate) const NEW_NET: u64 = 0x4000_0000;
    /// Namespaces that there are: mounts, host names, users, processes, time; and two of what there
    /// is nothing of, so that nothing is shared.
    pub(crate) const GRANTED: u64 =
        NEW_MOUNTS | NEW_HOST | NEW_USER | NEW_PID | NEW_TIME | NEW_IPC | NEW_NET;
    /// All that ask for a namespace: cgroups, host name, IPC, users, processes, network, mounts.
    /// (Time is among the signal's bits.)
    pub(crate) const NAMESPACES: u64 = 0x7e02_0000;
}

/// See the module's head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// Without the exit signal.
    pub(crate) flags: u64,
    /// The signal that the parent gets at its end; 0: none.
    pub(crate) exit_signal: u8,
    /// Where its stack begins; 0: where the caller's is.
    pub(crate) stack: u64,
    /// How large that stack is; 0: not said.
    pub(crate) stack_bytes: u64,
    pub(crate) parent_word: u64,
    pub(crate) child_word: u64,
    pub(crate) descriptor_word: u64,
    pub(crate) tls: u64,
    /// The numbers it is to have, that of the innermost namespace first.
    pub(crate) numbers: Vec<u64>,
}

/// Bytes of `struct clone_args`, as it has grown: without and with `set_tid`, and with `cgroup`.
pub(crate) const FIRST_BYTES: u64 = 64;
const WITH_CGROUP: u64 = 88;
/// Its numbers.
pub(crate) const NUMBERS: usize = 11;
/// Namespaces of processes within each other (`MAX_PID_NS_LEVEL`).
const MAX_LEVELS: u64 = 32;

impl Request {
    /// That of clone: the lowest byte of the flags is the exit signal.
    pub(crate) fn of_clone([flags, stack, parent_word, child_word, tls]: [u64; 5]) -> Self {
        let flags = flags & 0xffff_ffff;
        Self {
            flags: flags & !flag::SIGNAL,
            exit_signal: (flags & flag::SIGNAL) as u8,
            stack,
            stack_bytes: 0,
            parent_word,
            child_word,
            descriptor_word: parent_word,
            tls,
            numbers: Vec::new(),
        }
    }

    /// That of clone3: the numbers of its structure, of which the caller gave so many bytes, and
    /// those that `set_tid` points to, by their places.
    pub(crate) fn of_clone3(
        numbers: [u64; NUMBERS],
        bytes: u64,
        number: impl Fn(u64) -> Result<i32, Errno>,
    ) -> Result<Self, Errno> {
        let [flags, pidfd, child, parent, signal, stack, stack_bytes, tls, set_tid, levels, cgroup] =
            numbers;
        if levels > MAX_LEVELS || (set_tid == 0) != (levels == 0) {
            return Err(Errno::EINVAL);
        }
        if signal & !flag::SIGNAL != 0 || signal != 0 && Signal::new(signal).is_none() {
            return Err(Errno::EINVAL);
        }
        if flags & flag::INTO_CGROUP != 0 && (cgroup > i32::MAX as u64 || bytes < WITH_CGROUP) {
            return Err(Errno::EINVAL);
        }
        let known = 0xffff_ffff | flag::CLEAR_SIGHAND | flag::INTO_CGROUP;
        if flags & !known != 0
            || flags & (flag::DETACHED | (flag::SIGNAL & !flag::NEW_TIME)) != 0
            || flags & flag::SIGHAND != 0 && flags & flag::CLEAR_SIGHAND != 0
            || flags & (flag::THREAD | flag::PARENT) != 0 && signal != 0
            || (stack == 0) != (stack_bytes == 0)
            || stack.checked_add(stack_bytes).is_none_or(|top| top > USER_TOP)
        {
            return Err(Errno::EINVAL);
        }
        if flags & flag::INTO_CGROUP != 0 {
            // No descriptor leads to a group: there is no file system of them.
            return Err(Errno::EBADF);
        }
        let mut chosen = Vec::new();
        chosen.try_reserve_exact(levels as usize).map_err(|_| Errno::ENOMEM)?;
        for level in 0..levels {
            let at = set_tid.checked_add(4 * level).ok_or(Errno::EFAULT)?;
            // CANNOT FAIL: reserved above. A negative one is as 0, which no process can have.
            chosen.push(u64::try_from(number(at)?).unwrap_or(0));
        }
        Ok(Self {
            flags,
            exit_signal: signal as u8,
            stack: stack + stack_bytes,
            stack_bytes,
            parent_word: parent,
            child_word: child,
            descriptor_word: pidfd,
            tls,
            numbers: chosen,
        })
    }

    pub(crate) const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// What `copy_process` refuses of any caller.
    pub(crate) fn check(&self, is_privileged: bool) -> Result<(), Errno> {
        use flag::{FS, NEW_MOUNTS, NEW_PID, NEW_USER, PARENT_SETTID, PIDFD, SIGHAND, THREAD, VM};
        let is_bad =
            self.has(PIDFD) && self.has(PARENT_SETTID) && self.descriptor_word == self.parent_word
                || self.has(NEW_MOUNTS) && self.has(FS)
                || self.has(NEW_USER) && self.has(FS)
                || self.has(THREAD) && !self.has(SIGHAND)
                || self.has(SIGHAND) && !self.has(VM)
                || self.has(THREAD) && self.has(NEW_USER | NEW_PID)
                || self.has(PIDFD) && self.has(flag::DETACHED);
        if is_bad {
            return Err(Errno::EINVAL);
        }
        check_namespaces(self.flags, is_privileged)?;
        // What is undone at the end belongs to the semaphores of one namespace.
        let shares_undone = self.has(flag::NEW_IPC) && self.has(flag::SYSVSEM);
        if shares_undone { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// Whether flags of clone or unshare ask for namespaces that there are, and may.
pub(super) fn check_namespaces(flags: u64, is_privileged: bool) -> Result<(), Errno> {
    let asked = flags & (flag::NAMESPACES | flag::NEW_TIME);
    // Who may not ask is told that first.
    if asked & !flag::NEW_USER != 0 && !is_privileged {
        return Err(Errno::EPERM);
    }
    // Of the other kinds there is one of each, as in a Linux built without them.
    if asked & !flag::GRANTED != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}
