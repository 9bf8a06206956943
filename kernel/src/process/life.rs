//! Birth and death of processes: run, fork, clone, execve, exit, wait.

use super::error::{Errno, SysResult};
use super::files::{Files, OpenFile, Target};
use super::memory::Memory;
use super::syscall::Strings;
use super::{NEXT_ID, Process, TABLE, abi, current, find, load, tree};
use crate::arch::regs::SavedRegs;
use crate::sched::{self, SpawnError, Thread, WaitQueue};
use crate::sync::{Mutex, SpinLock};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

const SIGKILL: i32 = 9;
const SIGCHLD: u64 = 17;

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
pub struct ExecError(pub(crate) Errno);

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

fn new_process(parent: u64, memory: Arc<Mutex<Memory>>, files: Files, name: &str) -> Arc<Process> {
    let process = Arc::new(Process {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        parent: AtomicU64::new(parent),
        memory: SpinLock::new(Some(memory)),
        files: SpinLock::new(files),
        directory: SpinLock::new("/".to_string()),
        name: SpinLock::new(name.to_string()),
        executable: SpinLock::new(String::new()),
        command_line: SpinLock::new(Vec::new()),
        threads: SpinLock::new(Vec::new()),
        fatal_signal: AtomicI32::new(0),
        group_status: AtomicI32::new(-1),
        ended: SpinLock::new(None),
        changed: WaitQueue::new(),
        borrows_memory: AtomicBool::new(false),
        actions: SpinLock::new(BTreeMap::new()),
    });
    TABLE.lock().push(process.clone());
    process
}

fn forget(process: &Process) {
    TABLE.lock().retain(|other| other.id != process.id);
}

fn add_thread(process: &Process, thread: &Arc<Thread>) {
    process.threads.lock().push(Arc::downgrade(thread));
}

fn joined(argv: &[Vec<u8>]) -> Vec<u8> {
    argv.iter().flat_map(|argument| argument.iter().copied().chain([0])).collect()
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Starts a program as the kernel's child and waits for it. Its status: 0 to 255, or 128 + signal.
fn start_and_wait(path: &str, argv: &[&[u8]], output: Arc<OpenFile>) -> Result<i32, ExecError> {
    let argv: Vec<Vec<u8>> = argv.iter().map(|argument| argument.to_vec()).collect();
    let envp = [b"PATH=/bin:/kstack/bin".to_vec(), b"HOME=/".to_vec(), b"TERM=vt100".to_vec()];
    let file = program("/", path).map_err(ExecError)?;
    let loaded = load::load(&file, path.as_bytes(), &argv, &envp).map_err(ExecError)?;
    drop(file);
    let files = Files::standard(OpenFile::new(Target::Console), output);
    let memory = Arc::new(Mutex::new(loaded.memory));
    let process = new_process(0, memory, files, base_name(path));
    *process.command_line.lock() = joined(&argv);
    *process.executable.lock() = path.to_string();
    let regs = abi::start(loaded.entry, loaded.sp);
    let thread = match sched::spawn_user(process.clone(), &regs) {
        Ok(thread) => thread,
        Err(_) => {
            forget(&process);
            return Err(ExecError(Errno::ENOMEM));
        }
    };
    add_thread(&process, &thread);
    sched::start(&thread);
    let mut status = 0;
    process.changed.wait_uninterruptibly(|| match *process.ended.lock() {
        Some(ended) => {
            status = ended;
            true
        }
        None => false,
    });
    forget(&process);
    thread.join();
    Ok(if status & 0x7f != 0 { 128 + (status & 0x7f) } else { status >> 8 & 0xff })
}

/// Runs a program on the console; waits for it.
pub fn run(path: &str, argv: &[&[u8]]) -> Result<i32, ExecError> {
    start_and_wait(path, argv, OpenFile::new(Target::Console))
}

/// Runs a program; waits for it and gives out what it wrote.
pub fn run_captured(path: &str, argv: &[&[u8]]) -> Result<(i32, Vec<u8>), ExecError> {
    let bytes = Arc::new(SpinLock::new(Vec::new()));
    let status = start_and_wait(path, argv, OpenFile::new(Target::Capture(bytes.clone())))?;
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
    if is_thread && flags & CLONE_VM == 0 {
        return Err(Errno::EINVAL);
    }
    let process = if is_thread {
        memory.lock().has_threads = true;
        parent.clone()
    } else {
        let child_memory = if flags & CLONE_VM != 0 {
            memory.lock().has_threads = true;
            memory.clone()
        } else {
            Arc::new(Mutex::new(memory.lock().fork()?))
        };
        let files = parent.files.lock().clone();
        let child = new_process(parent.id, child_memory, files, &parent.name());
        *child.directory.lock() = parent.directory.lock().clone();
        *child.executable.lock() = parent.executable.lock().clone();
        *child.command_line.lock() = parent.command_line.lock().clone();
        *child.actions.lock() = parent.actions.lock().clone();
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
    let thread = match sched::spawn_user(process.clone(), &child_regs) {
        Ok(thread) => thread,
        Err(error) => {
            if !is_thread {
                forget(&process);
            }
            return Err(match error {
                SpawnError::Stack(sched::StackError::OverLimit) => Errno::EAGAIN,
                _ => Errno::ENOMEM,
            });
        }
    };
    add_thread(&process, &thread);
    if flags & CLONE_SETTLS != 0 {
        thread.set_user_tls(tls);
    }
    let id = if is_thread { thread.id() } else { process.id };
    if flags & CLONE_PARENT_SETTID != 0 {
        let _bad_pointer_is_ignored = memory.lock().write(parent_tid, &(id as u32).to_le_bytes());
    }
    if flags & CLONE_CHILD_SETTID != 0
        && let Some(memory) = process.memory()
    {
        let _bad_pointer_is_ignored = memory.lock().write(child_tid, &(id as u32).to_le_bytes());
    }
    if flags & CLONE_CHILD_CLEARTID != 0 {
        thread.clear_on_exit.store(child_tid, Ordering::Relaxed);
    }
    let borrows = flags & CLONE_VFORK != 0;
    process.borrows_memory.store(borrows && !is_thread, Ordering::Release);
    sched::start(&thread);
    if borrows && !is_thread {
        let wait = process.changed.wait_until(|| !process.borrows_memory.load(Ordering::Acquire));
        // Killed meanwhile: the child goes on alone.
        let _killed = wait;
    }
    Ok(id)
}

/// execve: the calling process becomes another program. Does not return on success, but through the registers.
pub(super) fn execve(regs: &mut SavedRegs, path: &str, argv: Strings, envp: Strings) -> SysResult {
    let process = current();
    if process.live_threads().len() > 1 {
        log!("execve in a process with several threads is not there yet");
        return Err(Errno::EAGAIN);
    }
    let directory = process.directory.lock().clone();
    let executable = match path {
        "/proc/self/exe" => process.executable.lock().clone(),
        path => alloc::format!("/{}", tree::absolute(&directory, path).join("/")),
    };
    let file = program("/", &executable)?;
    let loaded = load::load(&file, path.as_bytes(), &argv.list()?, &envp.list()?)?;
    drop((file, envp));
    let root = loaded.memory.tables_root();
    let old = process.set_memory(Some(Arc::new(Mutex::new(loaded.memory))));
    let thread = sched::current();
    thread.set_tables_root(root);
    sched::start_afresh();
    thread.clear_on_exit.store(0, Ordering::Relaxed);
    drop(old);
    process.set_name(base_name(&executable));
    *process.executable.lock() = executable;
    *process.command_line.lock() = argv.into_bytes();
    let closed = process.files.lock().close_on_exec();
    drop(closed);
    stop_borrowing(process);
    *regs = abi::start(loaded.entry, loaded.sp);
    Ok(0)
}

fn stop_borrowing(process: &Process) {
    if process.borrows_memory.swap(false, Ordering::AcqRel) {
        process.changed.wake_all();
    }
}

/// Ends the calling thread; the last one ends the process, with this wait status.
pub(super) fn exit_thread(status: i32) -> ! {
    {
        let process = current();
        let thread = sched::current();
        let clear = thread.clear_on_exit.load(Ordering::Relaxed);
        if clear != 0
            && let Some(memory) = process.memory()
        {
            let _bad_pointer_is_ignored = memory.lock().write(clear, &0_u32.to_le_bytes());
            super::calls_misc::futex_wake(clear, u64::MAX);
        }
        // Off the process's tables before they can go.
        thread.set_tables_root(0);
        let last = {
            let mut threads = process.threads.lock();
            threads.retain(|other| !core::ptr::eq(other.as_ptr(), thread));
            threads.is_empty()
        };
        if last {
            let fatal = process.fatal_signal.load(Ordering::Acquire);
            // Whichever thread is the last: what ends all of them says how the process ended.
            let group = process.group_status.load(Ordering::Acquire);
            end(
                process,
                if fatal != 0 {
                    fatal
                } else if group >= 0 {
                    group
                } else {
                    status
                },
            );
        }
        thread.unpin_all();
    }
    sched::exit_current()
}

fn end(process: &Arc<Process>, status: i32) {
    let files = core::mem::take(&mut *process.files.lock());
    drop(files);
    drop(process.set_memory(None));
    stop_borrowing(process);
    for child in
        super::all().iter().filter(|other| other.parent.load(Ordering::Relaxed) == process.id)
    {
        // The kernel waits for nobody: those that have ended go now.
        child.parent.store(0, Ordering::Relaxed);
        if child.ended.lock().is_some() {
            forget(child);
        }
    }
    *process.ended.lock() = Some(status);
    process.changed.wake_all();
    let parent = process.parent.load(Ordering::Relaxed);
    match find(parent) {
        Some(parent) => parent.changed.wake_all(),
        None => forget(process),
    }
}

/// Ends the calling process with an exit code.
pub(super) fn exit_group(code: i32) -> ! {
    let status = (code & 0xff) << 8;
    let process = current();
    // The first one counts.
    let _first =
        process.group_status.compare_exchange(-1, status, Ordering::AcqRel, Ordering::Relaxed);
    kill_other_threads(process);
    exit_thread(status)
}

fn kill_other_threads(process: &Process) {
    for thread in process.live_threads() {
        if !core::ptr::eq(&*thread, sched::current()) {
            thread.kill();
        }
    }
}

/// Ends the calling process as by a fatal signal.
pub fn kill_current(signal: i32) -> ! {
    {
        let process = current();
        process.fatal_signal.store(signal, Ordering::Release);
        log!("process {} ({}) is killed by signal {signal}", process.id, process.name());
        kill_other_threads(process);
    }
    exit_thread(signal)
}

/// Before user mode: does this thread have to die?
pub fn die_if_killed(_regs: &mut SavedRegs) {
    if sched::current().killed() {
        let fatal = current().fatal_signal.load(Ordering::Acquire);
        exit_thread(if fatal != 0 { fatal } else { SIGKILL });
    }
}

/// The handler's address, the first word.
fn handler(action: &[u8; abi::SIGACTION_BYTES]) -> u64 {
    let mut word = [0; 8];
    word[..abi::WORD.bytes()].copy_from_slice(&action[..abi::WORD.bytes()]);
    u64::from_le_bytes(word)
}

/// Sends a signal. Handlers are not called yet; a signal with a handler, and one that is ignored, does nothing.
pub(super) fn send_signal(process: &Arc<Process>, signal: u64) -> SysResult {
    const IGNORED_BY_DEFAULT: [u64; 4] = [SIGCHLD, 18, 23, 28];
    if signal == 0 || signal > 64 {
        return if signal == 0 { Ok(0) } else { Err(Errno::EINVAL) };
    }
    let action = process.actions.lock().get(&signal).map_or(0, handler);
    let is_fatal = match action {
        0 => !IGNORED_BY_DEFAULT.contains(&signal),
        _ => signal == SIGKILL as u64,
    };
    if is_fatal {
        process.fatal_signal.store(signal as i32, Ordering::Release);
        for thread in process.live_threads() {
            thread.kill();
        }
    }
    Ok(0)
}

/// wait4: the number and status of a child that has ended.
pub(super) fn wait(which: i64, no_hang: bool) -> Result<Option<(u64, i32)>, Errno> {
    let me = current();
    let mut found = Ok(None);
    me.changed
        .wait_until(|| {
            let children: Vec<_> = super::all()
                .into_iter()
                .filter(|child| child.parent.load(Ordering::Relaxed) == me.id)
                .filter(|child| which <= 0 || child.id == which as u64)
                .collect();
            if children.is_empty() {
                found = Err(Errno::ECHILD);
                return true;
            }
            for child in children {
                if let Some(status) = *child.ended.lock() {
                    found = Ok(Some((child.id, status)));
                    return true;
                }
            }
            no_hang
        })
        .map_err(|_| Errno::EINTR)?;
    if let Ok(Some((id, _))) = found
        && let Some(child) = find(id)
    {
        forget(&child);
    }
    found
}

/// The text of a path argument.
pub(super) fn as_text(bytes: Vec<u8>) -> Result<String, Errno> {
    String::from_utf8(bytes).map_err(|_| Errno::ENOENT)
}
