//! What share of a CPU ordinary threads have, for which others wait: nice values (sched(7)).
//!
//! Each thread has a weight. Its *weighted time* grows with each tick that finds it running while
//! another thread waits for that CPU: by a unit for a thread of normal weight, by ten times as much
//! for one of a tenth of it. The thread that has the least goes first, and a thread runs on
//! until another one has no more than it. So the ticks of threads that always want to run are as
//! their weights.
//!
//! ```text
//!   weights 1024 (A) and 335 (B), one CPU     A A A B A A A B A A A B
//!   weighted time of A, in units              1 2 3 3 4 5 6 6 7 8 9 9
//!   of B                                      0 0 0 3 3 3 3 6 6 6 6 9
//! ```
//!
//! # Invariants
//!
//! 1. Until the first thread is given another weight than the normal one, or a rank
//!    ([`super::rank::is_in_use`]), nothing here is done.
//! 2. Among the threads that wait for one CPU, none is more than [`FARTHEST`] ahead of the last:
//!    what a thread was charged on a CPU where many waited keeps it from another CPU for so many
//!    ticks at most. A thread that wakes is no more than a tick behind the one that its CPU ran
//!    last: sleeping saves nothing up.

use super::list::{List, RUN};
use super::thread::Thread;
use super::weight::{self, FARTHEST};
use alloc::sync::Arc;
use kstack::addr::CpuId;

/// Takes out the thread that has used the least among those that may run on a CPU, the first of
/// equals.
pub(super) fn take(
    list: &mut List<Thread, RUN>,
    here: CpuId,
    may_run: impl Fn(&Thread) -> bool,
) -> Option<Arc<Thread>> {
    let mut least: Option<(u64, *const Thread)> = None;
    list.any(|thread| {
        let used = thread.share.used();
        if may_run(thread) && least.is_none_or(|(least, _)| used < least) {
            least = Some((used, thread));
        }
        false
    });
    let (least, first) = least?;
    weight::note_taken(here, least);
    let mut rest = List::new();
    let mut taken = None;
    while let Some(thread) = list.pop() {
        if core::ptr::eq(&*thread, first) {
            taken = Some(thread);
            continue;
        }
        if thread.may_run_on(here) {
            thread.share.limit(least.saturating_add(FARTHEST));
        }
        rest.push(thread);
    }
    *list = rest;
    taken
}
