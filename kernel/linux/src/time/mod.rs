//! Time, as far as it needs no process: the wall clock, and what is to happen at a time.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `wall` | what time of day it is |
//! | `adjust` | what is told of that clock by programs that keep it right |
//! | `engine` | alarms: what is called when its time has come, and the thread that calls it |
//!
//! Clocks of processes and what is sent to them when a timer expires is in `process`.

pub(crate) mod adjust;
pub(crate) mod engine;
pub(crate) mod wall;

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Starts the thread that calls what is due. Once, at boot.
pub fn start() {
    wall::set_from_hardware();
    engine::start();
}
