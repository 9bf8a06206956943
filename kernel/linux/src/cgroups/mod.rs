//! Control groups, as the second version of Linux's has them (Documentation/admin-guide/cgroup-v2):
//! groups of processes as a tree, with limits of threads and of what their kernel stacks take.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `tree` | groups: making, finding, removing them; controllers |
//! | `tasks` | how many threads a group has and may have (`pids.max`) |
//! | `charge` | one thread more or fewer, in a group and all above |
//! | `membership` | which group a process is in, what it counts there, and what a birth under way does |
//!
//! Who pays for a stack is the library's rule (`kstack::groups`): a group here has an account
//! there, and its limit is that account's. Knows no process: one is in a group by its
//! [`Membership`]. What programs see of all this is made in `proc`.
//!
//! Invariants:
//!
//! 1. all changes are under one lock; the root is not an object, so that nothing is allocated and
//!    little is counted until there is a second group;
//! 2. what a clone under way has taken is in its maker's task, not in a frame: an overflow inside
//!    of it gives it back when the thread ends.

mod charge;
mod membership;
mod tasks;
mod tree;

pub(crate) use membership::{Birth, Membership};
pub(crate) use tasks::UNLIMITED;
pub(crate) use tree::{
    CONTROLLERS, Group, MEMORY, PIDS, Where, account, count_below, enabled, enabled_here, find,
    make, names_below, remove, set_controllers,
};
