//! How long a thread of a program has run: exactly in all, and in which of the two modes by ticks;
//! and how often it has left its CPU.
//!
//! # One word
//!
//! The word of a thread that does not run is how long it has run, in counts of the clock's counter,
//! and [`RESTS`]. That of one that runs is where the counter would have stood at its beginning, had
//! it never left the CPU: the time it has run is what the counter has gone on since. So a reader on
//! any CPU needs one load, and no time is seen twice or lost while a thread leaves its CPU. Only
//! the CPU that runs a thread, or is about to, writes its word.
//!
//! Threads of the kernel are not measured: switches between them read no clock.

use crate::clock;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use machine::arch::irqchip;

/// In the word of a thread that does not run.
const RESTS: u64 = 1 << 63;

/// See the module's head.
#[derive(Debug)]
pub struct CpuTime {
    word: AtomicU64,
    /// Ticks that found it in user mode and in the kernel.
    user: AtomicU32,
    system: AtomicU32,
    /// How often it left its CPU: with nothing to do, and with more.
    switches: [AtomicUsize; 2],
}

/// What the clock's counter says.
#[inline(always)]
pub(super) fn now() -> u64 {
    irqchip::counter() & !RESTS
}

impl CpuTime {
    pub(super) const fn new() -> Self {
        let (word, switches) = (AtomicU64::new(RESTS), [const { AtomicUsize::new(0) }; 2]);
        Self { word, user: AtomicU32::new(0), system: AtomicU32::new(0), switches }
    }

    /// The thread comes to its CPU.
    #[inline(always)]
    pub(super) fn come(&self, now: u64) {
        let ran = self.word.load(Ordering::Relaxed);
        self.word.store(now.wrapping_sub(ran) & !RESTS, Ordering::Relaxed);
    }

    /// The thread leaves its CPU; whether it could have run on.
    #[inline(always)]
    pub(super) fn leave(&self, now: u64, could_run: bool) {
        let began = self.word.load(Ordering::Relaxed);
        self.word.store(now.wrapping_sub(began) | RESTS, Ordering::Relaxed);
        let count = &self.switches[usize::from(could_run)];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How often it left its CPU: with nothing to do, and though it could have run on.
    pub fn switches(&self) -> [u64; 2] {
        self.switches.each_ref().map(|count| count.load(Ordering::Relaxed) as u64)
    }

    /// How long it has run, in nanoseconds.
    pub fn nanoseconds(&self) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        let counts = match word & RESTS {
            0 => now().wrapping_sub(word) & !RESTS,
            _ => word & !RESTS,
        };
        // The counter of the CPU that looks may be a little behind that of the one that runs it.
        clock::of_counts(if counts > RESTS >> 1 { 0 } else { counts })
    }

    /// Ticks that found it in user mode and in the kernel.
    pub fn ticks(&self) -> [u64; 2] {
        [&self.user, &self.system].map(|ticks| ticks.load(Ordering::Relaxed).into())
    }

    /// A tick found the thread in user mode, or in the kernel.
    pub(crate) fn count_tick(&self, in_user_mode: bool) {
        let ticks = if in_user_mode { &self.user } else { &self.system };
        ticks.fetch_add(1, Ordering::Relaxed);
    }
}
