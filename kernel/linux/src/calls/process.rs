//! Calls about processes and threads: birth, death, waiting, and what a thread is known by.

use super::table::calls;
use super::tls::segment_base;
use crate::abi;
use crate::abi::signals::Signal;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::exec;
use crate::memory::limits::STACK_LIMIT;
use crate::process::table::{Wanted, Which};
use crate::process::user_memory::{get, path, put, strings};
use crate::process::{current, exit, fork, futex, task};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use threads::sched;

calls! {
    "exit" (code) => exit::exit_thread((code as i32 & 0xff) << 8);
    "exit_group" (code) => exit::exit_group(code as i32);
    "wait4" (which, status, options) => wait4(i64::from(which as i32), status, options);
    "waitpid" (which, status, options) => wait4(i64::from(which as i32), status, options);
    "getpid" () => Ok(current().id);
    "gettid" () => Ok(thread_number());
    "getppid" () => Ok(current().parent.load(Ordering::Relaxed));
    "set_tid_address" (at) => set_tid_address(at);
    "futex" (at, operation, value, timeout) => futex::futex(at, operation, value, timeout, abi::WORD);
    "futex_time64" (at, operation, value, timeout) => futex::futex(at, operation, value, timeout, WordSize::Eight);
    "sched_yield" () => {
        sched::yield_now();
        Ok(0)
    };
    "set_robust_list" | "prctl" () => Ok(0);
    // Every start of a program asks for it, and does without.
    "rseq" () => Err(Errno::ENOSYS);
    with registers:
    "fork" => |regs| fork(regs);
    "vfork" => |regs| vfork(regs);
    "clone" => |regs| clone(regs, abi::arguments::<5>(regs, get));
    "execve" => |regs| {
        let [path, argv, envp, ..] = abi::arguments::<3>(regs, get);
        execve(regs, path, argv, envp)
    };
}

/// clone, with its arguments in the order of this machine.
fn clone(regs: &SavedRegs, arguments: [u64; 6]) -> SysResult {
    let [flags, stack, parent_word, child_word, tls] = abi::clone_arguments(arguments);
    let tls =
        if flags & fork::CLONE_SETTLS != 0 { abi::thread_local(tls, segment_base)? } else { 0 };
    fork::clone(regs, flags, stack, parent_word, child_word, tls)
}

/// fork: a child with a copy of the caller's memory.
fn fork(regs: &SavedRegs) -> SysResult {
    fork::clone(regs, Signal::CHLD.number().into(), 0, 0, 0, 0)
}

/// vfork: a child in the caller's memory, which sleeps until the child is done with it.
fn vfork(regs: &SavedRegs) -> SysResult {
    let flags = fork::CLONE_VM | fork::CLONE_VFORK | u64::from(Signal::CHLD.number());
    fork::clone(regs, flags, 0, 0, 0, 0)
}

fn execve(regs: &mut SavedRegs, at: u64, argv: u64, envp: u64) -> SysResult {
    // What does not fit on the new stack is refused before it is copied.
    let mut left = abi::stack_image::string_limit(STACK_LIMIT);
    let path = path(at)?;
    let argv = strings(argv, &mut left)?;
    let envp = strings(envp, &mut left)?;
    exec::execve::execve(regs, &path, argv, envp)
}

/// Options of the calls that wait.
mod option {
    pub(super) const NO_HANG: u64 = 1;
    pub(super) const STOPPED: u64 = 2;
    pub(super) const CONTINUED: u64 = 8;
    /// `__WNOTHREAD`, `__WALL`, `__WCLONE`.
    pub(super) const OF_CLONE: u64 = 0xe000_0000;
}

fn wait4(which: i64, status: u64, options: u64) -> SysResult {
    let options = options & 0xffff_ffff;
    if options & !(option::NO_HANG | option::STOPPED | option::CONTINUED | option::OF_CLONE) != 0 {
        return Err(Errno::EINVAL);
    }
    if which == i64::from(i32::MIN) {
        return Err(Errno::ESRCH);
    }
    let wanted = Wanted {
        ended: true,
        stopped: options & option::STOPPED != 0,
        continued: options & option::CONTINUED != 0,
        keep: false,
        no_hang: options & option::NO_HANG != 0,
    };
    match exit::wait(Which::of(which, current()), wanted)? {
        Some(news) => {
            if status != 0 {
                put(status, &news.status.to_le_bytes())?;
            }
            Ok(news.child)
        }
        None => Ok(0),
    }
}

/// The number a thread has for programs: the first one's is the process's.
fn thread_number() -> u64 {
    sched::current().number()
}

fn set_tid_address(at: u64) -> SysResult {
    task::set_clear_on_exit(at);
    Ok(thread_number())
}
