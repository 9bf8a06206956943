//! Overflows: named from the alternate signal stack, and survived where the pool says so.
//!
//! ```text
//!   access in a guard ─▶ SIGSEGV on the signal stack ─▶ which stack? (arithmetic on address and SP, the core's verdict)
//!                                                        │ none of ours            │ a coroutine's, grown into its guard
//!                                                        ▼                         ▼
//!                                             the former handler         report: whose, how far, backtrace
//!                                                                          │ pool survives      │ otherwise
//!                                                                          ▼                    ▼
//!                                                       return from the signal as the       text to standard error,
//!                                                       coroutine's last switch             then the former handler
//! ```
//!
//! | fault | what follows |
//! |---|---|
//! | SP in the guard below the running coroutine's stack, or an access to that guard right below SP | the coroutine is cut off, if its pool survives; else the process is told and dies |
//! | an access to a guard that is not near SP: a stray pointer | the process is told and dies: the stack did not overflow |
//! | SP beyond the guard: one frame was larger, without probes | the process is told and dies: other stacks may have been written |
//! | anything else | the handler that was there before, as if this one were not |
//!
//! Nothing is allocated, and no lock is taken, between the fault and the resumer.

mod former;
mod handler;
mod walk;

pub(crate) use handler::install;
