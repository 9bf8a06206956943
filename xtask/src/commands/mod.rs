//! The commands, one file each: options, the order of steps, what is told, and the status at the
//! end.
//!
//! `setup` and `build` are their wings' own ([`crate::setup::command`],
//! [`crate::build::kernel::command`]).
//!
//! May import every other wing; nothing but `main` imports this one.

pub(crate) mod bench;
pub(crate) mod depth;
pub(crate) mod fuzz;
pub(crate) mod lint;
pub(crate) mod msrv;
pub(crate) mod mutants;
pub(crate) mod programs;
pub(crate) mod run;
pub(crate) mod semver;
pub(crate) mod test;
pub(crate) mod tour;
