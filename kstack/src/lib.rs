//! The library a kernel depends on. What follows is the project's front page.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]
#![no_std]
#![deny(unreachable_pub)]
#![deny(missing_docs)]

// The decisions, under the same names: a kernel depends on this crate alone.
pub use kstack_core::{
    addr, arena, cache, depot, erase, geometry, kind, lifetime, pool, prologue, record, stacks,
    verdict,
};

use kstack_core::geometry::Geometry;

#[cfg(any(feature = "unwind", feature = "switch", feature = "entry"))]
pub mod arch;

#[cfg(feature = "stacks")]
mod backing;
#[cfg(feature = "stacks")]
mod lock;
#[cfg(feature = "stacks")]
mod owned;
#[cfg(feature = "stacks")]
pub mod registry;

#[cfg(feature = "unwind")]
pub mod unwind;

#[cfg(feature = "switch")]
pub mod first_frame;

#[cfg(feature = "entry")]
pub mod cpu;
#[cfg(feature = "entry")]
pub mod hooks;
#[cfg(feature = "entry")]
pub mod interrupts;
#[cfg(feature = "entry")]
pub mod irq;
#[cfg(feature = "entry")]
pub mod local;
#[cfg(feature = "entry")]
mod report;
#[cfg(feature = "entry")]
pub mod room;
#[cfg(feature = "entry")]
mod thread;

pub mod meter;
#[cfg(all(doctest, feature = "entry"))]
pub mod misuse;

#[cfg(feature = "stacks")]
pub use backing::Backing;
#[cfg(feature = "stacks")]
pub use owned::{Borrowed, Stack, Stacks};

#[cfg(feature = "entry")]
pub use arch::current::regs::SavedRegs;
#[cfg(feature = "entry")]
pub use first_frame::Start;
#[cfg(feature = "entry")]
pub use hooks::Hooks;
#[cfg(feature = "entry")]
pub use interrupts::InterruptsOff;
#[cfg(feature = "entry")]
pub use thread::Thread;

/// The shape of thread stacks on this target.
pub const GEOMETRY: Geometry = Geometry::TARGET;
