//! Coroutines that borrow: lent for the time of a call, so that nothing can forget them.
//!
//! ```text
//!   caller's frame     what is borrowed  <───────────────┐
//!   frame of `scope`   Ends { coroutine } ─── its stack: │ the body, which borrows
//!   frame of `with`    Scoped ──┘
//! ```
//!
//! Invariant: when `scope` returns or is unwound, the body is over: it has returned, panicked, been
//! unwound, or never begun. What cannot be made so ends the process.
//!
//! - `with` gets a reference to the coroutine, wrapped: it can neither be moved out, nor replaced,
//!   nor swapped with that of another scope.
//! - If `with` runs in a coroutine itself and that is forgotten while it waits, the frames of both
//!   `scope` and its caller stay as they are. What the caller in turn borrows outlives it, by the
//!   same rule one scope further out, or is `'static`.
//! - A body that is cut off by an overflow is over too: its pool's maker has promised that nothing
//!   refers to its frames.

use crate::coroutine::{Coroutine, Resumed, Yielder};
use crate::error::{ResumeError, StackError};
use crate::pool::StackPool;
use core::fmt;
use kstack_core::addr::{AddrRange, ByteSize};
use std::process::abort;

/// A coroutine whose body borrows, lent by [`Coroutine::scope`].
pub struct Scoped<'scope, Input, Yield, Return>(&'scope mut Coroutine<Input, Yield, Return>);

impl<Input, Yield, Return> Coroutine<Input, Yield, Return> {
    /// Lends `with` a coroutine whose body, inputs and outputs may borrow from the caller.
    ///
    /// When `with` is over, so is the coroutine: one that still waits is unwound then, as if it
    /// were dropped. A panic of `with` does that as well.
    ///
    /// # Aborts
    ///
    /// If it waits in its body then and cannot be unwound: because the program is built with `panic
    /// = "abort"`, or because it catches the panic of [`Yielder::suspend`] and suspends again.
    /// Nothing else could keep it from using what it borrows.
    ///
    /// ```
    /// use kstack_hosted::{Coroutine, StackPool};
    ///
    /// let words = ["on", "its", "own", "stack"];
    /// let mut lengths = Vec::new();
    /// let total = Coroutine::scope(
    ///     StackPool::shared()?,
    ///     |yielder, ()| {
    ///         for word in &words {
    ///             yielder.suspend(*word);
    ///             lengths.push(word.len());
    ///         }
    ///     },
    ///     |mut each| {
    ///         let mut total = String::new();
    ///         while let Some(word) = each.resume(()).expect("it has not ended").yielded() {
    ///             total += word;
    ///         }
    ///         total
    ///     },
    /// )?;
    /// assert_eq!((total.as_str(), lengths), ("onitsownstack", vec![2, 3, 3, 5]));
    /// # Ok::<(), kstack_hosted::StackError>(())
    /// ```
    pub fn scope<F, R>(
        pool: StackPool,
        body: F,
        with: impl FnOnce(Scoped<'_, Input, Yield, Return>) -> R,
    ) -> Result<R, StackError>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return,
    {
        let mut ends = Ends(Self::make(pool, body)?);
        Ok(with(Scoped(&mut ends.0)))
    }
}

/// Ends a coroutine before its scope does.
struct Ends<Input, Yield, Return>(Coroutine<Input, Yield, Return>);

impl<Input, Yield, Return> Drop for Ends<Input, Yield, Return> {
    fn drop(&mut self) {
        let over = Over(&mut self.0);
        if !over.0.has_ended() {
            over.0.unwind();
        }
    }
}

/// Aborts if the coroutine is not over: also where a panic leaves the attempt to end it.
struct Over<'c, Input, Yield, Return>(&'c mut Coroutine<Input, Yield, Return>);

impl<Input, Yield, Return> Drop for Over<'_, Input, Yield, Return> {
    fn drop(&mut self) {
        if self.0.is_under_way() {
            eprintln!(
                "coroutine {} refuses to end with its scope, from which it may borrow",
                self.0.id()
            );
            abort();
        }
    }
}

impl<Input, Yield, Return> Scoped<'_, Input, Yield, Return> {
    /// As [`Coroutine::resume`].
    ///
    /// # Panics
    ///
    /// With the panic of the body, if it panics.
    #[inline(always)]
    pub fn resume(&mut self, input: Input) -> Result<Resumed<Yield, Return>, ResumeError> {
        self.0.resume(input)
    }

    /// As [`Coroutine::has_ended`].
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// As [`Coroutine::id`].
    #[inline]
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// As [`Coroutine::stack`].
    pub fn stack(&self) -> Option<AddrRange> {
        self.0.stack()
    }

    /// As [`Coroutine::depth`].
    pub fn depth(&self) -> ByteSize {
        self.0.depth()
    }
}

impl<Input, Yield, Return> fmt::Debug for Scoped<'_, Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
