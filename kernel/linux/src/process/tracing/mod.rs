//! Tracing (ptrace): one process looks at the threads of others, stops them and changes them.
//!
//! ```text
//!                something to be told of               the tracer waits for it, asks and changes
//!   runs ────────────────────────────────▶ halted ────────────────────────────────────────────┐
//!     ▲                                                                                       │
//!     └───────────────────────────── the tracer resumes it, or lets go of it ─────────────────┘
//! ```
//!
//! | file | what is in it |
//! | --- | --- |
//! | `state` | what a traced thread has of it |
//! | `halt` | what a traced thread does: where it halts, and what it tells |
//! | `news` | telling a tracer that there is something to wait for |
//! | `tracer` | what a tracer does: takes threads, waits for them, resumes them, lets go |
//!
//! # Invariants
//!
//! 1. Order of locks: those of [`sending`](super::sending), then a tracer's list, then what a
//!    thread has of tracing, which nothing is locked under.
//! 2. While a thread is halted, its registers are in what it has of tracing, and its own are those
//!    again when it is resumed: a tracer never touches the stack of another thread.
//! 3. A thread is in the list of exactly the tracer that [`Task::tracer`](super::task::Task) names.
//! 4. A list that its process has closed, at its end, takes no thread any more: no thread waits for
//!    a tracer that is gone.

pub(crate) mod halt;
mod news;
pub(crate) mod state;
pub(crate) mod tracer;
