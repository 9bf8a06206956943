//! System calls about everything else: waiting, signals, time, identity, threads.

use super::abi::{self, MACHINE, SystemInfo, USER_TOP};
use super::error::{Errno, SysResult};
use super::syscall::{WORD_BYTES, get, get_numbers, put, put_word};
use super::{current, life};
use crate::sched::{self, WaitQueue};
use crate::sync::SpinLock;
use crate::{cpus, memory, time};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use kstack_core::exec::WordSize;

pub(super) fn wait4(which: i64, status: u64, options: u64) -> SysResult {
    const NO_HANG: u64 = 1;
    match life::wait(which, options & NO_HANG != 0)? {
        Some((id, ended)) => {
            if status != 0 {
                put(status, &ended.to_le_bytes())?;
            }
            Ok(id)
        }
        None => Ok(0),
    }
}

pub(super) fn kill(which: i64, signal: u64) -> SysResult {
    // 0 and -group: the caller's group, which is the caller alone.
    let id = if which > 0 { which as u64 } else { current().id };
    let process = super::find(id).ok_or(Errno::ESRCH)?;
    life::send_signal(&process, signal)
}

pub(super) fn tkill(thread: u64, signal: u64) -> SysResult {
    let me = current();
    if me.id == thread || me.live_threads().iter().any(|other| other.id() == thread) {
        return life::send_signal(me, signal);
    }
    kill(thread as i64, signal)
}

/// The number a thread has for programs: the first one's is the process's.
pub(super) fn thread_number() -> u64 {
    let me = sched::current();
    let process = current();
    let first =
        process.threads.lock().first().is_none_or(|first| core::ptr::eq(first.as_ptr(), me));
    if first { process.id } else { me.id() }
}

pub(super) fn sigaction(signal: u64, new: u64, old: u64) -> SysResult {
    const SIGKILL: u64 = 9;
    const SIGSTOP: u64 = 19;
    if signal == 0 || signal > 64 || new != 0 && (signal == SIGKILL || signal == SIGSTOP) {
        return Err(Errno::EINVAL);
    }
    let process = current();
    let before = process.actions.lock().get(&signal).copied().unwrap_or([0; abi::SIGACTION_BYTES]);
    if new != 0 {
        let action = get::<{ abi::SIGACTION_BYTES }>(new)?;
        process.actions.lock().insert(signal, action);
    }
    if old != 0 {
        put(old, &before)?;
    }
    Ok(0)
}

/// Signals are never delivered to a handler, so which ones are blocked changes nothing.
pub(super) fn sigprocmask(old: u64, bytes: u64) -> SysResult {
    if old == 0 { Ok(0) } else { write_zeros(old, bytes) }
}

pub(super) fn write_zeros(at: u64, bytes: u64) -> SysResult {
    let zeros = [0; 256];
    put(at, zeros.get(..bytes as usize).ok_or(Errno::EINVAL)?)?;
    Ok(0)
}

pub(super) fn pause() -> SysResult {
    static NEVER: WaitQueue = WaitQueue::new();
    // Ends only when the thread is to die.
    NEVER.wait_until(|| false).map_err(|_| Errno::EINTR)?;
    Ok(0)
}

fn timespec(at: u64, size: WordSize) -> Result<u64, Errno> {
    let [seconds, nanoseconds] = get_numbers(at, size)?;
    if nanoseconds >= 1_000_000_000 || seconds > 1 << 32 {
        return Err(Errno::EINVAL);
    }
    Ok(seconds * 1_000_000_000 + nanoseconds)
}

pub(super) fn nanosleep(at: u64) -> SysResult {
    time::sleep(timespec(at, abi::WORD)?).map_err(|_| Errno::EINTR)?;
    Ok(0)
}

pub(super) fn clock_nanosleep(flags: u64, at: u64, size: WordSize) -> SysResult {
    const ABSOLUTE: u64 = 1;
    let when = timespec(at, size)?;
    let length =
        if flags & ABSOLUTE != 0 { when.saturating_sub(time::nanoseconds()) } else { when };
    time::sleep(length).map_err(|_| Errno::EINTR)?;
    Ok(0)
}

/// `encode`: how the structure looks that is asked for.
pub(super) fn clock_gettime<const N: usize>(to: u64, encode: fn(u64, u64) -> [u8; N]) -> SysResult {
    let now = time::nanoseconds();
    put(to, &encode(now / 1_000_000_000, now % 1_000_000_000))?;
    Ok(0)
}

pub(super) fn clock_getres<const N: usize>(to: u64, encode: fn(u64, u64) -> [u8; N]) -> SysResult {
    if to != 0 {
        put(to, &encode(0, 1_000_000_000 / crate::arch::irqchip::HZ))?;
    }
    Ok(0)
}

pub(super) fn gettimeofday(to: u64) -> SysResult {
    if to != 0 {
        let now = time::nanoseconds() / 1000;
        put(to, &abi::encode_pair(now / 1_000_000, now % 1_000_000))?;
    }
    Ok(0)
}

pub(super) fn time(to: u64) -> SysResult {
    let now = time::nanoseconds() / 1_000_000_000;
    if to != 0 {
        put_word(to, now)?;
    }
    Ok(now)
}

pub(super) fn times(to: u64) -> SysResult {
    if to != 0 {
        write_zeros(to, 4 * WORD_BYTES)?;
    }
    Ok(time::nanoseconds() / 10_000_000)
}

pub(super) fn sysinfo(to: u64) -> SysResult {
    let frame = memory::frames::FRAME_BYTES;
    let info = SystemInfo {
        uptime_seconds: time::nanoseconds() / 1_000_000_000,
        total_bytes: memory::frames::total_count() as u64 * frame,
        free_bytes: memory::frames::free_count() as u64 * frame,
        processes: super::all().len() as u16,
    };
    put(to, &abi::encode_sysinfo(&info))?;
    Ok(0)
}

pub(super) fn uname(to: u64) -> SysResult {
    // A release that static programs accept as new enough.
    put(
        to,
        &abi::encode_utsname([
            "Linux",
            "kstack",
            "6.12.0-kstack",
            "kstack reference kernel",
            MACHINE,
            "",
        ]),
    )?;
    Ok(0)
}

pub(super) fn getrandom(to: u64, length: u64) -> SysResult {
    let length = length.min(256);
    for done in (0..length).step_by(16) {
        let piece = (length - done).min(16) as usize;
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &super::random_bytes()[..piece])?;
    }
    Ok(length)
}

pub(super) fn prlimit<const N: usize>(
    resource: u64,
    old: u64,
    encode: fn(u64, u64) -> [u8; N],
) -> SysResult {
    const STACK: u64 = 3;
    const FILES: u64 = 7;
    if old != 0 {
        let soft = match resource {
            STACK => super::memory::STACK_LIMIT,
            FILES => 256,
            _ => u64::MAX,
        };
        put(old, &encode(soft, u64::MAX))?;
    }
    Ok(0)
}

pub(super) fn arch_prctl(code: u64, value: u64) -> SysResult {
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    match code {
        SET_FS if value < USER_TOP => {
            sched::current().user_tls.store(value, Ordering::Relaxed);
            crate::arch::user::set_tls(value);
            Ok(0)
        }
        SET_FS => Err(Errno::EPERM),
        GET_FS => {
            put(value, &sched::current().user_tls.load(Ordering::Relaxed).to_le_bytes())?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// A `struct user_desc`: which segment it describes (-1: any that is free), and its base. Only a plain writable data segment
/// of 32 bits can be asked for; its limit is ignored: it reaches everywhere.
pub(super) fn segment(at: u64) -> Result<(i32, u64), Errno> {
    // Bits: 32-bit, kind (2), read or execute only, limit in pages, not present, usable.
    const KIND: u32 = 0b10_1111;
    const WRITABLE_DATA: u32 = 1;
    let [number, base, _limit, bits] = get_numbers::<4>(at, WordSize::Four)?.map(|n| n as u32);
    if bits & KIND != WRITABLE_DATA {
        return Err(Errno::EINVAL);
    }
    Ok((number as i32, base.into()))
}

/// The segment for thread-local storage of machines that have segments.
pub(super) fn set_thread_area(at: u64) -> SysResult {
    /// The only one there is.
    const NUMBER: i32 = 6;
    let (number, base) = segment(at)?;
    match number {
        NUMBER => {}
        -1 => put(at, &NUMBER.to_le_bytes())?,
        _ => return Err(Errno::EINVAL),
    }
    sched::current().user_tls.store(base, Ordering::Relaxed);
    crate::arch::user::set_tls(base);
    Ok(0)
}

/// Sets the base of the thread-local storage.
pub(super) fn set_tls(base: u64) -> SysResult {
    sched::current().user_tls.store(base, Ordering::Relaxed);
    crate::arch::user::set_tls(base);
    Ok(0)
}

pub(super) fn set_tid_address(at: u64) -> SysResult {
    sched::current().clear_on_exit.store(at, Ordering::Relaxed);
    Ok(thread_number())
}

pub(super) fn affinity(length: u64, to: u64) -> SysResult {
    if length < WORD_BYTES {
        return Err(Errno::EINVAL);
    }
    put_word(to, (1_u64 << cpus::online_count()) - 1)?;
    Ok(WORD_BYTES)
}

/// Threads asleep on words of memory: process, address, and whether they were woken.
struct Sleeper {
    process: u64,
    address: u64,
    thread: u64,
}

static SLEEPERS: SpinLock<Vec<Sleeper>> = SpinLock::new(Vec::new());
static FUTEX: WaitQueue = WaitQueue::new();

pub(super) fn futex(
    address: u64,
    operation: u64,
    value: u64,
    timeout: u64,
    size: WordSize,
) -> SysResult {
    const WAIT: u64 = 0;
    const WAKE: u64 = 1;
    const WAIT_BITSET: u64 = 9;
    const WAKE_BITSET: u64 = 10;
    match operation & 0x7f {
        WAIT | WAIT_BITSET => {
            let deadline = match timeout {
                0 => u64::MAX,
                at if operation & 0x7f == WAIT => time::nanoseconds() + timespec(at, size)?,
                at => timespec(at, size)?,
            };
            futex_wait(address, value as u32, deadline)
        }
        WAKE | WAKE_BITSET => Ok(futex_wake(address, value)),
        _ => Err(Errno::ENOSYS),
    }
}

fn futex_wait(address: u64, value: u32, deadline: u64) -> SysResult {
    let (process, thread) = (current().id, sched::current().id());
    {
        let mut sleepers = SLEEPERS.lock();
        sleepers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        sleepers.push(Sleeper { process, address, thread });
    }
    let leave = || SLEEPERS.lock().retain(|sleeper| sleeper.thread != thread);
    // In the list first, then the look: a wake in between takes us out of the list.
    match get::<4>(address) {
        Ok(now) if u32::from_le_bytes(now) == value => {}
        Ok(_) => {
            leave();
            return Err(Errno::EAGAIN);
        }
        Err(error) => {
            leave();
            return Err(error);
        }
    }
    let is_asleep = || SLEEPERS.lock().iter().any(|sleeper| sleeper.thread == thread);
    if deadline == u64::MAX {
        let result = FUTEX.wait_until(|| !is_asleep());
        leave();
        return result.map(|()| 0).map_err(|_| Errno::EINTR);
    }
    while is_asleep() {
        if time::nanoseconds() >= deadline {
            leave();
            return Err(Errno::ETIMEDOUT);
        }
        if time::sleep(1_000_000).is_err() {
            leave();
            return Err(Errno::EINTR);
        }
    }
    Ok(0)
}

/// Wakes up to `most` threads that sleep on an address of the calling process; how many it were.
pub(super) fn futex_wake(address: u64, most: u64) -> u64 {
    let process = current().id;
    let mut woken = 0;
    SLEEPERS.lock().retain(|sleeper| {
        let wake = woken < most && sleeper.process == process && sleeper.address == address;
        woken += u64::from(wake);
        !wake
    });
    if woken > 0 {
        FUTEX.wake_all();
    }
    woken
}
