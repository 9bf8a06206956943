//! Signals that were sent and not yet delivered: of a thread, or of a process for any of its
//! threads.
//!
//! A standard signal is there once, however often it was sent; a real-time signal as often as it
//! was sent, in order, each with what was told with it. Signals that an instruction causes come
//! first, then the lowest number (signal(7)).

use super::queued::{Allowance, Charge};
use crate::abi::signals::{Fields, Info, Signal, SignalSet, code};
use crate::error::Errno;
use alloc::collections::VecDeque;

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    set: SignalSet,
    /// What was told, in the order of sending. A signal in `set` that has nothing here was sent
    /// when there was no memory.
    queue: VecDeque<Queued>,
}

/// A signal with what is told with it, and its place in the count of its user's.
#[derive(Debug)]
struct Queued {
    info: Info,
    _charge: Charge,
}

impl Pending {
    pub(crate) const fn new() -> Self {
        Self { set: SignalSet::EMPTY, queue: VecDeque::new() }
    }

    pub(crate) fn set(&self) -> SignalSet {
        self.set
    }

    /// What is told with one of those that have something, in the order of sending.
    pub(crate) fn told(&self, place: usize) -> Option<&Info> {
        Some(&self.queue.get(place)?.info)
    }

    /// Adds a signal. `EAGAIN`: a real-time signal with a value, and its user may have no more, or
    /// there is no memory to keep it.
    pub(crate) fn add(&mut self, info: Info, of: Allowance) -> Result<(), Errno> {
        let (signal, told) = (info.signal, info.code);
        let is_timer = matches!(info.fields, Fields::Timer { .. });
        // A timer has one of its own, whatever else is pending.
        if !is_timer && !signal.is_real_time() && self.set.contains(signal) {
            return Ok(());
        }
        let overrides = is_timer || !signal.is_real_time() && told >= 0;
        let is_kept = self.queue.try_reserve(1).is_ok()
            && Charge::new(of, overrides)
                .map(|charge| self.queue.push_back(Queued { info, _charge: charge }))
                .is_some();
        // kill(2) is allowed to lose what is told with it, sigqueue(3) is not.
        if !is_kept && signal.is_real_time() && told != code::USER {
            return Err(Errno::EAGAIN);
        }
        self.set = self.set.with(signal);
        Ok(())
    }

    /// The next one of those in `allowed`, without taking it.
    pub(crate) fn next(&self, allowed: SignalSet) -> Option<Signal> {
        let there = self.set.intersection(allowed);
        there.intersection(SignalSet::SYNCHRONOUS).lowest().or_else(|| there.lowest())
    }

    /// Takes the next one of those in `allowed`.
    pub(crate) fn take(&mut self, allowed: SignalSet) -> Option<Info> {
        let signal = self.next(allowed)?;
        let found = self.queue.iter().position(|queued| queued.info.signal == signal);
        let taken = match found {
            // The first one, most often: nothing moves.
            Some(0) => self.queue.pop_front(),
            Some(at) => self.queue.remove(at),
            None => None,
        };
        let info = match taken {
            Some(queued) => queued.info,
            None => {
                Info { signal, code: code::USER, fields: Fields::Sender { process: 0, user: 0 } }
            }
        };
        if !self.queue.iter().any(|queued| queued.info.signal == signal) {
            self.set = self.set.without(SignalSet::of(&[signal]));
        }
        Some(info)
    }

    /// Takes out all of these.
    pub(crate) fn discard(&mut self, signals: SignalSet) {
        if !self.set.intersection(signals).is_empty() {
            self.set = self.set.without(signals);
            self.queue.retain(|queued| !signals.contains(queued.info.signal));
        }
    }

    /// Takes out the signal of a timer. Says whether it was there.
    pub(crate) fn discard_of_timer(&mut self, signal: Signal, number: i32) -> bool {
        let is_its = |queued: &Queued| {
            let of = &queued.info.fields;
            queued.info.signal == signal
                && matches!(of, Fields::Timer { timer, .. } if *timer == number)
        };
        let Some(at) = self.queue.iter().position(is_its) else { return false };
        self.queue.remove(at);
        if !self.queue.iter().any(|queued| queued.info.signal == signal) {
            self.set = self.set.without(SignalSet::of(&[signal]));
        }
        true
    }
}
