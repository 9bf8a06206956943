//! The decisions of kernel stacks, without a single pointer followed.
//!
//! Everything in this crate is arithmetic and state: where a stack lies ([`geometry`], [`arena`]), what kind
//! it is ([`kind`]), and what is to be done next. It contains no `unsafe`, no assembly and no allocation, so all
//! of it runs under plain `cargo test`, property tests and Miri; the crate `kstack` carries the decisions out.
//!
//! Deliberately absent: this crate never follows an address. Where memory must be read (the unwinder), the caller
//! passes a closure that reads it.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

#[cfg(all(test, loom))]
mod models;

#[cfg(doctest)]
pub mod misuse;

mod sentences;

pub mod addr;
pub mod arena;
pub mod geometry;
pub mod kind;

// The life of stacks.
pub mod cache;
pub mod depot;
pub mod erase;
pub mod lifetime;
pub mod meter;
pub mod pool;
pub mod prologue;
pub mod record;

pub mod irq;
pub mod nmi;
pub mod stacks;
pub mod unwind;
pub mod verdict;
