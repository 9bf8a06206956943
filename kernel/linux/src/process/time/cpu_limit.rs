//! RLIMIT_CPU: a process that has used so many seconds of CPU time is told by SIGXCPU each second
//! from then on, and ended when it has used as many as its hard limit.
//!
//! Its alarm looks when so much can have been used at the earliest, as those of CPU timers do. A
//! process without a limit has none.

use super::clocks::{Clock, Subject, Which};
use super::cpu_time;
use crate::abi::signals::{Info, Signal};
use crate::error::Errno;
use crate::limits::{INFINITE, Limit, Resource};
use crate::process::Process;
use crate::process::sending::send;
use crate::time::engine::{self, Alarm, Room};
use alloc::sync::{Arc, Weak};
use machine::memory::fallible;
use threads::time;

const SECOND: u64 = 1_000_000_000;

#[derive(Debug)]
struct CpuLimit {
    room: Room,
    process: Weak<Process>,
}

impl CpuLimit {
    /// Has the alarm call it when so many seconds can have been used.
    fn wait(self: Arc<Self>, seconds: u64) {
        let clock = Clock::Cpu(Which::All, Subject::Process(self.process.clone()));
        let when = clock.look_at(seconds.saturating_mul(SECOND));
        engine::set(self, when);
    }
}

impl Alarm for CpuLimit {
    fn room(&self) -> &Room {
        &self.room
    }

    fn call(self: Arc<Self>) {
        // Dropped at the end: it may be the last.
        let Some(process) = self.process.upgrade() else { return };
        let Limit { soft, hard } = process.limits.get(Resource::Cpu);
        if soft == INFINITE {
            return;
        }
        let used = cpu_time::of_process(&process).total;
        let is_over = |seconds: u64| used >= seconds.saturating_mul(SECOND);
        if is_over(hard) {
            let _ended = send::to_process(&process, Info::kernel(Signal::KILL));
            return;
        }
        let mut next = soft;
        if is_over(soft) {
            // A signal that there is no memory to keep is lost, as on Linux.
            let _sent = send::to_process(&process, Info::kernel(Signal::XCPU));
            next = soft.saturating_add(1).min(hard);
            let _kept = process.limits.set(Resource::Cpu, Some(Limit { soft: next, hard }), true);
        }
        self.wait(next);
    }
}

/// The limit of a process has been set, or it was born with one.
pub(crate) fn watch(process: &Arc<Process>) -> Result<(), Errno> {
    if process.limits.soft(Resource::Cpu) == INFINITE {
        return Ok(());
    }
    let there = process.timers.lock().of_cpu_limit.0.clone();
    let alarm = match there {
        Some(alarm) => alarm,
        None => {
            let limit = CpuLimit { room: Room::reserve()?, process: Arc::downgrade(process) };
            let new: Arc<dyn Alarm> = fallible::shared(limit)?;
            let mut timers = process.timers.lock();
            // Another thread may have been faster.
            timers.of_cpu_limit.0.get_or_insert(new).clone()
        }
    };
    // It looks for itself how long it waits.
    engine::set(alarm, time::nanoseconds());
    Ok(())
}
