//! The sweep of depth: whatever can come to a thread, at every stack pointer around the end of its
//! stack.
//!
//! ```text
//!   thread stack
//!   |            |
//!   |            | <- first SP: well above the line below which nothing may begin ([`kstack::room`])
//!   |            | <- one step lower, another thread
//!   |    ...     |
//!   +------------+ lowest
//!   | guard      | <- last SP
//! ```
//!
//! Each landing is a thread of its own that goes there and does one thing. It comes back, or it is
//! ended with a report of its own. Meanwhile other threads run, sleep and are woken; after each
//! event every CPU must have its timer, its interrupts and its counts as before, every lock and
//! every stack must be back.
//!
//! Neighbours: `every_moment` sweeps the moments at which an interrupt comes, at one depth.

use super::arch::depth::{self, STEP};
use super::arch::{EXPECTED, user_code};
use super::support::{install_hooks, on_cpu, until};
use super::user_mode::{self, STACK_TOP, UserThread};
use super::{Outcome, check};
use crate::hooks;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::{Addr, CpuId};
use kstack::arch::current::RESERVE;
use kstack::arch::current::call::call_on_stack;
use kstack::verdict::{Cause, OverflowReport};
use kstack::{hooks::Hooks, stacks::ThreadId};
use machine::arch::cpu;
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::cpus::{self, Cpu};
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::overflow;
use threads::sched::Mutex;
use threads::sched::{self, State, Thread, WaitQueue};
use threads::{stacks, time};

/// Bytes above the lowest at which the sweep begins: where a section with others in it still finds
/// room.
const ABOVE: usize = 2 * RESERVE.get() + 256;
/// Bytes below the lowest at which it ends. Where `thread_info` lies at the low end of the stack, a
/// call on a stack writes there: so it ends there too.
const BELOW: usize = if EXPECTED.kept_below == 0 { 64 } else { 0 };
/// Landings.
const LANDINGS: usize = (ABOVE + BELOW) / STEP;
/// How long an NMI may take.
const MAX_TICKS: u64 = 5000;
/// Threads that land at the same time.
const AT_ONCE: usize = 8;

/// What comes, or is done, at the stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
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

const EVENTS: [Event; 13] = [
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
static EVENT: AtomicUsize = AtomicUsize::new(0);
static LANDED: [AtomicBool; AT_ONCE] = [const { AtomicBool::new(false) }; AT_ONCE];
static RETURNED: [AtomicBool; AT_ONCE] = [const { AtomicBool::new(false) }; AT_ONCE];
static HELD: [Mutex<u32>; AT_ONCE] = [const { Mutex::new(0) }; AT_ONCE];
static WANTED: Mutex<u64> = Mutex::new(0);
static BREAKPOINTS: AtomicU32 = AtomicU32::new(0);
static NMIS: AtomicU32 = AtomicU32::new(0);
static SOFTIRQS: AtomicU32 = AtomicU32::new(0);
/// Where the thread that is to get an NMI waits: its CPU, plus one.
static WAITS_ON: AtomicU32 = AtomicU32::new(0);
static NEVER: WaitQueue = WaitQueue::new();

/// Threads ended so far in this batch: who, where SP was.
static ENDED: SpinLock<[Option<End>; 2 * AT_ONCE]> = SpinLock::new([None; 2 * AT_ONCE]);

#[derive(Debug, Clone, Copy)]
struct End {
    thread: ThreadId,
    owner: ThreadId,
    cause: Cause,
    sp: usize,
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
const PROGRAM: usize = 0;
static PROGRAM_SP: AtomicUsize = AtomicUsize::new(0);

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

static HOOKS: Hooks =
    hooks::HOOKS.end_thread(note_end).syscall(on_syscall).user_exception(on_user_exception);

fn event() -> Event {
    EVENTS[EVENT.load(Ordering::Relaxed)]
}

/// A thread that lands: `argument` is its place in the batch, and the SP's number above it.
fn land(argument: usize) {
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

static STOP: AtomicBool = AtomicBool::new(false);
static TURNS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static SLEEPING: WaitQueue = WaitQueue::new();
static WAKES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Runs all the time, and takes the lock that is wanted.
fn innocent(number: usize) {
    while !STOP.load(Ordering::Relaxed) {
        *WANTED.lock() += 1;
        TURNS[number].fetch_add(1, Ordering::Relaxed);
        sched::yield_now();
    }
}

/// Sleeps all the time, and counts how often it is woken.
fn sleeper(number: usize) {
    while !STOP.load(Ordering::Relaxed) {
        let mut looks = 0;
        SLEEPING.wait_uninterruptibly(|| {
            looks += 1;
            looks > 2 || STOP.load(Ordering::Relaxed)
        });
        WAKES[number].fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything that must be as before: counts, and that each CPU gets its timer and what is sent to
/// it.
fn check_machine(census: usize, charged: usize) -> Outcome {
    for cpu in cpus::online() {
        // It may be in the timer's softirq just now.
        const MAX_TRIES: u32 = 50;
        let mut outcome = Ok(());
        for _ in 0..MAX_TRIES {
            outcome = on_cpu(cpu, |_| {
                let cpu = cpus::this();
                let irq = cpu.local.irq.snapshot();
                check!(irq.hardirq_depth() == 1 && !irq.in_softirq(), "{irq:?}");
                check!(!irq.bottom_halves_are_disabled(), "bottom halves are off: {irq:?}");
                check!(cpu.spinning() == 0, "{} spinning locks are held", cpu.spinning());
                Ok(())
            });
            if outcome.is_ok() {
                break;
            }
        }
        outcome?;
        let before = cpu.ticks.load(Ordering::Relaxed);
        until(&format!("CPU {} gets its timer", cpu.id()), || {
            cpu.ticks.load(Ordering::Relaxed) >= before + 2
        })?;
    }
    let turns = || -> [u64; 4] { core::array::from_fn(|n| TURNS[n].load(Ordering::Relaxed)) };
    let before = turns();
    until("every other thread runs", || turns().iter().zip(before).all(|(now, was)| *now > was))?;
    let wakes = || -> [u64; 2] { core::array::from_fn(|n| WAKES[n].load(Ordering::Relaxed)) };
    let before = wakes();
    until("every sleeper is woken", || {
        SLEEPING.wake_all();
        wakes().iter().zip(before).all(|(now, was)| *now > was)
    })?;
    let live = stacks::census().live as usize;
    check!(live == census, "{live} stacks are live, {census} before");
    let now = stacks::pages::charged_bytes();
    check!(now == charged, "{now} bytes are charged, {charged} before");
    Ok(())
}

/// What a sweep came to.
#[derive(Debug, Default)]
struct Swept {
    landings: usize,
    ended: usize,
    returned: usize,
}

/// Lands a batch, from the SP with this number on.
fn land_batch(event: Event, first: usize, swept: &mut Swept) -> Outcome {
    let numbers = first..(first + batch(event)).min(LANDINGS);
    for place in 0..AT_ONCE {
        LANDED[place].store(false, Ordering::Relaxed);
        RETURNED[place].store(false, Ordering::Relaxed);
    }
    *ENDED.lock() = [None; 2 * AT_ONCE];
    WAITS_ON.store(0, Ordering::Relaxed);
    let mut threads: Vec<Arc<Thread>> = Vec::new();
    for (place, number) in numbers.clone().enumerate() {
        let thread = sched::spawn_kernel("landing", land, number * AT_ONCE + place);
        threads.push(thread.map_err(|error| format!("{error:?}"))?);
    }
    // Without sleeping: what hits the thread first is to be the NMI.
    let until_when = time::ticks() + MAX_TICKS;
    while event == Event::Nmi && !threads[0].is_reaped() && time::ticks() < until_when {
        send_nmi();
        sched::yield_now();
    }
    for (place, thread) in threads.iter().enumerate() {
        until("a thread that landed is gone", || {
            match event {
                // Asleep there, or on its way: killed when it has landed.
                Event::Kill if LANDED[place].load(Ordering::Relaxed) => thread.kill(),
                _ => {}
            }
            thread.is_reaped()
        })?;
    }
    for (place, (number, thread)) in numbers.zip(&threads).enumerate() {
        let sp = thread.stack_range().lowest.get() + ABOVE - number * STEP;
        judge(event, place, thread.id(), sp, swept)?;
    }
    Ok(())
}

/// Threads of an event that land together.
const fn batch(event: Event) -> usize {
    match event {
        // One waits for it at a time.
        Event::Nmi => 1,
        _ => AT_ONCE,
    }
}

fn send_nmi() {
    let waits_on = WAITS_ON.swap(0, Ordering::Acquire);
    if waits_on != 0
        && let Some(send) = depth::SEND_NMI
    {
        send(cpus::by_id(CpuId::new(waits_on as u32 - 1)).hardware_id.load(Ordering::Relaxed));
    }
}

/// Whether the thread that landed came back, or was ended for its own stack.
fn judge(event: Event, place: usize, thread: ThreadId, sp: usize, swept: &mut Swept) -> Outcome {
    let returned = RETURNED[place].load(Ordering::Relaxed);
    let ended = ENDED.lock().iter().flatten().find(|end| end.thread == thread).copied();
    check!(LANDED[place].load(Ordering::Relaxed), "no landing");
    swept.landings += 1;
    match ended {
        // A thread that ends has returned as far as it can.
        None => check!(returned, "it neither came back nor was it ended"),
        Some(end) => {
            check!(!returned || event == Event::Exit, "it came back, and was ended: {end:x?}");
            check!(end.owner == thread, "another thread's stack is blamed: {end:x?}");
            check!(end.cause != Cause::GuardAccess, "{end:x?}");
            let exact =
                matches!(event, Event::Timer | Event::Sent | Event::Nmi | Event::Breakpoint);
            // Or in the middle of saving its registers.
            let near = sp.wrapping_sub(end.sp) <= EXPECTED.saved_regs + 2 * size_of::<usize>();
            check!(!exact || near, "SP was {:#x}, not {sp:#x}", end.sp);
        }
    }
    swept.ended += usize::from(ended.is_some());
    swept.returned += usize::from(ended.is_none());
    Ok(())
}

/// The same for a program's thread.
fn land_program(event: Event, number: usize, swept: &mut Swept) -> Outcome {
    LANDED[PROGRAM].store(false, Ordering::Relaxed);
    RETURNED[PROGRAM].store(false, Ordering::Relaxed);
    *ENDED.lock() = [None; 2 * AT_ONCE];
    let offset = ABOVE as isize - (number * STEP) as isize;
    PROGRAM_SP.store(offset as usize, Ordering::Relaxed);
    let thread = match event {
        Event::SystemCall => UserThread::start(user_code::call_twice, STACK_TOP)?,
        _ => UserThread::start(user_code::read_there, 0x1000)?,
    };
    let id = thread.id();
    until("a program that landed is gone", || thread.is_reaped())?;
    thread.finish();
    judge(event, PROGRAM, id, 0, swept)
}

fn sweep(event: Event) -> Result<Swept, String> {
    let mut swept = Swept::default();
    let at = |number: usize, message: String| {
        let above = ABOVE as isize - (number * STEP) as isize;
        format!("{event:?} with SP {above} bytes above the lowest: {message}")
    };
    let program = matches!(event, Event::SystemCall | Event::PageFault);
    let step = if program { 1 } else { batch(event) };
    for first in (0..LANDINGS).step_by(step) {
        let outcome = if program {
            land_program(event, first, &mut swept)
        } else {
            land_batch(event, first, &mut swept)
        };
        outcome.map_err(|message| at(first, message))?;
        // Thousands of reports on a slow machine take longer than one that hangs may be silent.
        if first % (16 * step) == 0 {
            control!("alive");
        }
    }
    Ok(swept)
}

fn sweep_all() -> Outcome {
    let census = stacks::census().live as usize;
    let charged = stacks::pages::charged_bytes();
    let mut total = 0;
    for (number, event) in EVENTS.into_iter().enumerate() {
        if event == Event::Nmi && depth::SEND_NMI.is_none() {
            log!("  {event:?}: this machine has none");
            continue;
        }
        EVENT.store(number, Ordering::Relaxed);
        let began = time::ticks();
        let swept = sweep(event)?;
        check_machine(census, charged).map_err(|message| format!("after {event:?}: {message}"))?;
        let Swept { landings, ended, returned } = swept;
        let milliseconds = (time::ticks() - began) * 1000 / irqchip::HZ;
        log!(
            "  {event:?}: {landings} landings, {ended} threads ended, {returned} came back ({milliseconds} ms)"
        );
        check!(landings == LANDINGS, "{event:?}: {landings} landings, not {LANDINGS}");
        // An NMI may have a stack of its own.
        let deep_enough = ended > 0 || event == Event::Nmi;
        check!(deep_enough, "{event:?}: no thread was ended: the sweep is not deep enough");
        check!(returned > 0, "{event:?}: no thread came back");
        total += landings;
    }
    log!("  {total} landings, {STEP} bytes apart");
    Ok(())
}

/// Red if an interrupt that found no room is lost to its CPU, if the thread that comes is ended for
/// the one that leaves, if a lock, a stack or a wake-up is lost, and if what runs with interrupts
/// off needs more than RESERVE: then the machine stops.
pub fn o6_at_every_depth_whatever_comes_ends_the_right_thread_or_none() -> Outcome {
    STOP.store(false, Ordering::Relaxed);
    super::support::make_arena_tables()?;
    probes::set_breakpoint_probe(Some(|_| {
        BREAKPOINTS.fetch_add(1, Ordering::Relaxed);
    }));
    probes::set_nmi_probe(Some(|_| {
        NMIS.fetch_add(1, Ordering::Relaxed);
    }));
    softirq::set_probe(|| {
        SOFTIRQS.fetch_add(1, Ordering::Relaxed);
    });
    let spawn = |name, body: fn(usize), n| {
        sched::spawn_kernel(name, body, n).map_err(|error| format!("{error:?}"))
    };
    let mut others = Vec::new();
    for number in 0..TURNS.len() {
        others.push(spawn("innocent", innocent, number)?);
    }
    for number in 0..WAKES.len() {
        others.push(spawn("sleeper", sleeper, number)?);
    }
    let ids: Vec<ThreadId> = others.iter().map(|thread| thread.id()).collect();
    install_hooks(&HOOKS);
    let outcome = sweep_all();
    install_hooks(&hooks::HOOKS);
    let alive = others.iter().all(|thread| thread.state() != State::Dead);
    STOP.store(true, Ordering::Relaxed);
    SLEEPING.wake_all();
    softirq::set_probe(|| {});
    check!(alive, "one of the threads {ids:?}, which did nothing, was ended: {outcome:?}");
    outcome?;
    for thread in &others {
        thread.join();
    }
    check!(SOFTIRQS.load(Ordering::Relaxed) > 0, "no softirq ran");
    let _last = overflow::take_last_report();
    Ok(())
}

/// In the switch the next thread is `running` while SP still stands on the stack of the one that
/// leaves: an exception there is taken where SP is, and goes back. Red if the stack is held to be
/// broken, and one of the two threads ended.
pub fn o6_an_exception_between_the_halves_of_a_switch_is_taken_where_sp_is() -> Outcome {
    static MAY_END: AtomicBool = AtomicBool::new(false);
    static STAYING: WaitQueue = WaitQueue::new();
    static STOOD_ON: AtomicUsize = AtomicUsize::new(0);
    fn next(_: usize) {
        STAYING.wait_uninterruptibly(|| MAY_END.load(Ordering::Relaxed));
    }
    MAY_END.store(false, Ordering::Relaxed);
    let next = sched::spawn_kernel("next", next, 0).map_err(|error| format!("{error:?}"))?;
    until("the next thread sleeps", || next.state() == State::Blocked && !next.is_on_cpu())?;
    probes::set_breakpoint_probe(Some(|_| {
        STOOD_ON.store(cpu::stack_pointer(), Ordering::Relaxed);
    }));
    let contained = overflow::contained_count();
    let run_as = |thread: &Thread| {
        let watermark = stacks::registry().record(thread.stack_ref().slot).watermark();
        let word = core::ptr::from_ref(thread) as usize;
        let local = &cpus::this().local;
        // SAFETY: (1) interrupts are off, as right before a switch; (2) not so: that is the test;
        // undone before anything else happens; (3) both threads live.
        unsafe { local.set_thread(word, thread.stack_range(), watermark, thread.canary()) };
    };
    let me = sched::current_arc();
    cpu::without_interrupts(|| {
        run_as(&next);
        super::arch::registers::breakpoint();
        run_as(&me);
    });
    probes::set_breakpoint_probe(None);
    MAY_END.store(true, Ordering::Relaxed);
    STAYING.wake_all();
    next.join();
    let stood_on = Addr::new(STOOD_ON.load(Ordering::Relaxed));
    check!(me.stack_range().contains(stood_on), "handled at {stood_on}, on another stack");
    check!(overflow::contained_count() == contained, "a thread was ended");
    Ok(())
}
