//! What comes to a thread, or what it does, at a stack pointer near the end of its stack.

use super::super::arch::depth::{self, STEP};
use super::super::user_mode;
use crate::hooks;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::arch::current::RESERVE;
use kstack::arch::current::call::call_on_stack;
use kstack::hooks::Hooks;
use kstack::stacks::ThreadId;
use kstack::verdict::{Cause, OverflowReport};
use machine::arch::cpu;
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::cpus::{self, Cpu};
use machine::spin::SpinLock;
use threads::entry::softirq::{self, Softirq};
use threads::sched::Mutex;
use threads::sched::{self, WaitQueue};
use threads::time;

/// Bytes above the lowest at which the sweep begins: where a section with others in it still finds
/// room.
pub(super) const ABOVE: usize = 2 * RESERVE.get() + 256;

/// Threads that land at the same time.
pub(super) const AT_ONCE: usize = 8;

pub(super) static SLEEPING: WaitQueue = WaitQueue::new();

/// What comes, or is done, at the stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The timer's interrupt, and the preemption after it.
    Timer,
    /// An interrupt that a CPU sends.
    Sent,
    /// An NMI, or a FIQ.
    Nmi,
    /// A breakpoint instruction.
    Breakpoint,
    /// The thread lets others run.
    Yield,
    /// It sleeps until later.
    Sleep,
    /// It wakes others.
    WakeUp,
    /// It ends.
    Exit,
    /// It raises a softirq.
    Softirq,
    /// It takes and returns a sleeping lock that others want.
    Lock,
    /// It is killed in its sleep.
    Kill,
    /// A system call of a program that goes that deep.
    SystemCall,
    /// A page fault of a program that goes that deep.
    PageFault,
}

pub(super) const EVENTS: [Event; 13] = [
    Event::Timer,
    Event::Sent,
    Event::Nmi,
    Event::Breakpoint,
    Event::Yield,
    Event::Sleep,
    Event::WakeUp,
    Event::Exit,
    Event::Softirq,
    Event::Lock,
    Event::Kill,
    Event::SystemCall,
    Event::PageFault,
];

/// What happened to the threads of a batch, by their place in it.
pub(super) static EVENT: AtomicUsize = AtomicUsize::new(0);
pub(super) static LANDED: [AtomicBool; AT_ONCE] = [const { AtomicBool::new(false) }; AT_ONCE];
pub(super) static RETURNED: [AtomicBool; AT_ONCE] = [const { AtomicBool::new(false) }; AT_ONCE];
static HELD: [Mutex<u32>; AT_ONCE] = [const { Mutex::new(0) }; AT_ONCE];
pub(super) static WANTED: Mutex<u64> = Mutex::new(0);
pub(super) static BREAKPOINTS: AtomicU32 = AtomicU32::new(0);
pub(super) static NMIS: AtomicU32 = AtomicU32::new(0);
pub(super) static SOFTIRQS: AtomicU32 = AtomicU32::new(0);
/// Where the thread that is to get an NMI waits: its CPU, plus one.
pub(super) static WAITS_ON: AtomicU32 = AtomicU32::new(0);
static NEVER: WaitQueue = WaitQueue::new();

/// Threads ended so far in this batch: who, where SP was.
pub(super) static ENDED: SpinLock<[Option<End>; 2 * AT_ONCE]> = SpinLock::new([None; 2 * AT_ONCE]);

#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) thread: ThreadId,
    pub(super) owner: ThreadId,
    pub(super) cause: Cause,
    pub(super) sp: usize,
}

fn note_end(report: &OverflowReport) -> ! {
    let end = End {
        thread: report.context.thread,
        owner: report.verdict.stack.owner,
        cause: report.verdict.cause,
        sp: report.fault.sp.get(),
    };
    if let Some(free) = ENDED.lock().iter_mut().find(|end| end.is_none()) {
        *free = Some(end);
    }
    (hooks::HOOKS.end_thread)(report)
}

/// The place of a program's thread in the batch: there is one at a time.
pub(super) const PROGRAM: usize = 0;
pub(super) static PROGRAM_SP: AtomicUsize = AtomicUsize::new(0);

fn on_syscall(regs: &mut SavedRegs) {
    if user_mode::is_ours() { program_lands() } else { (hooks::HOOKS.syscall)(regs) }
}

fn on_user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    if user_mode::is_ours() {
        program_lands()
    } else {
        (hooks::HOOKS.user_exception)(vector, fault, regs)
    }
}

/// In the kernel for a program: as far down as is wanted, something that takes locks and lets
/// others run; then the thread ends.
fn program_lands() {
    cpu::interrupts_on();
    let lowest = sched::current().stack_range().lowest.get();
    let sp = lowest.wrapping_add_signed(PROGRAM_SP.load(Ordering::Relaxed) as isize);
    let _held = HELD[PROGRAM].lock();
    LANDED[PROGRAM].store(true, Ordering::Relaxed);
    // SAFETY: (1) on this thread's own stack, below everything that is in use; or in its guard, and
    // the thread is ended.
    unsafe { call_on_stack(PROGRAM, 0, work_of_a_program, sp) };
    RETURNED[PROGRAM].store(true, Ordering::Relaxed);
    drop(_held);
    sched::exit_current();
}

extern "C" fn work_of_a_program(_: usize, _: usize) {
    *WANTED.lock() += 1;
    sched::yield_now();
}

pub(super) static HOOKS: Hooks =
    hooks::HOOKS.end_thread(note_end).syscall(on_syscall).user_exception(on_user_exception);

fn event() -> Event {
    EVENTS[EVENT.load(Ordering::Relaxed)]
}

/// A thread that lands: `argument` is its place in the batch, and the SP's number above it.
pub(super) fn land(argument: usize) {
    let (place, number) = (argument % AT_ONCE, argument / AT_ONCE);
    let lowest = sched::current().stack_range().lowest.get();
    let sp = lowest + ABOVE - number * STEP;
    let held = HELD[place].lock();
    let on_there = |act| {
        LANDED[place].store(true, Ordering::Relaxed);
        // SAFETY: (1) on this thread's own stack, below everything that is in use; or in its guard,
        // and the thread is ended.
        unsafe { call_on_stack(place, 0, act, sp) };
    };
    match event() {
        Event::Timer => wait_for(place, sp, |cpu| &cpu.ticks, |_| {}),
        Event::Sent => wait_for(
            place,
            sp,
            |cpu| &cpu.ipis,
            |cpu| {
                irqchip::send_interrupt(
                    cpu.hardware_id.load(Ordering::Relaxed),
                    vector::RESCHEDULE,
                );
            },
        ),
        Event::Nmi => {
            cpu::interrupts_off();
            LANDED[place].store(true, Ordering::Relaxed);
            let was = NMIS.load(Ordering::Relaxed);
            WAITS_ON.store(cpus::this().id().get() + 1, Ordering::Release);
            // SAFETY: (1) interrupts are off; a static; (2) that is the test.
            unsafe { depth::wait_for_nmi_at(sp, NMIS.as_ptr(), was) };
            cpu::interrupts_on();
        }
        Event::Breakpoint => {
            LANDED[place].store(true, Ordering::Relaxed);
            // SAFETY: (1) (2) that is the test.
            unsafe { depth::breakpoint_at(sp) };
        }
        Event::Yield => on_there(give_way),
        Event::Sleep => on_there(sleep),
        Event::WakeUp => on_there(wake),
        Event::Exit => {
            // Given back before: a thread that ends lets go of what it holds.
            drop(held);
            return on_there(exit);
        }
        Event::Softirq => on_there(raise),
        Event::Lock => on_there(take_a_lock),
        Event::Kill => on_there(be_killed),
        Event::SystemCall | Event::PageFault => unreachable!("done by a program"),
    }
    RETURNED[place].store(true, Ordering::Relaxed);
    drop(held);
}

/// Waits at `sp` until what `counter` counts on this CPU has come; `send` makes it come.
fn wait_for(place: usize, sp: usize, counter: fn(&Cpu) -> &AtomicU64, send: fn(&Cpu)) {
    cpu::interrupts_off();
    let this = cpus::this();
    LANDED[place].store(true, Ordering::Relaxed);
    let counter = counter(this).as_ptr().cast::<u32>();
    // SAFETY: (1) interrupts are off; a word of a static, its low half on every machine here; (2)
    // that is the test.
    unsafe {
        let was = counter.read_volatile();
        send(this);
        depth::wait_at(sp, counter, was);
    }
    cpu::interrupts_on();
}

extern "C" fn give_way(_: usize, _: usize) {
    sched::yield_now();
}

extern "C" fn sleep(_: usize, _: usize) {
    let _woken = time::sleep(time::TICK);
}

extern "C" fn wake(_: usize, _: usize) {
    SLEEPING.wake_all();
}

extern "C" fn exit(place: usize, _: usize) {
    RETURNED[place].store(true, Ordering::Relaxed);
    sched::exit_current();
}

extern "C" fn raise(_: usize, _: usize) {
    softirq::disable_bottom_halves();
    softirq::raise_from_thread(Softirq::Probe);
    softirq::enable_bottom_halves();
}

extern "C" fn take_a_lock(_: usize, _: usize) {
    *WANTED.lock() += 1;
}

extern "C" fn be_killed(_: usize, _: usize) {
    let _killed = NEVER.wait_until(|| false);
}
