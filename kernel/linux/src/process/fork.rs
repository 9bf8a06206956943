//! fork, vfork and clone: a thread that joins a process, or a process that enters the table.

use super::birth::unborn;
use super::task::{self, Task};
use super::{current, current_arc, current_task, table};
use crate::abi;
use crate::error::{Errno, SysResult};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use threads::sched;

/// Clone flags (Linux).
pub(crate) const CLONE_VM: u64 = 0x100;
pub(crate) const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
pub(crate) const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;

/// fork, vfork and clone.
pub(crate) fn clone(
    regs: &SavedRegs,
    flags: u64,
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
) -> SysResult {
    let parent = current();
    let memory = parent.memory().ok_or(Errno::ENOMEM)?;
    let is_thread = flags & CLONE_THREAD != 0;
    let is_in_our_memory = flags & CLONE_VM != 0;
    if is_thread && !is_in_our_memory {
        return Err(Errno::EINVAL);
    }
    if is_in_our_memory {
        memory.lock().has_threads = true;
    }
    let id = sched::thread::next_id();
    let process = if is_thread {
        current_arc()
    } else {
        let memory = if is_in_our_memory { memory.clone() } else { memory.lock().fork()? };
        let files = parent.files.lock().try_clone()?;
        let child = unborn(id, Some(parent), memory, files, parent.name())?;
        // The lowest byte of the flags is the signal at its end.
        child.exit_signal.store(flags as u8, Ordering::Relaxed);
        child
    };
    let mut child_regs = *regs;
    abi::set_result(&mut child_regs, 0);
    if stack != 0 {
        abi::set_stack(&mut child_regs, stack);
    }
    if flags & CLONE_SETTLS != 0 {
        abi::set_tls(&mut child_regs, tls);
    }
    let thread = {
        let mask = current_task().signals.lock().blocked;
        let task = Task::new(process.clone(), mask)?;
        if !is_in_our_memory || flags & CLONE_VFORK != 0 {
            // In the same memory or a copy of it: so is the alternate stack.
            let stack = current_task().signals.lock().stack;
            task.signals.lock().stack = stack;
        }
        if flags & CLONE_CHILD_CLEARTID != 0 {
            task.clear_on_exit.store(child_tid, Ordering::Relaxed);
        }
        sched::spawn_user(task::owned(task), process.name(), &child_regs, id)?
    };
    if flags & CLONE_SETTLS != 0 {
        thread.set_user_tls(tls);
    }
    if flags & CLONE_CHILD_SETTID != 0
        && let Some(memory) = process.memory()
    {
        let _bad_pointer_is_ignored = memory.lock().write(child_tid, &(id as u32).to_le_bytes());
    }
    let borrows = flags & CLONE_VFORK != 0 && !is_thread;
    process.borrows_memory.store(borrows, Ordering::Release);
    // From the first of these two on, others know of it; what fails before leaves nothing behind.
    process.crew.join(&thread)?;
    if !is_thread {
        table::enter(&process, Some(parent)).inspect_err(|_| process.crew.disband())?;
    }
    if flags & CLONE_PARENT_SETTID != 0 {
        let _bad_pointer_is_ignored = memory.lock().write(parent_tid, &(id as u32).to_le_bytes());
    }
    sched::start(&thread);
    if borrows {
        let wait =
            process.changed.wait_unless_killed(|| !process.borrows_memory.load(Ordering::Acquire));
        // Killed meanwhile: the child goes on alone.
        let _killed = wait;
    }
    Ok(id)
}
