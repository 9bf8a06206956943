//! Clocks as programs in time namespaces read them and name times by them: see
//! [`crate::spaces::time`].

use super::clocks::{Clock, RealClock};
use crate::error::Errno;
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::task::Task;
use crate::process::{Process, current, task};
use crate::spaces::time::{self, Ahead, Offset, TimeSpace, Times};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use machine::memory::fallible;

/// The caller's time namespace.
fn here() -> Times {
    if !time::exist() {
        return None;
    }
    task::of_current().and_then(|task| task.process.times.lock().clone())
}

/// A time since boot of the machine as the caller is told it.
pub(crate) fn told(clock: Ahead, time: u64) -> u64 {
    if time::exist() { time::inside(&here(), clock, time) } else { time }
}

/// A time that the caller names by such a clock, as the machine's clock has it.
pub(crate) fn meant(clock: Ahead, time: u64) -> u64 {
    if time::exist() { time::outside(&here(), clock, time) } else { time }
}

impl Clock {
    fn ahead(&self) -> Option<Ahead> {
        match self {
            Self::Real(RealClock::Monotonic | RealClock::Raw | RealClock::SinceBootCoarse) => {
                Some(Ahead::Monotonic)
            }
            Self::Real(RealClock::SinceBoot) => Some(Ahead::SinceBoot),
            _ => None,
        }
    }

    /// What it says to the caller.
    pub(crate) fn told(&self) -> Result<u64, Errno> {
        let now = self.now()?;
        Ok(self.ahead().map_or(now, |clock| told(clock, now)))
    }

    /// A time that the caller names by it, as the machine has it.
    pub(crate) fn meant(&self, time: u64) -> u64 {
        self.ahead().map_or(time, |clock| meant(clock, time))
    }
}

impl Task {
    /// The time namespace of the processes that it makes.
    pub(crate) fn times_of_children(&self) -> Times {
        self.child_times.lock().clone()
    }

    /// Makes it another one.
    pub(crate) fn set_times_of_children(&self, to: Times) {
        let before = core::mem::replace(&mut *self.child_times.lock(), to);
        drop(before);
    }

    /// The caller's program is another one from now on: so are its clocks, if its children's are
    /// (`exec_task_namespaces`).
    pub(crate) fn begin_times(&self) {
        if time::exist() {
            self.process.enter_times(self.times_of_children());
        }
    }
}

impl Process {
    /// Its time namespace.
    pub(crate) fn times(&self) -> Times {
        self.times.lock().clone()
    }

    /// Puts it into a time namespace.
    pub(crate) fn enter_times(&self, to: Times) {
        if let Some(space) = &to {
            space.freeze();
        }
        let before = core::mem::replace(&mut *self.times.lock(), to);
        drop(before);
    }
}

/// Puts the caller and what it makes into a time namespace (setns(2)). `EUSERS`: it is not alone in
/// its process.
pub(crate) fn enter(to: Times) -> Result<(), Errno> {
    let process = current();
    if process.crew.count() != 1 {
        return Err(Errno::EUSERS);
    }
    current_task().set_times_of_children(to.clone());
    process.enter_times(to);
    Ok(())
}

/// The time namespace of what a process makes, by its first thread.
pub(crate) fn space_of_children(of: &Process) -> Times {
    let first = of.crew.find(of.id);
    first.as_deref().and_then(task::of).and_then(Task::times_of_children)
}

/// /proc/PID/timens_offsets.
pub(crate) fn write_offsets(of: &Process, to: &mut dyn Write) -> fmt::Result {
    let times = space_of_children(of);
    for (name, clock) in [("monotonic", Ahead::Monotonic), ("boottime", Ahead::SinceBoot)] {
        let Offset { seconds, nanoseconds } = time::offset(&times, clock);
        writeln!(to, "{name:<10} {seconds:10} {nanoseconds:9}")?;
    }
    Ok(())
}

/// A line of what is written there: a clock, by name or number, seconds and nanoseconds.
fn line(text: &str) -> Option<(Ahead, Offset)> {
    let mut words = text.split_ascii_whitespace();
    let clock = match words.next()? {
        "monotonic" | "1" => Ahead::Monotonic,
        "boottime" | "7" => Ahead::SinceBoot,
        _ => return None,
    };
    let seconds = words.next()?.parse().ok()?;
    let nanoseconds = words.next()?.parse().ok().filter(|&part| part < 1_000_000_000)?;
    Some((clock, Offset { seconds, nanoseconds }))
}

/// Takes what is written there (`timens_offsets_write`).
pub(crate) fn set_offsets(of: &Process, text: &[u8]) -> Result<(), Errno> {
    const MOST: usize = 2;
    let mut offsets: Vec<(Ahead, Offset)> = Vec::new();
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    for part in text.trim_end_matches(['\n', '\0']).split('\n') {
        if offsets.len() == MOST {
            return Err(Errno::EINVAL);
        }
        fallible::push(&mut offsets, line(part).ok_or(Errno::EINVAL)?)?;
    }
    let space: Arc<TimeSpace> = space_of_children(of).ok_or(Errno::EACCES)?;
    if !current_task().credentials().can_in(&space.owner, capability::SYS_TIME) {
        return Err(Errno::EPERM);
    }
    space.set(&offsets, threads::time::nanoseconds())
}
