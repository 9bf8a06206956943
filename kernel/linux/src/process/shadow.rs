//! Shadow stacks of programs: which thread has one, of what size, and what signals do to it. What
//! is on one is [`kstack::shadow`]'s; how the processor uses it, the machine's.
//!
//! | what happens | to the shadow stack |
//! | --- | --- |
//! | a thread enables it | one is made, for the growing stack's limit; a thread does so once |
//! | clone of a thread (CLONE_VM without CLONE_VFORK) | one of its own, for its stack's size if clone3 says it |
//! | fork, vfork | the child continues on the same one: a copy, or its parent's |
//! | execve | the thread has none |
//! | the thread ends | the one that the kernel made is unmapped; what map_shadow_stack made is the program's |
//! | a signal | two words more, and two fewer at the handler's end |

use super::shadow_state::Shadow;
use super::task::Task;
#[cfg(target_pointer_width = "64")]
use super::user_memory::put;
use super::{current, current_task};
use crate::error::{Errno, SysResult};
use crate::limits::Resource;
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

/// arch_prctl(ARCH_SHSTK_…): what x86_64 has for the three above. On a processor without shadow stacks, as all are here so far: what is
/// locked is kept, and nothing can be enabled.
#[cfg(target_pointer_width = "64")]
pub(crate) fn arch_prctl(code: u64, value: u64) -> SysResult {
    const ENABLE: u64 = 0x5001;
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
        ENABLE | DISABLE if value & task.shadow.lock().locked != 0 => Err(Errno::EPERM),
        // One at a time.
        ENABLE | DISABLE if matches!(value, mode::ENABLED | mode::STORES) => Err(Errno::EOPNOTSUPP),
        // Unlocking is a tracer's.
        _ => Err(Errno::EINVAL),
    }
}

/// map_shadow_stack, which 64-bit machines have: one that a program switches to by itself.
#[cfg(target_pointer_width = "64")]
pub(crate) fn map(at: u64, bytes: u64, flags: u64) -> SysResult {
    const SET_WORD: u64 = 1;
    const SET_MARKER: u64 = 2;
    const PAGE: u64 = 4096;
    if flags & !(SET_WORD | SET_MARKER) != 0 {
        return Err(Errno::EINVAL);
    }
    let form = extras::shadow_form().ok_or(Errno::EOPNOTSUPP)?;
    if !at.is_multiple_of(PAGE) || bytes == shadow::WORD || !bytes.is_multiple_of(shadow::WORD) {
        return Err(Errno::EINVAL);
    }
    let whole = bytes.checked_next_multiple_of(PAGE).ok_or(Errno::EOVERFLOW)?;
    if whole == 0 {
        return Err(Errno::EINVAL);
    }
    let memory = current().memory().ok_or(Errno::ENOMEM)?;
    let mut memory = memory.lock();
    let lowest = memory.map_shadow_stack((at != 0).then_some(at), whole)?;
    if flags & SET_WORD != 0 {
        let words = if flags & SET_MARKER != 0 { 2 } else { 1 };
        let place = lowest + bytes - words * shadow::WORD;
        memory.write_shadow(place, form.switch_word(place))?;
    }
    Ok(lowest)
}

/// What a new thread or process has of its creator's: for `task`, before `thread` runs. `is_alone`: in memory of its own, or its
/// parent's until it starts another program.
pub(crate) fn inherit(
    task: &Task,
    thread: &Thread,
    is_alone: bool,
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
    (mine.lowest, mine.bytes) = (0, 0);
    let pointer = if is_alone || !mine.is_on() {
        extras::shadow_pointer()
    } else {
        (mine.lowest, mine.bytes) = make(form, stack_bytes)?;
        first_pointer(form, mine.lowest + mine.bytes)
    };
    *task.shadow.lock() = mine;
    thread.extras().set_shadow(pointer, mine.mode);
    thread.has_extras();
    Ok(())
}

/// What the kernel made for a thread goes with it: at its end, or when it was never born.
pub(crate) fn give_back(task: &Task) {
    let mine = core::mem::take(&mut *task.shadow.lock());
    if mine.bytes != 0
        && let Some(memory) = task.process.memory()
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

/// What a signal's frame says of it: the pointer that its end will find the kernel's word at, and what is enabled. `None`: nothing
/// is.
pub(crate) fn for_frame() -> Option<[u64; 2]> {
    let mine = *current_task().shadow.lock();
    mine.is_on().then(|| [extras::shadow_pointer().wrapping_sub(shadow::WORD), mine.mode])
}

/// A signal is about to run a handler that will return to `way_back`.
pub(crate) fn push(way_back: u64) -> Result<(), Errno> {
    let mine = *current_task().shadow.lock();
    if !mine.is_on() {
        return Ok(());
    }
    let form = form()?;
    let pushed = form.for_signal(extras::shadow_pointer(), way_back).ok_or(Errno::EFAULT)?;
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
    let task = current_task();
    let mut mine = *task.shadow.lock();
    let Some(form) = extras::shadow_form() else {
        // A processor without: its frames have none.
        return if said.is_some() { Err(Errno::EFAULT) } else { Ok(()) };
    };
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
        let popped = form.pop(pointer, memory.read_shadow(pointer)?).ok_or(Errno::EFAULT)?;
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
