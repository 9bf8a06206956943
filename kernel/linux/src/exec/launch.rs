//! Programs that the kernel starts, and waits for.

use super::execve::{Prepared, prepare};
use super::load::Terms;
use super::program::{self, base_name};
use crate::abi;
use crate::abi::signals::SignalSet;
use crate::error::Errno;
use crate::files::console::{self, Holder};
use crate::files::open::{Files, OpenFile, Target, flag};
use crate::files::pipe::{Maker, Pipe};
use crate::memory::limits::Limits;
use crate::memory::space::Memory;
use crate::process::apart_state::Parts;
use crate::process::identity::permissions;
use crate::process::life::birth::unborn;
use crate::process::place::Place;
use crate::process::sending::notices;
use crate::process::sending::send;
use crate::process::task::{self, Task};
use crate::process::walk::Route;
use crate::process::{Process, table};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack::record::AccountId;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Name, Thread};
use threads::terminal::Size;

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
            Errno::ENOEXEC => "not a program for this machine (ENOEXEC)",
            Errno::ELIBBAD => "its loader is not one for this machine (ELIBBAD)",
            Errno::ENOMEM => "not enough memory (ENOMEM)",
            Errno::E2BIG => "too many arguments (E2BIG)",
            Errno::EACCES | Errno::EISDIR => "not an executable file",
            other => other.name(),
        })
    }
}

/// The number of the first program: no thread of the kernel has it.
const FIRST: u64 = 1;

/// Whether a program is about to be process 1. Several may be started at once.
static IS_TAKING_FIRST: AtomicBool = AtomicBool::new(false);

/// The claim to be process 1, until the process is in the table or is none.
struct Claim(bool);

impl Claim {
    /// Process 1 is looked for behind the claim: one that was there before is in the table by then.
    fn new() -> Self {
        Self(!IS_TAKING_FIRST.swap(true, Ordering::AcqRel))
    }

    fn number(&self, other: u64) -> u64 {
        if self.0 && !table::is_in_use(FIRST) { FIRST } else { other }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0 {
            IS_TAKING_FIRST.store(false, Ordering::Release);
        }
    }
}

/// What a program finds in its environment.
const VARIABLES: [&str; 3] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/kstack/bin",
    "HOME=/",
    "TERM=vt100",
];

/// The files of a program that the kernel starts.
#[inline(never)]
fn standard_files(
    input: Arc<OpenFile>,
    output: Arc<OpenFile>,
) -> Result<Arc<SpinLock<Files>>, Errno> {
    Ok(fallible::shared(SpinLock::new(Files::standard(input, output)?))?)
}

/// Starts a program as the kernel's child; its process and its first thread.
#[inline(never)]
fn start(
    path: &str,
    argv: &[&[u8]],
    input: Arc<OpenFile>,
    output: Arc<OpenFile>,
) -> Result<(Arc<Process>, Arc<Thread>), Errno> {
    let Prepared { loaded, executable, command_line, whose: _ } = {
        let envp = VARIABLES.map(str::as_bytes);
        let terms = Terms { limits: Limits::new(), is_fixed: false, identity: [0; 5] };
        let top = Place::top()?;
        let file = program::open(Route::new(&top, path)?, true)?;
        prepare(file, (path, false), &top, argv, &envp, (terms, None))?
    };
    crate::files::notices::set_sender(notices::send);
    crate::files::attributes::set_keeps_ids(permissions::keeps_set_ids);
    let files = standard_files(input, output)?;
    let memory = loaded.memory;
    Memory::enter(&memory)?;
    // The first program is process 1, as Linux's init is: programs look for that number.
    let thread_id = sched::thread::next_id().get();
    let claim = Claim::new();
    let id = claim.number(thread_id);
    let process =
        unborn((id, None), None, memory, (files, Place::root()?), Name::new(base_name(path)))?;
    *process.command_line.lock() = command_line;
    *process.executable.lock() = Some(executable);
    process.attributes.begin_program(loaded.reads_imply_instructions);
    let regs = abi::start(loaded.entry, loaded.sp);
    let (whose, parts) = (process.credentials(), Parts::default());
    let task = Task::new(process.clone(), SignalSet::EMPTY, whose, parts)?;
    let thread =
        sched::spawn_user(task::owned(task), process.name(), &regs, thread_id, AccountId::SYSTEM)?;
    thread.set_number(id);
    process.crew.join(&thread)?;
    table::enter(&process, None).inspect_err(|_| process.crew.disband())?;
    drop(claim);
    Ok((process, thread))
}

/// Starts a program as the kernel's child and waits for it. Its status: 0 to 255, or 128 + signal.
fn start_and_wait(
    path: &str,
    argv: &[&[u8]],
    input: Arc<OpenFile>,
    output: Arc<OpenFile>,
) -> Result<i32, ExecError> {
    let (process, thread) = start(path, argv, input, output).map_err(ExecError)?;
    // The terminal is its own until it ends.
    let holder = Holder { session: process.id, foreground: process.id };
    let before = console::attach(holder, send::to_group);
    sched::start(&thread);
    let mut ended = None;
    process.changed.wait_uninterruptibly(|| {
        ended = process.status();
        ended.is_some()
    });
    thread.join();
    console::attach(before, send::to_group);
    let status = ended.unwrap_or(0);
    Ok(if status & 0x7f != 0 { 128 + (status & 0x7f) } else { status >> 8 & 0xff })
}

fn console_file() -> Result<Arc<OpenFile>, ExecError> {
    let file = console::open().and_then(|console| OpenFile::of_object(console, flag::READ_WRITE));
    file.map_err(ExecError)
}

/// Runs a program on the console; waits for it.
pub fn run(path: &str, argv: &[&[u8]]) -> Result<i32, ExecError> {
    start_and_wait(path, argv, console_file()?, console_file()?)
}

/// The same, a person's terminal of that size being at the other end.
pub fn run_on_terminal(path: &str, argv: &[&[u8]], size: Size) -> Result<i32, ExecError> {
    console::begin_terminal(size);
    run(path, argv)
}

/// The same, its input being a stream over the serial line that has an end.
pub fn run_with_stream(path: &str, argv: &[&[u8]]) -> Result<i32, ExecError> {
    let [input, writer] = Pipe::ends(Maker { user: 0, has_resources: true, has_no_limits: true })
        .map_err(ExecError)?;
    let input = OpenFile::of_object(input, 0).map_err(ExecError)?;
    super::input::feed(OpenFile::of_object(writer, flag::WRITE_ONLY).map_err(ExecError)?);
    start_and_wait(path, argv, input, console_file()?)
}

/// Runs a program; waits for it and gives out what it wrote.
pub fn run_captured(path: &str, argv: &[&[u8]]) -> Result<(i32, Vec<u8>), ExecError> {
    let no_memory = |_| ExecError(Errno::ENOMEM);
    let bytes = fallible::shared(SpinLock::new(Vec::new())).map_err(no_memory)?;
    let output = OpenFile::new(Target::Capture(bytes.clone())).map_err(ExecError)?;
    let status = start_and_wait(path, argv, console_file()?, output)?;
    let output = core::mem::take(&mut *bytes.lock());
    Ok((status, output))
}
