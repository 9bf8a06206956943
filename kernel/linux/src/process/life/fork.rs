//! fork, vfork, clone and clone3: a thread that joins a process, or a process that enters the
//! table.

use super::birth::unborn;
use super::clone_request::{Request, check_namespaces, flag};
use crate::abi;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use crate::files::open::Files;
use crate::limits::Resource;
use crate::process::apart_state::Parts;
use crate::process::filters::seccomp;
use crate::process::hardware::sequences;
use crate::process::hardware::shadow::{self, Heir};
use crate::process::identity::credentials::{Credentials, capability};
use crate::process::identity::users;
use crate::process::names::{host, ipc, ipc_spaces, namespaces, numbers, pidfd};
use crate::process::sending::shared_signals::Stop;
use crate::process::task::{self, Task};
use crate::process::time::{cpu_limit, share};
use crate::process::tracing::state::{event, option};
use crate::process::tracing::{halt, tracer};
use crate::process::{Process, current, current_arc, current_task, table};
use crate::spaces::pid::{self, Hold, Own, Space};
use crate::spaces::time::{self, TimeSpace};
use crate::spaces::user::{self, Users};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::record::AccountId;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::report::on_purpose;
use threads::sched::{self, SpawnError, StackError, Thread};

/// The highest number that is given out (`kernel.pid_max`): behind it the lowest that are free.
pub(crate) static MAX_NUMBER: AtomicU64 = AtomicU64::new(HIGHEST);
/// The most that it can be.
pub(crate) const HIGHEST: u64 = 4 << 20;
/// The numbers below are not given out twice.
pub(crate) const RESERVED: u64 = 300;
/// The last one that was given out below the highest for the second time, or later.
static LAST_AGAIN: AtomicU64 = AtomicU64::new(RESERVED);

/// The highest number that a caller has chosen: the count steps over those that are in use.
static HIGHEST_CHOSEN: AtomicU64 = AtomicU64::new(0);

/// A number for a thread or process in the first namespace: the one that was chosen, or the next
/// one.
fn new_number(chosen: Option<u64>) -> Result<u64, Errno> {
    if let Some(number) = chosen {
        if table::is_in_use(number) {
            return Err(Errno::EEXIST);
        }
        HIGHEST_CHOSEN.fetch_max(number, Ordering::SeqCst);
        return Ok(number);
    }
    loop {
        let number = sched::thread::next_id().get();
        let highest = MAX_NUMBER.load(Ordering::Relaxed);
        if number >= highest {
            return number_again(highest);
        }
        if number > HIGHEST_CHOSEN.load(Ordering::SeqCst) || !table::is_in_use(number) {
            return Ok(number);
        }
    }
}

/// Whether the caller may choose these numbers for one in a namespace (`alloc_pid`).
fn check_chosen(numbers: &[u64], space: &Own, mine: &Credentials) -> Result<(), Errno> {
    let mut at = space;
    for (index, &number) in numbers.iter().enumerate() {
        if index > space.as_ref().map_or(0, |space| space.level()) {
            return Err(Errno::EINVAL);
        }
        if number == 0 || number >= MAX_NUMBER.load(Ordering::Relaxed) {
            return Err(Errno::EINVAL);
        }
        let owner = at.as_ref().and_then(|space| space.owner.clone());
        if !mine.can_in(&owner, capability::CHECKPOINT_RESTORE)
            && !mine.can_in(&owner, capability::SYS_ADMIN)
        {
            return Err(Errno::EPERM);
        }
        if let Some(inner) = at {
            if number != 1 && inner.last() == 0 {
                return Err(Errno::EINVAL);
            }
            at = inner.parent();
        }
    }
    Ok(())
}

/// Descriptors of its own.
fn copy_of(files: &SpinLock<Files>) -> Result<Arc<SpinLock<Files>>, Errno> {
    Ok(fallible::shared(SpinLock::new(files.lock().try_clone()?))?)
}

/// What a new thread has apart from its process: what it does not share, and what its maker has.
fn parts_for(request: &Request) -> Result<Parts, Errno> {
    let maker = current_task();
    let mut parts = maker.parts();
    if !request.has(flag::FILES) {
        parts.files = Some(copy_of(&maker.files())?);
    }
    if !request.has(flag::FS) {
        parts.place = Some(maker.place().copy()?);
    }
    Ok(parts)
}

/// A number that has been given out before, and is free. `EAGAIN`: none is.
fn number_again(highest: u64) -> Result<u64, Errno> {
    for _ in RESERVED..highest {
        let after = |last: u64| Some(if last + 1 < highest { last + 1 } else { RESERVED });
        let last = LAST_AGAIN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, after);
        let number = last.ok().and_then(after).unwrap_or(RESERVED);
        let is_thread =
            |number| sched::try_all().map(|all| all.iter().any(|one| one.id().get() == number));
        if !table::is_in_use(number) && !is_thread(number)? {
            return Ok(number);
        }
    }
    Err(Errno::EAGAIN)
}

/// The process of what is about to be: the caller's, or a new one.
fn process_for(
    request: &Request,
    number: (u64, Option<Hold>),
    whose: &Arc<Credentials>,
) -> Result<Arc<Process>, Errno> {
    if request.has(flag::THREAD) {
        return Ok(current_arc());
    }
    let parent = current();
    let memory = parent.memory().ok_or(Errno::ENOMEM)?;
    let memory = if request.has(flag::VM) { memory } else { memory.lock().fork()? };
    let maker = current_task();
    let files = maker.files();
    let files = if request.has(flag::FILES) { files } else { copy_of(&files)? };
    let place = if request.has(flag::FS) { maker.place() } else { maker.place().copy()? };
    let child = unborn(number, Some(parent), memory, (files, place), parent.name())?;
    child.set_credentials(whose.clone());
    let exit_signal = if request.has(flag::PARENT) {
        child.parent.store(parent.parent.load(Ordering::Relaxed), Ordering::Relaxed);
        parent.exit_signal.load(Ordering::Relaxed)
    } else {
        request.exit_signal
    };
    child.exit_signal.store(exit_signal, Ordering::Relaxed);
    if request.has(flag::NEW_MOUNTS) {
        // The place is the child's own: with FS it was refused.
        drop(child.place().set_mounts(Some(namespaces::copy_of_mounts(&whose.space)?)));
    }
    if time::exist() && !request.has(flag::VM) {
        child.enter_times(maker.times_of_children());
    }
    if request.has(flag::NEW_TIME) {
        let own = TimeSpace::like(&maker.times_of_children(), whose.space.clone())?;
        child.enter_times(Some(own));
    }
    cpu_limit::watch(&child)?;
    if request.has(flag::NEW_HOST) {
        *child.host.lock() = host::copy(&whose.space)?;
    }
    if request.has(flag::NEW_IPC) {
        ipc::enter(&child, ipc_spaces::fresh(&whose.space)?);
    }
    if request.has(flag::SIGHAND) {
        let shared = parent.signals.lock().actions.share();
        let own = core::mem::replace(&mut child.signals.lock().actions, shared);
        drop(own);
    }
    if request.has(flag::CLEAR_SIGHAND) {
        child.signals.lock().actions.forget_handlers();
    }
    Ok(child)
}

/// Whether there are signals that the caller takes before it returns.
fn has_signals() -> bool {
    let of_process = current().signals.lock().pending.set();
    let of_task = current_task().signals.lock();
    !of_process.union(of_task.pending.set()).without(of_task.blocked).is_empty()
}

/// A new thread has its maker's policy and nice value, or begins as a normal one, if that is asked
/// for (`SCHED_RESET_ON_FORK`). Whether it does.
fn inherit_policy(task: &Task) -> bool {
    use crate::process::task::policy::{FIFO, OTHER, RESET_ON_FORK, ROUND_ROBIN};
    let maker = current_task();
    let policy = maker.policy.load(Ordering::Relaxed);
    let nice = maker.nice.load(Ordering::Relaxed);
    if policy & RESET_ON_FORK == 0 {
        task.policy.store(policy, Ordering::Relaxed);
        task.nice.store(nice, Ordering::Relaxed);
        return false;
    }
    let is_real_time = matches!(policy & !RESET_ON_FORK, FIFO | ROUND_ROBIN);
    let kept = if is_real_time { OTHER } else { policy & !RESET_ON_FORK };
    task.policy.store(kept, Ordering::Relaxed);
    task.nice.store(if is_real_time { 0 } else { nice.max(0) }, Ordering::Relaxed);
    true
}

/// A thread has the segments of its address space. A thread that gives some to all threads of it
/// finds the new one: it is among all threads before this looks.
fn inherit_segments(process: &Process, thread: &Thread) {
    if let Some(memory) = process.memory() {
        let segments = memory.lock().segments.clone();
        if let Some(segments) = segments {
            thread.give_segments(segments);
        }
    }
    if sched::current().has_odd_segments() {
        thread.look_at_segments();
    }
}

/// Makes what was asked for; its number.
pub(crate) fn clone(regs: &SavedRegs, request: Request) -> SysResult {
    make(regs, request).inspect_err(|_| current_task().birth.abandon(&current().membership))
}

/// The thread of what is being born, whose stack its control group pays for.
fn spawn(
    task: &Arc<Task>,
    process: &Process,
    regs: &SavedRegs,
    id: u64,
) -> Result<Arc<Thread>, Errno> {
    let account = || current_task().birth.account(&current().membership);
    loop {
        let asked = account();
        let owned = task::owned(task.clone());
        match sched::spawn_user(owned, process.name(), regs, id, asked) {
            // It was moved meanwhile, and the group removed that it was in.
            Err(SpawnError::Stack(StackError::OverLimit)) if asked != account() => {}
            // What copy_process says of it; the limit of all stacks is as one of all threads.
            Err(SpawnError::Stack(StackError::OverLimit)) if asked != AccountId::SYSTEM => {
                return Err(Errno::ENOMEM);
            }
            made => return Ok(made?),
        }
    }
}

fn make(regs: &SavedRegs, request: Request) -> SysResult {
    let parent = current();
    let mine = current_task().credentials();
    // Who makes a user namespace may make others in it.
    request.check(mine.can_here(capability::SYS_ADMIN) || request.has(flag::NEW_USER))?;
    let limit = parent.limits.soft(Resource::Processes);
    let whose = match request.has(flag::NEW_USER) {
        false => mine.clone(),
        true => fallible::shared(mine.in_new_space(is_in_root(), limit)?)?,
    };
    let is_unlimited = mine.user.real == 0
        || mine.can(capability::SYS_RESOURCE)
        || mine.can(capability::SYS_ADMIN);
    // What is pending is for the caller alone: it is delivered first, and the call is made again
    // (`copy_process`, `recalc_sigpending`).
    if !request.has(flag::THREAD) && has_signals() {
        return Err(Errno::ERESTARTNOINTR);
    }
    if request.has(flag::PARENT) && (parent.is_first || parent.is_init()) {
        return Err(Errno::EINVAL);
    }
    if !is_unlimited && users::has_no_room(&whose, limit) {
        return Err(Errno::EAGAIN);
    }
    let is_thread = request.has(flag::THREAD);
    current_task().birth.begin(&parent.membership, is_thread)?;
    on_purpose::in_clone();
    let is_in_our_memory = request.has(flag::VM);
    let memory = parent.memory().ok_or(Errno::ENOMEM)?;
    if is_in_our_memory {
        memory.lock().has_threads = true;
    }
    let space = space_for(&request, &whose)?;
    check_chosen(&request.numbers, &space, &mine)?;
    let level = space.as_ref().map_or(0, |space| space.level());
    let number = new_number(request.numbers.get(level).copied())?;
    let highest = MAX_NUMBER.load(Ordering::Relaxed);
    let hold = numbers::give(number, &space, &request.numbers, highest)?;
    let numbers = hold.as_ref().map(|hold| hold.numbers().clone());
    let (of_process, of_thread) = if is_thread { (None, hold) } else { (hold, None) };
    let process = process_for(&request, (number, of_process), &whose)?;
    let mut child_regs = *regs;
    abi::set_result(&mut child_regs, 0);
    if request.stack != 0 {
        abi::set_stack(&mut child_regs, request.stack);
    }
    if request.has(flag::SETTLS) {
        abi::set_tls(&mut child_regs, request.tls);
    }
    let thread = {
        let mask = current_task().signals.lock().blocked;
        let parts = if is_thread { parts_for(&request)? } else { Parts::default() };
        let task = Task::new(process.clone(), mask, whose, parts)?;
        if !is_in_our_memory || request.has(flag::VFORK) {
            // In the same memory or a copy of it: so is the alternate stack.
            let stack = current_task().signals.lock().stack;
            task.signals.lock().stack = stack;
        }
        if request.has(flag::CHILD_CLEARTID) {
            task.clear_on_exit.store(request.child_word, Ordering::Relaxed);
        }
        if is_thread {
            task.local.store(number, Ordering::Relaxed);
        }
        task.set_numbers(of_thread);
        if time::exist() && is_in_our_memory {
            task.set_times_of_children(current_task().times_of_children());
        }
        *task.name.lock() = *current_task().name.lock();
        let ports = current_task().ports.lock().clone();
        *task.ports.lock() = ports;
        let id = if !request.numbers.is_empty() { sched::thread::next_id().get() } else { number };
        let is_normal = inherit_policy(&task);
        let thread = spawn(&task, &process, &child_regs, id)?;
        if is_normal {
            sched::set_rank(&thread, 0, true);
            share::weigh(&thread, &task);
        }
        let heir = match (is_in_our_memory, request.has(flag::VFORK)) {
            (false, _) => Heir::Copy,
            (true, true) => Heir::Borrower,
            (true, false) => Heir::Thread,
        };
        shadow::inherit(&task, &thread, heir, request.stack_bytes)?;
        if !is_in_our_memory {
            sequences::inherit(&task, &thread);
        }
        inherit_segments(&process, &thread);
        thread
    };
    let not_born = |_: &Errno| {
        tracer::not_born(&thread);
        if let Some(task) = task::of(&thread) {
            shadow::give_back(task);
        }
    };
    thread.set_number(number);
    if request.has(flag::SETTLS) {
        thread.set_user_tls(request.tls);
    }
    if request.has(flag::CHILD_SETTID)
        && let Some(memory) = process.memory()
    {
        let own = numbers.as_ref().map_or(number, |numbers| numbers.own());
        let word = (own as u32).to_le_bytes();
        let _bad_pointer_is_ignored = memory.lock().write(request.child_word, &word);
    }
    // What the caller calls it.
    let told = numbers.map_or(number, |numbers| numbers.in_space(&parent.space));
    // The child is not told of it: its descriptors are a copy already.
    let descriptor = if request.has(flag::PIDFD) {
        let of_thread = is_thread.then_some(&*thread);
        Some(pidfd::give(&process, of_thread, request.descriptor_word).inspect_err(not_born)?)
    } else {
        None
    };
    let borrows = request.has(flag::VFORK) && !is_thread;
    if borrows {
        process.borrows_memory.store(true, Ordering::Release);
    }
    let close_pidfd = |_: &Errno| descriptor.into_iter().for_each(pidfd::take_back);
    let event = event_of(&request);
    tracer::inherit(&thread, event.map_or(0, |(asked, _)| asked)).inspect_err(|error| {
        not_born(error);
        close_pidfd(error);
    })?;
    // From the first of these two on, others know of it; what fails before leaves nothing behind.
    process.crew.join(&thread).inspect_err(|error| {
        not_born(error);
        close_pidfd(error);
    })?;
    // A thread that changes the filters of all finds it among them, or has changed the caller's.
    parent.crew.with(|_no_change| seccomp::inherit(&thread));
    if is_thread && process.signals.lock().stop != Stop::Running {
        // It was not there when the others were told.
        thread.notify();
    }
    if !is_thread {
        table::enter(&process, Some(parent)).inspect_err(|error| {
            process.crew.disband();
            not_born(error);
            close_pidfd(error);
        })?;
    }
    current_task().birth.complete(&process.membership);
    if request.has(flag::PARENT_SETTID) {
        let word = (told as u32).to_le_bytes();
        let _bad_pointer_is_ignored = memory.lock().write(request.parent_word, &word);
    }
    sched::start(&thread);
    let mut seen = *regs;
    if let Some((asked, event)) = event {
        halt::at_event(&mut seen, asked, event, number);
    }
    if borrows {
        let wait =
            process.changed.wait_unless_killed(|| !process.borrows_memory.load(Ordering::Acquire));
        // Killed meanwhile: the child continues alone.
        let _killed = wait;
        halt::at_event(&mut seen, option::VFORK_DONE, event::VFORK_DONE, number);
    }
    Ok(told)
}

/// Which option of a tracer asks to be told of a birth, and as what; `None`: none does.
fn event_of(request: &Request) -> Option<(u32, u32)> {
    const UNTRACED: u64 = 0x80_0000;
    if request.has(UNTRACED) {
        None
    } else if request.has(flag::VFORK) {
        Some((option::VFORK, event::VFORK))
    } else if request.exit_signal != Signal::CHLD.number() {
        Some((option::CLONE, event::CLONE))
    } else {
        Some((option::FORK, event::FORK))
    }
}

/// The PID namespace of what is asked for. A thread is in that of its process, and not where the
/// caller's children are to be in another.
fn space_for(request: &Request, whose: &Credentials) -> Result<Own, Errno> {
    let own = &current().space;
    let of_children = current_task().space_of_children();
    let is_same = pid::is_same(own, &of_children);
    if !is_same && request.has(flag::THREAD | flag::NEW_PID) {
        return Err(Errno::EINVAL);
    }
    if !request.has(flag::NEW_PID) {
        return Ok(of_children);
    }
    below(own, &whose.space).map(Some)
}

/// A PID namespace below another one; `EINVAL`: it would belong to a user namespace that does not
/// lie in that one's.
fn below(own: &Own, users: &Users) -> Result<Arc<Space>, Errno> {
    let outer = own.as_ref().and_then(|own| own.owner.clone());
    if !user::is_within(users, &outer) {
        return Err(Errno::EINVAL);
    }
    Space::below(own, users.clone())
}

/// Whether the caller's root is that of its mounts.
fn is_in_root() -> bool {
    current_task().place().root_directory().is_none()
}

/// unshare: what `CLONE_FILES` and `CLONE_FS` share becomes the calling thread's own.
pub(crate) fn unshare(flags: u64) -> SysResult {
    const SYSTEM_V: u64 = 0x4_0000;
    let known = flag::THREAD
        | flag::FS
        | flag::SIGHAND
        | flag::VM
        | flag::FILES
        | SYSTEM_V
        | flag::NAMESPACES
        | flag::NEW_TIME;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let process = current();
    let is_alone = process.crew.count() == 1;
    let for_one = flag::THREAD | flag::SIGHAND | flag::VM | flag::NEW_USER;
    if flags & for_one != 0 && !is_alone {
        return Err(Errno::EINVAL);
    }
    let memory = process.memory().ok_or(Errno::EINVAL)?;
    if flags & flag::VM != 0 && Arc::strong_count(&memory) > 2 {
        return Err(Errno::EINVAL);
    }
    let mine = current_task().credentials();
    let is_new_user = flags & flag::NEW_USER != 0;
    check_namespaces(flags, mine.can_here(capability::SYS_ADMIN) || is_new_user)?;
    let whose = match is_new_user {
        false => mine,
        true => {
            let limit = process.limits.soft(Resource::Processes);
            fallible::shared(mine.in_new_space(is_in_root(), limit)?)?
        }
    };
    let own_space = if flags & flag::NEW_PID != 0 {
        if !pid::is_same(&process.space, &current_task().space_of_children()) {
            return Err(Errno::EINVAL);
        }
        Some(below(&process.space, &whose.space)?)
    } else {
        None
    };
    let own_times = match flags & flag::NEW_TIME {
        0 => None,
        _ => {
            let before = current_task().times_of_children();
            Some(TimeSpace::like(&before, whose.space.clone())?)
        }
    };
    let own_mounts = match flags & flag::NEW_MOUNTS {
        0 => None,
        _ => Some(namespaces::copy_of_mounts(&whose.space)?),
    };
    if flags & flag::NEW_HOST != 0 {
        let own = host::copy(&whose.space)?;
        let before = core::mem::replace(&mut *process.host.lock(), own);
        drop(before);
    }
    if flags & flag::NEW_IPC != 0 {
        ipc::enter(process, ipc_spaces::fresh(&whose.space)?);
    }
    if flags & flag::FILES != 0 {
        current_task().unshare_files()?;
    }
    if flags & (flag::FS | flag::NEW_MOUNTS | flag::NEW_USER) != 0 {
        current_task().unshare_place()?;
    }
    if let Some(own) = own_mounts {
        drop(current_task().place().set_mounts(Some(own)));
    }
    if own_space.is_some() {
        current_task().set_space_of_children(own_space);
    }
    if own_times.is_some() {
        current_task().set_times_of_children(own_times);
    }
    if is_new_user {
        current_task().set_credentials(whose);
    }
    Ok(0)
}
