//! What each softirq runs.

use super::softirq::{PROBE, Softirq};
use super::tasklet;

/// Runs pending softirqs; the library calls this with interrupts on, never nested.
pub fn run(pending: u32) {
    if pending & !(1 << Softirq::Probe as u32) != 0 {
        return run_all(pending);
    }
    run_probe(pending);
}

/// Of a function of its own: what needs no sleepers woken saves no registers for that.
#[inline(never)]
fn run_all(pending: u32) {
    if pending & 1 << Softirq::Timer as u32 != 0 {
        crate::time::wake_sleepers();
    }
    run_probe(pending);
    if pending & 1 << Softirq::Tasklet as u32 != 0 {
        tasklet::run_scheduled();
    }
}

#[inline(always)]
fn run_probe(pending: u32) {
    if pending & 1 << Softirq::Probe as u32 != 0
        && let Some(probe) = PROBE.get()
    {
        probe();
    }
}
