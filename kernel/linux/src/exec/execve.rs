//! execve: the calling process becomes another program.

use super::load::{self, Terms};
use super::program::{base_name, program};
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::files::tree;
use crate::process::exit::stop_borrowing;
use crate::process::task::AlternateStack;
use crate::process::user_memory::Strings;
use crate::process::{current, current_task};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use threads::sched;

/// execve: the calling process becomes another program. Does not return on success, but through the registers.
pub(crate) fn execve(regs: &mut SavedRegs, path: &str, argv: Strings, envp: Strings) -> SysResult {
    let process = current();
    let directory = process.place().directory();
    let executable = match path {
        "/proc/self/exe" => process.executable.lock().clone(),
        path => fallible::shared(tree::absolute(&directory, path)?)?,
    };
    let file = program("/", &executable)?;
    let terms = Terms { limits: process.memory_limits(), is_fixed: process.has_fixed_layout() };
    let loaded = load::load(file.file()?, path.as_bytes(), &argv.list()?, &envp.list()?, terms)?;
    drop((file, envp));
    let command_line = fallible::shared(argv.into_bytes())?;
    let fresh = sched::fresh_registers().map_err(|_| Errno::ENOMEM)?;
    let root = loaded.memory.tables_root();
    let memory = loaded.memory.enter()?;
    process.unshare_files()?;
    process.crew.begin_alone()?;
    // An error: the process is on its way out, and its new program would not run either.
    process.changed.wait_unless_killed(|| process.crew.is_alone()).map_err(|_| Errno::EINTR)?;
    process.crew.end_alone();
    // Nothing fails from here on.
    let old = process.set_memory(Some(memory));
    let (thread, task) = (sched::current(), current_task());
    thread.set_tables_root(root);
    thread.set_number(process.id);
    sched::start_afresh(fresh);
    task.clear_on_exit.store(0, Ordering::Relaxed);
    task.robust_list.store(0, Ordering::Relaxed);
    task.signals.lock().stack = AlternateStack::default();
    drop(old);
    process.set_name(base_name(&executable));
    process.credentials.lock().execute();
    process.attributes.is_dumpable.store(true, Ordering::Relaxed);
    *task.name.lock() = None;
    let before = core::mem::replace(&mut *process.executable.lock(), executable);
    drop(before);
    let before = core::mem::replace(&mut *process.command_line.lock(), command_line);
    drop(before);
    process.signals.lock().actions.forget_handlers();
    loop {
        // Dropped without the lock, one at a time: there is no memory to be had for a list.
        let closed = process.files().lock().take_close_on_exec();
        if closed.is_none() {
            break;
        }
    }
    stop_borrowing(process);
    *regs = abi::start(loaded.entry, loaded.sp);
    Ok(0)
}
