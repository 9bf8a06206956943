//! What everything costs, in instructions.
//!
//! Run in the emulator's counting mode, where the time stamp counter advances by one per
//! instruction: two readings apart give a count, the same in every run. The cost of reading
//! (calibrated first) is subtracted. Each bench checks that what it measures really happened.

mod entries;
mod memory;
mod stacks;
mod threads;

use alloc::vec::Vec;
use machine::arch::cpu;

/// Runs all benches and sends one record each.
pub fn run() {
    let overhead = median((0..100).map(|_| span(|| {}, 0)).collect());
    log!("reading the counter costs {overhead}; subtracted");
    // A tick in the middle of a measurement is not what is measured.
    machine::arch::irqchip::stop_timer();

    stacks::run(overhead);
    entries::run(overhead);
    threads::run(overhead);
    memory::run();

    machine::arch::irqchip::start_timer();
    programs();
    control!("end");
}

/// System calls are measured by a program, which sends its figure itself.
fn programs() {
    match linux::run_captured("/kstack/bin/syscall-bench", &[b"syscall-bench"]) {
        Ok((0, output)) => {
            match core::str::from_utf8(&output).ok().and_then(|text| text.trim().parse().ok()) {
                Some(value) => report("syscall_null", value, "instructions"),
                None => log!("syscall-bench printed no number"),
            }
        }
        Ok((status, _)) => log!("syscall-bench ended with status {status}"),
        Err(error) => log!("syscall-bench: {error}"),
    }
}

/// One figure.
fn report(name: &str, value: u64, unit: &str) {
    log!("{name}: {value} {unit}");
    control!("bench {name} {value} {unit}");
}

/// Instructions from before `work` to after it, less the overhead.
#[inline(always)]
fn span(work: impl FnOnce(), overhead: u64) -> u64 {
    let before = cpu::cycles();
    work();
    let after = cpu::cycles();
    (after - before).saturating_sub(overhead)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
