//! Timers of programs: those that `timer_create` makes, and `setitimer`'s three.
//!
//! A timer is an alarm ([`engine`]): when it is called it looks at its clock, sends its signal if
//! its time has come, and is set to when it is to look next. CPU time has no alarm of its own: the
//! timer looks again when so much can have been used at the earliest.
//!
//! A timer whose signal is sent waits until a thread takes it, and only then is set again, if it is
//! periodic: what it left out meanwhile is the signal's overruns, as on Linux. So no program can
//! keep the caller of alarms busy with what it does not take. A signal that was sent before the
//! timer was set anew is not taken any more. setitimer's timers go on by themselves.
//!
//! ```text
//!          expires, and the signal is sent            a thread takes it: set again
//!   Idle ──────────────────────────────────▶ Sent ──────────────────────────────────▶ Idle
//!    │                                        │ the action becomes to ignore it
//!    │ expires, and the signal is ignored     ▼
//!    └──────────────────────────────────▶ Ignored     becomes Sent when the action changes
//! ```
//!
//! Order of locks: a timer's state, then those of sending (`send`) and the heap of alarms.

use super::clocks::{Clock, RealClock, Which};
use super::timer_list::{INTERVAL_TIMERS, ProgramTimer, Setting};
use crate::abi::signals::{Fields, Info, Signal, code};
use crate::error::Errno;
use crate::process::sending::queued::Charge;
use crate::process::sending::send;
use crate::process::sending::send::Sent;
use crate::process::{Process, current, current_arc, task};
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

/// What became of the signal of the last expiration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Told {
    #[default]
    Idle,
    Sent,
    Ignored,
}

#[derive(Debug, Default)]
struct State {
    /// When it expires on its clock, or, unless `told` is idle, when it did; `None`: it is not set.
    expires: Option<u64>,
    interval: u64,
    /// It is set to a time since boot though its clock is that of the day: a stretch of time does
    /// not change when the clock is set.
    since_boot: bool,
    told: Told,
    /// How often it was set.
    setting: u32,
}

impl State {
    /// Steps over the expirations up to now, as far as it is periodic. How many there were beside
    /// the one that is due.
    fn step(&mut self, now: u64) -> u64 {
        let Some(expires) = self.expires.filter(|_| self.interval != 0) else {
            self.expires = None;
            return 0;
        };
        let missed = now.saturating_sub(expires) / self.interval;
        let stretch = missed.saturating_add(1).saturating_mul(self.interval);
        self.expires = Some(expires.saturating_add(stretch));
        missed
    }
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
    /// Its signal counts among those that are queued for its user, from the start.
    _charge: Option<Charge>,
}

const SINCE_BOOT: Clock = Clock::Real(RealClock::SinceBoot);
/// A timer looks again no sooner than after this.
const LEAST: u64 = 50_000;

impl Timer {
    fn shared(
        number: i32,
        clock: Clock,
        notice: Notice,
        charge: Option<Charge>,
    ) -> Result<Arc<dyn ProgramTimer>, Errno> {
        let timer = Self {
            room: Room::reserve()?,
            number,
            process: Arc::downgrade(&current_arc()),
            clock,
            notice,
            state: SpinLock::new(State::default()),
            overruns: AtomicI32::new(0),
            _charge: charge,
        };
        Ok(fallible::shared(timer).map_err(|_| Errno::EAGAIN)?)
    }

    fn clock(&self, state: &State) -> &Clock {
        if state.since_boot { &SINCE_BOOT } else { &self.clock }
    }

    /// Sends what it has to say of an expiration.
    fn notify(&self, process: &Process, setting: u32) -> Result<Sent, Errno> {
        let info = |signal, value| Info {
            signal,
            code: code::TIMER,
            fields: Fields::Timer { timer: self.number, setting, overruns: 0, value },
        };
        match &self.notice {
            Notice::Nothing => Ok(Sent::Ignored),
            Notice::Kernel(signal) => send::to_process(process, Info::kernel(*signal)),
            Notice::Process(signal, value) => send::to_process(process, info(*signal, *value)),
            Notice::Thread(signal, value, thread) => match thread.upgrade() {
                Some(thread) => send::to_thread(process, &thread, info(*signal, *value)),
                None => Ok(Sent::Ignored),
            },
        }
    }

    /// Takes back the signal that is pending.
    fn take_back(&self, process: &Process) {
        match &self.notice {
            Notice::Nothing | Notice::Kernel(_) => {}
            Notice::Process(signal, _) => {
                process.signals.lock().pending.discard_of_timer(*signal, self.number);
            }
            Notice::Thread(signal, _, thread) => {
                let thread = thread.upgrade();
                if let Some(task) = thread.as_ref().and_then(|thread| task::of(thread)) {
                    task.signals.lock().pending.discard_of_timer(*signal, self.number);
                }
            }
        }
    }

    /// Has the alarm call it when it expires.
    fn wait(self: &Arc<Self>, state: &State) {
        if let Some(expires) = state.expires.filter(|_| !matches!(self.notice, Notice::Nothing)) {
            engine::set(self.clone(), self.clock(state).look_at(expires));
        }
    }

    /// The same after an expiration: no sooner than the caller of alarms can bear.
    fn wait_again(self: &Arc<Self>, state: &State) {
        let Some(expires) = state.expires else { return };
        let pause = if state.interval < LEAST { TICK } else { LEAST };
        let earliest = time::nanoseconds() + pause;
        engine::set(self.clone(), self.clock(state).look_at(expires).max(earliest));
    }

    /// Sends the signal of an expiration, and keeps what became of it.
    fn expire(self: &Arc<Self>, state: &mut State, process: &Process) {
        state.told = Told::Sent;
        match self.notify(process, state.setting) {
            Ok(Sent::Pending) => {}
            // Sent when it is not ignored any more, if it would come again anyhow.
            Ok(Sent::Ignored) if state.interval != 0 => state.told = Told::Ignored,
            Ok(Sent::Ignored) => {
                state.told = Told::Idle;
                state.expires = None;
            }
            // There is no memory to keep it.
            Err(_) => {
                state.told = Told::Idle;
                engine::set(self.clone(), time::nanoseconds() + TICK);
            }
        }
    }

    fn setting(&self, state: &State) -> Setting {
        let Some(expires) = state.expires else { return Setting::default() };
        let now = self.clock(state).now().unwrap_or(expires);
        let steps_by_itself = matches!(self.notice, Notice::Nothing) || state.told != Told::Idle;
        let value = match state.interval {
            interval if steps_by_itself && interval != 0 && now >= expires => {
                interval - (now - expires) % interval
            }
            _ if steps_by_itself && now >= expires => return Setting::default(),
            // One that has expired and was not called yet has a moment left.
            _ => expires.saturating_sub(now).max(1),
        };
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
        let Some(expires) = state.expires.filter(|_| state.told == Told::Idle) else { return };
        // What it measures has ended: it never expires.
        let Ok(now) = self.clock(&state).now() else { return };
        if now < expires {
            return self.wait(&state);
        }
        if let Notice::Kernel(_) = self.notice {
            state.step(now);
            self.wait_again(&state);
            // A signal that there is no memory to keep is lost, as on Linux.
            let _sent = self.notify(&process, 0);
        } else {
            self.expire(&mut state, &process);
        }
    }
}

impl ProgramTimer for Timer {
    fn number(&self) -> i32 {
        self.number
    }

    fn set(self: Arc<Self>, to: Setting) -> Setting {
        // Dropped after the lock: it may be the last.
        let process = self.process.upgrade();
        let mut state = self.state.lock();
        let before = self.setting(&state);
        self.overruns.store(0, Ordering::Relaxed);
        state.setting = state.setting.wrapping_add(1);
        if state.told == Told::Sent
            && let Some(process) = &process
        {
            self.take_back(process);
        }
        state.told = Told::Idle;
        engine::cancel(&*self);
        if to.value == 0 {
            state.expires = None;
            return before;
        }
        let is_real = matches!(self.clock, Clock::Real(_));
        state.since_boot = is_real && !to.is_absolute;
        state.interval = to.interval;
        state.expires = Some(match to.is_absolute {
            true => self.clock.meant(to.value),
            false => self.clock(&state).now().unwrap_or(0).saturating_add(to.value),
        });
        self.wait(&state);
        before
    }

    fn get(&self) -> Setting {
        self.setting(&self.state.lock())
    }

    fn overruns(&self) -> i32 {
        self.overruns.load(Ordering::Relaxed)
    }

    fn signal_was_taken(self: Arc<Self>, setting: u32) -> Option<i32> {
        let mut state = self.state.lock();
        if state.setting != setting {
            return None;
        }
        state.told = Told::Idle;
        let now = self.clock(&state).now().unwrap_or(0);
        let missed = i32::try_from(state.step(now)).unwrap_or(i32::MAX);
        self.wait_again(&state);
        self.overruns.store(missed, Ordering::Relaxed);
        Some(missed)
    }

    fn action_has_changed(self: Arc<Self>, signal: Signal, is_ignored: bool) {
        let Some(process) = self.process.upgrade() else { return };
        match &self.notice {
            Notice::Process(own, _) | Notice::Thread(own, ..) if *own == signal => {}
            _ => return,
        }
        let mut state = self.state.lock();
        match (state.told, is_ignored) {
            (Told::Sent, true) if state.interval != 0 => state.told = Told::Ignored,
            (Told::Sent, true) => {
                state.told = Told::Idle;
                state.expires = None;
            }
            (Told::Ignored, false) => self.expire(&mut state, &process),
            _ => {}
        }
    }
}

/// Makes a timer of the calling process that is not set. `notice` is told its number.
pub(crate) fn create(
    clock: Clock,
    notice: impl FnOnce(i32) -> Result<Notice, Errno>,
) -> Result<i32, Errno> {
    let process = current();
    // As Linux has it: a timer without room for its signal is not made.
    let charge = Charge::new(process.allowance(), false).ok_or(Errno::EAGAIN)?;
    let number = process.timers.lock().next_number()?;
    let timer = Timer::shared(number, clock, notice(number)?, Some(charge))?;
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
    let new = Timer::shared(-1, clock, Notice::Kernel(signal), None)?;
    let mut timers = process.timers.lock();
    // Another thread may have been faster.
    Ok(Some(timers.of_interval[which].get_or_insert(new).clone()))
}

/// The calling thread has taken a signal. If it is a timer's, that learns it, and is set again; the
/// signal learns how many expirations it stands for. Says whether the signal counts: that of a
/// timer that was set anew or deleted does not.
pub(crate) fn signal_was_taken(info: &mut Info) -> bool {
    let Fields::Timer { timer, setting, overruns, .. } = &mut info.fields else { return true };
    let timer = current().timers.lock().find(*timer);
    match timer.and_then(|timer| timer.signal_was_taken(*setting)) {
        Some(missed) => {
            *overruns = missed;
            true
        }
        None => false,
    }
}

/// What a signal does to the calling process has changed: it is ignored now, or not any more.
pub(crate) fn action_has_changed(signal: Signal, is_ignored: bool) {
    let mut after = -1;
    loop {
        let next = current().timers.lock().next_after(after);
        let Some(timer) = next else { break };
        after = timer.number();
        timer.action_has_changed(signal, is_ignored);
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
pub(in crate::process) fn delete_all(process: &Process) {
    delete_made(process);
    let cpu_limit = process.timers.lock().of_cpu_limit.0.take();
    if let Some(alarm) = cpu_limit {
        engine::cancel(&*alarm);
    }
    let of_interval = core::mem::take(&mut process.timers.lock().of_interval);
    of_interval.into_iter().flatten().for_each(stop);
}
