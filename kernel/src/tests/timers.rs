//! Clocks, sleeps, and timers of programs.

use super::support::until;
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use linux::run_captured;
use machine::arch::irqchip;
use threads::time;

/// Clocks, sleeps and timers as a program sees them; and nothing of them is left when it has ended,
/// though it has as many as it may have.
pub fn p6_p8_clocks_sleeps_and_timers_of_programs_are_as_on_linux() -> Outcome {
    let before = linux::alarms_for_test();
    let ran = run_captured("/kstack/bin/timers", &[b"timers"]);
    let (status, output) = ran.map_err(|error| format!("timers: {error}"))?;
    let output = String::from_utf8_lossy(&output);
    check!(status == 0, "status {status}: {output}");
    until("its alarms are gone", || linux::alarms_for_test() == before)
}

/// The clock never stands still for a tick, and never goes back, on whatever CPU it is read.
pub fn p8_the_clock_is_finer_than_a_tick_and_never_goes_back() -> Outcome {
    const READS: u32 = 200_000;
    if irqchip::counter_per_second() == 0 {
        return Ok(());
    }
    let mut last = time::nanoseconds();
    let mut steps_within_a_tick = 0;
    for _ in 0..READS {
        let now = time::nanoseconds();
        check!(now >= last, "{now} after {last}");
        steps_within_a_tick += u32::from(now > last && now / time::TICK == last / time::TICK);
        last = now;
    }
    check!(steps_within_a_tick > 0, "the clock moves with ticks only");
    Ok(())
}

/// A sleep that ends before the next tick does not wait for that: of many short ones, at least one
/// has seen no tick.
pub fn p8_a_short_sleep_does_not_wait_for_a_tick() -> Outcome {
    const SLEEPS: u32 = 500;
    if irqchip::counter_per_second() == 0 {
        return Ok(());
    }
    let mut without_tick = 0;
    for _ in 0..SLEEPS {
        let (ticks, began) = (time::ticks(), time::nanoseconds());
        time::sleep(time::TICK / 40).map_err(|_| "killed")?;
        let slept = time::nanoseconds() - began;
        check!(slept >= time::TICK / 40, "woken after {slept} ns");
        without_tick += u32::from(time::ticks() == ticks);
    }
    check!(without_tick > 0, "each of {SLEEPS} sleeps lasted until a tick");
    Ok(())
}
