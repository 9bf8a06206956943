//! The decisions of kernel stacks, without a single pointer followed.
//!
//! Everything in this crate is arithmetic and state: where a stack lies ([`geometry`], [`arena`]), what kind
//! it is ([`kind`]), and what is to be done next. It contains no `unsafe`, no assembly and no allocation, so all
//! of it runs under plain `cargo test`, property tests and Miri; the crate `kstack` carries the decisions out.
//!
//! | folder | modules |
//! | --- | --- |
//! | `place` | [`addr`], [`geometry`], [`arena`], [`kind`], [`stacks`]: where stacks are |
//! | `life` | [`pool`] over [`cache`], [`depot`], [`record`], [`lifetime`], [`erase`], [`meter`]: from birth to death |
//! | `entry` | [`irq`], [`nmi`]: what interrupts do with stacks |
//! | `fault` | [`verdict`], [`unwind`], [`prologue`]: what is known after a fault |
//!
//! `life` and `fault` import `place`; no folder imports another one. Users name the modules without the folder.
//!
//! Deliberately absent: this crate never follows an address. Where memory must be read (the unwinder), the caller
//! passes a closure that reads it.
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

mod entry;
mod fault;
mod life;
mod place;

pub use entry::{irq, nmi};
pub use fault::{prologue, unwind, verdict};
pub use life::{cache, depot, erase, lifetime, meter, pool, record};
pub use place::{addr, arena, geometry, kind, stacks};
