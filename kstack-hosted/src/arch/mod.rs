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

use core::mem::{ManuallyDrop, MaybeUninit, size_of};

/// What goes through a switch in a register: a value that fits, or the address of one that does
/// not.
pub(crate) type Message = MaybeUninit<*mut u8>;

/// Whether values of a type go through themselves.
const fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Message>()
}

/// A value as a message. It is the receiver's once it decodes it; until then it must stay where it
/// is.
#[inline(always)]
pub(crate) fn encode<T>(value: &mut ManuallyDrop<T>) -> Message {
    let value: *mut T = (&raw mut *value).cast();
    let mut message = MaybeUninit::new(value.cast());
    if fits::<T>() {
        message = Message::uninit();
        // SAFETY: (1) both are there, and the message has room for it.
        unsafe { message.as_mut_ptr().cast::<T>().write_unaligned(value.read()) };
    }
    message
}

/// The value of a message.
///
/// # Safety
///
/// 1. [`encode`] made it of a value of this type, which is decoded once and lies where it lay.
#[inline(always)]
pub(crate) unsafe fn decode<T>(message: Message) -> T {
    // SAFETY: (1) the caller's promise; (2) a value that fits may want a larger alignment than the
    // message has, if it is of no size.
    unsafe {
        if fits::<T>() {
            message.as_ptr().cast::<T>().read_unaligned()
        } else {
            message.assume_init().cast::<T>().read()
        }
    }
}

/// The name of that word; other versions of this crate in the same program have their own.
macro_rules! word {
    () => {
        concat!("kstack_hosted_current_", env!("CARGO_PKG_VERSION"))
    };
}

/// The name of the return address in [`first`].
macro_rules! called {
    () => {
        concat!("kstack_hosted_first_called_", env!("CARGO_PKG_VERSION"))
    };
}

/// Defines that word: zero in a new thread.
macro_rules! thread_local_word {
    () => {
        core::arch::global_asm!(
            ".pushsection .tbss,\"awT\",%nobits",
            concat!(".globl ", $crate::arch::word!()),
            concat!(".type ", $crate::arch::word!(), ",%object"),
            concat!(".size ", $crate::arch::word!(), ",8"),
            ".balign 8",
            concat!($crate::arch::word!(), ":"),
            ".zero 8",
            ".popsection",
        );
    };
}

use {called, thread_local_word, word};

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
pub(crate) use arm64::*;
