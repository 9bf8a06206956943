//! Overflows: of threads, which are ended while the machine continues; and of stacks that belong to
//! a CPU, which stop it.
//!
//! A test that stops the machine announces what the report must say, and the host that runs the
//! machine compares.

use super::arch::expectations::EXPECTED;
use super::support::stack_at;
use super::{Outcome, check};
use crate::provoke::{self, How};
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::arena::Place;
use kstack::kind::StackKind;
use kstack::stacks::ThreadId;
use kstack::unwind::{End, Step};
use kstack::verdict::{Cause, Consequence, OverflowReport, Side};
use machine::spin::SpinLock;
use threads::report::{overflow, symbols};
use threads::sched;
use threads::sched::Mutex;

/// Whether one of the report's code addresses lies in the function that starts at `function`, by
/// symbols if there are any, otherwise by distance.
fn mentions(report: &OverflowReport, function: usize) -> bool {
    report.code_addresses().any(|address| match symbols::lookup(address.get() as u64 - 1) {
        Some(symbol) => address.get() as u64 - 1 - symbol.offset == function as u64,
        None => (function..function + 512).contains(&(address.get() - 1)),
    })
}

static VICTIM: AtomicU64 = AtomicU64::new(0);
static STACK: SpinLock<(usize, usize)> = SpinLock::new((0, 0));
static CAME_BACK: AtomicU32 = AtomicU32::new(0);

/// Says who it is, then overflows; what comes after must never run.
fn victim(how: usize) {
    let me = sched::current();
    VICTIM.store(me.id().get(), Ordering::Relaxed);
    *STACK.lock() = (me.stack_range().lowest.get(), me.stack_range().top.get());
    provoke::overflow_here(if how == 0 { How::Recursion } else { How::GiantFrame });
    CAME_BACK.fetch_add(1, Ordering::Relaxed);
}

/// One overflow of a kernel thread, with everything the report must say.
fn overflow_one(how: How) -> Outcome {
    let contained = overflow::contained_count();
    let _old = overflow::take_last_report();
    CAME_BACK.store(0, Ordering::Relaxed);
    let thread =
        sched::spawn_kernel("victim", victim, how as usize).map_err(|e| format!("{e:?}"))?;
    thread.join();
    check!(CAME_BACK.load(Ordering::Relaxed) == 0, "the thread survived");
    check!(!thread.has_stack(), "its stack was not taken back");
    check!(overflow::contained_count() == contained + 1, "not counted as contained");
    let report = overflow::take_last_report().ok_or("there is no report")?;
    let (verdict, fault) = (&report.verdict, &report.fault);
    // What people read has gone out: the head, who it was, where.
    let text = overflow::last_text();
    let owner = format!("thread stack of thread {}", thread.id());
    for part in ["kernel stack overflow", &owner, "  running: victim", "victim+0x"] {
        check!(text.contains(part), "the printed report lacks \"{part}\": {text}");
    }
    let (lowest, top) = *STACK.lock();
    check!(VICTIM.load(Ordering::Relaxed) == thread.id().get(), "another thread ran");
    check!(report.context.thread == thread.id(), "the report names {}", report.context.thread);
    check!(verdict.stack.owner == thread.id(), "the report blames {:?}", verdict.stack);
    check!(verdict.stack.kind == StackKind::Thread, "a {} stack", verdict.stack.kind);
    let range = verdict.stack.range;
    check!((range.lowest.get(), range.top.get()) == (lowest, top), "its bounds: {range:?}");
    check!(verdict.side == Side::Below, "on the side {:?}", verdict.side);
    check!(verdict.consequence == Consequence::EndThread, "{:?}", verdict.consequence);
    let function = match how {
        How::Recursion => {
            check!(verdict.cause == Cause::GuardHit, "{:?}", verdict.cause);
            let hit = fault.address.get();
            // The push that failed, and SP, are within a frame of the edge; or an interrupt came in
            // the last moment, and wanted more than was left.
            const MOST: usize = 512 + kstack::arch::current::RESERVE.get();
            let distance = verdict.distance.get();
            check!(
                hit < lowest && lowest - hit <= MOST && (1..=MOST).contains(&distance),
                "hit {hit:x}, SP {distance} below {lowest:x}"
            );
            // Frames of at least 64 bytes of array fill 16 KiB, and at most so many.
            let frames = report.backtrace.frames();
            check!((60..=256).contains(&frames), "{frames} frames");
            provoke::recurse_until_overflow as *const () as usize
        }
        How::GiantFrame => {
            check!(verdict.cause == EXPECTED.giant_frame, "{:?}", verdict.cause);
            provoke::one_giant_frame as *const () as usize
        }
    };
    check!(mentions(&report, function), "the function that overflowed is not in the backtrace");
    check!(
        mentions(&report, victim as *const () as usize),
        "the thread's own function is not in the backtrace"
    );
    check!(
        report.backtrace.end() == Some(End::Reliable),
        "the backtrace ends with {:?}",
        report.backtrace.end()
    );
    check!(
        matches!(report.backtrace.steps().first(), Some((Step::Interrupted(regs), _)) if regs.pc == fault.pc),
        "the backtrace does not start where it happened"
    );
    Ok(())
}

/// Twice: the second one needs all that the first one took.
pub fn o1_o5_a_thread_that_recurses_too_deep_is_ended_and_reported() -> Outcome {
    overflow_one(How::Recursion)?;
    overflow_one(How::Recursion)
}

/// A frame larger than the whole stack.
pub fn o1_o5_a_thread_with_a_giant_frame_is_ended_and_reported() -> Outcome {
    overflow_one(How::GiantFrame)?;
    overflow_one(How::GiantFrame)
}

/// The sleeping lock it held is free again and says that its holder died; other threads wait for it
/// and get it.
pub fn o5_what_a_thread_held_comes_back_when_it_overflows() -> Outcome {
    static HELD: Mutex<u32> = Mutex::new(0);
    static AFTER: Mutex<u32> = Mutex::new(0);
    fn holder(_: usize) {
        let mut value = HELD.lock();
        let _other = AFTER.lock();
        *value = 1;
        sched::yield_now();
        provoke::overflow_here(How::Recursion);
        *value = 2;
    }
    fn waiter(_: usize) {
        *HELD.lock() += 10;
    }
    let spawn = |name, body| sched::spawn_kernel(name, body, 0).map_err(|e| format!("{e:?}"));
    let holder = spawn("holder", holder)?;
    let waiter = spawn("waiter", waiter)?;
    holder.join();
    waiter.join();
    let value = *HELD.lock();
    check!(value == 11 || value == 1, "the value is {value}");
    drop(AFTER.lock());
    check!(HELD.is_poisoned() && AFTER.is_poisoned(), "nobody is told that the holder died");
    let mine = Mutex::new(());
    drop(mine.lock());
    check!(!mine.is_poisoned(), "a lock that nobody died with is poisoned");
    Ok(())
}

/// Twenty overflows, then a thousand threads, then another: stacks in use, charges and neighbours
/// are as before.
pub fn o5_after_overflows_the_machine_goes_on_and_nothing_is_lost() -> Outcome {
    static LIVES: AtomicUsize = AtomicUsize::new(0);
    static STAYING: sched::WaitQueue = sched::WaitQueue::new();
    static LEAVE: AtomicU32 = AtomicU32::new(0);
    fn neighbour(_: usize) {
        let pattern = [sched::current().id().get(); 256];
        let pattern = core::hint::black_box(&pattern);
        STAYING.wait_uninterruptibly(|| LEAVE.load(Ordering::Relaxed) != 0);
        if pattern.iter().all(|&word| word == sched::current().id().get()) {
            LIVES.fetch_add(1_000_000, Ordering::Relaxed);
        }
    }
    let spawn = |name: &str, body| sched::spawn_kernel(name, body, 0).map_err(|e| format!("{e:?}"));
    LEAVE.store(0, Ordering::Relaxed);
    LIVES.store(0, Ordering::Relaxed);
    let neighbours: Result<alloc::vec::Vec<_>, String> =
        (0..8).map(|_| spawn("neighbour", neighbour)).collect();
    let neighbours = neighbours?;
    let census = threads::stacks::census();
    let charged = threads::stacks::pages::charged_bytes();
    for round in 0..10 {
        let how = if round % 2 == 0 { How::Recursion } else { How::GiantFrame };
        overflow_one(how)?;
        overflow_one(how)?;
    }
    for _ in 0..1000 {
        spawn("after", |_| {
            LIVES.fetch_add(1, Ordering::Relaxed);
        })?
        .join();
    }
    overflow_one(How::Recursion)?;
    let after = threads::stacks::census();
    let charged_after = threads::stacks::pages::charged_bytes();
    LEAVE.store(1, Ordering::Relaxed);
    STAYING.wake_all();
    for thread in &neighbours {
        thread.join();
    }
    check!(after.live == census.live, "{after:?} live, {census:?} before");
    check!(after.used_pages == census.used_pages, "{after:?}, {census:?} before");
    check!(charged_after == charged, "charged {charged_after}, {charged} before");
    let lives = LIVES.load(Ordering::Relaxed);
    check!(lives == 8_001_000, "{lives}: not 8 neighbours unharmed and 1000 threads after");
    Ok(())
}

/// What a touched guard must lead to.
fn touch(offset: isize, write: bool) -> Outcome {
    static OFFSET: AtomicUsize = AtomicUsize::new(0);
    static WRITE: AtomicU32 = AtomicU32::new(0);
    static SURVIVED: AtomicU32 = AtomicU32::new(0);
    fn body(_: usize) {
        let offset = OFFSET.load(Ordering::Relaxed) as isize;
        let range = sched::current().stack_range();
        let from = if offset < 0 { range.lowest } else { range.top };
        let address = from.get().wrapping_add_signed(offset) as *mut u8;
        // SAFETY: (1) none: the address is in a guard, so the access faults and ends the thread.
        // That is the test.
        unsafe {
            if WRITE.load(Ordering::Relaxed) == 0 {
                core::hint::black_box(address.read_volatile());
            } else {
                address.write_volatile(0xaa);
            }
        }
        SURVIVED.fetch_add(1, Ordering::Relaxed);
    }
    OFFSET.store(offset as usize, Ordering::Relaxed);
    WRITE.store(u32::from(write), Ordering::Relaxed);
    SURVIVED.store(0, Ordering::Relaxed);
    let _old = overflow::take_last_report();
    let thread = sched::spawn_kernel("touching", body, 0).map_err(|e| format!("{e:?}"))?;
    let range = thread.stack_range();
    thread.join();
    check!(SURVIVED.load(Ordering::Relaxed) == 0, "the access at {offset} did not trap");
    let report = overflow::take_last_report().ok_or("there is no report")?;
    let verdict = &report.verdict;
    let (side, from) =
        if offset < 0 { (Side::Below, range.lowest) } else { (Side::Above, range.top) };
    let address = Addr::new(from.get().wrapping_add_signed(offset));
    check!(report.fault.address == address, "at {}, not {address}", report.fault.address);
    check!(verdict.stack.owner == thread.id() && verdict.stack.range == range, "{verdict:?}");
    check!(verdict.side == side && verdict.cause == Cause::GuardAccess, "{verdict:?}");
    check!(verdict.consequence == Consequence::EndThread, "{verdict:?}");
    check!(verdict.distance.get() == offset.unsigned_abs(), "{verdict:?}");
    check!(report.backtrace.is_reliable(), "the backtrace ends {:?}", report.backtrace.end());
    Ok(())
}

/// Both sides, read and written, at the first and the last byte of each page of each guard;
/// meanwhile other stacks, some in the neighbouring slots, are full of a pattern and stay so.
pub fn t2_a_read_or_write_of_either_guard_traps_and_names_stack_and_side() -> Outcome {
    let geometry = threads::stacks::arena().geometry();
    let others: Result<alloc::vec::Vec<_>, _> =
        (1..20).map(|number| threads::stacks::acquire_thread(ThreadId::new(number))).collect();
    let others = others.map_err(|e| format!("{e:?}"))?;
    let pattern = |range: kstack::addr::AddrRange| {
        // SAFETY: (1) the stack is ours alone and mapped.
        unsafe {
            core::slice::from_raw_parts_mut(range.lowest.get() as *mut u8, range.size().get())
        }
    };
    for stack in &others {
        machine::arch::cpu::without_interrupts(|| {
            stack.make_coherent(machine::cpus::this().id());
            pattern(stack.range()).fill(0xa5);
        });
    }
    let below = geometry.guard_below().get() as isize;
    let above = geometry.guard_above().get() as isize;
    let outcome = (|| {
        for write in [false, true] {
            for page in (0..below).step_by(4096) {
                touch(-1 - page, write)?;
                touch(-4096 - page, write)?;
            }
            for page in (0..above).step_by(4096) {
                touch(page, write)?;
                touch(page + 4095, write)?;
            }
        }
        Ok(())
    })();
    let changed = others.iter().find(|stack| pattern(stack.range()).iter().any(|&b| b != 0xa5));
    check!(changed.is_none(), "another stack has changed: {changed:?}");
    outcome
}

/// The same slot, as the registry sees it from outside: an address in a guard is on no stack, and
/// names its slot.
pub fn t2_b1_a_guard_belongs_to_a_slot_and_to_no_stack() -> Outcome {
    let range = sched::current().stack_range();
    let arena = threads::stacks::arena();
    let place = |address: usize| arena.place(Addr::new(address));
    let Place::Body { slot, .. } = place(range.lowest.get()) else {
        return Err(format!("{range:?} is not the body of a slot"));
    };
    let below = range.lowest.get() - 1;
    check!(
        matches!(place(below), Place::GuardBelow { slot: named, .. } if named == slot),
        "{:?}",
        place(below)
    );
    let above = range.top.get();
    check!(
        matches!(place(above), Place::GuardAbove { slot: named, .. } if named == slot),
        "{:?}",
        place(above)
    );
    check!(stack_at(below).is_none() && stack_at(above).is_none(), "a guard is on a stack");
    Ok(())
}

/// What an overflow is called.
fn cause_of(how: How) -> Cause {
    match how {
        How::Recursion => Cause::GuardHit,
        How::GiantFrame => EXPECTED.giant_frame,
    }
}

/// Announces what the report of the coming stop must say.
macro_rules! expect_stop {
    ($name:ident, $stack:expr, $how:expr, $($what:literal)*) => {
        control!(
            concat!("expect {} stack={} cause={} side=below consequence=stop-system victim=main reliable=yes running=0", $(" ", $what),*),
            stringify!($name),
            $stack,
            cause_of($how).name()
        )
    };
}

/// Defines a test that stops the machine.
macro_rules! stops {
    ($(#[$doc:meta])* $name:ident, $provoke:path, $how:expr, $stack:expr, $($what:literal)*) => {
        $(#[$doc])*
        pub fn $name() -> Outcome {
            expect_stop!($name, $stack, $how, $($what)*);
            $provoke($how);
            Err("the machine went on".into())
        }
    };
}

stops!(
    /// The backtrace goes from the recursion through the handler to the thread that was
    /// interrupted.
    o2_o5_recursion_in_an_interrupt_handler_stops_the_machine_with_a_report,
    provoke::in_interrupt, How::Recursion, StackKind::Irq,
    "frames>=60" "backtrace~=recurse_until_overflow" "backtrace~=irq::handle" "backtrace~=in_interrupt"
);
stops!(
    /// The frame jumps over the guard and into the next slot.
    o2_o5_a_giant_frame_in_an_interrupt_handler_stops_the_machine_with_a_report,
    provoke::in_interrupt, How::GiantFrame, StackKind::Irq,
    "frames>=6" "backtrace~=one_giant_frame" "backtrace~=irq::handle" "backtrace~=in_interrupt"
);
stops!(
    /// The same below a softirq.
    o2_o5_recursion_in_a_softirq_stops_the_machine_with_a_report,
    provoke::in_softirq, How::Recursion, EXPECTED.softirq_stack,
    "frames>=60" "backtrace~=recurse_until_overflow" "backtrace~=softirq" "backtrace~=in_softirq"
);
stops!(
    /// The same below a softirq.
    o2_o5_a_giant_frame_in_a_softirq_stops_the_machine_with_a_report,
    provoke::in_softirq, How::GiantFrame, EXPECTED.softirq_stack,
    "frames>=6" "backtrace~=one_giant_frame" "backtrace~=softirq" "backtrace~=in_softirq"
);
stops!(
    /// The thread keeps softirqs off its CPU: what it shares with them may be half changed, and
    /// no CPU would let them in again.
    o5_a_thread_that_overflows_with_bottom_halves_disabled_stops_the_machine,
    provoke::with_bottom_halves_disabled, How::Recursion, StackKind::Thread,
    "frames>=60" "backtrace~=recurse_until_overflow" "backtrace~=with_bottom_halves_disabled"
);
stops!(
    /// What the lock guards may be half changed, and no thread would open it again.
    o5_o6_a_thread_that_overflows_with_a_spinning_lock_held_stops_the_machine,
    provoke::with_a_spinning_lock_held, How::Recursion, StackKind::Thread,
    "frames>=60" "backtrace~=recurse_until_overflow" "backtrace~=with_a_spinning_lock_held"
);
stops!(
    /// What the thread did to the CPU's own words may be half done. No lock is held.
    o5_o6_a_thread_that_overflows_with_interrupts_off_stops_the_machine,
    provoke::with_interrupts_off, How::Recursion, StackKind::Thread,
    "frames>=60" "backtrace~=recurse_until_overflow" "backtrace~=with_interrupts_off"
);

/// What the idle thread of a CPU does next, interrupts on, in the place of a preemption.
static BY_THE_IDLE_THREAD: AtomicUsize = AtomicUsize::new(0);

/// Lets the first idle thread that is interrupted do it. The machine stops.
fn by_the_idle_thread(act: fn()) -> Outcome {
    fn preempt() {
        let cpu = machine::cpus::this();
        let is_idle =
            core::ptr::from_ref(sched::current()) as usize == cpu.idle.load(Ordering::Relaxed);
        let act = BY_THE_IDLE_THREAD.load(Ordering::Relaxed);
        if is_idle && act != 0 {
            machine::arch::cpu::interrupts_on();
            // SAFETY: (1) a function of this type, stored below.
            let act = unsafe { core::mem::transmute::<usize, fn()>(act) };
            act();
        }
        (crate::hooks::HOOKS.preempt)();
    }
    static HOOKS: kstack::hooks::Hooks = crate::hooks::HOOKS.preempt(preempt);
    BY_THE_IDLE_THREAD.store(act as usize, Ordering::Relaxed);
    super::support::install_hooks(&HOOKS);
    super::support::until("the machine has stopped", || false)
}

/// A CPU without an idle thread has nothing to run. Red if the thread in whose name it runs is
/// ended.
pub fn o5_o6_an_overflow_of_the_idle_thread_stops_the_machine() -> Outcome {
    control!(
        "expect o5_o6_an_overflow_of_the_idle_thread_stops_the_machine stack=idle side=below cause=guard-hit \
         consequence=stop-system victim=idle running=0 backtrace~=recurse_until_overflow"
    );
    by_the_idle_thread(|| provoke::overflow_here(How::Recursion))
}

/// The same if it touches a guard: an access ends the thread that accessed, but for this one.
pub fn o5_o6_the_idle_thread_that_touches_a_guard_stops_the_machine() -> Outcome {
    control!(
        "expect o5_o6_the_idle_thread_that_touches_a_guard_stops_the_machine stack=idle side=below cause=guard-access \
         consequence=stop-system victim=idle running=0"
    );
    by_the_idle_thread(|| {
        let guard = sched::current().stack_range().lowest.get() - 1;
        // SAFETY: (1) none: the address is never mapped, so the read faults. That is the test.
        core::hint::black_box(unsafe { (guard as *const u8).read_volatile() });
    })
}

/// The stack whose guard is touched is another's. Red if the thread that accessed were ended on
/// that one.
pub fn o5_o6_a_thread_that_touches_the_guard_of_anothers_stack_is_ended_and_the_other_unharmed()
-> Outcome {
    const PATTERN: usize = 0x5b5b_3c3c;
    static PLACE: AtomicUsize = AtomicUsize::new(0);
    static MAY_END: AtomicU32 = AtomicU32::new(0);
    static HARMED: AtomicUsize = AtomicUsize::new(0);
    static STAYING: sched::WaitQueue = sched::WaitQueue::new();
    fn other(_: usize) {
        let pattern = core::hint::black_box([PATTERN; 64]);
        PLACE.store(sched::current().stack_range().lowest.get() - 1, Ordering::Release);
        STAYING.wait_uninterruptibly(|| MAY_END.load(Ordering::Relaxed) != 0);
        let harmed = core::hint::black_box(&pattern).iter().filter(|&&word| word != PATTERN);
        HARMED.store(harmed.count() + 1, Ordering::Relaxed);
    }
    fn touching(_: usize) {
        let guard = PLACE.load(Ordering::Acquire) as *const u8;
        // SAFETY: (1) none: the address is never mapped, so the read faults and ends the thread.
        // That is the test.
        core::hint::black_box(unsafe { guard.read_volatile() });
    }
    let spawn = |name, body| sched::spawn_kernel(name, body, 0).map_err(|e| format!("{e:?}"));
    PLACE.store(0, Ordering::Relaxed);
    MAY_END.store(0, Ordering::Relaxed);
    HARMED.store(0, Ordering::Relaxed);
    let other = spawn("other", other)?;
    super::support::until("the other sleeps", || {
        PLACE.load(Ordering::Acquire) != 0 && !other.is_on_cpu()
    })?;
    let _old = overflow::take_last_report();
    let touching = spawn("touching", touching)?;
    touching.join();
    let report = overflow::take_last_report().ok_or("there is no report")?;
    MAY_END.store(1, Ordering::Relaxed);
    STAYING.wake_all();
    other.join();
    check!(report.verdict.stack.owner == other.id(), "{:?}", report.verdict);
    check!(report.context.thread == touching.id(), "{:?}", report.context);
    check!(report.verdict.cause == Cause::GuardAccess, "{:?}", report.verdict);
    let harmed = HARMED.load(Ordering::Relaxed);
    check!(harmed == 1, "{harmed}: 1 plus the words of the other's stack that have changed");
    Ok(())
}

/// Nothing is below an SP of 0: the push goes to the highest address. It is an SP that a program
/// might have chosen, so no thread is ended for it; the report names the stack that ran. Red if no
/// stack explains the fault.
pub fn o1_o6_a_stack_pointer_of_0_stops_the_machine_with_a_report() -> Outcome {
    control!(
        "expect o1_o6_a_stack_pointer_of_0_stops_the_machine_with_a_report stack=thread side=below cause=frame-beyond-guard \
         consequence=stop-system victim=main running=0"
    );
    // SAFETY: (1) none: there is no stack. That is the test.
    unsafe { super::arch::depth::breakpoint_at(0) };
    Err("the machine went on".into())
}
