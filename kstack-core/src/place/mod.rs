//! Where stacks are: addresses, the geometry of a slot, the arena of slots, the kinds of stacks,
//! whose an address is, and where the caller of an instruction is.
//!
//! ```text
//!   addr ◀── geometry ◀── arena          kind ◀── stacks ──▶ frames
//! ```
//!
//! Everything here is arithmetic over the values given; nothing changes over time.

pub mod addr;
pub mod arena;
pub mod frames;
pub mod geometry;
pub mod kind;
pub mod stacks;
