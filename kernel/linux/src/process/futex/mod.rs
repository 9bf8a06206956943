//! Words of memory that threads sleep on.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | sleeping, waking, moving sleepers to another word |
//! | `queues` | who sleeps on what |
//! | `word` | the words: what they are known by, changing them in one step |
//! | `sleepers` | sleeping on words, and waking |
//! | `locks` | words that are locks, which the kernel hands from one thread to the next |
//! | `robust` | locks of a thread that ends |
//!
//! A sleeper enters the queue first and looks at the word then: a change and a wake-up in between
//! take it out of the queue.

mod locks;
pub(super) mod queues;
mod robust;
mod sleepers;
mod word;

pub(crate) use locks::{lock, requeue_to_lock, unlock, wait_for_lock_of};
pub(crate) use robust::release_all;
pub use sleepers::sleepers_for_test;
pub(crate) use sleepers::*;
