//! Interrupts and softirqs, without programming an interrupt controller, and backtraces.

use super::{median, report, span};
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::cpu::breakpoint;
use machine::arch::irqchip::software_interrupt;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::backtrace;

const ROUNDS: u64 = 500;

static RAN: AtomicU64 = AtomicU64::new(0);

fn count() {
    RAN.store(RAN.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn interrupts_measured(overhead: u64) -> u64 {
    median((0..ROUNDS).map(|_| span(software_interrupt, overhead)).collect())
}

/// A breakpoint, to the kernel's handler of it and back.
fn breakpoints_measured(overhead: u64) -> u64 {
    RAN.store(0, Ordering::Relaxed);
    probes::set_breakpoint_probe(Some(|_| count()));
    breakpoint();
    probes::set_breakpoint_probe(None);
    assert_eq!(RAN.load(Ordering::Relaxed), 1, "the breakpoint that is measured arrives");
    median((0..ROUNDS).map(|_| span(breakpoint, overhead)).collect())
}

pub(super) fn run(overhead: u64) {
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    ARRIVED.store(0, Ordering::Relaxed);
    probes::set_probe(Some(|_| {
        ARRIVED.fetch_add(1, Ordering::Relaxed);
    }));
    software_interrupt();
    probes::set_probe(None);
    assert_eq!(ARRIVED.load(Ordering::Relaxed), 1, "the interrupt that is measured arrives");
    let bare = interrupts_measured(overhead);
    report("irq_stack_round_trip", bare, "instructions");
    report("breakpoint_round_trip", breakpoints_measured(overhead), "instructions");

    softirq::set_probe(count);
    probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
    RAN.store(0, Ordering::Relaxed);
    let with_softirq = interrupts_measured(overhead);
    assert_eq!(RAN.load(Ordering::Relaxed), ROUNDS, "every interrupt ran its softirq");
    probes::set_probe(None);
    report("softirq_inline", with_softirq - bare, "instructions");

    RAN.store(0, Ordering::Relaxed);
    let from_thread = median(
        (0..ROUNDS)
            .map(|_| {
                span(
                    || {
                        softirq::disable_bottom_halves();
                        softirq::raise_from_thread(Softirq::Probe);
                        softirq::enable_bottom_halves();
                    },
                    overhead,
                )
            })
            .collect(),
    );
    assert_eq!(RAN.load(Ordering::Relaxed), ROUNDS, "every round ran its softirq");
    report("softirq_from_thread", from_thread, "instructions");

    let (short, shallow) = backtrace_from(16, overhead);
    let (long, deep) = backtrace_from(48, overhead);
    assert_eq!(deep - shallow, 32, "the deeper backtrace has 32 frames more");
    report("backtrace_per_frame", (long - short) / 32, "instructions");
}

/// Backtraces from further and further down.
pub(super) fn depths(overhead: u64) {
    for (name, depth) in
        [("backtrace_8", 8), ("backtrace_16", 16), ("backtrace_32", 32), ("backtrace_64", 64)]
    {
        let (cost, frames) = backtrace_from(depth, overhead);
        assert!(frames > depth as usize, "every frame is in the backtrace");
        report(name, cost, "instructions");
    }
}

/// The cost and the number of frames of a backtrace taken `depth` calls further down.
#[inline(never)]
fn backtrace_from(depth: u64, overhead: u64) -> (u64, usize) {
    if black_box(depth) > 0 {
        return black_box(backtrace_from(depth - 1, overhead));
    }
    let mut frames = 0;
    let cost = median(
        (0..20).map(|_| span(|| frames = black_box(backtrace::count_frames()), overhead)).collect(),
    );
    (cost, frames)
}
