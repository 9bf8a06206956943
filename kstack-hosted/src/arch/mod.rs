//! The stack switch, one file per architecture, with the same items in the same order.
//!
//! ```text
//!   resumer's stack                              coroutine's stack
//!   | frames of the resumer     |                | Control: … | link | code |   top; `link` says P
//!   | x86: rbx  arm64: x19      |                | entry, body, …           |
//!   | return address            |                | frame of `suspend`       |
//!   | frame pointer             | <- P           | x86: rbp rbx  arm64: x19 x29 |
//!                                                | where to continue        | <- saved SP
//! ```
//!
//! What a switch must keep is what the calling convention makes the callee keep. Most of it is
//! declared clobbered, so that the compiler saves the registers that are in use, and only those;
//! the two that a clobber list may not name (frame pointer and one more) are saved here.
//!
//! Invariants:
//!
//! 1. P is a frame record: frame pointer, return address. So is `link, code` at the coroutine's
//!    top. A walk by frame pointers crosses from a coroutine to whichever function resumed it last,
//!    without knowing of coroutines.
//! 2. The frame of [`first`] has its CFI in terms of `link`, so debuggers and `std::backtrace`
//!    cross there as well.
//! 3. `resume` calls and `suspend` returns, so that the CPU's prediction of returns stays right.
//!
//! Not switched, because the thread owns it: the floating-point control words (x86 MXCSR and x87
//! CW, arm64 FPCR), the signal mask, `errno` and all other thread-local state. Hardware shadow
//! stacks are not switched either; see [`PoolError::ShadowStack`](crate::PoolError::ShadowStack).

//!
//! # Which coroutine runs
//!
//! is a word of each thread. The compiler must not look up its address before a switch and use it
//! after: a coroutine may continue on another thread. So it is no `thread_local!`, but a
//! thread-local word of our own, which assembly alone touches. It also needs no initialisation, and
//! so serves the handler of signals.
//!
//! | while | the word says |
//! |---|---|
//! | no coroutine has run on the thread | null |
//! | none runs | the thread's own block |
//! | `resume` is under way, up to its call | the coroutine's block; SP is on the resumer's stack |
//! | the coroutine runs, up to the last push of `suspend` | the coroutine's block |
//! | the rest of `suspend` or `finish` | the block's `parent`, which no write to a stack follows |
//! | it was cut off by the handler of overflows | the block's `parent`, by the handler |
//!
//! So every write to a coroutine's stack that can overflow happens while the word says so.

mod message;
mod words;

pub(crate) use message::{Message, decode, encode};

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
pub(crate) use arm64::*;
