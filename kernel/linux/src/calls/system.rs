//! Calls about the machine and the system: its name, memory, CPUs, limits, random bytes.

use super::table::calls;
use crate::abi::signals::Signal;
use crate::abi::{self, MACHINE, SystemInfo};
use crate::error::{Errno, SysResult};
use crate::exec::random::random_bytes;
use crate::proc::{OLD_RELEASE, RELEASE, VERSION};
use crate::process::identity::credentials::capability;
use crate::process::life::exit;
use crate::process::names::{host, host_names, named};
use crate::process::time::spent::Usage;
use crate::process::time::{cpu_time, times};
use crate::process::user_memory::{get, put, write_zeros};
use crate::process::{Process, current, current_task, table};
use crate::spaces::time::Ahead;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use machine::memory;
use threads::{sched, time};

calls! {
    "sysinfo" (to) => sysinfo(to);
    "uname" (to) => uname(to);
    "sethostname" (from, length) => set_name(from, length, false);
    "setdomainname" (from, length) => set_name(from, length, true);
    "getrandom" (to, length, flags) => getrandom(to, length, flags);
    "getrusage" (whose, to) => getrusage(whose, to);
    "membarrier" (command, flags, cpu) => membarrier(command, flags, cpu);
    "kcmp" (one, other, kind, first, second) => kcmp([one, other], kind, [first, second]);
    "reboot" (first, second, command) => reboot(first as u32, second as u32, command as u32);
    "syslog" (what, to, length) => kernel_log(what, to, length);
}

pub(crate) fn sysinfo(to: u64) -> SysResult {
    let frame = memory::frames::FRAME_BYTES;
    let info = SystemInfo {
        uptime_seconds: times::told(Ahead::SinceBoot, time::nanoseconds()) / 1_000_000_000,
        total_bytes: memory::frames::total_count() as u64 * frame,
        free_bytes: memory::frames::free_count() as u64 * frame,
        processes: table::count().min(0xffff) as u16,
    };
    put(to, &abi::encode_sysinfo(&info))?;
    Ok(0)
}

pub(crate) fn uname(to: u64) -> SysResult {
    let is_old = current().attributes.wants_old_release();
    let release = if is_old { OLD_RELEASE } else { RELEASE };
    let name = host::with(|names| {
        abi::encode_utsname(["Linux", names.host(), release, VERSION, MACHINE, names.domain()])
    });
    put(to, &name)?;
    Ok(0)
}

fn set_name(from: u64, length: u64, is_domain: bool) -> SysResult {
    if !current_task().credentials().can_in(&host::owner(), capability::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let length = length as i32;
    if length < 0 || length as usize > host_names::MAX_BYTES {
        return Err(Errno::EINVAL);
    }
    let mut name = [0; host_names::MAX_BYTES];
    let name = &mut name[..length as usize];
    for (byte, at) in name.iter_mut().zip(0..) {
        [*byte] = get(from.checked_add(at).ok_or(Errno::EFAULT)?)?;
    }
    host::with(|names| names.set(is_domain, name));
    Ok(0)
}

/// What was used, by the caller's process, its children, or the calling thread.
fn getrusage(whose: u64, to: u64) -> SysResult {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let process = current();
    let own = || {
        let peak = process.memory().map_or(0, |memory| memory.lock().resident_peak());
        cpu_time::usage_of_process(process, peak)
    };
    let used = match whose as i32 {
        SELF => own(),
        CHILDREN => cpu_time::of_children(process),
        THREAD => {
            let (thread, all) = (sched::current(), own());
            let (times, switches) = (cpu_time::of_thread(thread), thread.cpu_time().switches());
            Usage { times, switches, ..all }
        }
        _ => return Err(Errno::EINVAL),
    };
    put_usage(to, used)
}

/// Writes a `struct rusage`: time in user mode, time in the kernel, kilobytes at most, pages that
/// came, how often CPUs were left; and what is not counted.
pub(super) fn put_usage(to: u64, used: Usage) -> SysResult {
    const PEAK: u64 = 0;
    const MINOR_FAULTS: u64 = 4;
    const WITH_NOTHING_TO_DO: u64 = 12;
    const WITH_MORE_TO_DO: u64 = 13;
    let mut at = to;
    for nanoseconds in [used.times.user, used.times.system] {
        let time =
            abi::encode_pair(nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1000);
        put(at, &time)?;
        at = at.checked_add(time.len() as u64).ok_or(Errno::EFAULT)?;
    }
    write_zeros(at, abi::RUSAGE_BYTES - (at - to))?;
    let word = abi::WORD.bytes();
    let [with_nothing, with_more] = used.switches;
    for (place, value) in [
        (PEAK, used.peak / 1024),
        (MINOR_FAULTS, used.faults),
        (WITH_NOTHING_TO_DO, with_nothing),
        (WITH_MORE_TO_DO, with_more),
    ] {
        put(at + place * word as u64, &value.to_le_bytes()[..word])?;
    }
    Ok(0)
}

/// reboot: the machine is the host's, and what would end it is refused as by one that has no such
/// privilege.
fn reboot(first: u32, second: u32, command: u32) -> SysResult {
    const FIRST: u32 = 0xfee1_dead;
    /// Birthdays.
    const SECOND: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
    /// Whether three keys at once end the machine, or tell its first program: here no key does
    /// either.
    const KEYS_ON: u32 = 0x89ab_cdef;
    const KEYS_OFF: u32 = 0;
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const RESTART_WITH: u32 = 0xa1b2_c3d4;
    let owner = current().space.as_ref().and_then(|space| space.owner.clone());
    if !current_task().credentials().can_in(&owner, capability::SYS_BOOT) {
        return Err(Errno::EPERM);
    }
    if first != FIRST || !SECOND.contains(&second) {
        return Err(Errno::EINVAL);
    }
    if let Some(space) = &current().space {
        // The machine of a namespace is its first process (`reboot_pid_ns`).
        let signal = match command {
            RESTART | RESTART_WITH => Signal::HUP,
            HALT | POWER_OFF => Signal::INT,
            _ => return Err(Errno::EINVAL),
        };
        space.set_reboot(signal.status());
        if let Some(init) = space.global(1).and_then(table::find) {
            init.crew.end(Signal::KILL.status());
        }
        exit::exit_thread(0);
    }
    match command {
        KEYS_ON | KEYS_OFF => Ok(0),
        RESTART | HALT | POWER_OFF | RESTART_WITH => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// Has every thread of the process, or of all, see what was written before, on whatever CPU it
/// runs; or has those of the process leave their restartable sequences.
fn membarrier(command: u64, flags: u64, cpu: u64) -> SysResult {
    const QUERY: u32 = 0;
    const GLOBAL: u32 = 1;
    const GLOBAL_EXPEDITED: u32 = 1 << 1;
    const REGISTER_GLOBAL: u32 = 1 << 2;
    const PRIVATE_EXPEDITED: u32 = 1 << 3;
    const REGISTER_PRIVATE: u32 = 1 << 4;
    const PRIVATE_WITH_CORE: u32 = 1 << 5;
    const REGISTER_WITH_CORE: u32 = 1 << 6;
    const SEQUENCES: u32 = 1 << 7;
    const REGISTER_SEQUENCES: u32 = 1 << 8;
    const GET_REGISTRATIONS: u32 = 1 << 9;
    const FLAG_CPU: u32 = 1;
    let barriers = &current().attributes.barriers;
    let (command, flags) = (command as u32, flags as u32);
    if flags & !if command == SEQUENCES { FLAG_CPU } else { 0 } != 0 {
        return Err(Errno::EINVAL);
    }
    let has_registered = |what| barriers.load(Ordering::SeqCst) & what != 0;
    match command {
        QUERY => Ok((GLOBAL
            | GLOBAL_EXPEDITED
            | REGISTER_GLOBAL
            | PRIVATE_EXPEDITED
            | REGISTER_PRIVATE
            | PRIVATE_WITH_CORE
            | REGISTER_WITH_CORE
            | SEQUENCES
            | REGISTER_SEQUENCES
            | GET_REGISTRATIONS)
            .into()),
        REGISTER_GLOBAL | REGISTER_PRIVATE | REGISTER_WITH_CORE | REGISTER_SEQUENCES => {
            barriers.fetch_or(command, Ordering::SeqCst);
            Ok(0)
        }
        GET_REGISTRATIONS => Ok(barriers.load(Ordering::SeqCst).into()),
        PRIVATE_EXPEDITED if !has_registered(REGISTER_PRIVATE) => Err(Errno::EPERM),
        SEQUENCES if !has_registered(REGISTER_SEQUENCES) => Err(Errno::EPERM),
        SEQUENCES => {
            let only = (flags & FLAG_CPU != 0).then_some(cpu as u32);
            leave_sequences(only);
            see_writes();
            Ok(0)
        }
        PRIVATE_WITH_CORE if !has_registered(REGISTER_WITH_CORE) => Err(Errno::EPERM),
        // An interrupted CPU comes back by an instruction that has it fetch anew.
        GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED | PRIVATE_WITH_CORE => {
            see_writes();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Every other CPU takes an interrupt, which orders what it did before and does after.
fn see_writes() {
    fence(Ordering::SeqCst);
    machine::arch::smp::flush_others();
    fence(Ordering::SeqCst);
}

/// The other threads of the process, all or those on one CPU, leave the sequences that they are in
/// before this returns: each has taken an interrupt then, and looks before it is in user mode
/// again.
fn leave_sequences(only: Option<u32>) {
    let me = sched::current();
    current().crew.with(|threads| {
        threads
            .iter()
            .filter(|thread| !core::ptr::eq(&***thread, me))
            .filter(|thread| only.is_none_or(|cpu| thread.last_cpu().get() == cpu))
            .for_each(|thread| thread.look_as_if_switched());
    });
}

/// Whether two processes share something: 0, or 1 or 2, an order among those that differ.
fn kcmp(numbers: [u64; 2], kind: u64, indices: [u64; 2]) -> SysResult {
    const FILE: u32 = 0;
    const MEMORY: u32 = 1;
    const FILES: u32 = 2;
    const PLACE: u32 = 3;
    const SIGNALS: u32 = 4;
    const IO: u32 = 5;
    const SEMAPHORES: u32 = 6;
    let process = |number: u64| named::find_by_any(number).ok_or(Errno::ESRCH);
    let [one, other] = numbers;
    let (one, other) = (process(one & 0xffff_ffff)?, process(other & 0xffff_ffff)?);
    let file = |process: &Process, index: u64| {
        let files = process.files_if_alive().ok_or(Errno::EBADF)?;
        let found = files.lock().get(index)?;
        Ok::<_, Errno>(Arc::as_ptr(&found.file).addr())
    };
    let [one, other] = match kind as u32 {
        FILE => [file(&one, indices[0])?, file(&other, indices[1])?],
        MEMORY => [&one, &other]
            .map(|process| process.memory().map_or(0, |memory| Arc::as_ptr(&memory).addr())),
        FILES => [&one, &other]
            .map(|process| process.files_if_alive().map_or(0, |files| Arc::as_ptr(&files).addr())),
        PLACE => [&one, &other].map(|process| Arc::as_ptr(&process.place()).addr()),
        SIGNALS => [&one, &other].map(|process| process.signals.lock().actions.address()),
        // No process has any.
        IO | SEMAPHORES => [0, 0],
        _ => return Err(Errno::EINVAL),
    };
    Ok(match one.cmp(&other) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

pub(crate) fn getrandom(to: u64, length: u64, flags: u64) -> SysResult {
    const NONBLOCK: u32 = 1;
    const RANDOM: u32 = 2;
    const INSECURE: u32 = 4;
    let flags = flags as u32;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0
        || flags & (RANDOM | INSECURE) == RANDOM | INSECURE
    {
        return Err(Errno::EINVAL);
    }
    // As many as Linux gives at once.
    let length = length.min(0x1ff_ffff);
    for done in (0..length).step_by(16) {
        if sched::current().has_attention() && done > 0 {
            return Ok(done);
        }
        let piece = (length - done).min(16) as usize;
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &random_bytes()[..piece])?;
    }
    Ok(length)
}

/// syslog(2): what the kernel has said.
fn kernel_log(what: u64, to: u64, length: u64) -> SysResult {
    const CLOSE: u32 = 0;
    const OPEN: u32 = 1;
    const READ: u32 = 2;
    const READ_ALL: u32 = 3;
    const READ_AND_CLEAR: u32 = 4;
    const CLEAR: u32 = 5;
    const CONSOLE_OFF: u32 = 6;
    const CONSOLE_ON: u32 = 7;
    const CONSOLE_LEVEL: u32 = 8;
    const UNREAD: u32 = 9;
    const SIZE: u32 = 10;
    /// Up to where lines were read, and up to where they were cleared away.
    static READ_UP_TO: AtomicU64 = AtomicU64::new(0);
    static CLEARED_UP_TO: AtomicU64 = AtomicU64::new(0);
    let what = what as u32;
    if what > SIZE {
        return Err(Errno::EINVAL);
    }
    let is_open = matches!(what, READ_ALL | SIZE);
    let may = {
        let mine = current_task().credentials();
        is_open || mine.can(capability::SYSLOG) || mine.can(capability::SYS_ADMIN)
    };
    if !may {
        return Err(Errno::EPERM);
    }
    let kept = machine::log::kept();
    let oldest = kept.saturating_sub(machine::log::KEPT_BYTES as u64);
    if matches!(what, READ | READ_ALL | READ_AND_CLEAR) {
        if to == 0 || (length as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        if length == 0 {
            return Ok(0);
        }
    }
    let length = length & 0x7fff_ffff;
    match what {
        CLOSE | OPEN => Ok(0),
        READ => {
            let from = READ_UP_TO.load(Ordering::Relaxed);
            sched::LINES.wait_until(|| machine::log::kept() > from)?;
            let (first, count) = put_lines(from, to, length)?;
            READ_UP_TO.store(first + count, Ordering::Relaxed);
            Ok(count)
        }
        READ_ALL | READ_AND_CLEAR => {
            // The last ones that there is room for.
            let from = CLEARED_UP_TO.load(Ordering::Relaxed).max(kept.saturating_sub(length));
            let (_, count) = put_lines(from, to, length)?;
            if what == READ_AND_CLEAR {
                CLEARED_UP_TO.store(kept, Ordering::Relaxed);
            }
            Ok(count)
        }
        CLEAR => {
            CLEARED_UP_TO.store(kept, Ordering::Relaxed);
            Ok(0)
        }
        CONSOLE_OFF | CONSOLE_ON => {
            machine::log::set_quiet(what == CONSOLE_OFF);
            Ok(0)
        }
        CONSOLE_LEVEL => {
            /// The level of all lines: they are said where the console's is above it.
            const OF_LINES: u64 = 6;
            if !(1..=8).contains(&length) {
                return Err(Errno::EINVAL);
            }
            machine::log::set_quiet(length <= OF_LINES);
            Ok(0)
        }
        UNREAD => Ok(kept - READ_UP_TO.load(Ordering::Relaxed).clamp(oldest, kept)),
        _ => Ok(machine::log::KEPT_BYTES as u64),
    }
}

/// Writes kept lines to the program, from the number `from` on; the number of the first byte, and
/// how many.
fn put_lines(from: u64, to: u64, length: u64) -> Result<(u64, u64), Errno> {
    let mut piece = [0; 256];
    let (first, _) = machine::log::copy_kept(from, &mut []);
    let mut done = 0;
    while done < length {
        let wanted = (length - done).min(piece.len() as u64) as usize;
        let (_, count) = machine::log::copy_kept(first + done, &mut piece[..wanted]);
        if count == 0 {
            break;
        }
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..count])?;
        done += count as u64;
    }
    Ok((first, done))
}
