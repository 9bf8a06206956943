//! Calls about processes and threads: birth, death, waiting, and what a thread is known by.

use super::files::at::HERE;
use super::table::calls;
use super::tls::segment_base;
use crate::abi;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use crate::exec;
use crate::exec::execve::Named;
use crate::exec::program::Executable;
use crate::files::standing::Standing;
use crate::limits::Resource;
use crate::proc;
use crate::process::hardware::sequences;
use crate::process::life::clone_request::{FIRST_BYTES, NUMBERS, Request, flag};
use crate::process::life::{exit, fork};
use crate::process::user_memory::{MAX_PATH, as_text, get, path, string, strings};
use crate::process::walk::Route;
use crate::process::walk::{self, Place};
use crate::process::{current, current_task, task};
use alloc::borrow::Cow;
use core::fmt::Write;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible::Text;

calls! {
    "exit" (code) => exit::exit_thread((code as i32 & 0xff) << 8);
    "exit_group" (code) => exit::exit_group(code as i32);
    "getpid" () => Ok(current().local);
    "gettid" () => Ok(thread_number());
    "getppid" () => Ok(parent_number());
    "unshare" (flags) => fork::unshare(flags);
    "set_tid_address" (at) => set_tid_address(at);
    "rseq" (at, bytes, flags, signature) => sequences::register(at, bytes, flags, signature);
    with registers:
    "fork" => |regs| fork(regs);
    "vfork" => |regs| vfork(regs);
    "clone" => |regs| clone(regs, abi::arguments::<5>(regs, get));
    "clone3" => |regs| {
        let [at, bytes, ..] = abi::arguments::<2>(regs, get);
        clone3(regs, at, bytes)
    };
    "execve" => |regs| {
        let [path, argv, envp, ..] = abi::arguments::<3>(regs, get);
        execve(regs, path, argv, envp)
    };
    "execveat" => |regs| execveat(regs, abi::arguments::<5>(regs, get));
}

/// clone, with its arguments in the order of this machine.
fn clone(regs: &SavedRegs, arguments: [u64; 6]) -> SysResult {
    let mut request = Request::of_clone(abi::clone_arguments(arguments));
    request.tls =
        if request.has(flag::SETTLS) { abi::thread_local(request.tls, segment_base)? } else { 0 };
    fork::clone(regs, request)
}

/// clone3: the structure may be shorter than the one that is known, or longer if what is behind it
/// is zero.
fn clone3(regs: &SavedRegs, at: u64, bytes: u64) -> SysResult {
    const PAGE: u64 = 4096;
    const KNOWN: u64 = 8 * NUMBERS as u64;
    if bytes > PAGE {
        return Err(Errno::E2BIG);
    }
    if bytes < FIRST_BYTES {
        return Err(Errno::EINVAL);
    }
    let mut numbers = [0; NUMBERS];
    let given = bytes.min(KNOWN);
    for (number, offset) in numbers.iter_mut().zip((0..given).step_by(8)) {
        let at = at.checked_add(offset).ok_or(Errno::EFAULT)?;
        let mut word = get::<8>(at)?;
        // Of a word that is given in part, the rest is zero.
        word[(given - offset).min(8) as usize..].fill(0);
        *number = u64::from_le_bytes(word);
    }
    for offset in KNOWN..bytes {
        let at = at.checked_add(offset).ok_or(Errno::EFAULT)?;
        if get::<1>(at)? != [0] {
            return Err(Errno::E2BIG);
        }
    }
    let number = |at| Ok(i32::from_le_bytes(get(at)?));
    let mut request = Request::of_clone3(numbers, bytes, number)?;
    request.tls =
        if request.has(flag::SETTLS) { abi::thread_local(request.tls, segment_base)? } else { 0 };
    fork::clone(regs, request)
}

/// fork: a child with a copy of the caller's memory.
fn fork(regs: &SavedRegs) -> SysResult {
    fork::clone(regs, Request { exit_signal: Signal::CHLD.number(), ..Request::default() })
}

/// vfork: a child in the caller's memory, which sleeps until the child is done with it.
fn vfork(regs: &SavedRegs) -> SysResult {
    let flags = flag::VM | flag::VFORK;
    fork::clone(regs, Request { flags, exit_signal: Signal::CHLD.number(), ..Request::default() })
}

/// execve: another program, by its path.
fn execve(regs: &mut SavedRegs, at: u64, argv: u64, envp: u64) -> SysResult {
    let path = path(at)?;
    let here = current_task().place().directory();
    let named = Named {
        file: program(&here, &path, true)?,
        path: Cow::Owned(path),
        is_gone_by_then: false,
        by_descriptor: false,
    };
    become_program(regs, named, argv, envp)
}

/// execveat: another program, by a path that is seen from an open directory, or by a descriptor
/// alone.
fn execveat(regs: &mut SavedRegs, [directory, at, argv, envp, flags, _]: [u64; 6]) -> SysResult {
    const SYMLINK_NOFOLLOW: u64 = 0x100;
    const EMPTY_PATH: u64 = 0x1000;
    let flags = flags & 0xffff_ffff;
    let path = as_text(string(at, MAX_PATH)?)?;
    if path.is_empty() && flags & EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    if flags & !(SYMLINK_NOFOLLOW | EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = flags & SYMLINK_NOFOLLOW == 0;
    let here = current_task().place().directory();
    if path.starts_with('/') || directory as i32 == HERE as i32 {
        if path.is_empty() {
            // The current directory, which is no program.
            return Err(Errno::EACCES);
        }
        let named = Named {
            file: program(&here, &path, follow)?,
            path: Cow::Owned(path),
            is_gone_by_then: false,
            by_descriptor: false,
        };
        return become_program(regs, named, argv, envp);
    }
    let number = directory & 0xffff_ffff;
    let descriptor = current_task().files().lock().get(number)?;
    let file = if path.is_empty() {
        exec::program::of_descriptor_number(number)?
    } else {
        exec::program::open(Route::new(&descriptor.file.directory()?, &path)?, follow)?
    };
    // The path by which the program, or what runs it, could open the file again.
    let mut name = Text::new();
    let slash = if path.is_empty() { "" } else { "/" };
    write!(name, "/dev/fd/{number}{slash}{path}").map_err(|_| Errno::ENOMEM)?;
    let named = Named {
        file,
        path: Cow::Owned(name.into_string()),
        is_gone_by_then: descriptor.close_on_exec,
        by_descriptor: path.is_empty(),
    };
    drop((descriptor, path));
    become_program(regs, named, argv, envp)
}

/// The file that a path leads to, if it may be run.
fn program(directory: &Standing, path: &str, follow: bool) -> Result<Executable, Errno> {
    let route = Route::new(directory, path)?;
    exec::program::open(route.copy()?, follow).map_err(|error| {
        // What is made there when it is opened is no program; what is not there says so.
        match walk::find(route, follow) {
            Ok(Place::Made(path)) => proc::stat(&path).err().unwrap_or(error),
            _ => error,
        }
    })
}

fn become_program(regs: &mut SavedRegs, named: Named<'_>, argv: u64, envp: u64) -> SysResult {
    // What does not fit on the new stack is refused before it is copied.
    let mut left = abi::stack_image::string_limit(current().limits.soft(Resource::Stack))
        .checked_sub(named.path.len() + 1)
        .ok_or(Errno::E2BIG)?;
    let argv = strings(argv, &mut left)?;
    let envp = strings(envp, &mut left)?;
    exec::execve::execve(regs, named, argv, envp)
}

/// The number a thread has in its namespace: the first one's is the process's.
fn thread_number() -> u64 {
    current_task().number()
}

fn parent_number() -> u64 {
    let process = current();
    process.parent_in(&process.space)
}

fn set_tid_address(at: u64) -> SysResult {
    task::set_clear_on_exit(at);
    Ok(thread_number())
}
