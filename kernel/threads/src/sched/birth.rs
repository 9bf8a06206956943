//! How a thread comes to be: kernel threads, threads of programs, and the CPUs' idle threads.

use super::canaries;
use super::owner::Owned;
use super::run_queue::push_ready;
use super::switch::current;
use super::tasks::TASKS;
use super::thread::{self, Name, State, Thread, kinds, remember};
use crate::stacks::{self, OwnedStack, StackError};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::addr::CpuId;
use kstack::first_frame::{self, Start};
use kstack::record::AccountId;
use kstack::stacks::ThreadId;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, paging, user};
use machine::cpus::{self, Cpu};
use machine::memory::fallible::{self, NoMemory};

/// Why a thread could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnError {
    /// No stack for it.
    Stack(StackError),
    /// No memory for its structure.
    NoTask,
}

impl From<NoMemory> for SpawnError {
    fn from(_: NoMemory) -> Self {
        Self::NoTask
    }
}

/// Starts a kernel thread.
pub fn spawn_kernel(
    name: &str,
    function: fn(usize),
    argument: usize,
) -> Result<Arc<Thread>, SpawnError> {
    let start = Start::Kernel { function: kernel_thread, argument };
    let thread = create_unstarted(name, None, start)?;
    thread.work.store(function as usize, Ordering::Relaxed);
    push_ready(thread.clone());
    Ok(thread)
}

/// Starts a kernel thread that stays on one CPU.
pub fn spawn_on(
    cpu: CpuId,
    name: &str,
    function: fn(usize),
    argument: usize,
) -> Result<Arc<Thread>, SpawnError> {
    let start = Start::Kernel { function: kernel_thread, argument };
    let thread = create_unstarted(name, None, start)?;
    thread.work.store(function as usize, Ordering::Relaxed);
    thread.allowed.store(1 << cpu.get(), Ordering::Relaxed);
    push_ready(thread.clone());
    Ok(thread)
}

/// Starts a kernel thread on a physically contiguous stack: see [`stacks::contiguous`].
pub fn spawn_contiguous(
    name: &str,
    function: fn(usize),
    argument: usize,
) -> Result<Arc<Thread>, SpawnError> {
    let start = Start::Kernel { function: kernel_thread, argument };
    let id = thread::next_id();
    let stack = stacks::acquire_contiguous(id).map_err(SpawnError::Stack)?;
    let thread = create_on(stack, id, Name::new(name), None, start)?;
    thread.work.store(function as usize, Ordering::Relaxed);
    push_ready(thread.clone());
    Ok(thread)
}

/// Makes a thread of a program in user mode, with these registers, this name and this number, whose
/// stack is charged to a group. [`start`] lets it run.
pub fn spawn_user(
    owner: Owned,
    name: Name,
    regs: &SavedRegs,
    id: impl Into<ThreadId>,
    account: AccountId,
) -> Result<Arc<Thread>, SpawnError> {
    let fpu = match current().fpu() {
        Some(parent) => {
            user::save_tls(&current().user_tls);
            fallible::boxed(parent.fork()?)?
        }
        None => fresh_registers()?,
    };
    let tls = current().user_tls.load(Ordering::Relaxed);
    let program = Some((owner, fpu));
    let thread = create_numbered((id.into(), account), name, program, Start::User(regs))?;
    thread.user_tls.store(tls, Ordering::Relaxed);
    if current().kinds() & kinds::WITH_EXTRAS != 0 && thread.extras.inherit() {
        thread.has_extras();
    }
    thread.allowed.store(current().allowed.load(Ordering::Relaxed), Ordering::Relaxed);
    thread.share.inherit(&current().share);
    let mine = &current().urgency;
    if mine.rank() > 0 {
        thread.urgency.set(mine.rank(), mine.has_slices());
    }
    Ok(thread)
}

/// The floating point that a program starts with.
pub fn fresh_registers() -> Result<Box<FpuState>, NoMemory> {
    fallible::boxed(FpuState::new()?)
}

/// Gives the running thread of a process the floating point and the thread-local storage that a
/// program starts with.
pub fn start_afresh(fresh: &FpuState) {
    let me = current();
    // No switch between the first of these and the last. A switch away keeps what the CPU's
    // registers hold: the old program's thread register would come back over the zero, on machines
    // where programs write it themselves.
    cpu::without_interrupts(|| {
        me.user_tls.store(0, Ordering::Relaxed);
        fresh.load();
        user::load_tls(&me.user_tls);
        if me.kinds() & kinds::WITH_EXTRAS != 0 {
            me.extras.start_afresh();
        }
    });
}

/// Lets a thread of [`spawn_user`] run: its creator may still set it up before.
pub fn start(thread: &Arc<Thread>) {
    push_ready(thread.clone());
}

/// Makes a thread, which runs after [`start`].
pub fn create_unstarted(
    name: &str,
    program: Option<(Owned, Box<FpuState>)>,
    start: Start<'_>,
) -> Result<Arc<Thread>, SpawnError> {
    create_numbered((thread::next_id(), AccountId::SYSTEM), Name::new(name), program, start)
}

/// The one way a thread comes to be: fork, vfork, clone and kernel threads.
fn create_numbered(
    (id, account): (ThreadId, AccountId),
    name: Name,
    program: Option<(Owned, Box<FpuState>)>,
    start: Start<'_>,
) -> Result<Arc<Thread>, SpawnError> {
    let stack = stacks::acquire_charged(id, account).map_err(SpawnError::Stack)?;
    create_on(stack, id, name, program, start)
}

/// The same on a stack that it is given.
#[inline(always)]
fn create_on(
    stack: OwnedStack,
    id: ThreadId,
    name: Name,
    program: Option<(Owned, Box<FpuState>)>,
    start: Start<'_>,
) -> Result<Arc<Thread>, SpawnError> {
    if !TASKS.reserve() {
        return Err(SpawnError::NoTask);
    }
    let range = stack.range();
    let sp = cpu::without_interrupts(|| {
        let cpu = cpus::this();
        if stack.record().needs_flush_by(cpu.local.coherent_bit()) {
            stack.make_coherent(cpu.id());
        }
        // SAFETY: (1) the stack was just given out to us.
        let sp = unsafe { first_frame::build(range, start) };
        // The thread may never run, and its stack be given back on another CPU.
        paging::settle_dirty();
        sp
    });
    // CANNOT FAIL: its block is reserved.
    let thread = Arc::<Thread>::new_uninit();
    // Made where it stays, instead of on this stack and copied.
    // SAFETY: (1) nothing else has the block yet, and it is written whole before it is a thread.
    let thread = unsafe {
        Arc::as_ptr(&thread).cast::<Thread>().cast_mut().write(Thread::new(
            id,
            name,
            stack,
            range,
            program,
            State::Ready,
            canaries::new_canary(),
        ));
        thread.assume_init()
    };
    thread.saved_sp.store(sp, Ordering::Relaxed);
    remember(&thread)?;
    CREATED.fetch_add(1, Ordering::Relaxed);
    Ok(thread)
}

static CREATED: AtomicU32 = AtomicU32::new(0);

/// How many threads were made so far by [`create_unstarted`]: all but the idle ones.
pub fn created_count() -> u32 {
    CREATED.load(Ordering::Relaxed)
}

/// What every kernel thread runs first.
extern "C" fn kernel_thread(argument: usize) {
    let work = current().work.load(Ordering::Relaxed);
    // SAFETY: (1) stored by `spawn_kernel` before it put the thread into the run queue, from such a
    // function.
    let function: fn(usize) = unsafe { core::mem::transmute(work) };
    // When it returns, the library calls `exit_current`, by `Hooks::thread_returned`.
    function(argument);
}

/// The canary of a CPU's idle thread, which [`adopt_idle`] has made.
pub fn idle_canary(cpu: &Cpu) -> usize {
    let idle = cpu.idle.load(Ordering::Acquire) as *const Thread;
    // SAFETY: (1) null, or stored by `adopt_idle`; an idle thread lives as long as its CPU.
    unsafe { idle.as_ref() }.map_or(0, Thread::canary)
}

/// Makes the calling context a thread: the first CPU's, or another CPU's idle thread. Its stack is
/// the one it runs on.
pub fn adopt_idle(stack: OwnedStack, cpu: &'static Cpu) -> Arc<Thread> {
    let id = thread::next_id();
    let name = Name::new("idle");
    assert!(TASKS.reserve(), "memory for a CPU's idle thread");
    let range = stack.range();
    // The canary in force is in frames that return to the idle thread.
    let is_here = cpu.id() == cpus::this().id();
    let canary = if is_here { cpu.local.canary_in_force() } else { canaries::new_canary() };
    // CANNOT FAIL: its block is reserved.
    let thread = Arc::new(Thread::new(id, name, stack, range, None, State::Running, canary));
    thread.last_cpu.store(cpu.id().get(), Ordering::Relaxed);
    cpu.idle.store(Arc::as_ptr(&thread) as usize, Ordering::Release);
    remember(&thread).expect("memory at boot");
    let watermark = thread.stack_record().watermark();
    let word = Arc::into_raw(thread.clone()) as usize;
    // SAFETY: (1) the caller is the CPU, which takes no interrupts yet; (2) the thread's stack is
    // the one it runs on; (3) a reference that is never dropped, as `current` wants it.
    unsafe { cpu.local.set_thread(word, thread.stack_range(), watermark, thread.canary()) };
    // The idle reference lives as long as the CPU.
    core::mem::forget(thread.clone());
    thread
}
