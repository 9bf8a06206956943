//! The library a kernel depends on. What follows is the project's front page.
#![doc = include_str!("../../README.md")]
#![no_std]
#![deny(unreachable_pub)]
#![deny(missing_docs)]

pub mod arch;
pub mod first_frame;
pub mod hooks;
pub mod irq;
pub mod local;
pub mod meter;
#[cfg(doctest)]
pub mod misuse;
pub mod registry;
mod report;
pub mod room;
pub mod unwind;
