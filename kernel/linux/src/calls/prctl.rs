//! prctl and its kin: what a process or a thread says of itself. What is not there is `EINVAL`, as
//! in a Linux built without it.

use super::seccomp::set_mode as set_seccomp;
use super::table::calls;
use crate::abi;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use crate::process::attributes::{NOT_INHERITED, WRITE_OR_EXECUTE};
use crate::process::filters::{seccomp, user_dispatch};
use crate::process::hardware::shadow;
use crate::process::identity::credentials::{capability, secure};
use crate::process::user_memory::{put, put_word, string_of};
use crate::process::{current, current_task};
use core::sync::atomic::{AtomicBool, Ordering};
use threads::sched::{self, Name};

calls! {
    "prctl" (option, one, two, three, four) => prctl(option, [one, two, three, four]);
    "personality" (to) => personality(to);
}

/// Bytes of a name, with its NUL.
const NAME_BYTES: usize = 16;

fn flag(of: &AtomicBool) -> u64 {
    of.load(Ordering::Relaxed).into()
}

/// Sets a flag to 0 or 1.
fn set_flag(of: &AtomicBool, to: u64) -> SysResult {
    if to > 1 {
        return Err(Errno::EINVAL);
    }
    of.store(to == 1, Ordering::Relaxed);
    Ok(0)
}

fn put_int(at: u64, number: i32) -> SysResult {
    put(at, &number.to_le_bytes())?;
    Ok(0)
}

fn prctl(option: u64, [one, two, three, four]: [u64; 4]) -> SysResult {
    const SET_DEATH_SIGNAL: u32 = 1;
    const GET_DEATH_SIGNAL: u32 = 2;
    const GET_DUMPABLE: u32 = 3;
    const SET_DUMPABLE: u32 = 4;
    const GET_KEEP_CAPABILITIES: u32 = 7;
    const SET_KEEP_CAPABILITIES: u32 = 8;
    const GET_TIMING: u32 = 13;
    const SET_TIMING: u32 = 14;
    const SET_NAME: u32 = 15;
    const GET_NAME: u32 = 16;
    const GET_SECCOMP: u32 = 21;
    const SET_SECCOMP: u32 = 22;
    const READ_BOUNDING: u32 = 23;
    const DROP_BOUNDING: u32 = 24;
    const GET_SECURE_BITS: u32 = 27;
    const SET_SECURE_BITS: u32 = 28;
    const AMBIENT: u32 = 47;
    const SET_TIMER_SLACK: u32 = 29;
    const GET_TIMER_SLACK: u32 = 30;
    const SET_SUBREAPER: u32 = 36;
    const GET_SUBREAPER: u32 = 37;
    const SET_MACHINE_CHECK: u32 = 33;
    const GET_MACHINE_CHECK: u32 = 34;
    const SET_NO_NEW_PRIVILEGES: u32 = 38;
    const GET_NO_NEW_PRIVILEGES: u32 = 39;
    const GET_TID_ADDRESS: u32 = 40;
    const SET_NO_HUGE_PAGES: u32 = 41;
    const GET_NO_HUGE_PAGES: u32 = 42;
    /// Not on ARM: Linux has it where calls are entered by common code.
    const SET_USER_DISPATCH: u32 = 59;
    const SET_IO_FLUSHER: u32 = 57;
    const GET_IO_FLUSHER: u32 = 58;
    const SET_WRITE_OR_EXECUTE: u32 = 65;
    const GET_WRITE_OR_EXECUTE: u32 = 66;
    const GET_SHADOW_STACK: u32 = 74;
    const SET_SHADOW_STACK: u32 = 75;
    const LOCK_SHADOW_STACK: u32 = 76;
    const DEFAULT_SLACK: u64 = 50_000;
    let process = current();
    let attributes = &process.attributes;
    match option as u32 {
        SET_DEATH_SIGNAL => {
            if one != 0 && Signal::new(one).is_none() {
                return Err(Errno::EINVAL);
            }
            attributes.death_signal.store(one as u8, Ordering::Relaxed);
            Ok(0)
        }
        GET_DEATH_SIGNAL => put_int(one, attributes.death_signal.load(Ordering::Relaxed).into()),
        GET_DUMPABLE => Ok(flag(&attributes.is_dumpable)),
        SET_DUMPABLE => set_flag(&attributes.is_dumpable, one),
        GET_KEEP_CAPABILITIES => {
            Ok(current_task().credentials().is(secure::KEEP_CAPABILITIES).into())
        }
        SET_KEEP_CAPABILITIES if one <= 1 => keep_capabilities(one == 1),
        // Statistical, by ticks.
        GET_TIMING => Ok(0),
        SET_TIMING if one == 0 => Ok(0),
        SET_NAME => set_name(one),
        GET_NAME => get_name(one),
        GET_SECCOMP => Ok(seccomp::mode()),
        SET_SECCOMP => set_seccomp(one, two),
        READ_BOUNDING if one <= capability::LAST.into() => {
            Ok(current_task().credentials().bounding >> one & 1)
        }
        DROP_BOUNDING => drop_bounding(one),
        GET_SECURE_BITS => Ok(current_task().credentials().secure.into()),
        SET_SECURE_BITS => set_secure_bits(one),
        AMBIENT => ambient(one, [two, three, four]),
        SET_TIMER_SLACK => {
            let slack = if one as i64 <= 0 { DEFAULT_SLACK } else { one };
            attributes.timer_slack.store(slack, Ordering::Relaxed);
            Ok(0)
        }
        GET_TIMER_SLACK => Ok(attributes.timer_slack.load(Ordering::Relaxed)),
        SET_SUBREAPER => {
            attributes.is_subreaper.store(one != 0, Ordering::Relaxed);
            Ok(0)
        }
        GET_SUBREAPER => put_int(one, attributes.is_subreaper.load(Ordering::Relaxed).into()),
        SET_NO_NEW_PRIVILEGES if [one, two, three, four] == [1, 0, 0, 0] => {
            attributes.no_new_privileges.store(true, Ordering::Relaxed);
            Ok(0)
        }
        GET_NO_NEW_PRIVILEGES if [one, two, three, four] == [0; 4] => {
            Ok(flag(&attributes.no_new_privileges))
        }
        GET_TID_ADDRESS => {
            put_word(one, current_task().clear_on_exit.load(Ordering::Relaxed))?;
            Ok(0)
        }
        SET_NO_HUGE_PAGES if [two, three, four] == [0; 3] => {
            attributes.no_huge_pages.store(one != 0, Ordering::Relaxed);
            Ok(0)
        }
        GET_SHADOW_STACK if [two, three, four] == [0; 3] => {
            put_word(one, shadow::status()?)?;
            Ok(0)
        }
        SET_SHADOW_STACK if [two, three, four] == [0; 3] => shadow::set_status(one),
        LOCK_SHADOW_STACK if [two, three, four] == [0; 3] => shadow::lock(one),
        GET_NO_HUGE_PAGES if [one, two, three, four] == [0; 4] => {
            Ok(flag(&attributes.no_huge_pages))
        }
        // Whom a broken page of memory ends, and when: as the machine has it, which is all that can
        // be asked for.
        SET_MACHINE_CHECK if [one, two, three, four] == [0; 4] => Ok(0),
        SET_MACHINE_CHECK if one == 1 && two <= 2 && [three, four] == [0; 2] => Ok(0),
        GET_MACHINE_CHECK if [one, two, three, four] == [0; 4] => Ok(2),
        // One that others' output waits for: no output here waits for memory.
        SET_IO_FLUSHER | GET_IO_FLUSHER
            if !current_task().credentials().can(capability::SYS_RESOURCE) =>
        {
            Err(Errno::EPERM)
        }
        SET_IO_FLUSHER if [two, three, four] == [0; 3] => set_flag(&attributes.is_flusher, one),
        GET_IO_FLUSHER if [one, two, three, four] == [0; 4] => Ok(flag(&attributes.is_flusher)),
        SET_USER_DISPATCH if abi::HAS_USER_DISPATCH => {
            user_dispatch::ask(current_task(), one, two, three, four)
        }
        SET_WRITE_OR_EXECUTE if [two, three, four] == [0; 3] => {
            let kept = &attributes.write_or_execute;
            let known = (WRITE_OR_EXECUTE | NOT_INHERITED) as u64;
            if one & !known != 0 || one == u64::from(NOT_INHERITED) {
                return Err(Errno::EINVAL);
            }
            // Once it is so, it stays so.
            match kept.compare_exchange(0, one as u32, Ordering::SeqCst, Ordering::SeqCst) {
                Err(before) if u64::from(before) != one => Err(Errno::EPERM),
                _ => Ok(0),
            }
        }
        GET_WRITE_OR_EXECUTE if [one, two, three, four] == [0; 4] => {
            Ok(attributes.write_or_execute.load(Ordering::Relaxed).into())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Names the calling thread; the first one's name is the process's.
fn set_name(at: u64) -> SysResult {
    let bytes = string_of::<NAME_BYTES>(at)?;
    // What is no text keeps what is before it.
    let valid = bytes.as_slice().utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let name = Name::new(valid);
    *current_task().name.lock() = Some(name);
    if sched::current().number() == current().id {
        current().set_name(valid);
    }
    Ok(0)
}

fn get_name(to: u64) -> SysResult {
    let name = current_task().name_of();
    let mut bytes = [0; NAME_BYTES];
    let text = name.as_str().as_bytes();
    let length = text.len().min(NAME_BYTES - 1);
    bytes[..length].copy_from_slice(&text[..length]);
    put(to, &bytes)?;
    Ok(0)
}

fn drop_bounding(which: u64) -> SysResult {
    current_task().change(|all| {
        if !all.can_here(capability::SETPCAP) {
            return Err(Errno::EPERM);
        }
        if which > capability::LAST.into() {
            return Err(Errno::EINVAL);
        }
        all.bounding &= !(1 << which);
        Ok(0)
    })
}

fn keep_capabilities(keeps: bool) -> SysResult {
    current_task().change(|all| {
        if all.is(secure::KEEP_CAPABILITIES << 1) {
            return Err(Errno::EPERM);
        }
        all.secure &= !secure::KEEP_CAPABILITIES;
        all.secure |= if keeps { secure::KEEP_CAPABILITIES } else { 0 };
        Ok(0)
    })
}

/// Gives root's ways up, or takes them back; what is locked stays.
fn set_secure_bits(to: u64) -> SysResult {
    current_task().change(|all| {
        let locks = all.secure & secure::ALL_LOCKS;
        let known = u32::try_from(to).ok();
        let known = known.filter(|to| to & !(secure::ALL_BITS | secure::ALL_LOCKS) == 0);
        let to = known.ok_or(Errno::EPERM)?;
        let opens = locks & !to != 0 || locks >> 1 & (all.secure ^ to) != 0;
        if opens || !all.can_here(capability::SETPCAP) {
            return Err(Errno::EPERM);
        }
        all.secure = to;
        Ok(0)
    })
}

/// Asks for and changes the capabilities that go with the caller into other programs.
fn ambient(what: u64, [which, three, four]: [u64; 3]) -> SysResult {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR: u64 = 4;
    if (three, four) != (0, 0) || what == CLEAR && which != 0 || which > capability::LAST.into() {
        return Err(Errno::EINVAL);
    }
    let bit = 1 << which;
    match what {
        IS_SET => Ok((current_task().credentials().ambient & bit != 0).into()),
        RAISE => current_task().change(|all| {
            let has_it = all.permitted & all.inheritable & bit != 0;
            if !has_it || all.is(secure::NO_AMBIENT_RAISE) {
                return Err(Errno::EPERM);
            }
            all.ambient |= bit;
            Ok(0)
        }),
        LOWER | CLEAR => current_task().change(|all| {
            all.ambient &= if what == LOWER { !bit } else { 0 };
            Ok(0)
        }),
        _ => Err(Errno::EINVAL),
    }
}

/// The personality before. Of what it may ask, ADDR_NO_RANDOMIZE counts when a program starts,
/// READ_IMPLIES_EXEC for mappings, STICKY_TIMEOUTS for select and its kin, UNAME26 for uname.
fn personality(to: u64) -> SysResult {
    const ASK: u32 = u32::MAX;
    let personality = &current().attributes.personality;
    let before = match to as u32 {
        ASK => personality.load(Ordering::Relaxed),
        to => personality.swap(to, Ordering::Relaxed),
    };
    Ok(before.into())
}
