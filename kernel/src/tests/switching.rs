//! The switch between threads, the first frame of a new one, and the end of an old one.

use super::arch::expectations::EXPECTED;
use super::arch::registers::{self, loaded_canary};
use super::support::{above_end, install_hooks, on_every_cpu, stack_at, until};
use super::{Outcome, check};
use crate::hooks;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::{Addr, PAGE_BYTES};
use kstack::arch::current::call::call_on_stack;
use kstack::arch::current::switch::SwitchFrame;
use kstack::arena::SlotIndex;
use kstack::first_frame::{self, Start};
use kstack::hooks::Hooks;
use kstack::interrupts::InterruptsOff;
use kstack::kind::StackKind;
use kstack::stacks::ThreadId;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, irqchip, paging};
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::sched::{self, Thread, WaitQueue};
use threads::stacks::{self, all_stacks};

/// Starts threads, or says why not.
fn spawn_all(
    number: usize,
    name: &str,
    body: fn(usize),
) -> Result<Vec<Arc<Thread>>, alloc::string::String> {
    (0..number)
        .map(|n| sched::spawn_kernel(name, body, n).map_err(|error| format!("{error:?}")))
        .collect()
}

/// Whether everything that a switch sets is the calling thread's.
fn all_is_mine() -> bool {
    cpu::without_interrupts(|| {
        let me = sched::current();
        let range = me.stack_range();
        loaded_canary() == me.canary()
            && cpus::this().local.thread_top() == range.top
            && range.contains(Addr::new(cpu::stack_pointer()))
    })
}

static STOP: AtomicBool = AtomicBool::new(false);
static TURNS: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

static TURN: AtomicUsize = AtomicUsize::new(0);
static TAKEN: WaitQueue = WaitQueue::new();

/// Gives the turn to player `next` and sleeps until it is player `me`'s again. A look that fails
/// after the sleeper is in the queue means that it left the CPU.
fn pass_turn(next: usize, me: usize) {
    TURN.store(next, Ordering::Release);
    TAKEN.wake_all();
    let mut looks = 0;
    TAKEN.wait_uninterruptibly(|| {
        looks += 1;
        TURN.load(Ordering::Acquire) == me || STOP.load(Ordering::Relaxed)
    });
    if looks >= 3 {
        TURNS.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn pass_to_second() {
    pass_turn(1, 0);
}

extern "C" fn pass_to_first() {
    pass_turn(0, 1);
}

/// Two threads take turns, each with values of its own in the registers that a switch must keep,
/// and each looks at canary, top of stack and SP after every turn. Red if the switch saves one
/// register less, or two in the wrong order, or forgets the canary.
pub fn s1_a_switch_keeps_registers_and_moves_stack_thread_and_canary() -> Outcome {
    const SWITCHES: u32 = 2000;
    static CANARIES: SpinLock<[usize; 2]> = SpinLock::new([0; 2]);
    fn play(player: usize) {
        let (pass, pattern): (extern "C" fn(), _) = match player {
            0 => (pass_to_second, 0x1111_0000),
            _ => (pass_to_first, 0x7777_0000),
        };
        CANARIES.lock()[player] = sched::current().canary();
        while TURNS.load(Ordering::Relaxed) < SWITCHES {
            if registers::kept_across(pass, pattern) != registers::KEPT || !all_is_mine() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
        STOP.store(true, Ordering::Relaxed);
        TAKEN.wake_all();
    }
    STOP.store(false, Ordering::Relaxed);
    TURNS.store(0, Ordering::Relaxed);
    WRONG.store(0, Ordering::Relaxed);
    for player in spawn_all(2, "player", play)? {
        player.join();
    }
    check!(WRONG.load(Ordering::Relaxed) == 0, "wrong {WRONG:?} times in {TURNS:?} switches");
    let [first, second] = *CANARIES.lock();
    check!(first != second && first & 0xff == 0, "canaries {first:x}, {second:x}");
    Ok(())
}

/// The same with many threads on four CPUs, moved about by the timer.
pub fn s1_t16_current_is_right_across_preemption_on_four_cpus() -> Outcome {
    const THREADS: usize = 12;
    static MOVES: AtomicU32 = AtomicU32::new(0);
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    static IDS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
    fn look(n: usize) {
        let me = sched::current();
        IDS[n].store(me.id().get(), Ordering::Relaxed);
        let (lowest, top) = (me.stack_range().lowest.get(), me.stack_range().top.get());
        let mut last = me.last_cpu();
        while !STOP.load(Ordering::Relaxed) {
            for _ in 0..1000 {
                // Two loads of `current` with a preemption in between, now and then; and where SP
                // is, says who runs.
                let now = sched::current();
                let sp = cpu::stack_pointer();
                if now.id() != me.id() || sp < lowest || sp >= top || !all_is_mine() {
                    WRONG.fetch_add(1, Ordering::Relaxed);
                }
            }
            LOOKS.fetch_add(1000, Ordering::Relaxed);
            if me.last_cpu() != last {
                last = me.last_cpu();
                MOVES.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    STOP.store(false, Ordering::Relaxed);
    WRONG.store(0, Ordering::Relaxed);
    MOVES.store(0, Ordering::Relaxed);
    let threads = spawn_all(THREADS, "looking", look)?;
    let moved = until("threads have moved between CPUs", || MOVES.load(Ordering::Relaxed) >= 100);
    STOP.store(true, Ordering::Relaxed);
    for thread in &threads {
        thread.join();
    }
    moved?;
    check!(WRONG.load(Ordering::Relaxed) == 0, "wrong {WRONG:?} times of {LOOKS:?}");
    for (thread, id) in threads.iter().zip(&IDS) {
        check!(
            thread.id().get() == id.load(Ordering::Relaxed),
            "{} thought it was {id:?}",
            thread.id()
        );
    }
    Ok(())
}

/// Others wait for a CPU, this one is asked to give way, and an interrupt comes: with bottom halves
/// disabled the thread stays, and the request with it; enabled, the next interrupt carries it out.
pub fn i4_a_thread_with_bottom_halves_disabled_is_not_preempted() -> Outcome {
    static STOP: AtomicBool = AtomicBool::new(false);
    fn spin(_: usize) {
        while !STOP.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
    }
    STOP.store(false, Ordering::Release);
    let others = spawn_all(2 * cpus::online_count() as usize, "waiting", spin)?;
    let mut outcome = Ok(());
    for _ in 0..20 {
        threads::entry::softirq::disable_bottom_halves();
        let local = &cpus::this().local;
        local.ask_for_preemption();
        irqchip::software_interrupt();
        let stays = local.preemption_is_asked();
        threads::entry::softirq::enable_bottom_halves();
        if !stays {
            outcome = Err("a thread with bottom halves disabled was preempted".into());
        }
        // With interrupts off it stays as well: what it does then must not be left half-way.
        let stays = cpu::without_interrupts(|| {
            let local = &cpus::this().local;
            local.ask_for_preemption();
            irqchip::software_interrupt();
            local.preemption_is_asked()
        });
        if !stays {
            outcome = Err("a thread with interrupts off was preempted".into());
        }
        // This time it gives way, or a tick was faster.
        irqchip::software_interrupt();
    }
    STOP.store(true, Ordering::Release);
    others.iter().for_each(|thread| thread.join());
    outcome
}

/// A new thread's first moment is right behind the switch, before it says that the one that left is
/// off the CPU: until then that one counts as on it. Red if a switch, or what comes before it, says
/// so itself: another CPU could run it on registers that are not saved.
pub fn s1_t10_a_thread_that_leaves_its_cpu_counts_as_on_it_until_the_next_one_runs() -> Outcome {
    static LEFT: AtomicU32 = AtomicU32::new(0);
    static EARLY: AtomicU32 = AtomicU32::new(0);
    fn after_switch(left: usize) {
        // SAFETY: (1) the CPU's reference to the thread that left, which the kernel's own hook
        // gives up.
        let is_on_cpu = unsafe { &*(left as *const Thread) }.is_on_cpu();
        LEFT.fetch_add(1, Ordering::Relaxed);
        EARLY.fetch_add(u32::from(!is_on_cpu), Ordering::Relaxed);
        sched::after_switch(left);
    }
    static HOOKS: Hooks = hooks::HOOKS.after_switch(after_switch);
    LEFT.store(0, Ordering::Relaxed);
    EARLY.store(0, Ordering::Relaxed);
    install_hooks(&HOOKS);
    let threads = spawn_all(60, "first moment", |_| sched::yield_now());
    threads.iter().flatten().for_each(|thread| thread.join());
    install_hooks(&hooks::HOOKS);
    threads?;
    let (left, early) = (LEFT.load(Ordering::Relaxed), EARLY.load(Ordering::Relaxed));
    check!(left >= 60 && early == 0, "{early} of {left} counted as off their CPU too early");
    Ok(())
}

/// The waker comes between the sleeper's first look and its place in the list, where it finds no
/// sleeper: the sleeper makes it do so. Red, and not a hang, if the sleeper does not look again.
pub fn s1_a_wake_up_before_the_sleeper_is_in_the_list_is_not_lost() -> Outcome {
    static HAPPENED: AtomicBool = AtomicBool::new(false);
    static WOKEN: AtomicBool = AtomicBool::new(false);
    static QUEUE: WaitQueue = WaitQueue::new();
    fn sleep(_: usize) {
        QUEUE.wait_uninterruptibly(|| {
            let before = HAPPENED.swap(true, Ordering::AcqRel);
            if !before {
                QUEUE.wake_all();
            }
            before
        });
        WOKEN.store(true, Ordering::Release);
    }
    HAPPENED.store(false, Ordering::Relaxed);
    WOKEN.store(false, Ordering::Relaxed);
    let sleepers = spawn_all(1, "sleeping", sleep)?;
    let outcome = until("the sleeper sees what has happened", || WOKEN.load(Ordering::Acquire));
    // If it sleeps all the same.
    QUEUE.wake_all();
    sleepers.iter().for_each(|thread| thread.join());
    outcome
}

#[inline(never)]
extern "C" fn only_current() -> usize {
    cpus::current_thread()
}

/// Read from the machine code: one load through the CPU's register for it, and nothing else that
/// reads memory but the return.
pub fn t16_current_is_one_load() -> Outcome {
    registers::check_is_one_load(only_current as *const () as *const u8)?;
    check!(only_current() == core::ptr::from_ref(sched::current()) as usize, "of another thread");
    Ok(())
}

/// No task structure, with the `thread_info` in it, lies on a stack; and `current` does not depend
/// on what a stack holds down to its low end, which the thread overwrites here, before an
/// interrupt, a switch and another thread's life. Where a build has a pointer to it on the stack,
/// it is below what the thread may write. Red if `current` were found by masking SP on any other
/// build.
pub fn t15_thread_info_is_in_the_task_structure_where_no_overflow_reaches_it() -> Outcome {
    static ON_IRQ_STACK: AtomicUsize = AtomicUsize::new(0);
    const PATTERN: usize = 0x0bad_5eed;
    for thread in sched::all() {
        let at = Arc::as_ptr(&thread) as usize;
        check!(stack_at(at).is_none(), "thread {} lies on a stack, at {at:#x}", thread.id());
        check!(
            stack_at(at + size_of::<Thread>() - 1).is_none(),
            "thread {} ends there",
            thread.id()
        );
    }
    let me = core::ptr::from_ref(sched::current()) as usize;
    let stack = sched::current().stack_range();
    let low_end = above_end(stack) as *mut usize;
    let words = PAGE_BYTES / 2 / size_of::<usize>();
    check!(
        stack.size().get() >= 2 * PAGE_BYTES,
        "the stack is too small to write half a page of it"
    );
    for n in 0..words {
        // SAFETY: (1) the lowest half page of this thread's own stack, far below SP.
        unsafe { low_end.add(n).write_volatile(PATTERN) };
    }
    probes::set_probe(Some(|_| {
        ON_IRQ_STACK.store(cpus::current_thread(), Ordering::Relaxed);
    }));
    irqchip::software_interrupt();
    probes::set_probe(None);
    let in_the_handler = ON_IRQ_STACK.load(Ordering::Relaxed);
    spawn_all(1, "another", |_| {})?.iter().for_each(|thread| thread.join());
    sched::yield_now();
    let afterwards = cpus::current_thread();
    // SAFETY: (1) as above.
    let kept = (0..words).filter(|&n| unsafe { low_end.add(n).read_volatile() } == PATTERN).count();
    check!(in_the_handler == me, "current is {in_the_handler:#x} in the handler, not {me:#x}");
    check!(afterwards == me, "current is {afterwards:#x} afterwards, not {me:#x}");
    check!(kept == words, "{} words at the low end have changed", words - kept);
    Ok(())
}

extern "C" fn never_called(_: usize) {}

/// The frames are read from memory before anything runs on them.
pub fn s2_the_first_frame_holds_registers_at_the_top_and_function_and_argument() -> Outcome {
    let stack = stacks::acquire_thread(ThreadId::NONE).map_err(|error| format!("{error:?}"))?;
    let range = stack.range();
    let regs_at = first_frame::user_regs_at(range);
    let user = linux::abi::start(0x40_1000, 0x7fff_0000);
    let mut seen = Vec::new();
    for start in [Start::Kernel { function: never_called, argument: 0x1234 }, Start::User(&user)] {
        let sp = cpu::without_interrupts(|| {
            stack.make_coherent(cpus::this().id());
            // SAFETY: (1) the stack is ours alone, and mapped.
            unsafe { first_frame::build(range, start) }
        });
        // SAFETY: (1) what is read was just written.
        let (frame, regs) = unsafe {
            ((sp as *const SwitchFrame).read(), (regs_at.get() as *const SavedRegs).read())
        };
        seen.push((sp, frame, regs));
    }
    drop(stack);
    check!(
        range.top.bytes_above(regs_at).get() == EXPECTED.saved_regs,
        "the registers are at {regs_at}"
    );
    let [(kernel_sp, kernel, kernel_regs), (user_sp, for_user, user_regs)] = seen[..] else {
        return Err("two frames".into());
    };
    check!(
        kernel_sp == regs_at.get() - EXPECTED.switch_frame && user_sp == kernel_sp,
        "{kernel_sp:x}, {user_sp:x}"
    );
    check!(kernel.function() == never_called as *const () as usize, "function: {kernel:x?}");
    check!(
        kernel.argument() == 0x1234 && kernel.fp().get() == regs_at.get() + 1,
        "argument, marker: {kernel:x?}"
    );
    check!(kernel_regs == SavedRegs::default(), "{kernel_regs:x?}");
    check!(for_user.function() == 0 && for_user.fp().get() == regs_at.get() + 1, "{for_user:x?}");
    check!(user_regs == user, "{user_regs:x?}");
    check!(kernel.return_address() == for_user.return_address(), "two ways to start");
    Ok(())
}

/// A kernel thread runs its function, with its argument, near the top of its own stack, interrupts
/// on.
pub fn s2_a_kernel_thread_starts_with_its_function_and_argument() -> Outcome {
    static SEEN: SpinLock<Vec<(usize, ThreadId, usize, bool)>> = SpinLock::new(Vec::new());
    fn body(argument: usize) {
        let sp = cpu::stack_pointer();
        let below = sched::current().stack_range().top.get() - sp;
        let on = cpu::interrupts_are_on();
        SEEN.lock().push((argument, sched::current().id(), below, on));
    }
    SEEN.lock().clear();
    let threads = spawn_all(20, "starting", body)?;
    for thread in &threads {
        thread.join();
    }
    let seen = core::mem::take(&mut *SEEN.lock());
    check!(seen.len() == threads.len(), "{} of them ran", seen.len());
    for (argument, id, below, interrupts_on) in seen {
        check!(threads[argument].id() == id, "thread {id} got the argument {argument}");
        check!(below < 1024, "thread {id} starts {below} bytes below its top");
        check!(interrupts_on, "thread {id} starts with interrupts off");
    }
    Ok(())
}

/// A thousand deaths: each stack is given back, and never by code that stands on it.
pub fn s5_a_dead_threads_stack_is_given_back_by_the_next_thread() -> Outcome {
    let before = sched::deaths();
    for round in 0..50 {
        let threads = spawn_all(20, "dying", |_| sched::yield_now())?;
        for thread in threads {
            thread.join();
            check!(!thread.has_stack(), "round {round}: a dead thread still has its stack");
            let kind = stack_at(thread.stack_range().top.get() - 1);
            check!(
                kind.is_none_or(|stack| stack.owner != thread.id()),
                "the registry still names the dead thread: {kind:?}"
            );
        }
    }
    let after = sched::deaths();
    let given_back = after.given_back - before.given_back;
    check!(given_back >= 1000, "{given_back} stacks given back, not 1000");
    check!(after.on_itself == 0, "{} were given back from themselves", after.on_itself);
    Ok(())
}

static GO_ON: WaitQueue = WaitQueue::new();
static MAY_END: AtomicBool = AtomicBool::new(false);

fn stand_by(_: usize) {
    GO_ON.wait_uninterruptibly(|| MAY_END.load(Ordering::Relaxed));
}

/// Of a sleeping thread, of the running one, and of one that is gone.
pub fn t9_whether_and_where_a_thread_has_its_stack_is_a_query() -> Outcome {
    MAY_END.store(false, Ordering::Relaxed);
    let thread = sched::spawn_kernel("asked", stand_by, 0).map_err(|e| format!("{e:?}"))?;
    until("the thread sleeps", || thread.state() == sched::State::Blocked && !thread.is_on_cpu())?;
    let asked = (|| {
        let range = thread.stack_range();
        check!(thread.has_stack(), "it has no stack");
        check!(paging::kernel_is_mapped(range.lowest.get() as u64), "its stack is not mapped");
        let stack = stack_at(range.lowest.get()).ok_or("the registry does not know it")?;
        check!(stack.owner == thread.id() && stack.kind == StackKind::Thread, "{stack:?}");
        check!(stack.range == range, "{:?}, not {range:?}", stack.range);
        let top = range.top.get();
        check!(stack_at(top - 1) == Some(stack), "its highest byte is not on it");
        check!(stack_at(range.lowest.get() - 1).is_none(), "the guard below is on a stack");
        check!(stack_at(top).is_none(), "the guard above is on a stack");
        let sp = thread.saved_sp();
        check!(range.contains(Addr::new(sp)), "its saved SP {sp:x} is not on it");
        let regs_at = first_frame::user_regs_at(range).get();
        check!(regs_at == top - EXPECTED.saved_regs, "its user registers are at {regs_at:x}");
        check!(sp < regs_at, "its frames are above its user registers");
        let mine = sched::current();
        let here = cpu::stack_pointer();
        check!(
            stack_at(here).is_some_and(|stack| stack.owner == mine.id()),
            "and mine is not mine"
        );
        Ok(())
    })();
    MAY_END.store(true, Ordering::Relaxed);
    GO_ON.wake_all();
    thread.join();
    asked?;
    check!(!thread.has_stack(), "a thread that is gone has a stack");
    let still = stack_at(thread.stack_range().lowest.get());
    check!(still.is_none_or(|stack| stack.owner != thread.id()), "{still:?}");
    Ok(())
}

static FRESH: AtomicUsize = AtomicUsize::new(0);
static SLOT: AtomicU32 = AtomicU32::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);
static VISITS: AtomicU32 = AtomicU32::new(0);

/// Address spaces are made first, stacks are mapped after; then every CPU, under each address
/// space, runs on the top of a new stack and writes its lowest byte. Red if a new stack's mapping
/// had to be copied into address spaces, or faulted in.
pub fn t10_a_new_stack_is_there_on_every_cpu_under_every_address_space() -> Outcome {
    extern "C" fn visit(lowest: usize, _: usize) {
        // SAFETY: (1) the lowest byte of the stack this runs on.
        unsafe { (lowest as *mut u8).write_volatile(1) };
        VISITS.fetch_add(1, Ordering::Relaxed);
    }
    let spaces: Vec<_> = (0..3).filter_map(|_| paging::UserTables::new()).collect();
    check!(spaces.len() == 3, "no memory for three address spaces");
    VISITS.store(0, Ordering::Relaxed);
    // More than fit into the caches, so that some are mapped now.
    let stacks: Result<Vec<_>, _> =
        (0..40).map(|number| all_stacks().acquire_thread(ThreadId::new(number))).collect();
    let stacks = stacks.map_err(|error| format!("{error:?}"))?;
    let mut outcome = Ok(());
    for stack in &stacks {
        SLOT.store(stack.as_ref().slot.get(), Ordering::Relaxed);
        FRESH.store(stack.range().top.get(), Ordering::Relaxed);
        for space in &spaces {
            ROOT.store(space.root(), Ordering::Relaxed);
            outcome = outcome.and(on_every_cpu(|_| {
                let top = FRESH.load(Ordering::Relaxed);
                let body = stacks::arena().geometry().body().get();
                let old = cpus::this().tables_root.load(Ordering::Relaxed);
                let slot = SlotIndex::new(SLOT.load(Ordering::Relaxed));
                all_stacks().make_coherent(slot, cpus::this().id());
                // SAFETY: (1) the tables are complete and stay until the old ones, which this CPU
                // used, are back; (2) interrupts are off, and no other code uses the new stack.
                unsafe {
                    let off = InterruptsOff::assume();
                    cpu::load_tables(ROOT.load(Ordering::Relaxed), &off);
                    call_on_stack(top - body, 0, visit, top);
                    cpu::load_tables(old as u64, &off);
                }
                Ok(())
            }));
            if outcome.is_err() {
                break;
            }
        }
    }
    let number = stacks.len() as u32;
    drop(stacks);
    outcome?;
    let visits = VISITS.load(Ordering::Relaxed);
    check!(visits == number * 3 * cpus::online_count(), "{visits} visits to {number} stacks");
    Ok(())
}

/// Threads that are started and stay alive together, so that their stacks are new; they are run by
/// whatever CPU is free.
pub fn t10_new_threads_run_on_every_cpu_at_once() -> Outcome {
    static RAN_ON: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
    static RAN: AtomicU32 = AtomicU32::new(0);
    fn body(_: usize) {
        let lowest = above_end(sched::current().stack_range());
        // SAFETY: (1) the far end of its own stack, which it does not use.
        unsafe { (lowest as *mut u8).write_volatile(1) };
        let count = || {
            cpu::without_interrupts(|| {
                RAN_ON[cpus::this().id().index()].fetch_add(1, Ordering::Relaxed)
            })
        };
        count();
        RAN.fetch_add(1, Ordering::Relaxed);
        // The first ones go round until every CPU has had one of them.
        while RAN_ON.iter().any(|count| count.load(Ordering::Relaxed) == 0)
            && !MAY_END.load(Ordering::Relaxed)
        {
            sched::yield_now();
            count();
        }
        stand_by(0);
    }
    RAN_ON.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    RAN.store(0, Ordering::Relaxed);
    MAY_END.store(false, Ordering::Relaxed);
    let threads = spawn_all(300, "new", body);
    let all_ran = until("300 new threads have run on all CPUs", || {
        RAN.load(Ordering::Relaxed) == 300
            && RAN_ON.iter().all(|count| count.load(Ordering::Relaxed) > 0)
    });
    MAY_END.store(true, Ordering::Relaxed);
    GO_ON.wake_all();
    for thread in threads? {
        thread.join();
    }
    all_ran.map_err(|message| format!("{message}: {RAN:?} on {RAN_ON:?}"))
}

/// Threads that give their CPU away all the time, with three others waiting for whatever is ready:
/// each continues where it left, once. Red if a thread counts as off its CPU before its registers
/// are saved: another CPU continues from the frame of the switch before, on a stack that two CPUs
/// are on now, and does a round twice. Whether it is cleared too early at all, the test above tells
/// without luck.
pub fn s1_t10_a_thread_that_leaves_its_cpu_is_on_no_other_before_its_registers_are_saved() -> Outcome
{
    const THREADS: usize = 6;
    const ROUNDS: u32 = 8000;
    static DONE: [AtomicU32; THREADS] = [const { AtomicU32::new(0) }; THREADS];
    static TWICE: AtomicU32 = AtomicU32::new(0);
    fn rounds(number: usize) {
        for round in 0..ROUNDS {
            // The round is this frame's; the count is everybody's.
            if DONE[number].fetch_add(1, Ordering::Relaxed) != core::hint::black_box(round) {
                TWICE.fetch_add(1, Ordering::Relaxed);
            }
            sched::yield_now();
        }
    }
    TWICE.store(0, Ordering::Relaxed);
    DONE.iter().for_each(|done| done.store(0, Ordering::Relaxed));
    let spawn = |number| {
        sched::spawn_kernel("rounds", rounds, number).map_err(|error| format!("{error:?}"))
    };
    let threads = (0..THREADS).map(spawn).collect::<Result<Vec<_>, _>>()?;
    for thread in &threads {
        thread.join();
    }
    let twice = TWICE.load(Ordering::Relaxed);
    check!(twice == 0, "{twice} rounds were done twice");
    let all = DONE.iter().all(|done| done.load(Ordering::Relaxed) == ROUNDS);
    check!(all, "{DONE:?} rounds of {ROUNDS}");
    Ok(())
}
