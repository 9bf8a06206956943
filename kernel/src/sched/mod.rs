//! The scheduler: one run queue, first come first served, a time slice of a tick.
//!
//! # Whose reference, when
//!
//! The CPU owns a reference to the thread that runs on it (`CpuLocal`'s thread word); the run queue owns one to each
//! thread in it. A switch hands the reference of the thread that leaves to the thread that comes, which drops it in
//! [`after_switch`] on its own stack: so a dead thread's stack is given back by the next thread, never under its own feet.
//!
//! # `on_cpu`
//!
//! A thread may stand in the run queue while its old CPU is still saving its registers. `on_cpu` is cleared by the next
//! thread on that CPU; until then nobody else runs it. A CPU never waits for it: it takes the next thread in the queue
//! (two CPUs that waited for each other's thread would wait for ever).

mod queue;
pub mod thread;
mod wait;

pub use thread::{Name, State, Thread};
pub use wait::{Interrupted, WaitQueue};

use crate::arch::fpu::FpuState;
use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, cpu_tables, paging, smp, user};
use crate::cpus::{self, Cpu, CpuSet};
use crate::process::Process;
use crate::stacks::{self, OwnedStack};

use crate::memory::fallible::{self, NoMemory};
use crate::memory::heap;
pub use crate::stacks::StackError;
use crate::sync::SpinLock;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::arch::current::call::call_on_stack;
use kstack::arch::current::switch;
use kstack::first_frame::{self, Start};
use kstack::room;
use kstack_core::addr::Addr;
use queue::{RUN, ThreadList};

static READY: SpinLock<ThreadList<RUN>> = SpinLock::new(ThreadList::new());
static IDLE_CPUS: CpuSet = CpuSet::new();
static ALL: SpinLock<Vec<Weak<Thread>>> = SpinLock::new(Vec::new());

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

/// The running thread. One load.
#[inline(always)]
pub fn current() -> &'static Thread {
    // SAFETY: (1) the word is the CPU's reference to the running thread, or of the boot thread; (2) it stays valid while the
    // thread runs, and the caller is the thread. The lifetime is a promise of the callers not to hand it to others.
    unsafe { &*(cpus::current_thread() as *const Thread) }
}

/// The running thread, as a reference to keep.
pub fn current_arc() -> Arc<Thread> {
    let thread = core::ptr::from_ref(current());
    // SAFETY: (1) the pointer came from `Arc::into_raw`; (2) the CPU holds a reference while the thread runs.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}

/// Every thread that is not gone, for reports and tests: with no memory for the list, the kernel ends.
pub fn all() -> Vec<Arc<Thread>> {
    try_all().expect("memory for a list of threads")
}

/// Every thread that is not gone.
pub fn try_all() -> Result<Vec<Arc<Thread>>, NoMemory> {
    let mut threads = Vec::new();
    loop {
        // Room first, without the lock: a reference that is dropped under it may be the last one, which asks for the lock.
        threads.try_reserve(thread_count() + 16).map_err(|_| NoMemory)?;
        let all = ALL.lock();
        if threads.capacity() >= all.len() {
            // CANNOT FAIL: there is room for all.
            threads.extend(all.iter().filter_map(Weak::upgrade));
            return Ok(threads);
        }
    }
}

/// How many threads there are that are not gone.
pub fn thread_count() -> usize {
    ALL.lock().len()
}

/// Starts a kernel thread.
pub fn spawn_kernel(
    name: &str,
    function: fn(usize),
    argument: usize,
) -> Result<Arc<Thread>, SpawnError> {
    // Two words for the first function, on the heap until it has read them.
    let work = fallible::boxed((function, argument))?;
    let start = Start::Kernel { function: kernel_thread, argument: Box::into_raw(work) as usize };
    create(name, None, start).inspect_err(|_| {
        if let Start::Kernel { argument, .. } = start {
            // SAFETY: (1) made by `into_raw` above, and no thread took it.
            drop(unsafe { Box::from_raw(argument as *mut (fn(usize), usize)) });
        }
    })
}

/// Makes a thread of a process in user mode, with these registers and this number. [`start`] lets it run.
pub fn spawn_user(
    process: Arc<Process>,
    regs: &SavedRegs,
    id: u64,
) -> Result<Arc<Thread>, SpawnError> {
    let fpu = match current().fpu() {
        Some(parent) => {
            user::save_tls(current());
            fallible::boxed(parent.fork())?
        }
        None => fresh_registers()?,
    };
    let tls = current().user_tls.load(Ordering::Relaxed);
    let name = process.name();
    let thread = create_numbered(id, name, Some((process, fpu)), Start::User(regs))?;
    thread.user_tls.store(tls, Ordering::Relaxed);
    Ok(thread)
}

/// The floating point that a program starts with.
pub fn fresh_registers() -> Result<Box<FpuState>, NoMemory> {
    fallible::boxed(FpuState::new())
}

/// Gives the running thread of a process the floating point and the thread-local storage that a program starts with.
pub fn start_afresh(fresh: Box<FpuState>) {
    let me = current();
    // No switch between the first of these and the last. A switch away keeps what the CPU's registers hold: the old program's
    // thread register would come back over the zero, on machines where programs write it themselves.
    cpu::without_interrupts(|| {
        me.user_tls.store(0, Ordering::Relaxed);
        fresh.load();
        user::load_tls(me);
    });
}

/// Lets a thread of [`spawn_user`] run: its creator may still set it up before.
pub fn start(thread: &Arc<Thread>) {
    push_ready(thread.clone());
}

fn create(
    name: &str,
    process: Option<(Arc<Process>, Box<FpuState>)>,
    start: Start<'_>,
) -> Result<Arc<Thread>, SpawnError> {
    let thread = create_unstarted(name, process, start)?;
    push_ready(thread.clone());
    Ok(thread)
}

/// Makes a thread, which runs after [`start`].
pub fn create_unstarted(
    name: &str,
    process: Option<(Arc<Process>, Box<FpuState>)>,
    start: Start<'_>,
) -> Result<Arc<Thread>, SpawnError> {
    create_numbered(thread::next_id(), Name::new(name), process, start)
}

/// The one way a thread comes to be: fork, vfork, clone and kernel threads.
fn create_numbered(
    id: u64,
    name: Name,
    process: Option<(Arc<Process>, Box<FpuState>)>,
    start: Start<'_>,
) -> Result<Arc<Thread>, SpawnError> {
    let stack = stacks::acquire_thread(id).map_err(SpawnError::Stack)?;
    if !heap::TASKS.reserve() {
        return Err(SpawnError::NoTask);
    }
    let range = stack.range();
    let sp = cpu::without_interrupts(|| {
        stacks::make_coherent(stack.as_ref().slot, cpus::this().id());
        // SAFETY: (1) the stack was just given out to us.
        let sp = unsafe { first_frame::build(range, start) };
        // The thread may never run, and its stack be given back on another CPU.
        paging::settle_dirty();
        sp
    });
    // CANNOT FAIL: its block is reserved.
    let thread = Arc::new(Thread::new(id, name, stack, process, State::Ready));
    thread.saved_sp.store(sp, Ordering::Relaxed);
    remember(&thread)?;
    CREATED.fetch_add(1, Ordering::Relaxed);
    Ok(thread)
}

fn remember(thread: &Arc<Thread>) -> Result<(), NoMemory> {
    let mut all = ALL.lock();
    if all.len() == all.capacity() {
        let free = all.len() / 2 + 64;
        all.try_reserve(free).map_err(|_| NoMemory)?;
    }
    thread.place_in_all.store(all.len(), Ordering::Relaxed);
    // CANNOT FAIL: there is room.
    all.push(Arc::downgrade(thread));
    Ok(())
}

/// The reverse, when the last reference to a thread goes. The last thread in the list takes its place.
fn forget(place: &AtomicUsize) {
    let mut all = ALL.lock();
    let place = place.load(Ordering::Relaxed);
    let gone = all.swap_remove(place);
    if let Some(moved) = all.get(place) {
        // SAFETY: (1) a weak reference keeps the memory; (2) the one field that is used is an atomic word without a
        // destructor, so it is there even if that thread is being dropped right now.
        unsafe { (*moved.as_ptr()).place_in_all.store(place, Ordering::Relaxed) };
    }
    drop(all);
    drop(gone);
}

/// What every kernel thread runs first.
extern "C" fn kernel_thread(work: usize) {
    // SAFETY: (1) made by `into_raw` in `spawn_kernel`, for this thread alone.
    let (function, argument) = *unsafe { Box::from_raw(work as *mut (fn(usize), usize)) };
    // When it returns, the library calls `exit_current`, by `Hooks::thread_returned`.
    function(argument);
}

/// Makes the calling context a thread: the first CPU's, or another CPU's idle thread. Its stack is the one it runs on.
pub fn adopt_idle(stack: OwnedStack, cpu: &'static Cpu) -> Arc<Thread> {
    let id = thread::next_id();
    let name = Name::new("idle");
    assert!(heap::TASKS.reserve(), "memory for a CPU's idle thread");
    // CANNOT FAIL: its block is reserved.
    let thread = Arc::new(Thread::new(id, name, stack, None, State::Running));
    thread.last_cpu.store(cpu.id().get(), Ordering::Relaxed);
    cpu.idle.store(Arc::as_ptr(&thread) as usize, Ordering::Release);
    remember(&thread).expect("memory at boot");
    let watermark = stacks::registry().record(thread.stack_ref().slot).watermark();
    let word = Arc::into_raw(thread.clone()) as usize;
    // SAFETY: (1) the caller is the CPU, which takes no interrupts yet; (2) the thread's stack is the one it runs on; (3) a reference
    // that is never dropped, as `current` wants it.
    unsafe { cpu.local.set_thread(word, thread.stack_range(), watermark, thread.canary()) };
    // The idle reference lives as long as the CPU.
    core::mem::forget(thread.clone());
    thread
}

/// Ends the running thread.
pub fn exit_current() -> ! {
    cpu::interrupts_off();
    let me = current();
    me.set_state(State::Dead);
    leave_cpu();
    unreachable!("a dead thread was switched to")
}

/// Lets others run, if there are any.
pub fn yield_now() {
    cpu::without_interrupts(leave_cpu);
}

/// Puts a sleeping thread back into the run queue. From any context.
pub fn make_ready(thread: Arc<Thread>) {
    // One section: once it is ready it must get into the queue.
    cpu::without_interrupts(|| {
        if thread.unblock(State::Ready) {
            push_ready(thread);
        }
    });
}

fn push_ready(thread: Arc<Thread>) {
    READY.lock().push(thread);
    // Somebody idle takes it; otherwise the next tick of a busy CPU does.
    if let Some(number) = IDLE_CPUS.members().next() {
        IDLE_CPUS.remove(number);
        cpu::without_interrupts(|| {
            let target = cpus::by_number(number);
            if core::ptr::eq(target, cpus::this()) {
                target.local.ask_for_preemption();
            } else {
                smp::kick(target);
            }
        });
    }
}

/// Whether a thread waits for a CPU.
pub fn somebody_waits() -> bool {
    !READY.lock().is_empty()
}

/// What an idle CPU does.
pub fn idle_loop() -> ! {
    loop {
        cpu::interrupts_off();
        let me = cpus::this().id().index();
        IDLE_CPUS.insert(me);
        if somebody_waits() {
            IDLE_CPUS.remove(me);
            leave_cpu();
            cpu::interrupts_on();
        } else {
            cpu::wait_for_interrupt();
        }
    }
}

/// After an interrupt from the kernel, in thread context with interrupts off: give the CPU to somebody else?
pub fn preempt() {
    if cpus::this().local.take_preemption_request() && current().state() == State::Running {
        leave_cpu();
    }
}

/// Blocks until `partner`, a new thread, calls [`hand_back`]. For measuring the bare switch.
pub fn hand_to_first(partner: &Arc<Thread>) {
    cpu::without_interrupts(|| {
        // A reference of its own: while it is blocked here, nothing else may hold one to this thread.
        HANDED_FROM.store(Arc::into_raw(current_arc()).cast_mut(), Ordering::Relaxed);
        debug_assert!(partner.state() != State::Dead);
        current().set_state(State::Blocked);
        leave_cpu();
    });
}

static HANDED_FROM: AtomicPtr<Thread> = AtomicPtr::new(core::ptr::null_mut());

static SWITCH_BEGAN: AtomicU64 = AtomicU64::new(0);
static SWITCH_TOOK: AtomicU64 = AtomicU64::new(0);

/// What the last switch by [`hand_to`] took, from right before it in one thread to right after it in the other.
pub fn last_switch_took() -> u64 {
    SWITCH_TOOK.load(Ordering::Relaxed)
}

/// What the two stamps of [`hand_to`] cost with nothing between them.
#[inline(never)]
pub fn stamps_alone() -> u64 {
    SWITCH_BEGAN.store(cpu::cycles(), Ordering::Relaxed);
    cpu::cycles() - SWITCH_BEGAN.load(Ordering::Relaxed)
}

/// Hands the CPU straight to `next`, which has handed it here: no queue, no decision.
pub fn hand_to(next: &Thread) {
    cpu::without_interrupts(|| {
        let me = current();
        me.set_state(State::Blocked);
        // SAFETY: (1) interrupts are off; `next` handed the CPU here, so it is on none; the reference is made here, and
        // dropped by whoever it hands the CPU to.
        unsafe {
            Arc::increment_strong_count(core::ptr::from_ref(next));
            let cpu = cpus::this();
            SWITCH_BEGAN.store(cpu::cycles(), Ordering::Relaxed);
            let left = switch_to(cpu, me, next);
            SWITCH_TOOK
                .store(cpu::cycles() - SWITCH_BEGAN.load(Ordering::Relaxed), Ordering::Relaxed);
            after_switch(left);
        }
    });
}

/// Hands the CPU back to whoever called [`hand_to`].
pub fn hand_back() {
    // SAFETY: (1) the thread that measures waits for us, so it lives.
    hand_to(unsafe { &*HANDED_FROM.load(Ordering::Relaxed) });
}

/// The next thread to run, if there is one that has left its old CPU.
fn next_ready(me: *const Thread) -> Option<Arc<Thread>> {
    let mut ready = READY.lock();
    let mut first_busy: *const Thread = core::ptr::null();
    while let Some(thread) = ready.pop() {
        if core::ptr::eq(&*thread, me) || !thread.is_on_cpu() {
            return Some(thread);
        }
        let seen = core::ptr::eq(&*thread, first_busy);
        if first_busy.is_null() {
            first_busy = &*thread;
        }
        ready.push(thread);
        if seen {
            break;
        }
    }
    None
}

/// Leaves the CPU to the next thread. Interrupts are off. A running thread goes to the end of the run queue; a blocked or
/// dead one does not.
fn leave_cpu() {
    let cpu = cpus::this();
    let me = cpus::current_thread() as *const Thread;
    let idle = cpu.idle.load(Ordering::Relaxed) as *const Thread;
    // SAFETY: (1) the CPU's reference to the running thread.
    let prev = unsafe { &*me };
    let runnable = prev.state() == State::Running;
    let next = match next_ready(me) {
        Some(next) => Arc::into_raw(next),
        None if runnable => return,
        None => {
            // SAFETY: (1) the idle thread lives as long as the CPU.
            unsafe { Arc::increment_strong_count(idle) };
            idle
        }
    };
    if core::ptr::eq(next, me) {
        // Woken before it had left.
        prev.set_state(State::Running);
        // SAFETY: (1) the run queue's reference, taken out above; the CPU still has its own.
        drop(unsafe { Arc::from_raw(next) });
        return;
    }
    if runnable {
        prev.set_state(State::Ready);
        // The idle thread runs when nobody else is there: it is not in the queue.
        if !core::ptr::eq(me, idle) {
            READY.lock().push(current_arc());
        }
    }
    // SAFETY: (1) `next` carries the reference that this CPU now owns; (2) it is on no CPU (`next_ready`, or our own idle
    // thread, which runs here only); (3) interrupts are off.
    let left = unsafe { switch_to(cpu, prev, &*next) };
    after_switch(left);
}

/// The switch itself. See the module's head for who owns what. Returns, in the thread that comes, the one that left: for
/// [`after_switch`].
///
/// # Safety
///
/// 1. Interrupts are off; `next` is on no CPU, and this CPU owns a reference to it.
#[inline(always)]
unsafe fn switch_to(cpu: &'static Cpu, prev: &Thread, next: &Thread) -> usize {
    next.on_cpu.store(true, Ordering::Relaxed);
    next.last_cpu.store(cpu.id().get(), Ordering::Relaxed);
    next.set_state(State::Running);
    if let Some(fpu) = &prev.fpu {
        fpu.save();
        user::save_tls(prev);
    }
    if let Some(fpu) = &next.fpu {
        fpu.load();
        user::load_tls(next);
    }
    load_tables_on(cpu, next);
    let record = next.stack_record();
    if record.needs_flush(cpu.id()) {
        stacks::make_coherent(next.stack_ref().slot, cpu.id());
    }
    let range = next.stack_range();
    let word = core::ptr::from_ref(next) as usize;
    // SAFETY: (1) interrupts are off, right before the switch; (2) `next`'s stack, which it keeps; (3) the CPU's reference to it.
    unsafe { cpu.local.set_thread(word, range, record.watermark(), next.canary()) };
    cpu_tables::set_user_entry_stack(cpu, range.top);
    let sp = next.saved_sp.load(Ordering::Acquire);
    let prev_word = core::ptr::from_ref(prev) as usize;
    // SAFETY: (1) interrupts are off; (2) `prev` is current, and its `on_cpu` keeps others away until `after_switch`;
    // (3) `sp` was stored by a switch or by `first_frame`.
    unsafe { switch::switch(prev.saved_sp.as_ptr(), sp, prev_word) }
}

/// Loads the page tables that the running thread wants.
pub(crate) fn load_tables_of(thread: &Thread) {
    cpu::without_interrupts(|| load_tables_on(cpus::this(), thread));
}

#[inline(always)]
fn load_tables_on(cpu: &Cpu, thread: &Thread) {
    let root = match thread.tables_root.load(Ordering::Relaxed) {
        0 => paging::kernel_root() as usize,
        root => root,
    };
    if cpu.tables_root.load(Ordering::Relaxed) != root {
        cpu.tables_root.store(root, Ordering::Relaxed);
        // SAFETY: (1) the kernel half is everybody's; (2) the tables live as long as the thread's process, and a process
        // that drops them has moved its threads to the kernel's first.
        unsafe { cpu::load_tables(root as u64) };
    }
}

static CREATED: AtomicU32 = AtomicU32::new(0);

/// How many threads were made so far by [`create_unstarted`]: all but the idle ones.
pub fn created_count() -> u32 {
    CREATED.load(Ordering::Relaxed)
}

static GIVEN_BACK: AtomicU32 = AtomicU32::new(0);
static ON_ITSELF: AtomicU32 = AtomicU32::new(0);

/// How stacks of dead threads were given back so far.
#[derive(Debug, Clone, Copy)]
pub struct Deaths {
    /// All of them.
    pub given_back: u32,
    /// Those that were given back by code that stood on them: none, ever.
    pub on_itself: u32,
}

/// Counts of dead threads' stacks.
pub fn deaths() -> Deaths {
    Deaths {
        given_back: GIVEN_BACK.load(Ordering::Relaxed),
        on_itself: ON_ITSELF.load(Ordering::Relaxed),
    }
}

/// On the new stack: the thread that left is off this CPU now. `left` is the reference the CPU had to it.
pub fn after_switch(left: usize) {
    // SAFETY: (1) the pointer is the CPU's reference to the thread it ran until now, given up here.
    let left = unsafe { Arc::from_raw(left as *const Thread) };
    if left.state() == State::Dead {
        return bury(left);
    }
    left.on_cpu.store(false, Ordering::Release);
}

/// Room for taking back all that a dead thread has left, its process perhaps, with interrupts off.
const BURIAL: usize = kstack::arch::current::GEOMETRY.body().get() / 4;

/// Takes back what a dead thread has left: on the stack of the next thread, or, if that one has too little left of its own, on the
/// IRQ stack, which is free while a thread runs.
#[inline(never)]
fn bury(dead: Arc<Thread>) {
    extern "C" fn there(dead: usize, _: usize) {
        // SAFETY: (1) made by `into_raw` below.
        bury_here(unsafe { Arc::from_raw(dead as *const Thread) });
    }
    if room::left() >= BURIAL {
        return bury_here(dead);
    }
    let dead = Arc::into_raw(dead) as usize;
    // SAFETY: (1) this is a thread's context, or a switch would not have come here, and interrupts are off: nothing else uses the
    // IRQ stack before the call is over; (2) `there` returns.
    unsafe { call_on_stack(dead, 0, there, cpus::this().local.irq_top().get()) };
}

fn bury_here(dead: Arc<Thread>) {
    dead.on_cpu.store(false, Ordering::Release);
    if let Some(stack) = dead.take_stack() {
        GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
        if stack.range().contains(Addr::new(cpu::stack_pointer())) {
            ON_ITSELF.fetch_add(1, Ordering::Relaxed);
        }
    }
    dead.reaped.store(true, Ordering::Release);
    dead.exited.wake_all();
}
