//! Memory that devices read and write: which pieces of it are handed over, how they are cut for one
//! device, and what may not be handed over at all.
//!
//! A device sees physical memory. A stack is mapped page by page, so that two bytes that lie side
//! by side on it may be megabytes apart for the device:
//!
//! ```text
//!   0xffff_c900_0000_5000  stack, page 2   ──▶  physical 0x0740_1000
//!   0xffff_c900_0000_6000  stack, page 3   ──▶  physical 0x0123_8000   not 0x0740_2000
//! ```
//!
//! A driver that translates the first byte and counts on from there gives the device the page at
//! 0x0740_2000, another owner's. So a buffer on a stack is refused, by its address (`on_stack`),
//! and every other one is translated page by page (`pieces`).
//!
//! ```text
//!   entry ◀── pieces       entry ◀── list ◀── limits         transfer          on_stack
//! ```

pub mod entry;
pub mod limits;
pub mod list;
pub mod on_stack;
pub mod pieces;
pub mod transfer;
