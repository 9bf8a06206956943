//! What programs write to files of /proc.

use super::folder::kind_of_map;
use super::subject::Subject;
use super::sysctl;
use crate::error::Errno;
use crate::files::made::Seen;
use crate::process::identity::credentials::capability;
use crate::process::identity::users;
use crate::process::names::{host, host_names};
use crate::process::time::times;
use crate::process::{current, current_task, task};
use core::sync::atomic::Ordering;
use threads::sched::Name;

/// Bytes of a name without its NUL.
const NAME_BYTES: usize = 15;

/// Takes what is written to a path below /proc. `EIO`: nothing can be written there.
pub(super) fn write((parts, view): (&[&str], &Seen), from: &[u8]) -> Result<usize, Errno> {
    match parts {
        ["kstack", "provoke"] => match threads::report::on_purpose::from_syscall(from) {
            true => Ok(from.len()),
            false => Err(Errno::EINVAL),
        },
        ["sys", "kernel", name @ ("hostname" | "domainname")] => set_host(name, from),
        ["sys", parts @ ..] => sysctl::set(parts, from),
        [whom, "task", thread, name] => {
            of(&Subject::of(whom, view)?.thread(thread, view)?, name, from)
        }
        [whom, name] => of(&Subject::of(whom, view)?, name, from),
        _ => Err(Errno::EIO),
    }
}

fn set_host(name: &str, from: &[u8]) -> Result<usize, Errno> {
    if !current_task().credentials().can(capability::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let line = from.split(|&byte| byte == b'\n' || byte == 0).next().unwrap_or_default();
    let line = &line[..line.len().min(host_names::MAX_BYTES)];
    host::with(|names| names.set(name == "domainname", line));
    Ok(from.len())
}

fn of(subject: &Subject, name: &str, from: &[u8]) -> Result<usize, Errno> {
    match name {
        "comm" => set_name(subject, from),
        "uid_map" | "gid_map" | "projid_map" => {
            let process = subject.process().ok_or(Errno::EPERM)?;
            users::set_map(process, kind_of_map(name), from)?;
            Ok(from.len())
        }
        "timens_offsets" => {
            times::set_offsets(subject.process().ok_or(Errno::EACCES)?, from)?;
            Ok(from.len())
        }
        "setgroups" => {
            users::set_may_set_groups(subject.process().ok_or(Errno::EPERM)?, from)?;
            Ok(from.len())
        }
        "coredump_filter" => {
            let filter = number_of_any_base(from)?;
            let process = subject.process().ok_or(Errno::ESRCH)?;
            process.attributes.core_filter.store(filter & CORE_FILTER, Ordering::Relaxed);
            Ok(from.len())
        }
        "timerslack_ns" => set_timer_slack(subject, from),
        "oom_score_adj" => set_adjustment(subject, from, -1000..=1000, |number| number),
        // The older file has another scale (proc_pid_oom_adj(5)).
        "oom_adj" => set_adjustment(subject, from, -17..=15, |number| match number {
            15 => 1000,
            number => number * 1000 / 17,
        }),
        _ => Err(Errno::EIO),
    }
}

/// Names a thread of the caller's own process; that of the first one is the process's.
fn set_name(subject: &Subject, from: &[u8]) -> Result<usize, Errno> {
    let process = subject.process().filter(|process| process.id == current().id);
    let process = process.ok_or(Errno::EINVAL)?;
    let bytes = &from[..from.len().min(NAME_BYTES)];
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let number = subject.number();
    let thread = process.crew.find(number).ok_or(Errno::ESRCH)?;
    if let Some(task) = task::of(&thread) {
        *task.name.lock() = Some(Name::new(name));
    }
    if number == process.id {
        process.set_name(name);
    }
    Ok(from.len())
}

/// A number, with spaces around it.
fn number(from: &[u8]) -> Result<i32, Errno> {
    let text = core::str::from_utf8(from).map_err(|_| Errno::EINVAL)?;
    text.trim_matches(['\0', ' ', '\n', '\t']).parse().map_err(|_| Errno::EINVAL)
}

/// Bits of what of a process's memory a core file has.
const CORE_FILTER: u32 = 0x1ff;

/// A number with or without the prefix of its base, with spaces around it.
fn number_of_any_base(from: &[u8]) -> Result<u32, Errno> {
    let text = core::str::from_utf8(from).map_err(|_| Errno::EINVAL)?;
    let text = text.trim_matches(['\0', ' ', '\n', '\t']);
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    u32::from_str_radix(digits, base).map_err(|_| Errno::EINVAL)
}

/// Sets by how much timers of a process may be late; 0: the usual.
fn set_timer_slack(subject: &Subject, from: &[u8]) -> Result<usize, Errno> {
    const USUAL: u64 = 50_000;
    let text = core::str::from_utf8(from).map_err(|_| Errno::EINVAL)?;
    let text = text.trim_matches(['\0', ' ', '\n', '\t']);
    let slack: u64 = text.parse().map_err(|_| Errno::EINVAL)?;
    let process = subject.process().ok_or(Errno::ESRCH)?;
    if process.id != current().id && !current_task().credentials().can(capability::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let slack = if slack == 0 { USUAL } else { slack };
    process.attributes.timer_slack.store(slack, Ordering::Relaxed);
    Ok(from.len())
}

/// Sets whom a shortage of memory ends first: less than before only for who may.
fn set_adjustment(
    subject: &Subject,
    from: &[u8],
    range: core::ops::RangeInclusive<i32>,
    scale: fn(i32) -> i32,
) -> Result<usize, Errno> {
    let number = number(from)?;
    if !range.contains(&number) {
        return Err(Errno::EINVAL);
    }
    let process = subject.process().ok_or(Errno::EINVAL)?;
    let kept = &process.attributes.oom_score_adjustment;
    let to = scale(number);
    let may_lower = current_task().credentials().can(capability::SYS_RESOURCE);
    if to < kept.load(Ordering::Relaxed) && !may_lower {
        return Err(Errno::EACCES);
    }
    kept.store(to, Ordering::Relaxed);
    Ok(from.len())
}
