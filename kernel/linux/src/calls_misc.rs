//! System calls about everything else: waiting, signals, time, identity, threads.

use super::abi::{self, MACHINE, SystemInfo, USER_TOP};
use super::error::{Errno, SysResult};
use super::exec_image::WordSize;
use super::syscall::{WORD_BYTES, get, get_numbers, put, put_word};
use super::{Process, current, files, life, table};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use machine::spin::SpinLock;
use machine::{cpus, memory};
use threads::sched::{self, WaitQueue};
use threads::time;

pub(super) fn wait4(which: i64, status: u64, options: u64) -> SysResult {
    const NO_HANG: u64 = 1;
    // WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE
    const KNOWN: u64 = 0xe000_000b;
    if options & 0xffff_ffff & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
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

/// The number a thread has for programs: the first one's is the process's.
pub(super) fn thread_number() -> u64 {
    sched::current().number()
}

/// The process that a call about groups means: 0 is the caller.
fn process(number: u64) -> Result<Arc<Process>, Errno> {
    match number as i32 {
        0 => Ok(super::current_arc()),
        1.. => table::find(number & 0x7fff_ffff).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

pub(super) fn getpgid(number: u64) -> SysResult {
    Ok(process(number)?.group.load(Ordering::Relaxed))
}

pub(super) fn getsid(number: u64) -> SysResult {
    Ok(process(number)?.session.load(Ordering::Relaxed))
}

/// Puts the caller, or a child of it, into a group of its session, or into one of its own.
pub(super) fn setpgid(number: u64, group: u64) -> SysResult {
    let me = current();
    let session = me.session.load(Ordering::Relaxed);
    let process = process(number)?;
    if process.id != me.id && process.parent.load(Ordering::Relaxed) != me.id {
        return Err(Errno::ESRCH);
    }
    if process.session.load(Ordering::Relaxed) != session || process.id == session {
        return Err(Errno::EPERM);
    }
    let group = match group as i32 {
        0 => process.id,
        1.. => group & 0x7fff_ffff,
        _ => return Err(Errno::EINVAL),
    };
    let mut is_there = group == process.id;
    table::for_each(table::Which::Group(group), |other| {
        is_there |= other.session.load(Ordering::Relaxed) == session;
    });
    if !is_there {
        return Err(Errno::EPERM);
    }
    process.group.store(group, Ordering::Relaxed);
    Ok(0)
}

/// A session and a group of its own; not for one that leads a group already.
pub(super) fn setsid() -> SysResult {
    let me = current();
    if table::for_each(table::Which::Group(me.id), |_| {}) > 0 {
        return Err(Errno::EPERM);
    }
    me.session.store(me.id, Ordering::Relaxed);
    me.group.store(me.id, Ordering::Relaxed);
    Ok(me.id)
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
    let is_negative = match size {
        WordSize::Four => (seconds as i32) < 0,
        WordSize::Eight => (seconds as i64) < 0,
    };
    if nanoseconds >= 1_000_000_000 || is_negative {
        return Err(Errno::EINVAL);
    }
    // A hundred years are as good as any number beyond.
    Ok(seconds.min(100 * 366 * 86_400) * 1_000_000_000 + nanoseconds)
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
        put(to, &encode(0, 1_000_000_000 / machine::arch::irqchip::HZ))?;
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
        processes: table::count().min(0xffff) as u16,
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
    // As many as Linux gives at once.
    let length = length.min(0x1ff_ffff);
    for done in (0..length).step_by(16) {
        if sched::current().killed() {
            return Err(Errno::EINTR);
        }
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
            FILES => files::MOST_FILES as u64,
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
            machine::arch::user::set_tls(value);
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
    machine::arch::user::set_tls(base);
    Ok(0)
}

/// Sets the base of the thread-local storage.
pub(super) fn set_tls(base: u64) -> SysResult {
    sched::current().user_tls.store(base, Ordering::Relaxed);
    machine::arch::user::set_tls(base);
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
        fallible::push(&mut sleepers, Sleeper { process, address, thread })?;
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

/// A thread that ends sleeps on nothing: one whose stack overflowed in its sleep did not say so itself.
pub(super) fn futex_forget(thread: u64) {
    SLEEPERS.lock().retain(|sleeper| sleeper.thread != thread);
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
