//! Calls about limits: prlimit64, and the older ones whose numbers are a word wide.
//!
//! On a machine of 32 bits a limit that does not fit a word is none, and none reads as the largest
//! word; the oldest getrlimit has signed numbers.

use super::table::calls;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::limits::{INFINITE, Limit, Resource};
use crate::process::identity::credentials::capability;
use crate::process::names::named;
use crate::process::time::cpu_limit;
use crate::process::user_memory::{get_numbers, put};
use crate::process::{Process, current, current_arc, current_task};
use alloc::sync::Arc;

calls! {
    "prlimit64" (process, resource, new, old) => prlimit(process, resource, new, old);
    "setrlimit" (resource, new) => setrlimit(resource, new);
    #[cfg(target_pointer_width = "64")]
    "getrlimit" (resource, old) => getrlimit(resource, old, INFINITE);
    #[cfg(target_pointer_width = "32")]
    "getrlimit" (resource, old) => getrlimit(resource, old, 0x7fff_ffff);
    "ugetrlimit" (resource, old) => getrlimit(resource, old, INFINITE);
}

/// A number as it is kept: what no word of this machine can be is no limit.
const fn kept(number: u64) -> u64 {
    match abi::WORD {
        WordSize::Four if number >= u32::MAX as u64 => INFINITE,
        _ => number,
    }
}

fn limit(at: u64, size: WordSize) -> Result<Limit, Errno> {
    let [soft, hard] = get_numbers(at, size)?.map(kept);
    Ok(Limit { soft, hard })
}

fn resource(number: u64) -> Result<Resource, Errno> {
    Resource::of(number & 0xffff_ffff).ok_or(Errno::EINVAL)
}

/// The process with this number, 0 being the caller; it may be named by any of its threads.
fn process(number: u64) -> Result<Arc<Process>, Errno> {
    match number as i32 {
        0 => Ok(current_arc()),
        number @ 1.. => {
            let number = number as u64;
            named::find_by_any(number).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::ESRCH),
    }
}

/// What holds a process to its limits learns of them.
fn limits_have_changed(process: &Arc<Process>) -> Result<(), Errno> {
    process.limit_memory();
    cpu_limit::watch(process)
}

fn prlimit(number: u64, of: u64, new: u64, old: u64) -> SysResult {
    let new = if new == 0 { None } else { Some(limit(new, WordSize::Eight)?) };
    let process = process(number)?;
    let mine = current_task().credentials();
    if process.id != current().id
        && !mine.may_change(&process.credentials(), capability::SYS_RESOURCE)
    {
        return Err(Errno::EPERM);
    }
    let before = process.limits.set(resource(of)?, new, mine.can(capability::SYS_RESOURCE))?;
    if new.is_some() {
        limits_have_changed(&process)?;
    }
    if old != 0 {
        put(old, &abi::encode_long_pair(before.soft, before.hard))?;
    }
    Ok(0)
}

fn setrlimit(of: u64, new: u64) -> SysResult {
    let new = limit(new, abi::WORD)?;
    let may_raise = current_task().credentials().can(capability::SYS_RESOURCE);
    let process = current_arc();
    process.limits.set(resource(of)?, Some(new), may_raise)?;
    limits_have_changed(&process)?;
    Ok(0)
}

fn getrlimit(of: u64, old: u64, most: u64) -> SysResult {
    let Limit { soft, hard } = current().limits.get(resource(of)?);
    put(old, &abi::encode_pair(soft.min(most), hard.min(most)))?;
    Ok(0)
}
