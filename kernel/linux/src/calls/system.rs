//! Calls about the machine and the system: its name, memory, CPUs, limits, random bytes.

use super::table::calls;
use crate::abi::{self, MACHINE, SystemInfo};
use crate::error::{Errno, SysResult};
use crate::exec::random::random_bytes;
use crate::process::table;
use crate::process::user_memory::{WORD_BYTES, put, put_word, write_zeros};
use machine::{cpus, memory};
use threads::{sched, time};

calls! {
    "sysinfo" (to) => sysinfo(to);
    "uname" (to) => uname(to);
    "getrandom" (to, length) => getrandom(to, length);
    "getrusage" (_whose, to) => write_zeros(to, abi::RUSAGE_BYTES);
    "sched_getaffinity" (_process, length, to) => affinity(length, to);
    "getpriority" () => Ok(20);
    "setpriority" () => Ok(0);
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

pub(crate) fn affinity(length: u64, to: u64) -> SysResult {
    if length < WORD_BYTES {
        return Err(Errno::EINVAL);
    }
    put_word(to, (1_u64 << cpus::online_count()) - 1)?;
    Ok(WORD_BYTES)
}
