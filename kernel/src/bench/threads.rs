//! Threads: the bare switch, and a life.

use super::{median, report, span};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use threads::sched;
use threads::stacks::depths;

const ROUNDS: u64 = 200;

static STOP: AtomicBool = AtomicBool::new(false);
static TURNS: AtomicU64 = AtomicU64::new(0);
static LIVES: AtomicU64 = AtomicU64::new(0);

pub(super) fn run(overhead: u64) {
    bare_switch();
    report("thread_life", life(overhead), "instructions");
    depths::turn(true);
    report("thread_life_metered", life(overhead), "instructions");
    depths::turn(false);
    assert_eq!(LIVES.load(Ordering::Relaxed), 2 * ROUNDS, "every thread ran");
}

/// A life, from its creation to the end of the wait for it.
fn life(overhead: u64) -> u64 {
    median(
        (0..ROUNDS)
            .map(|_| {
                span(
                    || {
                        let body = |_| {
                            LIVES.fetch_add(1, Ordering::Relaxed);
                        };
                        sched::spawn_kernel("life", body, 0).expect("a thread").join();
                    },
                    overhead,
                )
            })
            .collect(),
    )
}

/// One switch between two threads that hand the CPU to each other, from right before it in one to
/// right after it in the other: stack, per-CPU words, page tables and translations, and letting go
/// of the thread that left; without a scheduling decision.
fn bare_switch() {
    fn partner(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            TURNS.store(TURNS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            sched::hand_back();
        }
    }
    let partner = sched::spawn_kernel("partner", partner, 0).expect("a thread");
    let stamps = sched::stamps_alone();
    sched::hand_to_first(&partner);
    TURNS.store(0, Ordering::Relaxed);
    let cost = median(
        (0..ROUNDS)
            .map(|_| {
                sched::hand_to(&partner);
                sched::last_switch_took().saturating_sub(stamps)
            })
            .collect(),
    );
    assert_eq!(TURNS.load(Ordering::Relaxed), ROUNDS, "every turn was taken");
    report("switch_bare", cost, "instructions");
    STOP.store(true, Ordering::Relaxed);
    sched::make_ready(partner.clone());
    partner.join();
}
