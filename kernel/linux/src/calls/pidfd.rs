//! Calls about processes as files: opening one, a signal to what it means, a descriptor of it.

use super::signals::Caller;
use super::table::calls;
use crate::abi::signals::{INFO_BYTES, Info, Signal, code};
use crate::error::{Errno, SysResult};
use crate::files::open::{Descriptor, OpenFile, flag};
use crate::proc;
use crate::process::identity::permissions::{self, Looks};
use crate::process::names::pidfd::{self, Pidfd, THREAD};
use crate::process::names::{named, namespaces};
use crate::process::sending::send::{self, to_process, to_thread};
use crate::process::table::Which;
use crate::process::user_memory::get;
use crate::process::{Process, current, current_task};
use alloc::sync::Arc;

calls! {
    "pidfd_open" (process, flags) => open(process, flags);
    "pidfd_send_signal" (fd, signal, info, flags) => send_signal(fd, signal, info, flags);
    "pidfd_getfd" (fd, number, flags) => get_descriptor(fd, number, flags);
}

fn open(number: u64, flags: u64) -> SysResult {
    let flags = flags as u32;
    let number = match number as i32 {
        number @ 1.. => number as u64,
        _ => return Err(Errno::EINVAL),
    };
    if flags & !(flag::NONBLOCK | THREAD) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = match named::find(number) {
        Some(process) if flags & THREAD == 0 => pidfd::file(process, None, flags)?,
        _ => {
            let (process, thread) = named::find_thread(None, number).ok_or(Errno::ESRCH)?;
            // A thread that is not the first one is no process.
            if flags & THREAD == 0 {
                return Err(Errno::EINVAL);
            }
            pidfd::file(process, Some(&thread), flags)?
        }
    };
    current_task().give(Descriptor { file, close_on_exec: true }, 0)
}

/// Whom a signal is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Thread,
    Process,
    Group,
}

fn send_signal(number: u64, signal: u64, at: u64, flags: u64) -> SysResult {
    let asked = match flags as u32 {
        0 => None,
        1 => Some(Scope::Thread),
        2 => Some(Scope::Process),
        4 => Some(Scope::Group),
        _ => return Err(Errno::EINVAL),
    };
    let file = current_task().files().lock().get(number)?.file;
    // The folder of a process in /proc stands for the process too.
    let folder = proc::process_of(&file);
    let pidfd = match &folder {
        Some(_) => None,
        None => Some(of_file(&file)?),
    };
    let process = match (&folder, pidfd) {
        (Some(process), _) => process.as_ref().map_err(|&error| error)?,
        (None, Some(pidfd)) => pidfd.process()?,
        (None, None) => return Err(Errno::EBADF),
    };
    let is_of_thread = pidfd.is_some_and(Pidfd::is_of_thread);
    let scope = asked.unwrap_or(if is_of_thread { Scope::Thread } else { Scope::Process });
    let signal = match signal as u32 {
        0 => None,
        number => Some(Signal::new(number.into()).ok_or(Errno::EINVAL)?),
    };
    let told = told(signal, at, scope, process)?;
    let caller = Caller::new();
    if scope == Scope::Group {
        let (mut met, mut done) = (false, Ok(()));
        let info = |member: &Process| {
            met = true;
            told.as_ref().filter(|_| caller.check(member, signal).is_ok()).cloned()
        };
        send::to_each(Which::Group(process.id), info, |sent| {
            done = done.and(sent.map(drop));
        });
        if !met {
            return Err(Errno::ESRCH);
        }
        done?;
        return Ok(0);
    }
    if process.is_waited_for() {
        return Err(Errno::ESRCH);
    }
    caller.check(process, signal)?;
    match (scope, pidfd, told) {
        (_, _, None) => {}
        (Scope::Thread, Some(pidfd), Some(told)) => {
            to_thread(process, &pidfd.thread()?, told)?;
        }
        (Scope::Thread, None, Some(told)) => {
            to_thread(process, &process.crew.find(process.id).ok_or(Errno::ESRCH)?, told)?;
        }
        (_, _, Some(told)) => {
            to_process(process, told)?;
        }
    }
    Ok(0)
}

/// What is told with the signal: what the program says, or what kill(2) would.
fn told(
    signal: Option<Signal>,
    at: u64,
    scope: Scope,
    process: &Process,
) -> Result<Option<Info>, Errno> {
    if at == 0 {
        let code = if scope == Scope::Thread { code::TKILL } else { code::USER };
        return Ok(signal.map(|signal| Caller::new().info(signal, code)));
    }
    let bytes: [u8; INFO_BYTES] = get(at)?;
    let [a, b, c, d, ..] = bytes;
    if u32::from_le_bytes([a, b, c, d]) != signal.map_or(0, |signal| signal.number().into()) {
        return Err(Errno::EINVAL);
    }
    let Some(signal) = signal else { return Ok(None) };
    let told = Info::decode(signal, &bytes)?;
    // Only to itself may a program say that the kernel or kill(2) sent it.
    let is_claimed = told.code >= 0 || told.code == code::TKILL;
    if is_claimed && (process.id != current().id || scope == Scope::Group) {
        return Err(Errno::EPERM);
    }
    Ok(Some(told))
}

fn of_file(file: &OpenFile) -> Result<&Pidfd, Errno> {
    file.object().and_then(|object| object.of_kind::<Pidfd>()).ok_or(Errno::EBADF)
}

/// A copy of a descriptor of another process, as if it had been sent.
fn get_descriptor(number: u64, theirs: u64, flags: u64) -> SysResult {
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let file = current_task().files().lock().get(number)?.file;
    let process: &Arc<Process> = of_file(&file)?.process()?;
    // As one who may trace it.
    if !permissions::may_look_into(process, Looks::AsReal) {
        return Err(Errno::EPERM);
    }
    let files = process.files_if_alive().ok_or(Errno::ESRCH)?;
    let found = files.lock().get(theirs & 0xffff_ffff)?;
    current_task().give(Descriptor { close_on_exec: true, ..found }, 0)
}

/// A namespace of the process that a pidfd means, as a descriptor (`PIDFD_GET_PID_NAMESPACE` and
/// its kin). `None`: another request.
pub(crate) fn request(file: &OpenFile, request: u32, argument: u64) -> Option<SysResult> {
    /// `_IO(0xff, 1)` and those behind it, by the names of their kinds.
    const FIRST: u32 = 0xff01;
    const KINDS: [&str; 10] = [
        "cgroup",
        "ipc",
        "mnt",
        "net",
        "pid",
        "pid_for_children",
        "time",
        "time_for_children",
        "user",
        "uts",
    ];
    let pidfd = of_file(file).ok()?;
    let kind = KINDS.get(request.checked_sub(FIRST)? as usize)?;
    Some(namespace(pidfd, kind, argument))
}

fn namespace(pidfd: &Pidfd, kind: &str, argument: u64) -> SysResult {
    if argument != 0 {
        return Err(Errno::EINVAL);
    }
    let process = pidfd.process()?;
    if process.status().is_some() {
        return Err(Errno::ESRCH);
    }
    if !permissions::may_look_into(process, Looks::AsReal) {
        return Err(Errno::EACCES);
    }
    if !namespaces::NAMES.contains(&kind) {
        return Err(Errno::EOPNOTSUPP);
    }
    namespaces::give_of(process, kind)
}
