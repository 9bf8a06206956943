//! Where stacks are: addresses, the geometry of a slot, the arena of slots, the kinds of stacks,
//! and whose an address is.
//!
//! ```text
//!   addr ◀── geometry ◀── arena          kind ◀── stacks
//! ```
//!
//! Everything here is arithmetic over the values given; nothing changes over time.

pub mod addr;
pub mod arena;
pub mod geometry;
pub mod kind;
pub mod stacks;
