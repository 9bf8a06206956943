//! Signals that were sent and not yet delivered: of a thread, or of a process for any of its threads.
//!
//! A standard signal is there once, however often it was sent; a real-time signal as often as it was sent, in order, each with what was
//! told with it. Signals that an instruction causes come first, then the lowest number (signal(7)).

use crate::abi::signals::{Fields, Info, Signal, SignalSet, code};
use crate::error::Errno;
use alloc::vec::Vec;
use machine::memory::fallible;

/// Signals that can be queued for one thread or process: enough for programs, and a bound on what they can make the kernel keep.
pub(crate) const MAX_QUEUED: usize = 4096;

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    set: SignalSet,
    /// What was told, in the order of sending. A signal in `set` that has nothing here was sent when there was no memory.
    queue: Vec<Info>,
}

impl Pending {
    pub(crate) const fn new() -> Self {
        Self { set: SignalSet::EMPTY, queue: Vec::new() }
    }

    pub(crate) fn set(&self) -> SignalSet {
        self.set
    }

    /// Adds a signal. `EAGAIN`: a real-time signal with a value, and no room to keep it.
    pub(crate) fn add(&mut self, info: Info) -> Result<(), Errno> {
        let signal = info.signal;
        match info.fields {
            // A timer has one of its own, which counts how often it expired since it was sent.
            Fields::Timer { timer, overruns, .. } => {
                if let Some(pending) = self.of_timer(signal, timer) {
                    *pending = pending.saturating_add(overruns).saturating_add(1);
                    return Ok(());
                }
            }
            _ if !signal.is_real_time() && self.set.contains(signal) => return Ok(()),
            _ => {}
        }
        let is_kept =
            self.queue.len() < MAX_QUEUED && fallible::push(&mut self.queue, info).is_ok();
        // kill(2) is allowed to lose what is told with it, sigqueue(3) is not.
        if !is_kept && signal.is_real_time() && info.code != code::USER {
            return Err(Errno::EAGAIN);
        }
        self.set = self.set.with(signal);
        Ok(())
    }

    /// The overruns of the pending signal of a timer.
    fn of_timer(&mut self, signal: Signal, number: i32) -> Option<&mut i32> {
        if !self.set.contains(signal) {
            return None;
        }
        self.queue.iter_mut().find_map(|info| match &mut info.fields {
            Fields::Timer { timer, overruns, .. } if *timer == number => Some(overruns),
            _ => None,
        })
    }

    /// The next one of those in `allowed`, without taking it.
    pub(crate) fn next(&self, allowed: SignalSet) -> Option<Signal> {
        let there = self.set.intersection(allowed);
        there.intersection(SignalSet::SYNCHRONOUS).lowest().or_else(|| there.lowest())
    }

    /// Takes the next one of those in `allowed`.
    pub(crate) fn take(&mut self, allowed: SignalSet) -> Option<Info> {
        let signal = self.next(allowed)?;
        let found = self.queue.iter().position(|info| info.signal == signal);
        let info = match found {
            Some(at) => self.queue.remove(at),
            None => {
                Info { signal, code: code::USER, fields: Fields::Sender { process: 0, user: 0 } }
            }
        };
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set = self.set.without(SignalSet::of(&[signal]));
        }
        Some(info)
    }

    /// Takes out all of these.
    pub(crate) fn discard(&mut self, signals: SignalSet) {
        if !self.set.intersection(signals).is_empty() {
            self.set = self.set.without(signals);
            self.queue.retain(|info| !signals.contains(info.signal));
        }
    }
}
