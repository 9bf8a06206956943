//! Calls about the machine and the system: its name, memory, CPUs, limits, random bytes.

use super::table::calls;
use crate::abi::{self, MACHINE, SystemInfo};
use crate::error::{Errno, SysResult};
use crate::exec::random::random_bytes;
use crate::files::open as files;
use crate::memory::limits::STACK_LIMIT;
use crate::process::table;
use crate::process::user_memory::{WORD_BYTES, put, put_word, write_zeros};
use machine::{cpus, memory};
use threads::{sched, time};

calls! {
    "sysinfo" (to) => sysinfo(to);
    "uname" (to) => uname(to);
    "getrandom" (to, length) => getrandom(to, length);
    "prlimit64" (_process, resource, _new, old) => prlimit(resource, old, abi::encode_long_pair);
    "getrlimit" | "ugetrlimit" (resource, old) => prlimit(resource, old, abi::encode_pair);
    "getrusage" (_whose, to) => write_zeros(to, abi::RUSAGE_BYTES);
    "sched_getaffinity" (_process, length, to) => affinity(length, to);
    "getpriority" () => Ok(20);
    "setpriority" () => Ok(0);
    "umask" () => Ok(0o022);
}

pub(crate) fn sysinfo(to: u64) -> SysResult {
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

pub(crate) fn uname(to: u64) -> SysResult {
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

pub(crate) fn getrandom(to: u64, length: u64) -> SysResult {
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

pub(crate) fn prlimit<const N: usize>(
    resource: u64,
    old: u64,
    encode: fn(u64, u64) -> [u8; N],
) -> SysResult {
    const STACK: u64 = 3;
    const FILES: u64 = 7;
    if old != 0 {
        let soft = match resource {
            STACK => STACK_LIMIT,
            FILES => files::MOST_FILES as u64,
            _ => u64::MAX,
        };
        put(old, &encode(soft, u64::MAX))?;
    }
    Ok(0)
}

pub(crate) fn affinity(length: u64, to: u64) -> SysResult {
    if length < WORD_BYTES {
        return Err(Errno::EINVAL);
    }
    put_word(to, (1_u64 << cpus::online_count()) - 1)?;
    Ok(WORD_BYTES)
}
