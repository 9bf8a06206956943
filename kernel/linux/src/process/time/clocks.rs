//! The clocks of programs, by Linux's numbers: of real time, and of the time that a process or a
//! thread has run (clock_gettime(2), clock_getcpuclockid(3)).
//!
//! | number | clock |
//! | --- | --- |
//! | 0, 1, 7, 11 | time of day, since boot twice, atomic time: ahead of the time of day by what was told |
//! | 4, 5, 6 | since boot unadjusted, time of day and since boot by ticks |
//! | 8, 9 | 0 and 7 that wake the machine: it does not sleep |
//! | 2, 3 | CPU time of the caller's process, of the caller |
//! | below 0 | CPU time of a process or thread: `!number << 3`, 4 for a thread, and which time |

use super::cpu_time;
use super::spent::CpuTimes;
use crate::error::Errno;
use crate::process::names::{named, numbers};
use crate::process::{Process, current, current_arc};
use crate::time::{adjust, wall};
use alloc::sync::{Arc, Weak};
use machine::cpus;
use threads::sched::{self, Thread};
use threads::time::{self, TICK};

/// See the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RealClock {
    OfDay,
    Atomic,
    Monotonic,
    SinceBoot,
    Raw,
    OfDayCoarse,
    SinceBootCoarse,
}

/// Which CPU time: in user mode and in the kernel by ticks, in user mode, all of it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    ByTicks,
    User,
    All,
}

/// Whose CPU time. Not counted: what is measured may end.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Process(Weak<Process>),
    Thread(Weak<Thread>),
}

/// A clock.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    Real(RealClock),
    Cpu(Which, Subject),
}

impl Clock {
    /// The clock with a number. `EINVAL`: there is none, or what it measures has ended.
    pub(crate) fn of(number: i32) -> Result<Self, Errno> {
        Ok(match number {
            0 | 8 => Self::Real(RealClock::OfDay),
            11 => Self::Real(RealClock::Atomic),
            1 => Self::Real(RealClock::Monotonic),
            7 | 9 => Self::Real(RealClock::SinceBoot),
            2 => Self::of_caller(Which::All),
            3 => Self::Cpu(Which::All, Subject::Thread(Arc::downgrade(&sched::current_arc()))),
            4 => Self::Real(RealClock::Raw),
            5 => Self::Real(RealClock::OfDayCoarse),
            6 => Self::Real(RealClock::SinceBootCoarse),
            0.. => return Err(Errno::EINVAL),
            _ => Self::dynamic(number)?,
        })
    }

    /// CPU time of the calling process.
    pub(crate) fn of_caller(which: Which) -> Self {
        Self::Cpu(which, Subject::Process(Arc::downgrade(&current_arc())))
    }

    fn dynamic(number: i32) -> Result<Self, Errno> {
        const OF_THREAD: i32 = 4;
        let which = match number & 3 {
            0 => Which::ByTicks,
            1 => Which::User,
            2 => Which::All,
            // A device's, by its file: no such file is a clock, and none of them has timers.
            _ => return Err(Errno::EINVAL),
        };
        // A number that no process has stands for none.
        let subject = !(number >> 3) as u32;
        let subject = if number & OF_THREAD != 0 {
            Subject::Thread(match subject {
                0 => Arc::downgrade(&sched::current_arc()),
                // Of the caller's process only.
                number => Arc::downgrade(
                    &current().crew.find(numbers::meant(number.into())).ok_or(Errno::EINVAL)?,
                ),
            })
        } else {
            Subject::Process(match subject {
                0 => Arc::downgrade(&current_arc()),
                number => Arc::downgrade(&named::find(number.into()).ok_or(Errno::EINVAL)?),
            })
        };
        Ok(Self::Cpu(which, subject))
    }

    /// What it says. `EINVAL`: what it measures has ended.
    pub(crate) fn now(&self) -> Result<u64, Errno> {
        let by_ticks = |nanoseconds: u64| nanoseconds - nanoseconds % TICK;
        Ok(match self {
            Self::Real(RealClock::OfDay) => wall::nanoseconds(),
            Self::Real(RealClock::Atomic) => {
                wall::nanoseconds().saturating_add(adjust::atomic_is_ahead())
            }
            Self::Real(RealClock::Monotonic | RealClock::SinceBoot | RealClock::Raw) => {
                time::nanoseconds()
            }
            Self::Real(RealClock::OfDayCoarse) => wall::at_boot() + by_ticks(time::nanoseconds()),
            Self::Real(RealClock::SinceBootCoarse) => by_ticks(time::nanoseconds()),
            Self::Cpu(which, subject) => {
                let CpuTimes { total, user, system } = subject.times().ok_or(Errno::EINVAL)?;
                match which {
                    Which::ByTicks => user + system,
                    Which::User => user,
                    Which::All => total,
                }
            }
        })
    }

    /// Its step.
    pub(crate) fn resolution(&self) -> u64 {
        match self {
            Self::Real(RealClock::OfDayCoarse | RealClock::SinceBootCoarse)
            | Self::Cpu(Which::ByTicks | Which::User, _) => TICK,
            Self::Real(_) | Self::Cpu(Which::All, _) if time::has_counter() => 1,
            _ => TICK,
        }
    }

    /// Whether one can sleep by it and set timers to it.
    pub(crate) fn has_timers(&self) -> bool {
        matches!(
            self,
            Self::Real(
                RealClock::OfDay | RealClock::Atomic | RealClock::Monotonic | RealClock::SinceBoot
            ) | Self::Cpu(..)
        )
    }

    /// The time since boot at which to look whether it says so much: then, if the clock is not set
    /// meanwhile; or the earliest at which so much CPU time can have been used.
    pub(crate) fn look_at(&self, when: u64) -> u64 {
        match self {
            Self::Real(RealClock::OfDay | RealClock::OfDayCoarse) => wall::since_boot(when),
            Self::Real(RealClock::Atomic) => {
                wall::since_boot(when.saturating_sub(adjust::atomic_is_ahead()))
            }
            Self::Real(_) => when,
            Self::Cpu(_, subject) => {
                let left = when.saturating_sub(self.now().unwrap_or(when));
                let at_once = match subject {
                    Subject::Process(_) => u64::from(cpus::online_count()).max(1),
                    Subject::Thread(_) => 1,
                };
                time::nanoseconds().saturating_add((left / at_once).max(TICK))
            }
        }
    }

    /// Whether it measures a thread that is the caller: it does not go on while that sleeps.
    pub(crate) fn is_of_calling_thread(&self) -> bool {
        let me = sched::current_arc();
        matches!(self, Self::Cpu(_, Subject::Thread(thread)) if thread.as_ptr() == Arc::as_ptr(&me))
    }
}

impl Subject {
    fn times(&self) -> Option<CpuTimes> {
        match self {
            Self::Process(process) => Some(cpu_time::of_process(&*process.upgrade()?)),
            Self::Thread(thread) => Some(cpu_time::of_thread(&*thread.upgrade()?)),
        }
    }
}
