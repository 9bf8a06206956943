//! Calls about scheduling: policies, priorities, CPUs.
//!
//! Threads of real time come first (`threads::sched::urgency`); all others take turns, as many as
//! their nice values say (`threads::sched::share`). SCHED_BATCH is kept and shown.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::limits::Resource;
use crate::process::identity::credentials::capability;
use crate::process::identity::users;
use crate::process::names::{named, numbers};
use crate::process::table::{self, Which};
use crate::process::task::{self, Task, policy};
use crate::process::time::share;
use crate::process::user_memory::{get, put};
use crate::process::{Process, current, current_arc, current_task};
use crate::spaces::user::Kind;
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
    "sched_getscheduler" (thread) => with_task(thread, |_, task| Ok(task.policy.load(Ordering::Relaxed).into()));
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
    "ioprio_get" (kind, which) => get_io_priority(kind, which);
    "ioprio_set" (kind, which, to) => set_io_priority(kind, which, to);
    "sched_getattr" (process, to, bytes, flags) => get_attributes(process, to, bytes, flags);
    "sched_setattr" (process, from, flags) => set_attributes(process, from, flags);
}

/// The process that a number means, that of its first thread or another; 0: the caller.
fn process(number: u64) -> Result<Arc<Process>, Errno> {
    match number as i32 {
        0 => Ok(current_arc()),
        number @ 1.. => {
            let number = number as u64;
            named::find_by_any(number).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Calls `body` with the thread that a number means and what it has of a program; 0: the caller.
fn with_task<R>(
    number: u64,
    body: impl FnOnce(&Arc<sched::Thread>, &Task) -> Result<R, Errno>,
) -> Result<R, Errno> {
    if (number as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let thread = thread(number)?;
    // Threads of the kernel are not a program's to look at.
    body(&thread, task::of(&thread).ok_or(Errno::ESRCH)?)
}

/// What a thread is to be scheduled by.
#[derive(Clone, Copy)]
struct Wanted {
    /// With [`policy::RESET_ON_FORK`].
    policy: u32,
    priority: i32,
    /// `None`: as it is.
    nice: Option<i32>,
}

fn set_scheduler(number: u64, policy: u64, at: u64) -> SysResult {
    if (policy as i32) < 0 || at == 0 || (number as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = i32::from_le_bytes(get(at)?);
    let wanted = Wanted { policy: policy as u32, priority, nice: None };
    with_task(number, |thread, task| schedule(thread, task, wanted))
}

fn set_parameter(number: u64, at: u64) -> SysResult {
    if at == 0 || (number as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = i32::from_le_bytes(get(at)?);
    with_task(number, |thread, task| {
        let policy = task.policy.load(Ordering::Relaxed);
        schedule(thread, task, Wanted { policy, priority, nice: None })
    })
}

/// Has a thread be scheduled by other rules, if they are some and the caller may ask for them
/// (`user_check_sched_setscheduler`).
fn schedule(thread: &Arc<sched::Thread>, task: &Task, wanted: Wanted) -> SysResult {
    let resets = wanted.policy & policy::RESET_ON_FORK != 0;
    let to = wanted.policy & !policy::RESET_ON_FORK;
    let is_real_time = matches!(to, policy::FIFO | policy::ROUND_ROBIN);
    match to {
        policy::OTHER | policy::BATCH | policy::IDLE if wanted.priority == 0 => {}
        policy::FIFO | policy::ROUND_ROBIN if (1..=99).contains(&wanted.priority) => {}
        _ => return Err(Errno::EINVAL),
    }
    let before = task.policy.load(Ordering::Relaxed);
    let nice_before = task.nice.load(Ordering::Relaxed);
    let nice = wanted.nice.unwrap_or(nice_before);
    let (rank_before, _) = sched::rank(thread);
    let mine = current_task().credentials();
    let limits = &task.process.limits;
    let most = limits.soft(Resource::RealTimePriority);
    let may_be_nice =
        |nice: i32| i64::from(20 - nice) <= limits.soft(Resource::Nice).min(40) as i64;
    let was_idle = before & !policy::RESET_ON_FORK == policy::IDLE;
    let needs_more = is_real_time
        && (to != before & !policy::RESET_ON_FORK && most == 0
            || wanted.priority > rank_before.into() && wanted.priority as u64 > most)
        || !is_real_time && nice < nice_before && !may_be_nice(nice)
        || was_idle && to != policy::IDLE && !may_be_nice(nice_before)
        || before & policy::RESET_ON_FORK != 0 && !resets
        || !mine.is_owner_of(&task.credentials());
    if needs_more && !mine.can(capability::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    task.policy.store(wanted.policy, Ordering::Relaxed);
    task.nice.store(nice, Ordering::Relaxed);
    let rank = if is_real_time { wanted.priority as u8 } else { 0 };
    sched::set_rank(thread, rank, to != policy::FIFO);
    share::weigh(thread, task);
    Ok(0)
}

fn get_parameter(number: u64, at: u64) -> SysResult {
    if at == 0 {
        return Err(Errno::EINVAL);
    }
    let rank = with_task(number, |thread, _| Ok(sched::rank(thread).0))?;
    put(at, &i32::from(rank).to_le_bytes())?;
    Ok(0)
}

fn bound(policy: u64, of_real_time: u64) -> SysResult {
    match policy as u32 {
        policy::FIFO | policy::ROUND_ROBIN => Ok(of_real_time),
        policy::OTHER | policy::BATCH | policy::IDLE | policy::DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// How long a thread runs while others wait; 0: until it sleeps.
fn interval(number: u64, to: u64, size: WordSize) -> SysResult {
    let slice = with_task(number, |thread, _| {
        Ok(match sched::rank(thread) {
            (0, _) => time::TICK,
            (_, true) => sched::slice(),
            (_, false) => 0,
        })
    })?;
    match size {
        WordSize::Four => put(to, &abi::encode_pair(0, slice))?,
        WordSize::Eight => put(to, &abi::encode_long_pair(0, slice))?,
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
    let owner = process(number).map_err(|error| match error {
        // A thread of the kernel stays where it is.
        Errno::ESRCH => Errno::EINVAL,
        error => error,
    })?;
    if !may_change(&owner) {
        return Err(Errno::EPERM);
    }
    if wanted == 0 {
        return Err(Errno::EINVAL);
    }
    sched::set_allowed(&thread, wanted);
    // Who asked may rely on it: where the thread runs on for a moment it leaves before this ends.
    while !sched::is_where_it_may(&thread) && !sched::current().killed() {
        if sched::sleep_until(time::later(time::TICK / 4)).is_err() {
            sched::yield_now();
        }
    }
    Ok(0)
}

/// The thread that a number means; 0: the caller.
fn thread(number: u64) -> Result<Arc<sched::Thread>, Errno> {
    match number as i32 {
        0 => Ok(sched::current_arc()),
        number @ 1.. => {
            let of_program = named::find_thread(None, number as u64).map(|(_, thread)| thread);
            match of_program {
                Some(thread) => Ok(thread),
                // Those of the kernel are seen in the first namespace.
                None if numbers::here().is_none() => kernel_thread(number as u64),
                None => Err(Errno::ESRCH),
            }
        }
        _ => Err(Errno::ESRCH),
    }
}

/// A thread of the kernel, by its number.
fn kernel_thread(number: u64) -> Result<Arc<sched::Thread>, Errno> {
    let mut all = sched::try_all()?.into_iter();
    all.find(|thread| thread.id().get() == number).ok_or(Errno::ESRCH)
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
    let here = sched::current().last_cpu().get();
    if cpu != 0 {
        put(cpu, &here.to_le_bytes())?;
    }
    if node != 0 {
        put(node, &0_u32.to_le_bytes())?;
    }
    Ok(0)
}

fn may_change(process: &Process) -> bool {
    let mine = current_task().credentials();
    let theirs = process.credentials();
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
            let group = if number == 0 { own } else { numbers::meant(number) };
            found += table::for_each(Which::Group(group), |process| body(process));
        }
        USER => {
            let own = current_task().credentials().user.real;
            let named = users::meant(Kind::Users, number as u32);
            let user = if number == 0 { own } else { named? };
            table::for_each(Which::Any, |process| {
                if process.is_seen() && process.credentials().user.real == user {
                    found += 1;
                    body(process);
                }
            });
        }
        _ => return Err(Errno::EINVAL),
    }
    if found > 0 { Ok(()) } else { Err(Errno::ESRCH) }
}

/// Calls `body` for each thread that a kind and a number mean, as setpriority(2) has them.
fn each_thread(
    kind: u64,
    which: u64,
    mut body: impl FnMut(&sched::Thread, &Task),
) -> Result<(), Errno> {
    const PROCESS: u32 = 0;
    if kind as u32 == PROCESS {
        return with_task(which, |thread, task| {
            body(thread, task);
            Ok(())
        })
        .map_err(|_| Errno::ESRCH);
    }
    let mut found = false;
    each(kind, which, |process| {
        process.crew.with(|threads| {
            for thread in threads {
                let Some(task) = task::of(thread) else { continue };
                found = true;
                body(thread, task);
            }
        });
    })?;
    if found { Ok(()) } else { Err(Errno::ESRCH) }
}

/// 20 minus the lowest nice value.
fn get_priority(kind: u64, which: u64) -> SysResult {
    let mut lowest = i32::MAX;
    each_thread(kind, which, |_, task| lowest = lowest.min(task.nice.load(Ordering::Relaxed)))?;
    Ok((20 - lowest) as u64)
}

fn set_priority(kind: u64, which: u64, nice: i32) -> SysResult {
    let nice = nice.clamp(-20, 19);
    let mine = current_task().credentials();
    let mut done = Ok(0);
    each_thread(kind, which, |thread, task| {
        let before = task.nice.load(Ordering::Relaxed);
        let limit = task.process.limits.soft(Resource::Nice);
        if !mine.may_change(&task.credentials(), capability::SYS_NICE) {
            done = Err(Errno::EPERM);
        } else if nice < before
            && !mine.can(capability::SYS_NICE)
            && i64::from(nice) < 20 - limit.min(40) as i64
        {
            done = Err(Errno::EACCES);
        } else {
            task.nice.store(nice, Ordering::Relaxed);
            share::weigh(thread, task);
        }
    })?;
    done
}

fn nice(by: i32) -> SysResult {
    let before = current_task().nice.load(Ordering::Relaxed);
    let after = before.saturating_add(by.clamp(-40, 40));
    match set_priority(0, 0, after) {
        Err(Errno::EACCES) => Err(Errno::EPERM),
        done => done,
    }
}

/// Bytes of `struct sched_attr`, as it was first and as it is.
const FIRST_ATTRIBUTES: u32 = 48;
const ATTRIBUTES: u32 = 56;

/// sched_getattr: size 4, policy 4, flags 8, nice 4, priority 4; three times and two limits of use,
/// which there are none of.
fn get_attributes(number: u64, to: u64, bytes: u64, flags: u64) -> SysResult {
    let bytes = bytes as u32;
    if to == 0
        || (number as i32) < 0
        || flags as u32 != 0
        || !(FIRST_ATTRIBUTES..=4096).contains(&bytes)
    {
        return Err(Errno::EINVAL);
    }
    const RESETS: u64 = 1;
    let given = bytes.min(ATTRIBUTES);
    let mut encoded = [0; ATTRIBUTES as usize];
    encoded[..4].copy_from_slice(&given.to_le_bytes());
    with_task(number, |thread, task| {
        let policy = task.policy.load(Ordering::Relaxed);
        let flags = if policy & policy::RESET_ON_FORK != 0 { RESETS } else { 0 };
        encoded[4..8].copy_from_slice(&(policy & !policy::RESET_ON_FORK).to_le_bytes());
        encoded[8..16].copy_from_slice(&flags.to_le_bytes());
        encoded[16..20].copy_from_slice(&task.nice.load(Ordering::Relaxed).to_le_bytes());
        encoded[20..24].copy_from_slice(&u32::from(sched::rank(thread).0).to_le_bytes());
        Ok(())
    })?;
    // The highest use that is asked of a CPU: all of it.
    encoded[52..].copy_from_slice(&1024_u32.to_le_bytes());
    put(to, &encoded[..given as usize])?;
    Ok(0)
}

/// sched_setattr: what sched_setscheduler and setpriority do, at once.
fn set_attributes(number: u64, from: u64, flags: u64) -> SysResult {
    const RESETS: u64 = 1;
    const KEEP_POLICY: u64 = 8;
    const KEEP_PARAMETERS: u64 = 0x10;
    const KNOWN: u64 = 0x7f;
    if from == 0 || (number as i32) < 0 || flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let bytes = match u32::from_le_bytes(get(from)?) {
        0 => FIRST_ATTRIBUTES,
        bytes if !(FIRST_ATTRIBUTES..=4096).contains(&bytes) => {
            // Who asks is told how much there is.
            put(from, &ATTRIBUTES.to_le_bytes())?;
            return Err(Errno::E2BIG);
        }
        bytes => bytes,
    };
    for at in u64::from(ATTRIBUTES)..u64::from(bytes) {
        if get::<1>(from.checked_add(at).ok_or(Errno::EFAULT)?)? != [0] {
            put(from, &ATTRIBUTES.to_le_bytes())?;
            return Err(Errno::E2BIG);
        }
    }
    let field = |at: u64| {
        Ok::<_, Errno>(u32::from_le_bytes(get(from.checked_add(at).ok_or(Errno::EFAULT)?)?))
    };
    let wanted = u64::from(field(8)?);
    if wanted & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let (nice, priority) = (field(16)? as i32, field(20)? as i32);
    with_task(number, |thread, task| {
        let before = task.policy.load(Ordering::Relaxed);
        let mut policy = match wanted & KEEP_POLICY {
            0 => field(4)?,
            _ => before & !policy::RESET_ON_FORK,
        };
        if (policy as i32) < 0 || policy & policy::RESET_ON_FORK != 0 {
            return Err(Errno::EINVAL);
        }
        let is_normal = matches!(policy, policy::OTHER | policy::BATCH);
        if is_normal && !(-20..=19).contains(&nice) {
            return Err(Errno::EINVAL);
        }
        if wanted & RESETS != 0 {
            policy |= policy::RESET_ON_FORK;
        }
        let priority = match wanted & KEEP_PARAMETERS {
            0 => priority,
            _ => sched::rank(thread).0.into(),
        };
        let nice = (wanted & KEEP_PARAMETERS == 0 && is_normal).then_some(nice);
        schedule(thread, task, Wanted { policy, priority, nice })
    })
}

/// What calls about input and output call kinds, as setpriority does: one less.
fn kind_of_io(kind: u64) -> Result<u64, Errno> {
    match kind as u32 {
        kind @ 1..=3 => Ok(u64::from(kind) - 1),
        _ => Err(Errno::EINVAL),
    }
}

/// The priority of input and output: it is kept. There is no disk whose queue would know it.
fn get_io_priority(kind: u64, which: u64) -> SysResult {
    let kind = kind_of_io(kind)?;
    let mut best = u32::MAX;
    each(kind, which, |process| {
        best = best.min(process.attributes.io_priority.load(Ordering::Relaxed));
    })?;
    Ok(best.into())
}

fn set_io_priority(kind: u64, which: u64, to: u64) -> SysResult {
    const REAL_TIME: u32 = 1;
    const BEST_EFFORT: u32 = 2;
    const IDLE: u32 = 3;
    let to = to as u32;
    let (class, level) = (to >> 13 & 7, to & 0x1fff);
    let mine = current_task().credentials();
    match class {
        0 if level == 0 => {}
        REAL_TIME | BEST_EFFORT if level & 7 == level => {}
        IDLE => {}
        _ => return Err(Errno::EINVAL),
    }
    if class == REAL_TIME && !mine.can(capability::SYS_ADMIN) && !mine.can(capability::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let mut done = Ok(0);
    each(kind_of_io(kind)?, which, |process| {
        let theirs = process.credentials();
        if mine.may_change(&theirs, capability::SYS_NICE) {
            process.attributes.io_priority.store(to, Ordering::Relaxed);
        } else {
            done = Err(Errno::EPERM);
        }
    })?;
    done
}
