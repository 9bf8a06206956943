//! What a sleeping thread costs in memory.

use super::report;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use machine::memory::{frames, heap};
use threads::sched::{self, WaitQueue};

const THREADS: usize = 1000;

static GO: AtomicBool = AtomicBool::new(false);
static ASLEEP: AtomicUsize = AtomicUsize::new(0);
static BED: WaitQueue = WaitQueue::new();

/// Bytes of physical memory that are in use: frames outside the heap, and what the heap has given
/// out.
fn used() -> usize {
    (frames::total_count() - frames::free_count()) * 4096 + heap::allocated_bytes()
}

pub(super) fn run() {
    let sleeper = |_| {
        ASLEEP.fetch_add(1, Ordering::Relaxed);
        BED.wait_uninterruptibly(|| GO.load(Ordering::Relaxed));
    };
    let mut threads = Vec::with_capacity(THREADS);
    let before = used();
    for _ in 0..THREADS {
        threads.push(sched::spawn_kernel("sleeper", sleeper, 0).expect("a thread"));
    }
    while ASLEEP.load(Ordering::Relaxed) < THREADS {
        sched::yield_now();
    }
    let each = (used() - before) / THREADS;
    GO.store(true, Ordering::Relaxed);
    BED.wake_all();
    for thread in threads {
        thread.join();
    }
    report("bytes_per_sleeping_thread", each as u64, "bytes");
}
