//! The pool over a machine made of tables.
//!
//! [`machine`] is the hardware and the accounts; [`schedule`] lets small cases run in every order.
//! The tests proper: [`paths`] (which way a stack takes), [`failures`] (every allocation failing in
//! turn), [`interleavings`] (two CPUs, all orders), [`random`] (long runs, and real threads),
//! [`census`] (what it says of itself).

extern crate std;

mod census;
mod failures;
mod interleavings;
mod machine;
mod nodes;
mod paths;
mod random;
mod runs;
mod schedule;
