//! Calls about what a thread has in the processor: thread-local storage, for machines with a
//! register for its base and for those with segments; I/O ports; shadow stacks.

use super::table::calls;
#[cfg(target_pointer_width = "64")]
use crate::abi::USER_TOP;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::hardware::ports;
#[cfg(target_pointer_width = "64")]
use crate::process::hardware::shadow;
use crate::process::user_memory::{get_numbers, put};
use core::sync::atomic::Ordering;
#[cfg(target_pointer_width = "64")]
use machine::arch::bases::Based;
use threads::sched;

calls! {
    #[cfg(target_pointer_width = "64")]
    "arch_prctl" (code, value) => arch_prctl(code, value);
    #[cfg(target_pointer_width = "32")]
    "set_thread_area" (at) => set_thread_area(at);
    #[cfg(target_pointer_width = "64")]
    "map_shadow_stack" (at, bytes, flags) => shadow::map(at, bytes, u64::from(flags as u32));
    // Of machines with ports.
    "ioperm" (first, count, is_permitted) => ports::permit(first, count, is_permitted as u32 != 0);
    "iopl" (level) => ports::set_level(u64::from(level as u32));
    // Of the 32-bit ARM.
    "set_tls" (base) => set_tls(base);
    // A page is made visible to instruction fetches when it becomes executable, and programs here
    // do not write code into executable pages.
    "cacheflush" () => Ok(0);
}

#[cfg(target_pointer_width = "64")]
fn arch_prctl(code: u64, value: u64) -> SysResult {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    const GET_CPUID: u64 = 0x1011;
    const SET_CPUID: u64 = 0x1012;
    const SHADOW_STACK: core::ops::RangeInclusive<u64> = 0x5001..=0x5005;
    match code {
        _ if SHADOW_STACK.contains(&code) => shadow::arch_prctl(code, value),
        SET_FS => set_base(Based::Fs, value),
        SET_GS => set_base(Based::Gs, value),
        GET_FS => get_base(Based::Fs, value),
        GET_GS => get_base(Based::Gs, value),
        // Whether CPUID may be used, and giving that up, which this processor does not know.
        GET_CPUID => Ok(1),
        SET_CPUID => Err(Errno::ENODEV),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(target_pointer_width = "64")]
fn set_base(which: Based, value: u64) -> SysResult {
    if value >= USER_TOP {
        return Err(Errno::EPERM);
    }
    let thread = sched::current();
    let mut bases = thread.bases();
    if !bases.set(which, value) {
        return Err(Errno::EINVAL);
    }
    thread.set_bases(&bases);
    Ok(0)
}

#[cfg(target_pointer_width = "64")]
fn get_base(which: Based, to: u64) -> SysResult {
    let base = sched::current().bases().get(which).ok_or(Errno::EINVAL)?;
    put(to, &base.to_le_bytes())?;
    Ok(0)
}

/// A `struct user_desc`: which segment it describes (-1: any that is free), and its base. Only a
/// plain writable data segment of 32 bits can be asked for; its limit is ignored: it reaches
/// everywhere.
fn segment(at: u64) -> Result<(i32, u64), Errno> {
    // Bits: 32-bit, kind (2), read or execute only, limit in pages, not present, usable.
    const KIND: u32 = 0b10_1111;
    const WRITABLE_DATA: u32 = 1;
    let [number, base, _limit, bits] = get_numbers::<4>(at, WordSize::Four)?.map(|n| n as u32);
    if bits & KIND != WRITABLE_DATA {
        return Err(Errno::EINVAL);
    }
    Ok((number as i32, base.into()))
}

/// The base in a `struct user_desc`.
pub(crate) fn segment_base(at: u64) -> Result<u64, Errno> {
    segment(at).map(|(_, base)| base)
}

/// The segment for thread-local storage of machines that have segments.
#[cfg(target_pointer_width = "32")]
fn set_thread_area(at: u64) -> SysResult {
    /// The only one there is.
    const NUMBER: i32 = 6;
    let (number, base) = segment(at)?;
    match number {
        NUMBER => {}
        -1 => put(at, &NUMBER.to_le_bytes())?,
        _ => return Err(Errno::EINVAL),
    }
    sched::current().user_tls.store(base, Ordering::Relaxed);
    machine::arch::user::set_tls(base);
    Ok(0)
}

/// Sets the base of the thread-local storage.
fn set_tls(base: u64) -> SysResult {
    sched::current().user_tls.store(base, Ordering::Relaxed);
    machine::arch::user::set_tls(base);
    Ok(0)
}
