//! Calls about scheduling: policies, priorities, CPUs.
//!
//! All threads take turns here. The policies that only hint at less are kept and shown; real-time ones, which would be a promise,
//! are refused as to one who may not ask for them.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::credentials::capability;
use crate::process::table::{self, Which};
use crate::process::user_memory::{get, put};
use crate::process::{Process, current, current_arc};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::cpus;
use threads::{sched, time};

calls! {
    "sched_yield" () => {
        sched::yield_now();
        Ok(0)
    };
    "sched_setscheduler" (process, policy, at) => set_scheduler(process, policy, at);
    "sched_getscheduler" (process) => Ok(self::process(process)?.attributes.policy.load(Ordering::Relaxed).into());
    "sched_setparam" (process, at) => set_parameter(process, at);
    "sched_getparam" (process, at) => get_parameter(process, at);
    "sched_get_priority_max" (policy) => bound(policy, 99);
    "sched_get_priority_min" (policy) => bound(policy, 1);
    "sched_rr_get_interval" (process, to) => interval(process, to, abi::WORD);
    "sched_rr_get_interval_time64" (process, to) => interval(process, to, WordSize::Eight);
    "sched_setaffinity" (thread, length, from) => set_affinity(thread, length, from);
    "sched_getaffinity" (thread, length, to) => get_affinity(thread, length, to);
    "getcpu" (cpu, node) => getcpu(cpu, node);
    "getpriority" (kind, which) => get_priority(kind, which);
    "setpriority" (kind, which, nice) => set_priority(kind, which, nice as i32);
    "nice" (by) => nice(by as i32);
}

mod policy {
    pub(super) const OTHER: u32 = 0;
    pub(super) const FIFO: u32 = 1;
    pub(super) const ROUND_ROBIN: u32 = 2;
    pub(super) const BATCH: u32 = 3;
    pub(super) const IDLE: u32 = 5;
    pub(super) const DEADLINE: u32 = 6;
    /// A child begins with the normal one.
    pub(super) const RESET_ON_FORK: u32 = 0x4000_0000;
}

/// The process that a number means, that of its first thread or another; 0: the caller.
fn process(number: u64) -> Result<Arc<Process>, Errno> {
    match number as i32 {
        0 => Ok(current_arc()),
        number @ 1.. => {
            let number = number as u64;
            let by_thread = || table::find_thread(None, number).map(|(process, _)| process);
            table::find(number).or_else(by_thread).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn set_scheduler(number: u64, policy: u64, at: u64) -> SysResult {
    if policy as i32 >= 0 && at != 0 && number as i32 >= 0 {
        let priority = i32::from_le_bytes(get(at)?);
        let process = process(number)?;
        let policy = policy as u32 & !policy::RESET_ON_FORK;
        return set_policy(&process, policy, priority);
    }
    Err(Errno::EINVAL)
}

fn set_policy(process: &Process, policy: u32, priority: i32) -> SysResult {
    match policy {
        policy::OTHER | policy::BATCH | policy::IDLE if priority == 0 => {
            if !may_change(process) {
                return Err(Errno::EPERM);
            }
            process.attributes.policy.store(policy, Ordering::Relaxed);
            Ok(0)
        }
        policy::FIFO | policy::ROUND_ROBIN if (1..=99).contains(&priority) => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

fn set_parameter(number: u64, at: u64) -> SysResult {
    if at == 0 || (number as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = i32::from_le_bytes(get(at)?);
    let process = process(number)?;
    let policy = process.attributes.policy.load(Ordering::Relaxed);
    set_policy(&process, policy, priority)
}

fn get_parameter(number: u64, at: u64) -> SysResult {
    if at == 0 || (number as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    process(number)?;
    put(at, &0_i32.to_le_bytes())?;
    Ok(0)
}

fn bound(policy: u64, of_real_time: u64) -> SysResult {
    match policy as u32 {
        policy::FIFO | policy::ROUND_ROBIN => Ok(of_real_time),
        policy::OTHER | policy::BATCH | policy::IDLE | policy::DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn interval(number: u64, to: u64, size: WordSize) -> SysResult {
    process(number)?;
    match size {
        WordSize::Four => put(to, &abi::encode_pair(0, time::TICK))?,
        WordSize::Eight => put(to, &abi::encode_long_pair(0, time::TICK))?,
    }
    Ok(0)
}

/// The CPUs that there are, as bits.
fn all_cpus() -> u64 {
    u64::MAX >> (64 - cpus::online_count().clamp(1, 64))
}

/// Bytes of a set of CPUs in the kernel.
const SET_BYTES: u64 = 8;

/// Keeps a thread to some CPUs, of which at least one must be there.
fn set_affinity(number: u64, length: u64, from: u64) -> SysResult {
    let mut bytes = [0; SET_BYTES as usize];
    for (byte, at) in bytes.iter_mut().zip(0..length.min(SET_BYTES)) {
        [*byte] = get(from.checked_add(at).ok_or(Errno::EFAULT)?)?;
    }
    let wanted = u64::from_le_bytes(bytes) & all_cpus();
    let thread = thread(number)?;
    let owner = process(number)?;
    if !may_change(&owner) {
        return Err(Errno::EPERM);
    }
    if wanted == 0 {
        return Err(Errno::EINVAL);
    }
    sched::set_allowed(&thread, wanted);
    Ok(0)
}

/// The thread that a number means; 0: the caller.
fn thread(number: u64) -> Result<Arc<sched::Thread>, Errno> {
    match number as i32 {
        0 => Ok(sched::current_arc()),
        number @ 1.. => {
            table::find_thread(None, number as u64).map(|(_, thread)| thread).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::ESRCH),
    }
}

fn get_affinity(number: u64, length: u64, to: u64) -> SysResult {
    let word = abi::WORD.bytes() as u64;
    if length * 8 < cpus::online_count() as u64 || !length.is_multiple_of(word) {
        return Err(Errno::EINVAL);
    }
    let set = sched::allowed(&*thread(number)?) & all_cpus();
    let bytes = length.min(SET_BYTES);
    put(to, &set.to_le_bytes()[..bytes as usize])?;
    Ok(bytes)
}

fn getcpu(cpu: u64, node: u64) -> SysResult {
    let here = sched::current().last_cpu();
    if cpu != 0 {
        put(cpu, &here.to_le_bytes())?;
    }
    if node != 0 {
        put(node, &0_u32.to_le_bytes())?;
    }
    Ok(0)
}

fn may_change(process: &Process) -> bool {
    let mine = current().credentials.lock().clone();
    let theirs = process.credentials.lock().clone();
    mine.may_change(&theirs, capability::SYS_NICE)
}

/// Calls `body` for each process that a kind and a number mean.
fn each(kind: u64, which: u64, mut body: impl FnMut(&Process)) -> Result<(), Errno> {
    const PROCESS: u32 = 0;
    const GROUP: u32 = 1;
    const USER: u32 = 2;
    let number = which & 0xffff_ffff;
    let mut found = 0;
    match kind as u32 {
        PROCESS => {
            body(&*process(which).map_err(|_| Errno::ESRCH)?);
            found = 1;
        }
        GROUP => {
            let own = current().group.load(Ordering::Relaxed);
            let group = if number == 0 { own } else { number };
            found += table::for_each(Which::Group(group), |process| body(process));
        }
        USER => {
            let own = current().credentials.lock().user.real;
            let user = if number == 0 { own } else { number as u32 };
            table::for_each(Which::Any, |process| {
                if process.credentials.lock().user.real == user {
                    found += 1;
                    body(process);
                }
            });
        }
        _ => return Err(Errno::EINVAL),
    }
    if found > 0 { Ok(()) } else { Err(Errno::ESRCH) }
}

/// 20 minus the lowest nice value.
fn get_priority(kind: u64, which: u64) -> SysResult {
    let mut lowest = i32::MAX;
    each(kind, which, |process| {
        lowest = lowest.min(process.attributes.nice.load(Ordering::Relaxed));
    })?;
    Ok((20 - lowest) as u64)
}

fn set_priority(kind: u64, which: u64, nice: i32) -> SysResult {
    let nice = nice.clamp(-20, 19);
    let mine = current().credentials.lock().clone();
    let mut done = Ok(0);
    each(kind, which, |process| {
        let theirs = process.credentials.lock().clone();
        let before = process.attributes.nice.load(Ordering::Relaxed);
        let limit = process.limits.soft(crate::limits::Resource::Nice);
        if !mine.may_change(&theirs, capability::SYS_NICE) {
            done = Err(Errno::EPERM);
        } else if nice < before
            && !mine.can(capability::SYS_NICE)
            && i64::from(nice) < 20 - limit.min(40) as i64
        {
            done = Err(Errno::EACCES);
        } else {
            process.attributes.nice.store(nice, Ordering::Relaxed);
        }
    })?;
    done
}

fn nice(by: i32) -> SysResult {
    let before = current().attributes.nice.load(Ordering::Relaxed);
    let after = before.saturating_add(by.clamp(-40, 40));
    match set_priority(0, 0, after) {
        Err(Errno::EACCES) => Err(Errno::EPERM),
        done => done,
    }
}
