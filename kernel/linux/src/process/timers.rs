//! Timers of programs: those that `timer_create` makes, and `setitimer`'s three.
//!
//! A timer is an alarm ([`engine`]): when it is called it looks at its clock, sends its signal if
//! its time has come, and is set to when it is to look next. CPU time has no alarm of its own: the
//! timer looks again when so much can have been used at the earliest.
//!
//! A periodic timer whose signal is still pending adds to the count of that one (its overruns), as
//! Linux does it, and looks a tick later at the earliest, however short its period: so no program
//! can keep the caller of alarms busy with what it does not take.
//!
//! Order of locks: a timer's state, then those of sending (`send`) and the heap of alarms.

use super::clocks::{Clock, RealClock, Which};
use super::timer_list::{INTERVAL_TIMERS, ProgramTimer, Setting};
use super::{Process, current, current_arc, send};
use crate::abi::signals::{Fields, Info, Signal, code};
use crate::error::Errno;
use crate::time::engine::{self, Alarm, Room};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicI32, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::Thread;
use threads::time::{self, TICK};

/// What a timer does when it expires.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    Nothing,
    /// Sends the process a signal with a value.
    Process(Signal, u64),
    /// Sends a thread of it one.
    Thread(Signal, u64, Weak<Thread>),
    /// Sends the process a signal as from the kernel: setitimer.
    Kernel(Signal),
}

#[derive(Debug, Default)]
struct State {
    /// When it expires on its clock; `None`: it is not set.
    expires: Option<u64>,
    interval: u64,
    /// It is set to a time since boot though its clock is that of the day: a stretch of time does
    /// not change when the clock is set.
    since_boot: bool,
}

#[derive(Debug)]
struct Timer {
    room: Room,
    number: i32,
    process: Weak<Process>,
    clock: Clock,
    notice: Notice,
    state: SpinLock<State>,
    /// Of the signal that was taken last.
    overruns: AtomicI32,
}

const SINCE_BOOT: Clock = Clock::Real(RealClock::SinceBoot);
/// A timer looks again no sooner than after this.
const LEAST: u64 = 50_000;

impl Timer {
    fn new(number: i32, clock: Clock, notice: Notice) -> Result<Arc<dyn ProgramTimer>, Errno> {
        let timer = Self {
            room: Room::reserve()?,
            number,
            process: Arc::downgrade(&current_arc()),
            clock,
            notice,
            state: SpinLock::new(State::default()),
            overruns: AtomicI32::new(0),
        };
        Ok(fallible::shared(timer).map_err(|_| Errno::EAGAIN)?)
    }

    fn clock(&self, state: &State) -> &Clock {
        if state.since_boot { &SINCE_BOOT } else { &self.clock }
    }

    /// Sends what it has to say, of an expiration and so many more. Whether that was taken at once
    /// is not known; whether it joined one that is pending is.
    fn notify(&self, process: &Process, overruns: u64) {
        let overruns = i32::try_from(overruns).unwrap_or(i32::MAX);
        let info = |signal, value| Info {
            signal,
            code: code::TIMER,
            fields: Fields::Timer { timer: self.number, overruns, value },
        };
        // A signal that there is no memory to keep is lost, as on Linux.
        let _sent = match &self.notice {
            Notice::Nothing => Ok(()),
            Notice::Kernel(signal) => send::to_process(process, Info::kernel(*signal)),
            Notice::Process(signal, value) => send::to_process(process, info(*signal, *value)),
            Notice::Thread(signal, value, thread) => match thread.upgrade() {
                Some(thread) => send::to_thread(process, &thread, info(*signal, *value)),
                None => Ok(()),
            },
        };
    }

    fn setting(&self, state: &State) -> Setting {
        let Some(expires) = state.expires else { return Setting::default() };
        let now = self.clock(state).now().unwrap_or(expires);
        // One that has expired and was not called yet has a moment left.
        let value = expires.saturating_sub(now).max(1);
        Setting { value, interval: state.interval, is_absolute: false }
    }
}

impl Alarm for Timer {
    fn room(&self) -> &Room {
        &self.room
    }

    fn call(self: Arc<Self>) {
        // Dropped after the lock: it may be the last.
        let Some(process) = self.process.upgrade() else { return };
        let mut state = self.state.lock();
        let Some(expires) = state.expires else { return };
        let clock = self.clock(&state);
        // What it measures has ended: it never expires.
        let Ok(now) = clock.now() else { return };
        if now < expires {
            return engine::set(self.clone(), clock.look_at(expires));
        }
        let missed = match state.interval {
            0 => {
                state.expires = None;
                0
            }
            interval => {
                let missed = (now - expires) / interval;
                let next = missed.saturating_add(1).saturating_mul(interval);
                let next = expires.saturating_add(next);
                state.expires = Some(next);
                let pause = if interval < LEAST { TICK } else { LEAST };
                let earliest = time::nanoseconds() + pause;
                engine::set(self.clone(), self.clock(&state).look_at(next).max(earliest));
                missed
            }
        };
        self.notify(&process, missed);
    }
}

impl ProgramTimer for Timer {
    fn number(&self) -> i32 {
        self.number
    }

    fn set(self: Arc<Self>, to: Setting) -> Setting {
        let mut state = self.state.lock();
        let before = self.setting(&state);
        self.overruns.store(0, Ordering::Relaxed);
        if to.value == 0 {
            state.expires = None;
            engine::cancel(&*self);
            return before;
        }
        let is_real = matches!(self.clock, Clock::Real(_));
        state.since_boot = is_real && !to.is_absolute;
        state.interval = to.interval;
        let clock = self.clock(&state);
        let expires = match to.is_absolute {
            true => to.value,
            false => clock.now().unwrap_or(0).saturating_add(to.value),
        };
        let when = clock.look_at(expires);
        state.expires = Some(expires);
        engine::set(self.clone(), when);
        before
    }

    fn get(&self) -> Setting {
        self.setting(&self.state.lock())
    }

    fn overruns(&self) -> i32 {
        self.overruns.load(Ordering::Relaxed)
    }

    fn signal_was_taken(&self, overruns: i32) {
        self.overruns.store(overruns, Ordering::Relaxed);
    }
}

/// Makes a timer of the calling process that is not set. `notice` is told its number.
pub(crate) fn create(
    clock: Clock,
    notice: impl FnOnce(i32) -> Result<Notice, Errno>,
) -> Result<i32, Errno> {
    let process = current();
    let number = process.timers.lock().next_number()?;
    let timer = Timer::new(number, clock, notice(number)?)?;
    process.timers.lock().enter(timer)?;
    Ok(number)
}

/// A timer of the calling process.
pub(crate) fn find(number: i32) -> Result<Arc<dyn ProgramTimer>, Errno> {
    current().timers.lock().find(number).ok_or(Errno::EINVAL)
}

/// Deletes a timer of the calling process.
pub(crate) fn delete(number: i32) -> Result<(), Errno> {
    let gone = current().timers.lock().remove(number).ok_or(Errno::EINVAL)?;
    stop(gone);
    Ok(())
}

fn stop(timer: Arc<dyn ProgramTimer>) {
    let _before = timer.set(Setting::default());
}

/// One of setitimer's timers of the calling process. `make`: it is made if it was never set.
pub(crate) fn interval(which: usize, make: bool) -> Result<Option<Arc<dyn ProgramTimer>>, Errno> {
    let process = current();
    let known = process.timers.lock().of_interval[which].clone();
    if known.is_some() || !make {
        return Ok(known);
    }
    const { assert!(INTERVAL_TIMERS == 3) };
    let (clock, signal) = match which {
        0 => (SINCE_BOOT, Signal::ALRM),
        1 => (Clock::of_caller(Which::User), Signal::VTALRM),
        _ => (Clock::of_caller(Which::ByTicks), Signal::PROF),
    };
    let new = Timer::new(-1, clock, Notice::Kernel(signal))?;
    let mut timers = process.timers.lock();
    // Another thread may have been faster.
    Ok(Some(timers.of_interval[which].get_or_insert(new).clone()))
}

/// The calling thread has taken a signal: if it is a timer's, that learns how many expirations it
/// stood for.
pub(crate) fn signal_was_taken(info: &Info) {
    if let Fields::Timer { timer, overruns, .. } = info.fields {
        let timer = current().timers.lock().find(timer);
        if let Some(timer) = timer {
            timer.signal_was_taken(overruns);
        }
    }
}

/// The process has another program: the timers that were made are gone, setitimer's stay.
pub(crate) fn delete_made(process: &Process) {
    loop {
        let gone = process.timers.lock().pop();
        match gone {
            Some(timer) => stop(timer),
            None => break,
        }
    }
}

/// The process has ended.
pub(super) fn delete_all(process: &Process) {
    delete_made(process);
    let of_interval = core::mem::take(&mut process.timers.lock().of_interval);
    of_interval.into_iter().flatten().for_each(stop);
}
