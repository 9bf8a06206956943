//! Jobs done side by side, where a job may bring further ones.
//!
//! ```text
//!   front [ shared tests | shared tests | ... | one death | one death | ... ] back
//!           ↑ a worker takes its next job here              ↑ jobs that can wait
//! ```
//!
//! Invariant: a worker leaves only when no job is waiting *and* none is being done, since the one
//! being done may bring more.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs that a job has brought.
pub(crate) struct Further<Job> {
    /// To be done next: the long ones, so that none of them is alone at the end.
    pub(crate) first: Vec<Job>,
    /// To be done when nothing else is left.
    pub(crate) last: Vec<Job>,
}

impl<Job> Default for Further<Job> {
    fn default() -> Self {
        Further { first: Vec::new(), last: Vec::new() }
    }
}

struct State<Job> {
    waiting: VecDeque<Job>,
    busy: usize,
}

/// How many can usefully work at the same time: one for each CPU of this machine.
pub(crate) fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does all jobs, and those that they bring, with so many workers.
pub(crate) fn run<Job: Send>(
    jobs: Vec<Job>,
    workers: usize,
    work: impl Fn(Job) -> Further<Job> + Sync,
) {
    let state = Mutex::new(State { waiting: jobs.into(), busy: 0 });
    let changed = Condvar::new();
    let next = || -> Option<Job> {
        let mut state = lock(&state);
        loop {
            if let Some(job) = state.waiting.pop_front() {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some(job) = next() {
                    // Also when the work panics: the others would wait indefinitely.
                    let mut done = Done { state: &state, changed: &changed, further: None };
                    done.further = Some(work(job));
                }
            });
        }
    });
}

/// Does all jobs, as many at a time as this machine has CPUs, and gives what came of them in their
/// order.
pub(crate) fn each<Job: Send, Done: Send>(
    jobs: Vec<Job>,
    work: impl Fn(Job) -> Done + Sync,
) -> Vec<Done> {
    let done = Mutex::new(Vec::new());
    run(jobs.into_iter().enumerate().collect(), workers(), |(place, job)| {
        let result = work(job);
        lock(&done).push((place, result));
        Further::default()
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|&(place, _)| place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A job being done; when dropped, it is over, and what it has brought is waiting.
struct Done<'a, Job> {
    state: &'a Mutex<State<Job>>,
    changed: &'a Condvar,
    further: Option<Further<Job>>,
}

impl<Job> Drop for Done<'_, Job> {
    fn drop(&mut self) {
        let mut state = lock(self.state);
        state.busy -= 1;
        if let Some(Further { first, last }) = self.further.take() {
            first.into_iter().rev().for_each(|job| state.waiting.push_front(job));
            state.waiting.extend(last);
        }
        self.changed.notify_all();
    }
}

/// Takes a lock, also after a panic of its holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn what_a_job_brings_is_done_too_the_urgent_part_first() {
        let order = Mutex::new(Vec::new());
        run(vec![1, 2], 1, |job: u32| {
            lock(&order).push(job);
            match job {
                1 => Further { first: vec![10, 11], last: vec![12] },
                _ => Further::default(),
            }
        });
        assert_eq!(*lock(&order), [1, 10, 11, 2, 12]);
    }

    #[test]
    fn results_are_in_the_order_of_the_jobs_whatever_ends_first() {
        let last_is_done = std::sync::atomic::AtomicBool::new(workers() < 2);
        let results = each(vec![0, 1], |job: u32| {
            use std::sync::atomic::Ordering::SeqCst;
            while job == 0 && !last_is_done.load(SeqCst) {
                thread::yield_now();
            }
            last_is_done.store(true, SeqCst);
            job * 10
        });
        assert_eq!(results, [0, 10]);
    }

    #[test]
    fn a_worker_without_a_job_waits_for_what_the_others_bring() {
        // Two jobs that can only end together, brought by one: the second worker must still be
        // there.
        let together = Barrier::new(2);
        run(vec![true], 2, |parent| {
            if parent {
                return Further { first: vec![false, false], last: Vec::new() };
            }
            together.wait();
            Further::default()
        });
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let done = Mutex::new(0);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(vec![0, 1, 2], 2, |job: u32| {
                assert_ne!(job, 0, "as it should");
                *lock(&done) += 1;
                Further::default()
            });
        }));
        assert!(result.is_err());
        assert_eq!(*lock(&done), 2);
    }
}
