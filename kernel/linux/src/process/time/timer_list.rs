//! The timers of a process, as it holds them. What they do is in `timers`.

use crate::abi::signals::Signal;
use crate::error::Errno;
use crate::time::engine::Alarm;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// Timers that a process may have made: a bound on what a program can make the kernel keep.
const MAX_TIMERS: usize = 4096;
/// setitimer's: of real time, of time in user mode, of time in all.
pub(crate) const INTERVAL_TIMERS: usize = 3;

/// What a timer is set to, in nanoseconds: when it expires (from now, or on its clock), 0: it does
/// not; and how long it is from then on to each further time, 0: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Setting {
    pub(crate) value: u64,
    pub(crate) interval: u64,
    pub(crate) is_absolute: bool,
}

/// A timer of a program.
pub(crate) trait ProgramTimer: Alarm + Debug {
    /// Its number.
    fn number(&self) -> i32;
    /// Sets it. What it was set to.
    fn set(self: Arc<Self>, to: Setting) -> Setting;
    /// What it is set to: the time from now.
    fn get(&self) -> Setting;
    /// How many expirations the signal stood for that was taken last, beside its own.
    fn overruns(&self) -> i32;
    /// A signal of it has been taken, of a setting. How many expirations it stands for beside its
    /// own; `None`: it was set anew meanwhile.
    fn signal_was_taken(self: Arc<Self>, setting: u32) -> Option<i32>;
    /// A signal is ignored from now on, or is not any more.
    fn action_has_changed(self: Arc<Self>, signal: Signal, is_ignored: bool);
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// By number.
    made: Vec<Arc<dyn ProgramTimer>>,
    next: i32,
    pub(super) of_interval: [Option<Arc<dyn ProgramTimer>>; INTERVAL_TIMERS],
    pub(super) of_cpu_limit: HeldAlarm,
}

/// What looks after RLIMIT_CPU, where there is one.
#[derive(Default)]
pub(crate) struct HeldAlarm(pub(in crate::process) Option<Arc<dyn Alarm>>);

impl Debug for HeldAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldAlarm").field(&self.0.is_some()).finish()
    }
}

impl Timers {
    pub(crate) fn new() -> SpinLock<Self> {
        SpinLock::new(Self::default())
    }

    /// A number for a timer that is about to be made. `EAGAIN`: there are as many as there may be.
    pub(super) fn next_number(&mut self) -> Result<i32, Errno> {
        if self.made.len() >= MAX_TIMERS {
            return Err(Errno::EAGAIN);
        }
        loop {
            let number = self.next;
            self.next = number.checked_add(1).unwrap_or(0);
            if self.place(number).is_err() {
                return Ok(number);
            }
        }
    }

    fn place(&self, number: i32) -> Result<usize, usize> {
        self.made.binary_search_by_key(&number, |timer| timer.number())
    }

    pub(in crate::process) fn enter(&mut self, timer: Arc<dyn ProgramTimer>) -> Result<(), Errno> {
        if self.made.len() >= MAX_TIMERS {
            return Err(Errno::EAGAIN);
        }
        let Err(place) = self.place(timer.number()) else { return Err(Errno::EAGAIN) };
        fallible::push(&mut self.made, timer).map_err(|_| Errno::EAGAIN)?;
        self.made[place..].rotate_right(1);
        Ok(())
    }

    pub(in crate::process) fn find(&self, number: i32) -> Option<Arc<dyn ProgramTimer>> {
        Some(self.made[self.place(number).ok()?].clone())
    }

    /// The one with the next number.
    pub(super) fn next_after(&self, number: i32) -> Option<Arc<dyn ProgramTimer>> {
        let place = match self.place(number) {
            Ok(place) => place + 1,
            Err(place) => place,
        };
        self.made.get(place).cloned()
    }

    pub(in crate::process) fn remove(&mut self, number: i32) -> Option<Arc<dyn ProgramTimer>> {
        Some(self.made.remove(self.place(number).ok()?))
    }

    /// Takes out one of those that were made.
    pub(in crate::process) fn pop(&mut self) -> Option<Arc<dyn ProgramTimer>> {
        self.made.pop()
    }
}
