//! Processes and threads as files (pidfd_open(2)): a file that keeps meaning the same process,
//! whatever becomes of its number.
//!
//! A file keeps what is left of a process after its end, which is little: memory and descriptors go
//! with the last thread. One that lies among the descriptors of the very process it means is
//! dropped with them.

use crate::abi::Stat;
use crate::error::{Errno, SysResult};
use crate::files::object::{How, Object};
use crate::files::open::{Descriptor, OpenFile, flag};
use crate::files::readiness::{Readiness, event};
use crate::process::user_memory::put;
use crate::process::{Process, current_task};
use crate::spaces::pid::{self, Own};
use alloc::sync::Arc;
use core::fmt;
use machine::memory::fallible;
use threads::sched::Thread;

/// A thread by the number that programs know and by the kernel's own, which no other thread has
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OneThread {
    number: u64,
    id: u64,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Pidfd {
    process: Arc<Process>,
    /// The thread that it means instead of the whole process (`PIDFD_THREAD`).
    thread: Option<OneThread>,
}

/// `PIDFD_THREAD`, as `open` would have it: `O_EXCL`.
pub(crate) const THREAD: u32 = 0o200;

impl Pidfd {
    /// What it means, if that has not been waited for.
    pub(crate) fn process(&self) -> Result<&Arc<Process>, Errno> {
        if self.is_gone() { Err(Errno::ESRCH) } else { Ok(&self.process) }
    }

    /// Whether it means one thread.
    pub(crate) const fn is_of_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// The thread that it means: of a process, its first one.
    pub(crate) fn thread(&self) -> Result<Arc<Thread>, Errno> {
        self.living(self.number()).ok_or(Errno::ESRCH)
    }

    fn living(&self, number: u64) -> Option<Arc<Thread>> {
        let thread = self.process.crew.find(number)?;
        self.thread.is_none_or(|one| one.id == thread.id().get()).then_some(thread)
    }

    fn number(&self) -> u64 {
        self.thread.map_or(self.process.id, |one| one.number)
    }

    fn has_ended(&self) -> bool {
        let thread_has = |one: OneThread| self.living(one.number).is_none();
        self.process.status().is_some() || self.thread.is_some_and(thread_has)
    }

    /// Whether nothing is left that a parent could wait for: of a thread that is not the first,
    /// once it has ended.
    fn is_gone(&self) -> bool {
        let is_unwaited = |one: OneThread| one.number != self.process.id && self.has_ended();
        self.process.is_waited_for() || self.thread.is_some_and(is_unwaited)
    }

    /// What /proc/PID/fdinfo says of it: its number in the mount's namespace, 0 if that does not
    /// see it, -1 if it means what is gone; and those in all namespaces from there inwards.
    pub(crate) fn write(&self, space: &Own, to: &mut dyn fmt::Write) -> fmt::Result {
        let number = self.number();
        let shown = if self.is_gone() { -1 } else { pid::local(space, number) as i64 };
        write!(to, "Pid:\t{shown}\nNSpid:")?;
        if shown <= 0 {
            return writeln!(to, "\t{shown}");
        }
        pid::each_within(&self.process.space, space, &mut |inner| {
            write!(to, "\t{}", pid::local(inner, number))
        })?;
        writeln!(to)
    }
}

impl Object for Pidfd {
    fn read(&self, _to: &mut [u8], _how: How) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn events(&self) -> u32 {
        let ended = event::IN | event::READ_NORMAL;
        match (self.is_gone(), self.has_ended()) {
            (true, _) => ended | event::HUP,
            (false, true) => ended,
            (false, false) => 0,
        }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.process.ends)
    }

    /// The number of the node is that of the process: two files of one process are one file for
    /// `stat`.
    fn stat(&self) -> Stat {
        Stat { inode: self.number(), mode: 0o100700, links: 1, ..Stat::default() }
    }

    fn label(&self) -> &'static str {
        "anon_inode:[pidfd]"
    }
}

/// A file of a process, or of one thread of it, with `O_NONBLOCK` if that is among the flags.
pub(crate) fn file(
    process: Arc<Process>,
    thread: Option<&Thread>,
    flags: u32,
) -> Result<Arc<OpenFile>, Errno> {
    let thread = thread.map(|thread| OneThread { number: thread.number(), id: thread.id().get() });
    let of_thread = if thread.is_some() { THREAD } else { 0 };
    let pidfd = fallible::shared(Pidfd { process, thread })?;
    let kept = flag::READ_WRITE | flags & flag::NONBLOCK | of_thread;
    OpenFile::of_object(pidfd, kept)
}

/// The process or thread that is about to be as a file of the caller, whose number is written to a
/// word of it.
pub(in crate::process) fn give(
    process: &Arc<Process>,
    thread: Option<&Thread>,
    word: u64,
) -> SysResult {
    let file = file(process.clone(), thread, 0)?;
    let number = current_task().give(Descriptor { file, close_on_exec: true }, 0)?;
    put(word, &(number as u32).to_le_bytes()).inspect_err(|_| take_back(number))?;
    Ok(number)
}

/// Closes what `give` gave.
pub(in crate::process) fn take_back(number: u64) {
    let taken = current_task().files().lock().remove(number);
    drop(taken);
}

/// The process that a pidfd of the caller means, with the flags of the file; `EBADF`: it is no
/// pidfd.
pub(crate) fn of_descriptor(number: u64) -> Result<(Arc<Process>, u32), Errno> {
    let file = current_task().files().lock().get(number)?.file;
    let pidfd = file.object().and_then(|object| object.of_kind::<Pidfd>()).ok_or(Errno::EBADF)?;
    Ok((pidfd.process()?.clone(), file.flags()))
}

/// A thread, or a process, has ended or has been waited for: those who watch it are told.
pub(in crate::process) fn tell(process: &Process) {
    process.ends.wake();
}
