//! What a process says of itself by prctl(2) and its kin, and a child copies.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Attributes {
    /// Orphans among its descendants become its children.
    pub(crate) is_subreaper: AtomicBool,
    /// The signal it gets when its parent ends; 0: none.
    pub(crate) death_signal: AtomicU8,
    /// execve gives no privileges (it never does here).
    pub(crate) no_new_privileges: AtomicBool,
    /// Whether /proc shows it to others of its user.
    pub(crate) is_dumpable: AtomicBool,
    /// personality(2).
    pub(crate) personality: AtomicU32,
    pub(crate) oom_score_adjustment: AtomicI32,
    /// -20 to 19.
    pub(crate) nice: AtomicI32,
    /// Nanoseconds by which timers may be late.
    pub(crate) timer_slack: AtomicU64,
    /// No huge pages for it.
    pub(crate) no_huge_pages: AtomicBool,
    /// It has called execve since its birth: only a parent's setpgid asks.
    pub(crate) has_executed: AtomicBool,
}

impl Attributes {
    pub(crate) const fn first() -> Self {
        Self {
            is_subreaper: AtomicBool::new(false),
            death_signal: AtomicU8::new(0),
            no_new_privileges: AtomicBool::new(false),
            is_dumpable: AtomicBool::new(true),
            personality: AtomicU32::new(0),
            oom_score_adjustment: AtomicI32::new(0),
            nice: AtomicI32::new(0),
            timer_slack: AtomicU64::new(50_000),
            no_huge_pages: AtomicBool::new(false),
            has_executed: AtomicBool::new(false),
        }
    }

    /// A child's: it is no reaper, and asks for no signal at its parent's end.
    pub(crate) fn copy(&self) -> Self {
        const ORDER: Ordering = Ordering::Relaxed;
        Self {
            no_new_privileges: AtomicBool::new(self.no_new_privileges.load(ORDER)),
            is_dumpable: AtomicBool::new(self.is_dumpable.load(ORDER)),
            personality: AtomicU32::new(self.personality.load(ORDER)),
            oom_score_adjustment: AtomicI32::new(self.oom_score_adjustment.load(ORDER)),
            nice: AtomicI32::new(self.nice.load(ORDER)),
            timer_slack: AtomicU64::new(self.timer_slack.load(ORDER)),
            no_huge_pages: AtomicBool::new(self.no_huge_pages.load(ORDER)),
            ..Self::first()
        }
    }
}
