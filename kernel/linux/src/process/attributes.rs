//! What a process says of itself by prctl(2) and its kin, and a child copies.

use crate::abi;
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
    /// What of its memory a core file has: bits of /proc/PID/coredump_filter.
    pub(crate) core_filter: AtomicU32,
    /// Whether it has become another program than its parent's: its group is its own affair from
    /// then on.
    pub(crate) has_executed: AtomicBool,
    /// personality(2).
    pub(crate) personality: AtomicU32,
    pub(crate) oom_score_adjustment: AtomicI32,
    /// What it has said it will use of membarrier: bits.
    pub(crate) barriers: AtomicU32,
    /// Class and level of its input and output (ioprio_set(2)).
    pub(crate) io_priority: AtomicU32,
    /// Nanoseconds by which timers may be late.
    pub(crate) timer_slack: AtomicU64,
    /// Whether it gives up making code of what it can write (`PR_SET_MDWE`): bits.
    pub(crate) write_or_execute: AtomicU32,
    /// Others' output waits for it (`PR_SET_IO_FLUSHER`).
    pub(crate) is_flusher: AtomicBool,
    /// No huge pages for it.
    pub(crate) no_huge_pages: AtomicBool,
}

/// What of its memory a core file has: memory of its own, shared memory without a name, the first
/// page of what looks like a program, and private huge pages.
const DEFAULT_CORE_FILTER: u32 = 0x33;

/// Bit of personality(2): what may be read may be executed.
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;

impl Attributes {
    /// Whether new mappings that may be read may be executed, too.
    pub(crate) fn reads_imply_instructions(&self) -> bool {
        self.personality.load(Ordering::Relaxed) & READ_IMPLIES_EXEC != 0
    }

    /// Whether calls leave the times that they are given as they are (`STICKY_TIMEOUTS`).
    pub(crate) fn keeps_timeouts(&self) -> bool {
        self.personality.load(Ordering::Relaxed) & 0x0400_0000 != 0
    }

    /// Whether it is told that the kernel is one of 2.6 (`UNAME26`).
    pub(crate) fn wants_old_release(&self) -> bool {
        self.personality.load(Ordering::Relaxed) & 0x0002_0000 != 0
    }

    /// A new program begins. `implied`: it is one of a time when what may be read may be executed.
    pub(crate) fn begin_program(&self, implied: bool) {
        self.has_executed.store(true, Ordering::Relaxed);
        let before = self.personality.load(Ordering::Relaxed);
        let kept =
            if abi::FORGETS_READ_IMPLIES_EXEC { before & !READ_IMPLIES_EXEC } else { before };
        let implied = if implied { READ_IMPLIES_EXEC } else { 0 };
        self.personality.store(kept | implied, Ordering::Relaxed);
    }

    /// One that may more than its caller: nothing that makes its memory easier to guess is kept,
    /// and its parent's end sends it no signal (PER_CLEAR_ON_SETID).
    pub(crate) fn begin_secure_program(&self) {
        const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;
        const MMAP_PAGE_ZERO: u32 = 0x010_0000;
        const ADDR_COMPAT_LAYOUT: u32 = 0x020_0000;
        const CLEARED: u32 =
            READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | MMAP_PAGE_ZERO | ADDR_COMPAT_LAYOUT;
        self.personality.fetch_and(!CLEARED, Ordering::Relaxed);
        self.death_signal.store(0, Ordering::Relaxed);
    }

    pub(crate) const fn first() -> Self {
        Self {
            is_subreaper: AtomicBool::new(false),
            death_signal: AtomicU8::new(0),
            no_new_privileges: AtomicBool::new(false),
            is_dumpable: AtomicBool::new(true),
            core_filter: AtomicU32::new(DEFAULT_CORE_FILTER),
            has_executed: AtomicBool::new(false),
            personality: AtomicU32::new(0),
            oom_score_adjustment: AtomicI32::new(0),
            barriers: AtomicU32::new(0),
            io_priority: AtomicU32::new(0),
            timer_slack: AtomicU64::new(50_000),
            write_or_execute: AtomicU32::new(0),
            is_flusher: AtomicBool::new(false),
            no_huge_pages: AtomicBool::new(false),
        }
    }

    /// A child's: it is no reaper, and asks for no signal at its parent's end.
    pub(crate) fn copy(&self) -> Self {
        const ORDER: Ordering = Ordering::Relaxed;
        Self {
            no_new_privileges: AtomicBool::new(self.no_new_privileges.load(ORDER)),
            is_dumpable: AtomicBool::new(self.is_dumpable.load(ORDER)),
            core_filter: AtomicU32::new(self.core_filter.load(ORDER)),
            personality: AtomicU32::new(self.personality.load(ORDER)),
            oom_score_adjustment: AtomicI32::new(self.oom_score_adjustment.load(ORDER)),
            barriers: AtomicU32::new(self.barriers.load(ORDER)),
            io_priority: AtomicU32::new(self.io_priority.load(ORDER)),
            timer_slack: AtomicU64::new(self.timer_slack.load(ORDER)),
            write_or_execute: AtomicU32::new(self.write_or_execute_of_next()),
            is_flusher: AtomicBool::new(self.is_flusher.load(ORDER)),
            no_huge_pages: AtomicBool::new(self.no_huge_pages.load(ORDER)),
            ..Self::first()
        }
    }

    /// What a child and another program have of [`Attributes::write_or_execute`].
    pub(crate) fn write_or_execute_of_next(&self) -> u32 {
        let bits = self.write_or_execute.load(Ordering::Relaxed);
        if bits & NOT_INHERITED != 0 { 0 } else { bits }
    }
}

/// Bits of [`Attributes::write_or_execute`]: it is so; and it is not so for children and other
/// programs.
pub(crate) const WRITE_OR_EXECUTE: u32 = 1;
pub(crate) const NOT_INHERITED: u32 = 2;
