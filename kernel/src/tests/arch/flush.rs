//! Flushes that are asked for by an interrupt: over when every CPU has answered, not before.

use crate::tests::Outcome;
use alloc::format;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use machine::arch::{cpu, smp};
use machine::cpus;
use threads::sched;
use threads::time;

static IS_DEAF: AtomicBool = AtomicBool::new(false);
static FLUSHED: AtomicBool = AtomicBool::new(false);
/// What the deaf CPU saw: 0 nothing yet, 1 no request, 2 a flush that was over too early, 3 all in
/// order.
static SAW: AtomicU64 = AtomicU64::new(0);

/// Keeps interrupts off until a flush was asked for, and a good while longer; does not answer.
fn be_deaf(_: usize) {
    let is_over = |requests: u64| {
        cpu::without_interrupts(|| {
            // The first CPU keeps the time.
            if cpus::this().id().get() == 0 {
                return false;
            }
            IS_DEAF.store(true, Ordering::Release);
            let asked = (0..1_u64 << 32).any(|_| {
                spin_loop();
                smp::flushes() > requests
            });
            let early = asked
                && (0..3_000_000).any(|_| {
                    spin_loop();
                    FLUSHED.load(Ordering::Acquire)
                });
            SAW.store(if early { 2 } else { 1 + 2 * u64::from(asked) }, Ordering::Release);
            true
        })
    };
    while !is_over(smp::flushes()) {
        let _never_killed = time::sleep(time::TICK);
    }
}

fn flush(_: usize) {
    while !IS_DEAF.load(Ordering::Acquire) {
        sched::yield_now();
    }
    smp::flush_others();
    FLUSHED.store(true, Ordering::Release);
}

/// One CPU has interrupts off and a translation that it may use: the flush waits for it.
pub(in crate::tests) fn u1_t10_a_flush_waits_for_a_cpu_with_interrupts_off() -> Outcome {
    IS_DEAF.store(false, Ordering::Relaxed);
    FLUSHED.store(false, Ordering::Relaxed);
    SAW.store(0, Ordering::Relaxed);
    let deaf = sched::spawn_kernel("deaf", be_deaf, 0).map_err(|error| format!("{error:?}"))?;
    let flusher = sched::spawn_kernel("flusher", flush, 0).map_err(|error| format!("{error:?}"))?;
    deaf.join();
    flusher.join();
    match SAW.load(Ordering::Acquire) {
        3 => Ok(()),
        2 => Err("a flush was over before a CPU had forgotten".into()),
        saw => Err(format!("no flush was asked for ({saw})")),
    }
}
