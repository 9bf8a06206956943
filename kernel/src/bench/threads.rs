//! Threads: the bare switch, and a life.

use super::{median, report, span};
use crate::sched;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ROUNDS: u64 = 200;

static STOP: AtomicBool = AtomicBool::new(false);
static TURNS: AtomicU64 = AtomicU64::new(0);
static LIVES: AtomicU64 = AtomicU64::new(0);

pub(super) fn run(overhead: u64) {
    bare_switch(overhead);
    let lives = median(
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
    );
    assert_eq!(LIVES.load(Ordering::Relaxed), ROUNDS, "every thread ran");
    report("thread_life", lives, "instructions");
}

/// There and back between two threads that hand the CPU to each other, halved: the switch with all its bookkeeping, without
/// a scheduling decision.
fn bare_switch(overhead: u64) {
    fn partner(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            TURNS.store(TURNS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            sched::hand_back();
        }
    }
    let partner = sched::spawn_kernel("partner", partner, 0).expect("a thread");
    let there_and_back =
        || median((0..ROUNDS).map(|_| span(|| sched::hand_to(&partner), overhead)).collect());
    sched::hand_to_first(&partner);
    TURNS.store(0, Ordering::Relaxed);
    let cost = there_and_back();
    assert_eq!(TURNS.load(Ordering::Relaxed), ROUNDS, "every turn was taken");
    // The partner's own loop: a load, a test, a load, an add, a store and the jumps.
    report("switch_bare", cost / 2, "instructions");
    STOP.store(true, Ordering::Relaxed);
    sched::make_ready(partner.clone());
    partner.join();
}
