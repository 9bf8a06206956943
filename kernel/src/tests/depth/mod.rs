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

mod landing;

use super::arch::depth::{self, STEP};
use super::arch::expectations::EXPECTED;
use super::arch::user_code;
use super::support::{install_hooks, on_cpu, until};
use super::user_mode::{STACK_TOP, UserThread};
use super::{Outcome, check};
use crate::hooks;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::{Addr, CpuId};
use kstack::stacks::ThreadId;
use kstack::verdict::Cause;
use landing::{
    ABOVE, AT_ONCE, BREAKPOINTS, ENDED, EVENT, EVENTS, Event, HOOKS, LANDED, NMIS, PROGRAM,
    PROGRAM_SP, RETURNED, SLEEPING, SOFTIRQS, WAITS_ON, WANTED, land,
};
use machine::arch::cpu;
use machine::arch::irqchip;
use machine::cpus;
use threads::entry::probes;
use threads::entry::softirq;
use threads::report::overflow;
use threads::sched::{self, State, Thread, WaitQueue};
use threads::{stacks, time};

/// Bytes below the lowest at which it ends. Where `thread_info` lies at the low end of the stack, a
/// call on a stack writes there: so it ends there too.
const BELOW: usize = if EXPECTED.kept_below == 0 { 64 } else { 0 };
/// Landings.
const LANDINGS: usize = (ABOVE + BELOW) / STEP;
/// How long an NMI may take.
const MAX_TICKS: u64 = 5000;

static STOP: AtomicBool = AtomicBool::new(false);
static TURNS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
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
        send(cpus::by_id(CpuId::new(waits_on - 1)).hardware_id.load(Ordering::Relaxed));
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
        if first % (4 * step) == 0 {
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
        let watermark = thread.stack_record().watermark();
        let word = core::ptr::from_ref(thread) as usize;
        let local = &cpus::this().local;
        // SAFETY: (1) interrupts are off, as right before a switch; (2) not so: that is the test;
        // undone before anything else happens; (3) both threads live.
        unsafe { local.set_thread(word, thread.stack_range(), watermark, thread.canary()) };
    };
    let me = sched::current_arc();
    cpu::without_interrupts(|| {
        run_as(&next);
        cpu::breakpoint();
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
