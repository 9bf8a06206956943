//! Timers that are files (timerfd(2)): how often one has expired is read from it.
//!
//! A periodic timer that has expired is set to its next time when it is read or asked for: one that
//! is never read costs nothing, however short its period.

use super::object::{How, Object};
use super::readiness::{Readiness, event};
use crate::error::Errno;
use crate::spaces::time::Ahead;
use crate::time::engine::{self, Alarm, Room};
use crate::time::wall;
use alloc::sync::Arc;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::time;

/// What a timer is set to, in nanoseconds, as in `Setting` of a process's timers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileSetting {
    pub(crate) value: u64,
    pub(crate) interval: u64,
    pub(crate) is_absolute: bool,
    /// A reader is to know when the clock is set.
    pub(crate) cancel_on_set: bool,
}

#[derive(Debug, Default)]
struct State {
    /// When it expires or has expired; `None`: it is not set.
    expires: Option<u64>,
    interval: u64,
    /// That time is one of day.
    of_day: bool,
    /// It has expired and was not set to its next time yet.
    has_expired: bool,
    /// Expirations that were not read, but for those that `has_expired` stands for.
    count: u64,
    /// How often the clock had been set, if a reader is to know.
    times_set: Option<u64>,
    was_cancelled: bool,
}

impl State {
    fn now(&self) -> u64 {
        if self.of_day { wall::nanoseconds() } else { time::nanoseconds() }
    }

    fn look_at(&self, expires: u64) -> u64 {
        if self.of_day { wall::since_boot(expires) } else { expires }
    }

    /// Counts what has expired, and says when it is to look next.
    fn settle(&mut self) -> Option<u64> {
        let expires = self.expires.filter(|_| self.has_expired)?;
        self.has_expired = false;
        if self.interval == 0 {
            self.expires = None;
            self.count += 1;
            return None;
        }
        let passed = self.now().saturating_sub(expires) / self.interval + 1;
        self.count = self.count.saturating_add(passed);
        let next = expires.saturating_add(passed.saturating_mul(self.interval));
        self.expires = Some(next);
        Some(self.look_at(next))
    }
}

#[derive(Debug)]
struct Timer {
    room: Room,
    /// Which clock since boot is its; `None`: that of the day.
    ahead: Option<Ahead>,
    state: SpinLock<State>,
    readiness: Readiness,
}

impl Alarm for Timer {
    fn room(&self) -> &Room {
        &self.room
    }

    fn call(self: Arc<Self>) {
        {
            let mut state = self.state.lock();
            let Some(expires) = state.expires else { return };
            state.was_cancelled |= state.times_set.is_some_and(|set| set != wall::times_set());
            state.has_expired = state.now() >= expires;
            if !state.has_expired {
                let when = state.look_at(expires);
                engine::set(self.clone(), when);
            }
            if !state.has_expired && !state.was_cancelled {
                return;
            }
        }
        self.readiness.wake();
    }
}

/// The file. See the module's head.
#[derive(Debug)]
pub(crate) struct TimerFile(Arc<Timer>);

impl Drop for TimerFile {
    fn drop(&mut self) {
        self.0.state.lock().expires = None;
        engine::cancel(&*self.0);
    }
}

impl TimerFile {
    /// `ahead`: which clock since boot it is of; `None`: that of the day.
    pub(crate) fn new(ahead: Option<Ahead>) -> Result<Arc<Self>, Errno> {
        let (state, readiness) = (SpinLock::new(State::default()), Readiness::new());
        let timer = Timer { room: Room::reserve()?, ahead, state, readiness };
        Ok(fallible::shared(Self(fallible::shared(timer)?))?)
    }

    /// Which clock since boot it is of.
    pub(crate) fn ahead(&self) -> Option<Ahead> {
        self.0.ahead
    }

    /// Sets it. What it was set to.
    pub(crate) fn set(&self, to: FileSetting) -> FileSetting {
        let before = self.get();
        let mut state = self.0.state.lock();
        let of_day = self.0.ahead.is_none() && to.is_absolute;
        *state = State { of_day, interval: to.interval, ..State::default() };
        if to.value == 0 {
            engine::cancel(&*self.0);
            return before;
        }
        if of_day && to.cancel_on_set {
            state.times_set = Some(wall::times_set());
        }
        let expires = if to.is_absolute { to.value } else { time::later(to.value) };
        state.expires = Some(expires);
        engine::set(self.0.clone(), state.look_at(expires));
        before
    }

    /// What it is set to: the time from now.
    pub(crate) fn get(&self) -> FileSetting {
        let mut state = self.0.state.lock();
        self.settle(&mut state);
        let now = state.now();
        let value = state.expires.map_or(0, |expires| expires.saturating_sub(now).max(1));
        FileSetting { value, interval: state.interval, ..FileSetting::default() }
    }

    fn settle(&self, state: &mut State) {
        if let Some(when) = state.settle() {
            engine::set(self.0.clone(), when);
        }
    }
}

impl Object for TimerFile {
    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        let to = to.get_mut(..8).ok_or(Errno::EINVAL)?;
        let mut taken = Ok(0);
        self.0.readiness.wait(how.nonblocking, || {
            let mut state = self.0.state.lock();
            self.settle(&mut state);
            let count = core::mem::take(&mut state.count);
            taken = match core::mem::take(&mut state.was_cancelled) {
                true => {
                    state.times_set = Some(wall::times_set());
                    Err(Errno::ECANCELED)
                }
                false => Ok(count),
            };
            taken != Ok(0)
        })?;
        to.copy_from_slice(&taken?.to_le_bytes());
        Ok(8)
    }

    fn events(&self) -> u32 {
        let state = self.0.state.lock();
        if state.has_expired || state.count > 0 || state.was_cancelled { event::IN } else { 0 }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.0.readiness)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[timerfd]"
    }
}
