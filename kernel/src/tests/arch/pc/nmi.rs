//! NMIs that come while an NMI is being handled, from another CPU, and in user mode; and what tests
//! of where they land need.
//!
//! Where they land is each tree's: an interrupt stack table is used or there is none.

use crate::provoke::{self, How};
use crate::tests::arch::expectations::EXPECTED;
use crate::tests::arch::registers::{self, Registers};
use crate::tests::arch::{sweep, user_code};
use crate::tests::backtraces::{HANDLER, crossings, goes_through, interrupted_here, steps_of};
use crate::tests::support::{check_mapping, kind_at, stack_of_cpu, until};
use crate::tests::user_mode::{self, STACK_TOP, Seen, UserThread};
use crate::tests::{Outcome, check};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack::addr::{AddrRange, ByteSize};
use kstack::kind::StackKind;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, cpu_tables, irqchip, step};
use machine::cpus;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::backtrace;
use threads::{sched, time};

/// Red if a CPU lacks one, if two share one, if a guard is mapped, or if a size is not what its
/// table says.
pub fn i8_every_cpu_has_guarded_exception_stacks_of_their_own_sizes() -> Outcome {
    let own = EXPECTED.cpu_stacks;
    let mut seen: Vec<AddrRange> = Vec::new();
    for cpu in cpus::online() {
        for &kind in own {
            let range = stack_of_cpu(kind, cpu)?.range;
            let listed = kstack::cpu::CPU_STACKS.iter().find(|(one, _)| *one == kind);
            let &(_, pages) = listed.ok_or("the library does not list it")?;
            check!(range.size() == ByteSize::pages(pages), "{kind} of CPU {}: {range:?}", cpu.id());
            check!(!seen.contains(&range), "CPU {} shares its {kind} stack", cpu.id());
            seen.push(range);
            check_mapping(range)?;
        }
    }
    check!(seen.len() == 4 * own.len(), "{} stacks", seen.len());
    Ok(())
}

/// How often the handler of the test that runs was called.
pub(in crate::tests::arch) static COUNT: AtomicU32 = AtomicU32::new(0);
/// How often it found something wrong.
pub(in crate::tests::arch) static WRONG: AtomicU32 = AtomicU32::new(0);
static BREAKPOINTS: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static USER_HITS: AtomicU32 = AtomicU32::new(0);

/// Before a test.
pub(in crate::tests::arch) fn clear() {
    for word in [&COUNT, &BREAKPOINTS, &DEPTH, &DEEPEST, &WRONG] {
        word.store(0, Ordering::Relaxed);
    }
}

/// Sends an NMI to the CPU this runs on.
pub(in crate::tests::arch) fn send_to_this_cpu() {
    irqchip::send_nmi(cpus::this().hardware_id.load(Ordering::Relaxed));
}

/// The handler sends itself an NMI and executes a breakpoint, whose return lets that NMI in while
/// the handler runs. It must be handled afterwards, once; and every register of what was
/// interrupted must be as before. Red if the second NMI is handled on the first one's frames, from
/// the top of the body stack, or is dropped.
pub fn i8_an_nmi_that_comes_during_an_nmi_is_handled_after_it() -> Outcome {
    fn nested(regs: &mut SavedRegs) {
        let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
        DEEPEST.fetch_max(depth, Ordering::Relaxed);
        let before = *regs;
        if COUNT.fetch_add(1, Ordering::Relaxed) < 3 {
            send_to_this_cpu();
            cpu::breakpoint();
            if !cpu_tables::nmi_words(cpus::this()).is_latched() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
        if *regs != before || kind_at(cpu::stack_pointer()) != Some(StackKind::NmiBody) {
            WRONG.fetch_add(100, Ordering::Relaxed);
        }
        DEPTH.fetch_sub(1, Ordering::Relaxed);
    }
    clear();
    probes::set_breakpoint_probe(Some(|_| {
        BREAKPOINTS.fetch_add(1, Ordering::Relaxed);
    }));
    probes::set_nmi_probe(Some(nested));
    probes::set_probe(Some(|_| send_to_this_cpu()));
    let mut after = Registers::default();
    // The NMI is sent from an interrupt, with known registers around it.
    registers::across_an_interrupt(&mut after);
    let came = until("four NMIs have come", || COUNT.load(Ordering::Relaxed) >= 4);
    probes::set_probe(None);
    probes::set_nmi_probe(None);
    probes::set_breakpoint_probe(None);
    came?;
    check!(after.are_known(), "afterwards {after:x?}");
    check!(COUNT.load(Ordering::Relaxed) == 4, "{COUNT:?} NMIs, not 4");
    check!(BREAKPOINTS.load(Ordering::Relaxed) == 3, "{BREAKPOINTS:?} breakpoints, not 3");
    check!(DEEPEST.load(Ordering::Relaxed) == 1, "{DEEPEST:?} handlers at a time");
    check!(WRONG.load(Ordering::Relaxed) == 0, "not latched, or disturbed: {WRONG:?}");
    let words = cpu::without_interrupts(|| {
        let words = cpu_tables::nmi_words(cpus::this());
        (words.is_active(), words.is_latched())
    });
    check!(words == (false, false), "left behind: active, latched = {words:?}");
    Ok(())
}

/// Waits for what a CPU does within an instant of its own. An emulator on a busy host lets a CPU
/// stand for seconds, so the wait ends when that CPU has gone on without doing it, by its own
/// ticks.
fn arrives_at(cpu: &cpus::Cpu, mut condition: impl FnMut() -> bool) -> bool {
    const TICKS: u64 = 50;
    let ticks = || cpu.ticks.load(Ordering::Acquire);
    let began = ticks();
    loop {
        core::hint::spin_loop();
        // In this order: what was done before the last tick is seen.
        let has_gone_on = ticks() - began >= TICKS;
        if condition() {
            return true;
        }
        if has_gone_on {
            return false;
        }
    }
}

/// NMIs from another CPU rain on threads that keep a known value in every register.
pub fn i8_nmis_from_another_cpu_disturb_no_register_of_any_thread() -> Outcome {
    /// NMIs for each CPU, if the emulator is quick: each costs two turns of its own, a second of a
    /// busy host. Never fewer than these.
    const EACH: u32 = 1000;
    const LEAST: u32 = 20;
    const MAX_SECONDS: u64 = 8;
    static HANDLED: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
    static STOP: AtomicBool = AtomicBool::new(false);
    fn handled(_: &mut SavedRegs) {
        if let Some(count) = HANDLED.get(cpus::this().id().index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn keep(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            let mut after = Registers::default();
            registers::across_a_while(&mut after);
            if !after.are_known() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    clear();
    STOP.store(false, Ordering::Relaxed);
    HANDLED.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    probes::set_nmi_probe(Some(handled));
    let threads: Vec<_> =
        (0..6).filter_map(|_| sched::spawn_kernel("keeping", keep, 0).ok()).collect();
    let mut lost = Vec::new();
    let (began, mut rounds) = (time::nanoseconds(), 0);
    'rain: while rounds < EACH
        && (rounds < LEAST || time::nanoseconds() - began < MAX_SECONDS * 1_000_000_000)
    {
        rounds += 1;
        for (cpu, count) in cpus::online().zip(&HANDLED) {
            let before = count.load(Ordering::Relaxed);
            irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
            // Each is waited for, so that none may be merged with the next.
            if !arrives_at(cpu, || count.load(Ordering::Relaxed) != before) {
                lost.push(cpu.id());
                break 'rain;
            }
        }
    }
    STOP.store(true, Ordering::Relaxed);
    for thread in &threads {
        thread.join();
    }
    probes::set_nmi_probe(None);
    check!(threads.len() == 6, "only {} threads", threads.len());
    check!(lost.is_empty(), "CPU {lost:?} lost an NMI: {HANDLED:?}");
    for count in &HANDLED {
        check!(count.load(Ordering::Relaxed) == rounds, "{HANDLED:?} NMIs, not {rounds} each");
    }
    check!(WRONG.load(Ordering::Relaxed) == 0, "registers changed {WRONG:?} times");
    Ok(())
}

/// What a backtrace crosses in an NMI in an interrupt that hit a softirq that an interrupt of a
/// thread left: four contexts.
pub(in crate::tests::arch) fn crossings_in_an_nmi() -> Result<Vec<&'static str>, String> {
    static CAME: AtomicBool = AtomicBool::new(false);
    CAME.store(false, Ordering::Relaxed);
    probes::set_nmi_probe(Some(|_| {
        let steps = backtrace::steps_here();
        *HANDLER.lock() = Some(steps);
        CAME.store(true, Ordering::Release);
    }));
    let steps = steps_of(|| {
        probes::set_probe(Some(|_| {
            if cpus::this().local.irq.snapshot().in_softirq() {
                send_to_this_cpu();
                // It comes while this handler runs.
                while !CAME.load(Ordering::Acquire) {
                    core::hint::spin_loop();
                }
            } else {
                softirq::raise(Softirq::Probe);
            }
        }));
        softirq::set_probe(irqchip::software_interrupt);
        interrupted_here();
    });
    probes::set_nmi_probe(None);
    let steps = steps?;
    check!(goes_through(&steps, interrupted_here as *const () as usize), "{:x?}", steps.steps());
    Ok(crossings(&steps))
}

/// In a handler: notes an NMI that hit the thread in user mode, the first one. Says whether it was
/// that one.
pub(in crate::tests::arch) fn see_the_first_of_user_mode(regs: &SavedRegs) -> bool {
    let first = regs.from_user() && user_mode::is_ours() && USER_HITS.load(Ordering::Relaxed) == 0;
    if first {
        // The console is not needed here, and user mode never takes SEEN's lock.
        user_mode::see(2, kstack::addr::Addr::new(0), regs);
        USER_HITS.fetch_add(1, Ordering::Release);
    }
    first
}

/// Sends NMIs to a thread in user mode until `handler` has seen one by
/// [`see_the_first_of_user_mode`]; what was seen, at the top of the thread's stack.
pub(in crate::tests::arch) fn hit_user_mode(handler: fn(&mut SavedRegs)) -> Result<Seen, String> {
    USER_HITS.store(0, Ordering::Relaxed);
    probes::set_nmi_probe(Some(handler));
    let mut seen = None;
    let outcome = user_mode::with_hooks(None, || {
        let thread = UserThread::start(user_code::spin, STACK_TOP - 8)?;
        let hit = thread.hit(irqchip::send_nmi, || USER_HITS.load(Ordering::Acquire) > 0);
        user_mode::end_spin(&thread);
        let unharmed = thread.finish_unharmed();
        hit?;
        unharmed?;
        seen = user_mode::seen().into_iter().find(|seen| seen.vector == 2);
        Ok(())
    });
    probes::set_nmi_probe(None);
    outcome?;
    let nmi = seen.ok_or("no NMI")?;
    user_mode::check_at_top(&nmi)?;
    Ok(nmi)
}

static WATCHED: AtomicU32 = AtomicU32::new(0);

/// Has a breakpoint.
#[inline(never)]
fn watched() -> u32 {
    core::hint::black_box(WATCHED.fetch_add(1, Ordering::Relaxed))
}

/// Executes [`watched`] under a breakpoint, with known registers around it, and again in the
/// handler of its debug exception: there by `again`. Both exceptions are taken, once each, and
/// every register is as before.
fn nested_debug_exceptions(again: fn(&mut SavedRegs)) -> Outcome {
    static AGAIN: AtomicUsize = AtomicUsize::new(0);
    clear();
    WATCHED.store(0, Ordering::Relaxed);
    AGAIN.store(again as usize, Ordering::Relaxed);
    probes::set_debug_probe(Some(|regs| {
        sweep::resume(regs);
        let before = *regs;
        match COUNT.fetch_add(1, Ordering::Relaxed) {
            0 => {
                // SAFETY: (1) stored above, of this type.
                let again = unsafe {
                    core::mem::transmute::<usize, fn(&mut SavedRegs)>(AGAIN.load(Ordering::Relaxed))
                };
                again(regs);
            }
            // What a handler does that lands on its own first frame: it would never end.
            20.. => step::set_breakpoint(None),
            _ => {}
        }
        if *regs != before {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }));
    probes::set_probe(Some(|_| {
        step::set_breakpoint(Some(watched as *const () as usize));
        watched();
        step::set_breakpoint(None);
    }));
    let mut after = Registers::default();
    registers::across_an_interrupt(&mut after);
    probes::set_probe(None);
    probes::set_debug_probe(None);
    let (watched, exceptions) = (WATCHED.load(Ordering::Relaxed), COUNT.load(Ordering::Relaxed));
    check!(exceptions == 2, "{exceptions} debug exceptions, not 2; it ran {watched} times");
    check!(watched == 2, "it ran {watched} times");
    check!(WRONG.load(Ordering::Relaxed) == 0, "a frame was written over");
    check!(after.are_known(), "afterwards {after:x?}");
    Ok(())
}

/// Red if the second one lands on the first one's frame: the first goes back to itself then,
/// without end.
pub fn i8_a_debug_exception_in_the_debug_handler_is_taken_and_goes_back() -> Outcome {
    nested_debug_exceptions(|_| {
        watched();
    })
}

/// The same with an NMI in between: the debug exception of its handler must not take the debug
/// stack for free.
pub fn i8_a_debug_exception_in_an_nmi_in_the_debug_handler_is_taken_and_goes_back() -> Outcome {
    probes::set_nmi_probe(Some(|_| {
        watched();
    }));
    let outcome = nested_debug_exceptions(|_| {
        send_to_this_cpu();
        // It comes at once: nothing holds it back in a debug handler.
        for _ in 0..100_000_000_u32 {
            if WATCHED.load(Ordering::Acquire) > 0 {
                break;
            }
            core::hint::spin_loop();
        }
    });
    probes::set_nmi_probe(None);
    outcome
}

/// The thread that was interrupted could be ended but for the NMI.
pub fn o2_o5_o6_an_overflow_in_an_nmi_handler_stops_the_machine() -> Outcome {
    control!(
        "expect o2_o5_o6_an_overflow_in_an_nmi_handler_stops_the_machine stack=nmi-body side=below cause=guard-hit \
         consequence=stop-system victim=main reliable=yes running=0 backtrace~=recurse_until_overflow"
    );
    probes::set_nmi_probe(Some(|_| provoke::overflow_here(How::Recursion)));
    send_to_this_cpu();
    until("the machine has stopped", || false)
}

/// The stack is sound and the interrupted thread's guard is touched: what the thread was doing is
/// not known.
pub fn o2_o5_o6_a_guard_touched_by_an_nmi_handler_stops_the_machine() -> Outcome {
    control!(
        "expect o2_o5_o6_a_guard_touched_by_an_nmi_handler_stops_the_machine stack=thread side=below cause=guard-access \
         consequence=stop-system victim=main running=0"
    );
    probes::set_nmi_probe(Some(|_| {
        let guard = sched::current().stack_range().lowest.get() - 1;
        // SAFETY: (1) none: the address is never mapped, so the read faults. That is the test.
        core::hint::black_box(unsafe { (guard as *const u8).read_volatile() });
    }));
    send_to_this_cpu();
    until("the machine has stopped", || false)
}

/// It runs on the thread's stack, which is empty. Red if what it does there is taken for the
/// thread's.
pub fn o2_o5_o6_an_overflow_in_an_nmi_that_hit_user_mode_stops_the_machine() -> Outcome {
    control!(
        "expect o2_o5_o6_an_overflow_in_an_nmi_that_hit_user_mode_stops_the_machine stack=thread side=below cause=guard-hit \
         consequence=stop-system victim=in%20user%20mode running=0 backtrace~=recurse_until_overflow"
    );
    probes::set_nmi_probe(Some(|regs| {
        if regs.from_user() && user_mode::is_ours() {
            provoke::overflow_here(How::Recursion);
        }
    }));
    user_mode::with_hooks(None, || {
        let thread = UserThread::start(user_code::spin, STACK_TOP - 8)?;
        thread.hit(irqchip::send_nmi, || false)
    })
}
