//! Calls about processes and threads: birth, death, waiting, and what a thread is known by.

use super::tls::segment_base;
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::exec;
use crate::memory::space::STACK_LIMIT;
use crate::process::user_memory::{path, put, strings};
use crate::process::{exit, fork};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use threads::sched;

/// clone, with its arguments in the order of this machine.
pub(crate) fn clone(regs: &SavedRegs, arguments: [u64; 6]) -> SysResult {
    let [flags, stack, parent_word, child_word, tls] = abi::clone_arguments(arguments);
    let tls =
        if flags & fork::CLONE_SETTLS != 0 { abi::thread_local(tls, segment_base)? } else { 0 };
    fork::clone(regs, flags, stack, parent_word, child_word, tls)
}

/// fork: a child with a copy of the caller's memory.
pub(crate) fn fork(regs: &SavedRegs) -> SysResult {
    fork::clone(regs, 0, 0, 0, 0, 0)
}

/// vfork: a child in the caller's memory, which sleeps until the child is done with it.
pub(crate) fn vfork(regs: &SavedRegs) -> SysResult {
    fork::clone(regs, fork::CLONE_VM | fork::CLONE_VFORK, 0, 0, 0, 0)
}

pub(crate) fn execve(regs: &mut SavedRegs, at: u64, argv: u64, envp: u64) -> SysResult {
    // What does not fit on the new stack is refused before it is copied.
    let mut left = abi::stack_image::string_limit(STACK_LIMIT);
    let path = path(at)?;
    let argv = strings(argv, &mut left)?;
    let envp = strings(envp, &mut left)?;
    exec::execve::execve(regs, &path, argv, envp)
}

pub(crate) fn wait4(which: i64, status: u64, options: u64) -> SysResult {
    const NO_HANG: u64 = 1;
    // WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE
    const KNOWN: u64 = 0xe000_000b;
    if options & 0xffff_ffff & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    match exit::wait(which, options & NO_HANG != 0)? {
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
pub(crate) fn thread_number() -> u64 {
    sched::current().number()
}

pub(crate) fn set_tid_address(at: u64) -> SysResult {
    sched::current().clear_on_exit.store(at, Ordering::Relaxed);
    Ok(thread_number())
}
