//! Birth and death of processes: run, fork, clone, execve, exit, wait. Each is one of three steps that `crew` and `table` decide: a
//! thread joins, a thread leaves, a process enters.

use super::crew::Crew;
use super::error::{Errno, SysResult};
use super::files::{Files, OpenFile, Target};
use super::memory::Memory;
use super::signals::{self, Actions, SIGKILL};
use super::syscall::Strings;
use super::table::{self, Which};
use super::{Process, abi, calls_misc, current, current_arc, load, owned, tree};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Mutex, Name, SpawnError, Thread, WaitQueue};
use threads::time;

/// Clone flags (Linux).
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
pub(super) const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;

/// Why a program did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecError(pub Errno);

impl ExecError {
    /// The status a shell would give.
    pub fn shell_status(&self) -> i32 {
        if self.0 == Errno::ENOENT { 127 } else { 126 }
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Errno::ENOENT => "no such program",
            Errno::ENOEXEC => "not a static program for this machine (ENOEXEC)",
            Errno::ENOMEM => "not enough memory (ENOMEM)",
            Errno::E2BIG => "too many arguments (E2BIG)",
            Errno::EACCES | Errno::EISDIR => "not an executable file",
            other => other.name(),
        })
    }
}

/// Reads a program from the tree.
fn program(directory: &str, path: &str) -> Result<Cow<'static, [u8]>, Errno> {
    let node = tree::find(directory, path, true)?;
    if let tree::Content::Fixed(bytes) = node.content {
        return Ok(Cow::Borrowed(bytes));
    }
    let bytes = usize::try_from(node.bytes()).map_err(|_| Errno::ENOMEM)?;
    let mut file = Vec::new();
    file.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    file.resize(bytes, 0);
    let read = node.read_at(0, &mut file).map_err(|_| Errno::EACCES)?;
    file.truncate(read);
    Ok(Cow::Owned(file))
}

/// A process that is in no table yet and has no thread.
fn unborn(
    id: u64,
    parent: Option<&Process>,
    memory: Arc<Mutex<Memory>>,
    files: Files,
    name: Name,
) -> Result<Arc<Process>, Errno> {
    let of_parent = |number: fn(&Process) -> &AtomicU64, alone: u64| {
        AtomicU64::new(parent.map_or(alone, |parent| number(parent).load(Ordering::Relaxed)))
    };
    let text = |of: fn(&Process) -> &SpinLock<Arc<String>>, first: &str| match parent {
        Some(parent) => Ok(of(parent).lock().clone()),
        None => fallible::shared(fallible::text(first)?),
    };
    let (command_line, actions) = match parent {
        Some(parent) => (parent.command_line.lock().clone(), parent.actions.lock().try_clone()?),
        None => (fallible::shared(Vec::new())?, Actions::new()),
    };
    Ok(fallible::shared(Process {
        id,
        parent: AtomicU64::new(parent.map_or(0, |parent| parent.id)),
        group: of_parent(|parent| &parent.group, id),
        session: of_parent(|parent| &parent.session, id),
        is_first: parent.is_none(),
        memory: SpinLock::new(Some(memory)),
        files: SpinLock::new(files),
        directory: SpinLock::new(text(|parent| &parent.directory, "/")?),
        name: SpinLock::new(name),
        executable: SpinLock::new(text(|parent| &parent.executable, "")?),
        command_line: SpinLock::new(command_line),
        crew: Crew::new(),
        ended: SpinLock::new(None),
        changed: WaitQueue::new(),
        borrows_memory: AtomicBool::new(false),
        actions: SpinLock::new(actions),
    })?)
}

fn joined(argv: &[Vec<u8>]) -> Result<Arc<Vec<u8>>, Errno> {
    let mut line = Vec::new();
    let bytes = argv.iter().map(|argument| argument.len() + 1).sum();
    line.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    for argument in argv {
        // CANNOT FAIL: reserved above.
        line.extend_from_slice(argument);
        line.push(0);
    }
    Ok(fallible::shared(line)?)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl From<SpawnError> for Errno {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Stack(sched::StackError::OverLimit) => Self::EAGAIN,
            _ => Self::ENOMEM,
        }
    }
}

/// Starts a program as the kernel's child; its process and its first thread.
fn start(
    path: &str,
    argv: &[&[u8]],
    output: Arc<OpenFile>,
) -> Result<(Arc<Process>, Arc<Thread>), Errno> {
    let mut arguments = Vec::new();
    for argument in argv {
        fallible::push(&mut arguments, fallible::bytes(argument)?)?;
    }
    let mut envp = Vec::new();
    for variable in ["PATH=/bin:/kstack/bin", "HOME=/", "TERM=vt100"] {
        fallible::push(&mut envp, fallible::bytes(variable.as_bytes())?)?;
    }
    let file = program("/", path)?;
    let loaded = load::load(&file, path.as_bytes(), &arguments, &envp)?;
    drop(file);
    let files = Files::standard(OpenFile::new(Target::Console)?, output)?;
    let memory = fallible::shared(Mutex::new(loaded.memory))?;
    let id = sched::thread::next_id();
    let process = unborn(id, None, memory, files, Name::new(base_name(path)))?;
    *process.command_line.lock() = joined(&arguments)?;
    *process.executable.lock() = fallible::shared(fallible::text(path)?)?;
    let regs = abi::start(loaded.entry, loaded.sp);
    let thread = sched::spawn_user(owned(process.clone()), process.name(), &regs, id)?;
    process.crew.join(&thread)?;
    table::enter(&process, None).inspect_err(|_| process.crew.disband())?;
    sched::start(&thread);
    Ok((process, thread))
}

/// Starts a program as the kernel's child and waits for it. Its status: 0 to 255, or 128 + signal.
fn start_and_wait(path: &str, argv: &[&[u8]], output: Arc<OpenFile>) -> Result<i32, ExecError> {
    let (process, thread) = start(path, argv, output).map_err(ExecError)?;
    let mut ended = None;
    process.changed.wait_uninterruptibly(|| {
        ended = process.status();
        ended.is_some()
    });
    thread.join();
    let status = ended.unwrap_or(0);
    Ok(if status & 0x7f != 0 { 128 + (status & 0x7f) } else { status >> 8 & 0xff })
}

/// Runs a program on the console; waits for it.
pub fn run(path: &str, argv: &[&[u8]]) -> Result<i32, ExecError> {
    start_and_wait(path, argv, OpenFile::new(Target::Console).map_err(ExecError)?)
}

/// Runs a program; waits for it and gives out what it wrote.
pub fn run_captured(path: &str, argv: &[&[u8]]) -> Result<(i32, Vec<u8>), ExecError> {
    let no_memory = |_| ExecError(Errno::ENOMEM);
    let bytes = fallible::shared(SpinLock::new(Vec::new())).map_err(no_memory)?;
    let output = OpenFile::new(Target::Capture(bytes.clone())).map_err(ExecError)?;
    let status = start_and_wait(path, argv, output)?;
    let output = core::mem::take(&mut *bytes.lock());
    Ok((status, output))
}

/// fork, vfork and clone.
pub(super) fn clone(
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
        let memory = if is_in_our_memory {
            memory.clone()
        } else {
            let copy = memory.lock().fork()?;
            fallible::shared(Mutex::new(copy))?
        };
        let files = parent.files.lock().try_clone()?;
        unborn(id, Some(parent), memory, files, parent.name())?
    };
    let mut child_regs = *regs;
    abi::set_result(&mut child_regs, 0);
    if stack != 0 {
        abi::set_stack(&mut child_regs, stack);
    }
    if flags & CLONE_SETTLS != 0 {
        abi::set_tls(&mut child_regs, tls);
    }
    let thread = sched::spawn_user(owned(process.clone()), process.name(), &child_regs, id)?;
    if flags & CLONE_SETTLS != 0 {
        thread.set_user_tls(tls);
    }
    if flags & CLONE_CHILD_CLEARTID != 0 {
        thread.clear_on_exit.store(child_tid, Ordering::Relaxed);
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
        let wait = process.changed.wait_until(|| !process.borrows_memory.load(Ordering::Acquire));
        // Killed meanwhile: the child goes on alone.
        let _killed = wait;
    }
    Ok(id)
}

/// execve: the calling process becomes another program. Does not return on success, but through the registers.
pub(super) fn execve(regs: &mut SavedRegs, path: &str, argv: Strings, envp: Strings) -> SysResult {
    let process = current();
    let directory = process.directory.lock().clone();
    let executable = match path {
        "/proc/self/exe" => process.executable.lock().clone(),
        path => fallible::shared(tree::absolute(&directory, path)?)?,
    };
    let file = program("/", &executable)?;
    let loaded = load::load(&file, path.as_bytes(), &argv.list()?, &envp.list()?)?;
    drop((file, envp));
    let command_line = fallible::shared(argv.into_bytes())?;
    let fresh = sched::fresh_registers().map_err(|_| Errno::ENOMEM)?;
    let root = loaded.memory.tables_root();
    let memory = fallible::shared(Mutex::new(loaded.memory))?;
    process.crew.begin_alone()?;
    // An error: the process is on its way out, and its new program would not run either.
    process.changed.wait_until(|| process.crew.is_alone()).map_err(|_| Errno::EINTR)?;
    process.crew.end_alone();
    // Nothing fails from here on.
    let old = process.set_memory(Some(memory));
    let thread = sched::current();
    thread.set_tables_root(root);
    thread.set_number(process.id);
    sched::start_afresh(fresh);
    thread.clear_on_exit.store(0, Ordering::Relaxed);
    drop(old);
    process.set_name(base_name(&executable));
    let before = core::mem::replace(&mut *process.executable.lock(), executable);
    drop(before);
    let before = core::mem::replace(&mut *process.command_line.lock(), command_line);
    drop(before);
    process.actions.lock().forget_handlers();
    loop {
        // Dropped without the lock, one at a time: there is no memory to be had for a list.
        let closed = process.files.lock().take_close_on_exec();
        if closed.is_none() {
            break;
        }
    }
    stop_borrowing(process);
    *regs = abi::start(loaded.entry, loaded.sp);
    Ok(0)
}

fn stop_borrowing(process: &Process) {
    if process.borrows_memory.swap(false, Ordering::AcqRel) {
        process.changed.wake_all();
    }
}

/// Ends the calling thread; the last one ends the process, with this wait status if no other was decided.
pub(super) fn exit_thread(status: i32) -> ! {
    {
        let process = current();
        let thread = sched::current();
        let clear = thread.clear_on_exit.load(Ordering::Relaxed);
        if clear != 0
            && let Some(memory) = process.memory()
        {
            let _bad_pointer_is_ignored = memory.lock().write(clear, &0_u32.to_le_bytes());
            calls_misc::futex_wake(clear, u64::MAX);
        }
        calls_misc::futex_forget(thread.id());
        thread.unpin_all();
        // Off the process's tables before they can go.
        thread.set_tables_root(0);
        match process.crew.leave(thread) {
            Some(decided) => end(process, decided.unwrap_or(status)),
            // One that starts another program may wait to be alone.
            None => process.changed.wake_all(),
        }
    }
    sched::exit_current()
}

fn end(process: &Process, status: i32) {
    let files = core::mem::take(&mut *process.files.lock());
    drop(files);
    drop(process.set_memory(None));
    stop_borrowing(process);
    let parent = table::end(process, status);
    process.changed.wake_all();
    if let Some(parent) = parent {
        parent.changed.wake_all();
    }
}

/// Ends the calling process with an exit code, unless it is ending already.
pub(super) fn exit_group(code: i32) -> ! {
    let status = (code & 0xff) << 8;
    current().crew.end(status);
    exit_thread(status)
}

/// Ends the calling process as by a fatal signal.
pub fn kill_current(signal: i32) -> ! {
    {
        let process = current();
        process.crew.end(signal);
        let (id, name) = (process.id, process.name());
        tell(format_args!("process {id} ({name}) is killed by signal {signal}"));
    }
    exit_thread(signal)
}

/// Logs what became of a process: as often as is of use, since programs can have this as often as they like.
pub(super) fn tell(what: fmt::Arguments<'_>) {
    /// So many in one period are told.
    const MOST: u32 = 16;
    const PERIOD_NANOSECONDS: u64 = 5_000_000_000;
    static PERIOD: AtomicU64 = AtomicU64::new(0);
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let period = time::nanoseconds() / PERIOD_NANOSECONDS;
    if PERIOD.swap(period, Ordering::Relaxed) != period {
        let told = TOLD.swap(0, Ordering::Relaxed);
        if told > MOST {
            log!("{} more lines about processes were left out", told - MOST);
        }
    }
    if TOLD.fetch_add(1, Ordering::Relaxed) < MOST {
        log!("{what}");
    }
}

/// Before user mode: does this thread have to die?
pub fn die_if_killed(_regs: &mut SavedRegs) {
    if sched::current().killed() {
        // What was decided counts; a thread alone is killed for a new program.
        exit_thread(SIGKILL as i32);
    }
}

/// Sends a signal to a process.
pub(super) fn send_signal(process: &Process, signal: u64) -> SysResult {
    signals::send(process, signal);
    Ok(0)
}

/// wait4: the number and status of a child that has ended.
pub(super) fn wait(which: i64, no_hang: bool) -> Result<Option<(u64, i32)>, Errno> {
    let me = current();
    let which = Which::of(which, me);
    let mut found = Ok(None);
    me.changed
        .wait_until(|| {
            found = table::take_ended(me.id, which);
            no_hang || !matches!(found, Ok(None))
        })
        .map_err(|_| Errno::EINTR)?;
    let child = found?;
    Ok(child.and_then(|child| Some((child.id, child.status()?))))
}

/// The text of a path argument.
pub(super) fn as_text(bytes: Vec<u8>) -> Result<String, Errno> {
    String::from_utf8(bytes).map_err(|_| Errno::ENOENT)
}
