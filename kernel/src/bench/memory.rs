//! What a sleeping thread costs in memory; and threads that sleep while everything is measured.

use super::report;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use machine::memory::{frames, heap};
use threads::sched::{self, Thread, WaitQueue};

const THREADS: usize = 1000;

/// Threads that sleep until all of them are woken. One lot is this bench's, the other one stays
/// while all benches run.
struct Lot {
    asleep: AtomicUsize,
    go: AtomicBool,
    bed: WaitQueue,
}

static LOTS: [Lot; 2] = [const {
    Lot { asleep: AtomicUsize::new(0), go: AtomicBool::new(false), bed: WaitQueue::new() }
}; 2];
const MEASURED: usize = 0;
const STAYING: usize = 1;

/// Threads of a lot.
pub(super) struct Sleepers {
    lot: &'static Lot,
    threads: Vec<Arc<Thread>>,
}

impl Sleepers {
    /// So many that stay asleep until they are woken.
    pub(super) fn staying(count: usize) -> Self {
        let mut sleepers = Self::with_room(STAYING, count);
        sleepers.create(STAYING, count);
        sleepers
    }

    fn with_room(lot: usize, count: usize) -> Self {
        Self { lot: &LOTS[lot], threads: Vec::with_capacity(count) }
    }

    fn create(&mut self, lot: usize, count: usize) {
        let sleeper = |lot: usize| {
            let lot = &LOTS[lot];
            lot.asleep.fetch_add(1, Ordering::Relaxed);
            lot.bed.wait_uninterruptibly(|| lot.go.load(Ordering::Relaxed));
        };
        for _ in 0..count {
            self.threads.push(sched::spawn_kernel("sleeper", sleeper, lot).expect("a thread"));
        }
        while self.lot.asleep.load(Ordering::Relaxed) < count {
            sched::yield_now();
        }
    }

    /// Wakes them and waits for their ends.
    pub(super) fn wake(self) {
        self.lot.go.store(true, Ordering::Relaxed);
        self.lot.bed.wake_all();
        for thread in self.threads {
            thread.join();
        }
    }
}

/// Bytes of physical memory that are in use: frames outside the heap, and what the heap has given
/// out.
fn used() -> usize {
    (frames::total_count() - frames::free_count()) * 4096 + heap::allocated_bytes()
}

pub(super) fn run() {
    let mut sleepers = Sleepers::with_room(MEASURED, THREADS);
    let before = used();
    sleepers.create(MEASURED, THREADS);
    let each = (used() - before) / THREADS;
    sleepers.wake();
    report("bytes_per_sleeping_thread", each as u64, "bytes");
}
