//! execve: the calling process becomes another program.

use super::load::{self, Loaded, Terms};
use super::program::{self, Executable, base_name, joined};
use super::script;
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::files::standing::Standing;
use crate::files::text;
use crate::memory::space::Memory;
use crate::process::filters::user_dispatch;
use crate::process::hardware::{sequences, shadow};
use crate::process::identity::credentials::{Credentials, SetIds};
use crate::process::life::exit::stop_borrowing;
use crate::process::running::Running;
use crate::process::task::AlternateStack;
use crate::process::time::timers;
use crate::process::tracing::{halt, tracer};
use crate::process::user_memory::Strings;
use crate::process::walk::Route;
use crate::process::{current, current_task};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use threads::sched;

/// Scripts that may be run by scripts.
const MAX_SCRIPTS: usize = 5;

/// The file that a call names, and how the new program knows it.
#[derive(Debug)]
pub(crate) struct Named<'n> {
    pub(crate) file: Executable,
    /// The path that the program is called by: `AT_EXECFN`, and what an interpreter of a script
    /// gets.
    pub(crate) path: Cow<'n, str>,
    /// The descriptor it was named by is closed before an interpreter could open it.
    pub(crate) is_gone_by_then: bool,
    /// There is no path but that of the descriptor: the process is called as the file is.
    pub(crate) by_descriptor: bool,
}

/// What is run in the end, and with which arguments.
struct Chosen<'a> {
    file: Executable,
    bytes: Cow<'static, [u8]>,
    argv: Vec<Cow<'a, [u8]>>,
}

/// Follows scripts to the program that runs them.
fn choose<'a>(
    file: Executable,
    path: &str,
    is_gone_by_then: bool,
    directory: &Standing,
    argv: &[&'a [u8]],
) -> Result<Chosen<'a>, Errno> {
    let mut bytes = file.bytes()?;
    let mut file = file;
    // Of the scripts, the last one's words last: arguments before those that the caller gave.
    let mut before: Vec<Vec<u8>> = Vec::new();
    let mut called = fallible::bytes(&text::to_bytes(path)?)?;
    let mut scripts = 0;
    while let Some(line) = script::first_line(&bytes) {
        let line = line.map_err(|script::Unreadable| Errno::ENOEXEC)?;
        if is_gone_by_then {
            return Err(Errno::ENOENT);
        }
        scripts += 1;
        if scripts > MAX_SCRIPTS {
            return Err(Errno::ELOOP);
        }
        // The name that it was called by gives way to what runs it.
        before.pop();
        fallible::push(&mut before, called)?;
        if let Some(argument) = line.argument {
            fallible::push(&mut before, fallible::bytes(argument)?)?;
        }
        called = fallible::bytes(line.program)?;
        fallible::push(&mut before, fallible::bytes(line.program)?)?;
        let path = text::of_bytes(fallible::bytes(line.program)?)?;
        file = program::open(Route::new(directory, &path)?, true)?;
        bytes = file.bytes()?;
    }
    // CAREFUL: no arguments are one empty argument, which gives way to a script's.
    let given = if scripts > 0 { argv.get(1..).unwrap_or(&[]) } else { argv };
    let words = before.into_iter().rev().map(Cow::Owned);
    let argv = fallible::collect(words.chain(given.iter().map(|&word| Cow::Borrowed(word))))?;
    Ok(Chosen { file, bytes, argv })
}

/// A program that is loaded, and how its process is called.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    pub(super) executable: Arc<Running>,
    pub(super) command_line: Arc<Vec<u8>>,
    /// As whom it runs; `None`: the kernel starts it.
    pub(super) whose: Option<Credentials>,
}

/// Chooses what is run and loads it: all that can fail of it, in frames that are gone afterwards.
#[inline(never)]
pub(super) fn prepare(
    file: Executable,
    (path, is_gone_by_then): (&str, bool),
    directory: &Standing,
    argv: &[&[u8]],
    envp: &[&[u8]],
    (terms, before): (Terms, Option<&Credentials>),
) -> Result<Prepared, Errno> {
    let chosen = choose(file, path, is_gone_by_then, directory, argv)?;
    let whose = match before {
        // Who traces it must not become another user by it.
        Some(before) if tracer::holds_back() => Some(before.after_execve(SetIds::default())),
        Some(before) => Some(before.after_execve(chosen.file.set_ids()?)),
        None => None,
    };
    let identity = whose.as_ref().map_or([0; 5], Credentials::told_to_program);
    let is_secure = whose.as_ref().is_some_and(Credentials::is_secure);
    let terms = Terms { identity, is_fixed: terms.is_fixed && !is_secure, ..terms };
    let envp = fallible::collect(envp.iter().map(|&variable| Cow::Borrowed(variable)))?;
    let loaded = {
        let file = (&chosen.bytes[..], Some(chosen.file.object()?));
        load::load(file, directory, &text::to_bytes(path)?, &chosen.argv, &envp, &terms)?
    };
    let command_line = joined(&chosen.argv)?;
    Ok(Prepared { loaded, executable: chosen.file.begin()?, command_line, whose })
}

/// execve: the calling process becomes another program. Does not return on success, but through the
/// registers.
pub(crate) fn execve(
    regs: &mut SavedRegs,
    named: Named<'_>,
    argv: Strings,
    envp: Strings,
) -> SysResult {
    let process = current();
    let directory = current_task().place().directory();
    let Named { file, path, is_gone_by_then, by_descriptor } = named;
    let name = match by_descriptor {
        true => fallible::text(base_name(&file.known.path()?))?,
        false => fallible::text(base_name(&path))?,
    };
    let before = current_task().credentials();
    let Prepared { loaded, executable, command_line, whose } = {
        let (argv, envp) = (argv.list()?, envp.list()?);
        let (limits, is_fixed) = (process.memory_limits(), process.has_fixed_layout());
        let terms = Terms { limits, is_fixed, identity: [0; 5] };
        prepare(file, (&path, is_gone_by_then), &directory, &argv, &envp, (terms, Some(&before)))?
    };
    drop(before);
    drop((argv, envp, path));
    let fresh = sched::fresh_registers().map_err(|_| Errno::ENOMEM)?;
    let memory = loaded.memory;
    let root = memory.lock().tables_root();
    Memory::enter(&memory)?;
    let task = current_task();
    task.unshare_files()?;
    let whose = whose.unwrap_or_else(|| task.credentials().after_execve(SetIds::default()));
    let is_secure = whose.is_secure();
    let whose = fallible::shared(whose)?;
    let own_actions = {
        let signals = process.signals.lock();
        if signals.actions.are_shared() { Some(signals.actions.try_clone()?) } else { None }
    };
    process.crew.begin_alone()?;
    // An error: the process is on its way out, and its new program would not run either.
    process.changed.wait_unless_killed(|| process.crew.is_alone()).map_err(|_| Errno::EINTR)?;
    process.crew.end_alone();
    // Nothing fails from here on.
    let old = process.set_memory(Some(memory));
    let thread = sched::current();
    thread.set_tables_root(root);
    thread.forget_segments();
    let former = thread.number();
    task.begin_as_first();
    task.begin_times();
    sched::start_afresh(&fresh);
    shadow::start_afresh();
    task.clear_on_exit.store(0, Ordering::Relaxed);
    task.robust_list.store(0, Ordering::Relaxed);
    user_dispatch::forget_own();
    sequences::forget_own();
    task.signals.lock().stack = AlternateStack::default();
    drop(old);
    process.set_name(&name);
    task.begin_program_as(whose);
    process.attributes.is_dumpable.store(!is_secure, Ordering::Relaxed);
    if is_secure {
        process.attributes.begin_secure_program();
    }
    let write_or_execute = process.attributes.write_or_execute_of_next();
    process.attributes.write_or_execute.store(write_or_execute, Ordering::Relaxed);
    process.attributes.begin_program(loaded.reads_imply_instructions);
    *task.name.lock() = None;
    let before = process.executable.lock().replace(executable);
    drop(before);
    let before = core::mem::replace(&mut *process.command_line.lock(), command_line);
    drop(before);
    let shared_actions = {
        let mut signals = process.signals.lock();
        let before = own_actions.map(|own| core::mem::replace(&mut signals.actions, own));
        signals.actions.forget_handlers();
        before
    };
    drop(shared_actions);
    timers::delete_made(process);
    loop {
        // Dropped without the lock, one at a time: there is no memory to be had for a list.
        let closed = task.files().lock().take_close_on_exec();
        if closed.is_none() {
            break;
        }
    }
    stop_borrowing(process);
    *regs = abi::start(loaded.entry, loaded.sp);
    drop(name);
    halt::at_exec(regs, former);
    Ok(0)
}
