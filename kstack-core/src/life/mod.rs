//! What happens to a stack from its first mapping to its last unmapping.
//!
//! ```text
//!   lifetime  meter  erase ◀── record ◀── depot ◀── cache ◀── pool
//!                                 ▲
//!                                 └────── groups ◀── stock
//! ```
//!
//! [`pool`] is the entrance: it decides from the others which stack a request gets, and where a
//! released one is kept.

pub mod cache;
pub mod depot;
pub mod depths;
pub mod erase;
pub mod groups;
pub mod lifetime;
pub mod meter;
pub mod pool;
pub mod record;
pub mod stock;
