//! What follows is the crate's front page.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// What is public may grow unless it says why it will not.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs, clippy::return_self_not_must_use)]

#[cfg(test)]
extern crate std;

#[cfg(all(test, loom))]
mod models;

#[cfg(doctest)]
pub mod misuse;

mod sentences;

pub mod dma;
mod entry;
mod fault;
mod life;
mod place;

pub use entry::{irq, nmi, offset, ports, shadow};
pub use fault::{canary, prologue, unwind, verdict};
pub use life::{cache, depot, depths, erase, groups, lifetime, meter, pool, record, stock};
pub use place::{addr, arena, geometry, kind, stacks};
