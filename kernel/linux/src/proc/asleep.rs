//! /proc/PID/syscall and /proc/PID/wchan: what a thread that sleeps asked the kernel for, and
//! where it sleeps.

use super::subject::Subject;
use crate::abi;
use crate::error::Errno;
use crate::process::identity::permissions::{self, Looks};
use crate::process::user_memory;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use machine::arch::regs::SavedRegs;
use threads::report::asleep;
use threads::sched::{self, State, Thread};

/// The thread that a folder is about: of a process, its first one.
fn thread_of(subject: &Subject) -> Option<Arc<Thread>> {
    match subject {
        Subject::Process(process) => process.crew.find(process.id),
        Subject::Thread(_, thread) | Subject::Kernel(thread) => Some(thread.clone()),
    }
}

fn may_look_into(subject: &Subject) -> bool {
    let process = subject.process();
    process.is_none_or(|process| permissions::may_look_into(process, Looks::AsFile))
}

/// The same, as an error.
pub(super) fn check(subject: &Subject) -> Result<(), Errno> {
    if may_look_into(subject) { Ok(()) } else { Err(Errno::EPERM) }
}

/// `running`; the call's number, its arguments, SP and PC; or -1, SP and PC, where a thread sleeps
/// in no call.
pub(super) fn syscall(subject: &Subject, text: &mut dyn Write) -> fmt::Result {
    let Some(thread) = thread_of(subject) else { return writeln!(text, "0 0x0 0x0") };
    if core::ptr::eq(&*thread, sched::current()) {
        return asleep::own_user_regs()
            .map_or(Ok(()), |regs| of_call(&regs, user_memory::get, text));
    }
    if !matches!(thread.state(), State::Blocked) {
        return writeln!(text, "running");
    }
    let mut is_in_call = false;
    let sleeps = asleep::functions(&thread, |name| {
        is_in_call |= name == "linux::dispatch::dispatch";
    });
    match asleep::user_regs(&thread) {
        _ if !sleeps => writeln!(text, "running"),
        // A thread of the kernel.
        None => writeln!(text, "0 0x0 0x0"),
        Some(regs) if is_in_call => of_call(&regs, |_| Err(Errno::EFAULT), text),
        Some(regs) => {
            let (sp, pc) = (abi::stack_pointer(&regs), abi::program_counter(&regs));
            writeln!(text, "-1 {sp:#x} {pc:#x}")
        }
    }
}

/// `read` reads the memory of the program, where the last argument may lie.
fn of_call(
    regs: &SavedRegs,
    read: impl FnOnce(u64) -> Result<[u8; 4], Errno>,
    text: &mut dyn Write,
) -> fmt::Result {
    write!(text, "{}", abi::number(regs))?;
    for argument in abi::arguments::<6>(regs, read) {
        write!(text, " {argument:#x}")?;
    }
    writeln!(text, " {:#x} {:#x}", abi::stack_pointer(regs), abi::program_counter(regs))
}

/// The function that a thread sleeps in, or 0.
pub(super) fn wchan(subject: &Subject, text: &mut dyn Write) -> fmt::Result {
    let thread = thread_of(subject)
        .filter(|thread| matches!(thread.state(), State::Blocked) && may_look_into(subject));
    let mut found = None;
    let sleeps = thread.is_some_and(|thread| {
        asleep::functions(&thread, |name| {
            let is_scheduler = name.contains("threads::") || name.contains("kstack::");
            if !is_scheduler && found.is_none() {
                found = short(name);
            }
        })
    });
    match found.filter(|_| sleeps) {
        Some(name) => text.write_str(name),
        None => text.write_str("0"),
    }
}

/// The last name in a path that is one: of `<linux::files::pipe::PipeEnd as Object>::read`, and of
/// a closure in it, `read`.
fn short(path: &str) -> Option<&str> {
    let is_name = |part: &&str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !part.is_empty() && part.bytes().all(is_letter)
    };
    path.rsplit("::").find(is_name)
}
