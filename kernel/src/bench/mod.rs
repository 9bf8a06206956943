//! What everything costs, in instructions.
//!
//! Run in the emulator's counting mode, where the time stamp counter advances by one per
//! instruction: two readings apart give a count, the same in every run. The cost of reading
//! (calibrated first) is subtracted. Each bench checks that what it measures really happened.

mod dma;
mod entries;
mod memory;
mod returns;
pub(crate) mod stacks;
mod threads;

use alloc::vec::Vec;
use machine::arch::cpu;

/// Runs all benches and sends one record each; with `sleepers=N` while so many threads
/// sleep, with `depths` also from further down on stacks.
#[inline(never)]
pub fn run() {
    let sleepers = machine::options::get("sleepers").and_then(|count| count.parse().ok());
    let sleepers = memory::Sleepers::staying(sleepers.unwrap_or(0));
    let overhead = median((0..100).map(|_| span(|| {}, 0)).collect());
    log!("reading the counter costs {overhead}; subtracted");
    // A tick in the middle of a measurement is not what is measured.
    machine::arch::irqchip::stop_timer();
    // As Linux's kernels of distributions have it; what it costs is a figure of its own.
    ::threads::stacks::depths::turn(false);

    stacks::run(overhead);
    entries::run(overhead);
    threads::run(overhead);
    memory::run();
    dma::run(overhead);
    returns::run(overhead);
    if machine::options::has("depths") {
        stacks::depths(overhead);
        entries::depths(overhead);
    }

    machine::arch::irqchip::start_timer();
    program(b"/kstack/bin/returns-at-once", |name| name);
    returns::calls();
    sleepers.wake();
    control!("end");
}

/// What the kernel does for programs is measured by one, which prints lines `name value`. A figure
/// that it does not print is missed by the host. `called` tells what each is called here.
fn program(argument: &[u8], called: impl for<'a> Fn(&'a str) -> &'a str) {
    let path = "/kstack/bin/program-bench";
    let argv: [&[u8]; 2] = [b"program-bench", argument];
    let (status, output) = match linux::run_captured(path, &argv) {
        Ok(ended) => ended,
        Err(error) => return log!("{path}: {error}"),
    };
    for line in output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match core::str::from_utf8(line).ok().and_then(figure) {
            Some((name, value)) => report(called(name), value, "instructions"),
            None => log!("{path}: {}", line.escape_ascii()),
        }
    }
    if status != 0 {
        log!("{path} ended with status {status}");
    }
}

/// A name and a number.
fn figure(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.split_once(' ')?;
    Some((name, value.parse().ok()?))
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
