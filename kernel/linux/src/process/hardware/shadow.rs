//! Shadow stacks of programs: which thread has one, of what size, and what signals do to it. What
//! is on one is [`kstack::shadow`]'s; how the processor uses it, the machine's.
//!
//! | what happens | to the shadow stack |
//! | --- | --- |
//! | a thread enables it | one is made, for the growing stack's limit; on arm64 a thread does so once |
//! | a thread disables it | on x86_64 it is unmapped, on arm64 it stays |
//! | clone of a thread (CLONE_VM without CLONE_VFORK) | one of its own, for its stack's size if clone3 says it |
//! | fork, vfork | the child continues on the same one: a copy, or its parent's |
//! | execve | the thread has none |
//! | the thread ends | the one that the kernel made is unmapped; what map_shadow_stack made is the program's |
//! | a signal | two words more, and two fewer at the handler's end |

use super::shadow_state::Shadow;
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::limits::Resource;
use crate::process::task::Task;
#[cfg(target_pointer_width = "64")]
use crate::process::user_memory::put;
use crate::process::{Process, current, current_task};
use kstack::shadow::{self, Form, mode};
use machine::arch::{cpu, extras};
use threads::sched::{self, Thread};

/// The form of a processor that has them.
fn form() -> Result<Form, Errno> {
    extras::shadow_form().ok_or(Errno::EINVAL)
}

fn set_own(pointer: u64, mode: u64) {
    let me = sched::current();
    cpu::without_interrupts(|| {
        me.has_extras();
        me.extras().set_own_shadow(pointer, mode);
    });
}

/// Makes a shadow stack for a stack of so many bytes (0: unknown). Where it is, and how large.
fn make(form: Form, stack_bytes: u64) -> Result<(u64, u64), Errno> {
    let process = current();
    let limit = process.limits.soft(Resource::Stack);
    let bytes = shadow::stack_bytes(form, stack_bytes, limit);
    let memory = process.memory().ok_or(Errno::ENOMEM)?;
    let lowest = memory.lock().map_shadow_stack(None, bytes)?;
    Ok((lowest, bytes))
}

/// Where a new shadow stack's pointer is: on arm64 at its last word, which no return may take.
const fn first_pointer(form: Form, top: u64) -> u64 {
    match form {
        Form::X86_64 => top,
        Form::Arm64 => top - shadow::WORD,
    }
}

/// prctl(PR_SET_SHADOW_STACK_STATUS).
pub(crate) fn set_status(wanted: u64) -> SysResult {
    let form = form()?;
    if wanted & !(mode::ENABLED | mode::STORES | mode::PUSHES) != 0 {
        return Err(Errno::EINVAL);
    }
    let task = current_task();
    let mut now = *task.shadow.lock();
    check_locked(&now, wanted)?;
    let mut pointer = if now.mode == 0 && now.bytes == 0 { 0 } else { extras::shadow_pointer() };
    if wanted & mode::ENABLED != 0 && !now.is_on() {
        // Only once: what is on an old one is worth nothing.
        if now.bytes != 0 || pointer != 0 {
            return Err(Errno::EINVAL);
        }
        (now.lowest, now.bytes) = make(form, 0)?;
        pointer = first_pointer(form, now.lowest + now.bytes);
    }
    now.mode = wanted;
    *task.shadow.lock() = now;
    set_own(pointer, wanted);
    Ok(0)
}

/// What is locked stays as it is.
fn check_locked(now: &Shadow, wanted: u64) -> Result<(), Errno> {
    if (now.mode ^ wanted) & now.locked != 0 { Err(Errno::EBUSY) } else { Ok(()) }
}

/// prctl(PR_GET_SHADOW_STACK_STATUS).
pub(crate) fn status() -> SysResult {
    form()?;
    Ok(current_task().shadow.lock().mode)
}

/// prctl(PR_LOCK_SHADOW_STACK_STATUS): bits that mean nothing yet, too.
pub(crate) fn lock(bits: u64) -> SysResult {
    form()?;
    current_task().shadow.lock().locked |= bits;
    Ok(0)
}

/// arch_prctl(ARCH_SHSTK_…): what x86_64 has for the three above. Where the processor has none,
/// what is locked is kept, and nothing can be enabled.
#[cfg(target_pointer_width = "64")]
pub(crate) fn arch_prctl(code: u64, value: u64) -> SysResult {
    const DISABLE: u64 = 0x5002;
    const LOCK: u64 = 0x5003;
    const STATUS: u64 = 0x5005;
    let task = current_task();
    match code {
        STATUS => {
            let mode = task.shadow.lock().mode;
            put(value, &mode.to_le_bytes())?;
            Ok(0)
        }
        LOCK => {
            task.shadow.lock().locked |= value;
            Ok(0)
        }
        _ if value & task.shadow.lock().locked != 0 => Err(Errno::EPERM),
        // Unlocking is a tracer's: by that code a thread enables, as on Linux.
        _ => match (value, code != DISABLE) {
            (mode::ENABLED, true) => enable(),
            (mode::ENABLED, false) => disable(),
            (mode::STORES, wanted) => allow_stores(wanted),
            // One at a time.
            _ => Err(Errno::EINVAL),
        },
    }
}

/// Gives the calling thread a shadow stack, a new one each time.
#[cfg(target_pointer_width = "64")]
fn enable() -> SysResult {
    let task = current_task();
    let mut now = *task.shadow.lock();
    if now.is_on() {
        return Ok(0);
    }
    let form = extras::shadow_form().ok_or(Errno::EOPNOTSUPP)?;
    (now.lowest, now.bytes) = make(form, 0)?;
    now.mode = mode::ENABLED;
    *task.shadow.lock() = now;
    set_own(first_pointer(form, now.lowest + now.bytes), now.mode);
    Ok(0)
}

/// Takes it away, and stores to any.
#[cfg(target_pointer_width = "64")]
fn disable() -> SysResult {
    let _form = extras::shadow_form().ok_or(Errno::EOPNOTSUPP)?;
    let task = current_task();
    let before = *task.shadow.lock();
    if before.is_on() {
        set_own(0, 0);
        *task.shadow.lock() = Shadow { locked: before.locked, ..Shadow::default() };
        unmap(&before, current());
    }
    Ok(0)
}

/// Whether the calling thread, whose shadow stack is on, may store to shadow stacks by the
/// instruction for it.
#[cfg(target_pointer_width = "64")]
fn allow_stores(wanted: bool) -> SysResult {
    let _form = extras::shadow_form().ok_or(Errno::EOPNOTSUPP)?;
    let task = current_task();
    let mut now = *task.shadow.lock();
    if !now.is_on() {
        return Err(Errno::EPERM);
    }
    now.mode = if wanted { now.mode | mode::STORES } else { now.mode & !mode::STORES };
    *task.shadow.lock() = now;
    set_own(extras::shadow_pointer(), now.mode);
    Ok(0)
}

/// map_shadow_stack, which 64-bit machines have: one that a program switches to by itself.
#[cfg(target_pointer_width = "64")]
pub(crate) fn map(at: u64, bytes: u64, flags: u64) -> SysResult {
    const SET_WORD: u64 = 1;
    const SET_MARKER: u64 = 2;
    const PAGE: u64 = 4096;
    let has_word = flags & SET_WORD != 0;
    let form = match abi::SHADOW_FORM {
        Some(Form::X86_64) => {
            const FOUR_GIB: u64 = 4 << 30;
            let form = extras::shadow_form().ok_or(Errno::EOPNOTSUPP)?;
            if flags & !SET_WORD != 0 {
                return Err(Errno::EINVAL);
            }
            if has_word && bytes < shadow::WORD {
                return Err(Errno::ENOSPC);
            }
            // No program of 32 bits could be switched to there by accident.
            if at != 0 && at < FOUR_GIB {
                return Err(Errno::ERANGE);
            }
            form
        }
        Some(Form::Arm64) | None => {
            if flags & !(SET_WORD | SET_MARKER) != 0 {
                return Err(Errno::EINVAL);
            }
            let form = extras::shadow_form().ok_or(Errno::EOPNOTSUPP)?;
            if bytes == shadow::WORD || !bytes.is_multiple_of(shadow::WORD) {
                return Err(Errno::EINVAL);
            }
            form
        }
    };
    let whole = bytes.checked_next_multiple_of(PAGE).ok_or(Errno::EOVERFLOW)?;
    // x86_64 rounds any size up, but a word has its place.
    let is_unaligned = !at.is_multiple_of(PAGE) || has_word && !bytes.is_multiple_of(shadow::WORD);
    if whole == 0 || is_unaligned {
        return Err(Errno::EINVAL);
    }
    let memory = current().memory().ok_or(Errno::ENOMEM)?;
    let mut memory = memory.lock();
    let lowest = memory.map_shadow_stack((at != 0).then_some(at), whole)?;
    if has_word {
        let words = if flags & SET_MARKER != 0 { 2 } else { 1 };
        let place = lowest + bytes - words * shadow::WORD;
        memory.write_shadow(place, form.switch_word(place))?;
    }
    Ok(lowest)
}

/// Who comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heir {
    /// A process in a copy of the memory.
    Copy,
    /// A process in its parent's memory, until it starts another program.
    Borrower,
    /// A thread.
    Thread,
}

/// What a new thread or process has of its creator's: for `task`, before `thread` runs.
pub(crate) fn inherit(
    task: &Task,
    thread: &Thread,
    heir: Heir,
    stack_bytes: u64,
) -> Result<(), Errno> {
    let mut mine = *current_task().shadow.lock();
    if mine.mode == 0 && mine.locked == 0 {
        return Ok(());
    }
    let Some(form) = extras::shadow_form() else {
        // What is locked is inherited where nothing can be enabled, too.
        *task.shadow.lock() = mine;
        return Ok(());
    };
    let pointer = if heir == Heir::Thread && mine.is_on() {
        (mine.lowest, mine.bytes) = make(form, stack_bytes)?;
        first_pointer(form, mine.lowest + mine.bytes)
    } else {
        if heir != Heir::Copy {
            // Its creator's, to be given back by that one.
            (mine.lowest, mine.bytes) = (0, 0);
        }
        extras::shadow_pointer()
    };
    *task.shadow.lock() = mine;
    thread.extras().set_shadow(pointer, mine.mode);
    thread.has_extras();
    Ok(())
}

/// What the kernel made for a thread goes with it: at its end, or when it was never born.
pub(crate) fn give_back(task: &Task) {
    let mine = core::mem::take(&mut *task.shadow.lock());
    unmap(&mine, &task.process);
}

fn unmap(mine: &Shadow, process: &Process) {
    if mine.bytes != 0
        && let Some(memory) = process.memory()
    {
        // What the program unmapped itself is not there, which is no error.
        let _no_room_for_two_pieces = memory.lock().unmap(mine.lowest, mine.lowest + mine.bytes);
    }
}

/// Another program: the calling thread has none, and nothing is locked.
pub(crate) fn start_afresh() {
    let before = core::mem::take(&mut *current_task().shadow.lock());
    if extras::shadow_form().is_some() && (before.mode != 0 || before.locked != 0) {
        set_own(0, 0);
    }
}

/// What a signal's frame says of it: the pointer that its end will find the kernel's word at, and
/// what is enabled. `None`: nothing is.
pub(crate) fn for_frame() -> Option<[u64; 2]> {
    extras::shadow_form()?;
    let mine = *current_task().shadow.lock();
    mine.is_on().then(|| [extras::shadow_pointer().wrapping_sub(shadow::WORD), mine.mode])
}

/// A signal is about to run a handler that will return to `return_address`.
pub(crate) fn push(return_address: u64) -> Result<(), Errno> {
    let Some(form) = extras::shadow_form() else { return Ok(()) };
    let mine = *current_task().shadow.lock();
    if !mine.is_on() {
        return Ok(());
    }
    let pushed = form.for_signal(extras::shadow_pointer(), return_address).ok_or(Errno::EFAULT)?;
    {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        let mut memory = memory.lock();
        extras::settle_shadow();
        let [lower, upper] = pushed.words;
        memory.write_shadow(pushed.pointer + shadow::WORD, upper)?;
        memory.write_shadow(pushed.pointer, lower)?;
        extras::settle_shadow();
    }
    set_own(pushed.pointer, mine.mode);
    Ok(())
}

/// A handler has ended. `said`: pointer and mode, if its frame had them.
pub(crate) fn pop(said: Option<[u64; 2]>) -> Result<(), Errno> {
    let Some(form) = extras::shadow_form() else {
        // A processor without: its frames have none.
        return if said.is_some() { Err(Errno::EFAULT) } else { Ok(()) };
    };
    let task = current_task();
    let mut mine = *task.shadow.lock();
    let mut pointer = extras::shadow_pointer();
    if let Some([at, wanted]) = said {
        let known = mode::ENABLED | mode::STORES | mode::PUSHES;
        if wanted & !known != 0 || wanted & mode::ENABLED != 0 && !mine.is_on() {
            return Err(Errno::EFAULT);
        }
        check_locked(&mine, wanted)?;
        mine.mode = if wanted & mode::ENABLED == 0 { 0 } else { wanted };
        pointer = at;
    }
    if mine.is_on() {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        let mut memory = memory.lock();
        extras::settle_shadow();
        let popped =
            form.pop(pointer, memory.read_shadow(pointer)?, abi::USER_TOP).ok_or(Errno::EFAULT)?;
        if popped.is_used_up {
            memory.write_shadow(pointer, 0)?;
            extras::settle_shadow();
        }
        pointer = popped.pointer;
    }
    if said.is_some() || mine.is_on() {
        task.shadow.lock().mode = mine.mode;
        set_own(pointer, mine.mode);
    }
    Ok(())
}
