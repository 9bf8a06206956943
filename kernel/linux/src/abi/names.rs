//! Names of system calls, by number.

use machine::arch::regs::SavedRegs;

/// Names from this number on, and one for each number after it; `-` where none was given out.
pub(crate) type Stretch = (u64, &'static str);

/// From here on all architectures count together.
pub(super) const LATE: Stretch = (
    424,
    "pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount \
     fsopen fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd \
     faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd \
     landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret \
     process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 \
     map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount \
     lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal",
);

/// A way to make system calls: numbers and registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// The machine that it was made for, as seccomp and the audit subsystem of Linux number it.
    pub(crate) machine: u32,
    pub(crate) names: &'static [Stretch],
    /// The registers with the arguments where the usual calls have them.
    pub(crate) moved: fn(&SavedRegs) -> SavedRegs,
}

/// An older way, beside the usual one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldCalls {
    pub(crate) way: Way,
    /// Makes the registers those of a call that has been entered.
    pub(crate) begin: fn(&mut SavedRegs),
    /// Calls that are carried out with the registers moved.
    pub(crate) alike: &'static str,
    /// Calls that are carried out with the registers as they are.
    pub(crate) with_registers: &'static str,
}
