//! The switch from one thread to the next, and what a dead one leaves. Who owns which reference is
//! in the head of [`super`].

use super::cpu_time;
use super::sleep::attention;
use super::thread::{State, Thread, kinds};
use crate::stacks::{self, depths};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use kstack::addr::{Addr, ByteSize};
use kstack::arch::current::call::call_on_stack;
use kstack::arch::current::switch;
use kstack::interrupts::InterruptsOff;
use kstack::room;
use machine::arch::bases::Bases;
use machine::arch::extras::{Breakpoints, LocalSegments};
use machine::arch::{cpu, cpu_tables, paging, smp, user};
use machine::cpus::{self, Cpu};
use machine::log;
use machine::memory::fallible::NoMemory;

/// The running thread. One load.
#[inline(always)]
pub fn current() -> &'static Thread {
    // SAFETY: (1) the word is the CPU's reference to the running thread, or of the boot thread; (2)
    // it stays valid while the thread runs, and the caller is the thread. The lifetime is a promise
    // of the callers not to hand it to others.
    unsafe { &*(cpus::current_thread() as *const Thread) }
}

/// The running thread, as a reference to keep.
pub fn current_arc() -> Arc<Thread> {
    let thread = core::ptr::from_ref(current());
    // SAFETY: (1) the pointer came from `Arc::into_raw`; (2) the CPU holds a reference while the
    // thread runs.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}

/// The switch itself, from a thread that could run on or not. See the head of [`super`] for who
/// owns what. Returns, in the thread that comes, the one that left: for [`after_switch`].
///
/// # Safety
///
/// 1. Interrupts are off; `next` is on no CPU, and this CPU owns a reference to it.
#[inline(always)]
pub(super) unsafe fn switch_to(
    cpu: &'static Cpu,
    (prev, could_run): (&Thread, bool),
    next: &Thread,
) -> usize {
    next.on_cpu.store(true, Ordering::Relaxed);
    next.last_cpu.store(cpu.id().get(), Ordering::Relaxed);
    next.set_state(State::Running);
    // Between two threads of the kernel nothing of a program's changes: the kernel's tables are
    // loaded since the former came.
    let kinds = prev.kinds() | next.kinds();
    if kinds != 0 {
        if kinds & (kinds::WITH_EXTRAS | kinds::TOLD_OF_SWITCHES) != 0 {
            switch_extras(prev, next);
        }
        switch_programs(cpu, (prev, could_run), next);
    }
    let record = next.stack_record();
    if record.needs_flush_by(cpu.local.coherent_bit()) {
        stacks::make_coherent(next.stack_range(), next.stack_ref().slot, cpu.id());
    }
    // SAFETY: (1) this CPU's block; interrupts are off; (2) every thread's stack is the pool's.
    unsafe { cpu.local.check_end() };
    let range = next.stack_range();
    let word = core::ptr::from_ref(next) as usize;
    // SAFETY: (1) interrupts are off, right before the switch; (2) `next`'s stack, which it keeps;
    // (3) the CPU's reference to it.
    unsafe { cpu.local.set_thread(word, range, record.watermark(), next.canary()) };
    cpu_tables::set_user_entry_stack(cpu, range.top);
    let sp = next.saved_sp.load(Ordering::Acquire);
    let prev_word = core::ptr::from_ref(prev) as usize;
    // SAFETY: (1) interrupts are off; (2) `prev` is current, and its `on_cpu` keeps others away
    // until `after_switch`; (3) `sp` was stored by a switch or by `first_frame`.
    unsafe { switch::switch(prev.saved_sp.as_ptr(), sp, prev_word) }
}

/// What not every program has in the CPU, or is told.
#[inline(never)]
fn switch_extras(prev: &Thread, next: &Thread) {
    if prev.kinds() & kinds::TOLD_OF_SWITCHES != 0 {
        prev.run.mark(attention::SWITCHED);
    }
    if prev.kinds() & kinds::WITH_EXTRAS != 0 {
        prev.extras.leave();
    }
    if next.kinds() & kinds::WITH_EXTRAS != 0 {
        next.extras.come();
    }
}

impl Thread {
    /// Loads what the running thread was given since it came. Interrupts off.
    pub(crate) fn catch_up(&self) {
        if self.kinds() & kinds::WITH_EXTRAS != 0 {
            self.extras.catch_up();
        }
    }

    /// The bases and selectors that it has in the CPU. By the thread itself.
    pub fn bases(&self) -> Bases {
        cpu::without_interrupts(|| Bases::read(&self.user_tls))
    }

    /// Gives it these. By the thread itself.
    pub fn set_bases(&self, bases: &Bases) {
        cpu::without_interrupts(|| {
            if bases.are_extras() {
                self.has_extras();
            }
            bases.load(&self.user_tls);
        });
    }

    /// Gives it breakpoints in the CPU, instead of what it has of them. By the thread itself.
    pub fn give_breakpoints(&self, breakpoints: Option<Breakpoints>) {
        if breakpoints.is_some() {
            self.has_extras();
        }
        self.extras.give_breakpoints(breakpoints);
    }

    /// The threads that run in an address space have these segments from now on, the calling one
    /// among them.
    pub fn give_segments_to_all(root: u64, segments: &Arc<LocalSegments>) -> Result<(), NoMemory> {
        for thread in super::try_all()? {
            if thread.tables_root.load(Ordering::Relaxed) as u64 == root {
                thread.give_segments(segments.clone());
            }
        }
        // Those that run look what they were given.
        smp::flush_others();
        cpu::without_interrupts(|| current().catch_up());
        Ok(())
    }
}

/// What programs have in the CPU: floating point, the thread register, page tables.
#[inline(always)]
fn switch_programs(cpu: &Cpu, (prev, could_run): (&Thread, bool), next: &Thread) {
    let now = cpu_time::now();
    if let Some(fpu) = &prev.fpu {
        prev.cpu_time.leave(now, could_run);
        fpu.save();
        user::save_tls(&prev.user_tls);
    }
    if let Some(fpu) = &next.fpu {
        next.cpu_time.come(now);
        fpu.load();
        user::load_tls(&next.user_tls);
    }
    // SAFETY: (1) a switch runs with interrupts off.
    load_tables_on(cpu, next, &unsafe { InterruptsOff::assume() });
}

/// Loads the page tables that the running thread wants.
pub fn load_tables_of(thread: &Thread) {
    cpu::without_interrupts(|| {
        // SAFETY: (1) they are off in here.
        load_tables_on(cpus::this(), thread, &unsafe { InterruptsOff::assume() });
    });
}

/// Whether a CPU other than this one has these tables loaded, and may remember translations of
/// them. `false`, if what is in the tables was changed before the question, means that none uses
/// what was there: one that loads them later begins anew.
pub fn are_tables_elsewhere(root: u64) -> bool {
    // Orders the change before the looks, as a CPU that loads tables says so before it uses them.
    fence(Ordering::SeqCst);
    cpu::without_interrupts(|| {
        let me = cpus::this().id();
        let root = root as usize;
        cpus::online().any(|cpu| cpu.id() != me && cpu.tables_root.load(Ordering::SeqCst) == root)
    })
}

/// Makes this CPU forget what translations of the running program it remembers.
pub fn forget_user_translations() {
    cpu::without_interrupts(|| {
        let root = cpus::this().tables_root.load(Ordering::Relaxed);
        // SAFETY: (1) the tables that are loaded already: loading them again only forgets
        // translations; (2) interrupts are off in here.
        unsafe { cpu::load_tables(root as u64, &InterruptsOff::assume()) };
    });
}

#[inline(always)]
fn load_tables_on(cpu: &Cpu, thread: &Thread, off: &InterruptsOff) {
    let root = match thread.tables_root.load(Ordering::Relaxed) {
        0 => paging::kernel_root() as usize,
        root => root,
    };
    if cpu.tables_root.load(Ordering::Relaxed) != root {
        // Said before anything is looked up in them: `are_tables_elsewhere`.
        cpu.tables_root.store(root, Ordering::SeqCst);
        // SAFETY: (1) the kernel half is that of all address spaces; (2) the tables live as long as
        // the thread's process, and a process that drops them has moved its threads to the kernel's
        // first.
        unsafe { cpu::load_tables(root as u64, off) };
    }
}

impl Thread {
    /// Changes the page tables it runs under (execve). By the thread itself.
    pub fn set_tables_root(&self, root: u64) {
        self.kinds.fetch_or(kinds::OF_PROGRAM, Ordering::Relaxed);
        self.tables_root.store(root as usize, Ordering::Relaxed);
        load_tables_of(self);
    }
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

/// On the new stack: the thread that left is off this CPU now. `left` is the reference the CPU had
/// to it.
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

/// Takes back what a dead thread has left: on the stack of the next thread, or, if that one has too
/// little left of its own, on the IRQ stack, which is free while a thread runs.
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
    // SAFETY: (1) this is a thread's context, or a switch would not have come here, and interrupts
    // are off: nothing else uses the IRQ stack before the call is over; (2) `there` returns.
    unsafe { call_on_stack(dead, 0, there, cpus::this().local.irq_top().get()) };
}

/// A thread has ended that used more of its stack than any before: in Linux's words. Beside a
/// program's output `dmesg` alone has them.
#[cold]
#[inline(never)]
fn tell_depth(dead: &Thread, left: ByteSize) {
    let number = dead.number();
    let (name, left) = (dead.name(), left.get());
    log::detail(format_args!("{name} ({number}) used greatest stack depth: {left} bytes left"));
}

fn bury_here(dead: Arc<Thread>) {
    dead.on_cpu.store(false, Ordering::Release);
    if let Some(stack) = dead.take_stack() {
        stack.forget_frames();
        if let Some(left) = depths::note_end(stack.range()) {
            tell_depth(&dead, left);
        }
        GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
        if stack.range().contains(Addr::new(cpu::stack_pointer())) {
            ON_ITSELF.fetch_add(1, Ordering::Relaxed);
        }
    }
    dead.reaped.store(true, Ordering::Release);
    dead.exited.wake_all();
}
