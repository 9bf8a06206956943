//! Softirqs under load: what is too much for the way out of interrupts, the thread that runs it,
//! tasklets, and interrupts that have threads.

use super::support::{kind_at, on_every_cpu, until};
use super::{Outcome, check};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use kstack::addr::Addr;
use kstack::kind::StackKind;
use machine::arch::cpu;
use machine::arch::irqchip::software_interrupt;
use machine::cpus::{self, MAX_CPUS};
use threads::entry::device::Device;
use threads::entry::softirq::{self, Softirq};
use threads::entry::tasklet::Tasklet;
use threads::entry::{ksoftirqd, probes};
use threads::{sched, time};

const PROBE: u32 = 1 << Softirq::Probe as u32;

/// Runs of the probe on each CPU: in a row on the way out of interrupts, the most of them, and in
/// the thread.
struct Runs {
    in_a_row: AtomicU32,
    most: AtomicU32,
    in_thread: AtomicU32,
}

static RUNS: [Runs; MAX_CPUS] = [const {
    Runs { in_a_row: AtomicU32::new(0), most: AtomicU32::new(0), in_thread: AtomicU32::new(0) }
}; MAX_CPUS];
/// Runs that were where they should not have been.
static WRONG: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// Whether the caller is a softirq in the thread that this CPU has for them, on that thread's
/// stack.
fn is_in_thread() -> bool {
    let id = cpus::this().id();
    let me = sched::current();
    let number = me.name().strip_prefix("ksoftirqd/").and_then(|number| number.parse().ok());
    number == Some(id.get()) && me.stack_range().contains(Addr::new(cpu::stack_pointer()))
}

/// Raises itself again, and counts where it runs.
fn endless() {
    let runs = &RUNS[cpus::this().id().index()];
    let is_left = cpus::this().local.irq.snapshot().left_to_thread() & PROBE != 0;
    if is_in_thread() {
        runs.in_thread.fetch_add(1, Ordering::Relaxed);
        runs.in_a_row.store(0, Ordering::Relaxed);
    } else {
        // On the way out of an interrupt though it was left to the thread.
        WRONG.fetch_add(u32::from(is_left), Ordering::Relaxed);
        let row = runs.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        runs.most.fetch_max(row, Ordering::Relaxed);
    }
    if !STOP.load(Ordering::Relaxed) {
        cpu::without_interrupts(|| softirq::raise(Softirq::Probe));
    }
}

/// Has the probe run out on every CPU.
fn stop() -> Outcome {
    STOP.store(true, Ordering::Relaxed);
    let ended = until("no CPU has softirqs left to its thread", || {
        cpus::online().all(|cpu| {
            let state = cpu.local.irq.snapshot();
            let kept = if ksoftirqd::is_forced() { u32::MAX } else { 0 };
            state.left_to_thread() == kept && state.pending() & PROBE == 0
        })
    });
    softirq::set_probe(|| {});
    ended
}

/// A softirq that raises itself again each time it runs, on every CPU: after as many rounds as
/// there may be, it runs in the CPU's thread only, on that thread's own stack, until nothing is
/// left. Red if no thread runs it, if interrupts run it all the same, or if they do not again
/// afterwards.
pub fn i5_what_is_too_much_for_the_way_out_of_interrupts_runs_in_a_thread() -> Outcome {
    const WANTED: u32 = 50;
    for runs in &RUNS {
        for count in [&runs.in_a_row, &runs.most, &runs.in_thread] {
            count.store(0, Ordering::Relaxed);
        }
    }
    WRONG.store(0, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    softirq::set_probe(endless);
    let raised = on_every_cpu(|_| {
        softirq::raise(Softirq::Probe);
        Ok(())
    });
    let in_thread = until("each CPU's thread runs it", || {
        cpus::online().all(|cpu| RUNS[cpu.id().index()].in_thread.load(Ordering::Relaxed) >= WANTED)
    });
    stop()?;
    raised?;
    in_thread?;
    let wrong = WRONG.load(Ordering::Relaxed);
    check!(wrong == 0, "{wrong} runs on the way out of interrupts of what was left to the thread");
    for cpu in cpus::online() {
        let most = RUNS[cpu.id().index()].most.load(Ordering::Relaxed);
        check!(most <= kstack::irq::MAX_ROUNDS, "{most} rounds in a row on CPU {}", cpu.id());
        check!(ksoftirqd::turns(cpu.id().index()) > 0, "CPU {}'s thread had no turn", cpu.id());
    }
    // Interrupts see to softirqs again.
    static ELSEWHERE: AtomicU32 = AtomicU32::new(0);
    static AT_ONCE: AtomicU32 = AtomicU32::new(0);
    ELSEWHERE.store(0, Ordering::Relaxed);
    AT_ONCE.store(0, Ordering::Relaxed);
    softirq::set_probe(|| {
        let count = if is_in_thread() { &ELSEWHERE } else { &AT_ONCE };
        count.fetch_add(1, Ordering::Relaxed);
    });
    let again = on_every_cpu(|_| {
        softirq::raise(Softirq::Probe);
        Ok(())
    });
    let n = cpus::online_count();
    // One that was raised before may still run in the thread.
    let both = || (AT_ONCE.load(Ordering::Relaxed), ELSEWHERE.load(Ordering::Relaxed));
    let is_forced = ksoftirqd::is_forced();
    let ran = until("it has run once more on each CPU", || {
        let (at_once, elsewhere) = both();
        if is_forced { elsewhere >= n } else { at_once >= n }
    });
    softirq::set_probe(|| {});
    again?;
    ran?;
    let (at_once, elsewhere) = both();
    check!(!is_forced || at_once == 0, "at once and in the thread: {at_once}, {elsewhere}");
    Ok(())
}

/// Under a storm of softirqs on every CPU, a thread that was there before gets its share of each
/// CPU, counted by what the timer's interrupts hit, and a sleeper is woken in time: the timer's
/// softirq is left to no thread. Red if what is left to the threads runs on the way out of
/// interrupts as well.
pub fn i5_a_storm_of_softirqs_on_all_cpus_leaves_threads_and_timers_their_time() -> Outcome {
    /// Ticks of each CPU that are looked at, at least.
    const WANTED: u64 = 40;
    const SLEEPS: u64 = 10;
    /// The thread has one of two turns, or of three where the sleeper is.
    const LEAST_SHARE: u64 = 5;
    static TICKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
    static HITS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
    static LEAVE: AtomicBool = AtomicBool::new(false);
    fn work(cpu: usize) {
        sched::set_allowed(sched::current(), 1 << cpu);
        while !LEAVE.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
    }
    for count in TICKS.iter().chain(&HITS) {
        count.store(0, Ordering::Relaxed);
    }
    LEAVE.store(false, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    let threads: Result<Vec<_>, _> =
        cpus::online().map(|cpu| sched::spawn_kernel("work", work, cpu.id().index())).collect();
    let threads = threads.map_err(|error| format!("{error:?}"))?;
    softirq::set_probe(endless);
    let raised = on_every_cpu(|_| {
        softirq::raise(Softirq::Probe);
        Ok(())
    });
    probes::set_timer_probe(Some(|_| {
        let cpu = cpus::this().id().index();
        TICKS[cpu].fetch_add(1, Ordering::Relaxed);
        HITS[cpu].fetch_add(u64::from(sched::current().name() == "work"), Ordering::Relaxed);
    }));
    let mut late = 0;
    let mut slept = Ok(());
    for _ in 0..SLEEPS {
        let began = time::nanoseconds();
        slept = slept.and(time::sleep(2 * time::TICK));
        late = late.max((time::nanoseconds() - began) / time::TICK - 2);
    }
    let looked = until("each CPU has had its ticks", || {
        cpus::online().all(|cpu| TICKS[cpu.id().index()].load(Ordering::Relaxed) >= WANTED)
    });
    probes::set_timer_probe(None);
    let ended = stop();
    LEAVE.store(true, Ordering::Relaxed);
    for thread in &threads {
        thread.join();
    }
    slept.map_err(|_| "killed")?;
    for outcome in [raised, looked, ended] {
        outcome?;
    }
    for cpu in cpus::online() {
        let at = cpu.id().index();
        let (hits, ticks) = (HITS[at].load(Ordering::Relaxed), TICKS[at].load(Ordering::Relaxed));
        log!("  CPU {}: {hits} of {ticks} ticks hit the thread", cpu.id());
        check!(hits * LEAST_SHARE > ticks, "CPU {}: {hits} of {ticks} ticks", cpu.id());
    }
    log!("  the latest of {SLEEPS} sleeps: {late} ticks");
    Ok(())
}

/// A tasklet that many CPUs schedule at once runs on one of them at a time, and at least once after
/// each time it was scheduled. Red if the mark of one that runs is ignored, or one that is
/// scheduled while it runs is forgotten.
pub fn i5_a_tasklet_runs_on_one_cpu_at_a_time_and_after_each_time_it_was_scheduled() -> Outcome {
    static AT_A_TIME: AtomicU32 = AtomicU32::new(0);
    static MOST: AtomicU32 = AtomicU32::new(0);
    static RAN: AtomicU32 = AtomicU32::new(0);
    /// Written before it is scheduled, read when it runs.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    static READ: AtomicU64 = AtomicU64::new(0);
    static TASKLET: Tasklet = Tasklet::new(|| {
        let now = AT_A_TIME.fetch_add(1, Ordering::SeqCst) + 1;
        MOST.fetch_max(now, Ordering::SeqCst);
        READ.store(WRITTEN.load(Ordering::SeqCst), Ordering::SeqCst);
        RAN.fetch_add(1, Ordering::SeqCst);
        for _ in 0..200 {
            core::hint::spin_loop();
        }
        AT_A_TIME.fetch_sub(1, Ordering::SeqCst);
    });
    fn scheduler(_: usize) {
        for turn in 0..500_u32 {
            WRITTEN.fetch_add(1, Ordering::SeqCst);
            if turn.is_multiple_of(2) {
                TASKLET.schedule();
            } else {
                probes::set_probe(Some(|_| TASKLET.schedule()));
                software_interrupt();
            }
        }
    }
    for count in [&AT_A_TIME, &MOST, &RAN] {
        count.store(0, Ordering::SeqCst);
    }
    let threads: Result<Vec<_>, _> = (0..cpus::online_count() + 1)
        .map(|_| sched::spawn_kernel("scheduler", scheduler, 0))
        .collect();
    let threads = threads.map_err(|error| format!("{error:?}"))?;
    for thread in &threads {
        thread.join();
    }
    probes::set_probe(None);
    until("it has run after it was scheduled last", || {
        READ.load(Ordering::SeqCst) == WRITTEN.load(Ordering::SeqCst)
            && AT_A_TIME.load(Ordering::SeqCst) == 0
    })?;
    let most = MOST.load(Ordering::SeqCst);
    check!(most == 1, "it ran on {most} CPUs at a time");
    let ran = RAN.load(Ordering::SeqCst);
    let scheduled = WRITTEN.load(Ordering::SeqCst);
    check!(ran > 0 && u64::from(ran) <= scheduled, "{ran} runs of {scheduled}");
    Ok(())
}

/// Tasklets that an interrupt schedules run in the order in which it did, on its CPU.
pub fn i5_tasklets_run_in_the_order_in_which_they_were_scheduled() -> Outcome {
    static ORDER: AtomicU64 = AtomicU64::new(0);
    static CPU: AtomicU32 = AtomicU32::new(u32::MAX);
    static ELSEWHERE: AtomicU32 = AtomicU32::new(0);
    fn note(digit: u64) {
        if cpus::this().id().get() != CPU.load(Ordering::SeqCst) {
            ELSEWHERE.fetch_add(1, Ordering::SeqCst);
        }
        ORDER.store(ORDER.load(Ordering::SeqCst) * 10 + digit, Ordering::SeqCst);
    }
    static TASKLETS: [Tasklet; 3] =
        [Tasklet::new(|| note(1)), Tasklet::new(|| note(2)), Tasklet::new(|| note(3))];
    for cpu in cpus::online() {
        ORDER.store(0, Ordering::SeqCst);
        CPU.store(cpu.id().get(), Ordering::SeqCst);
        super::support::on_cpu(cpu, |_| {
            // One of them twice: it runs once.
            for number in [2, 0, 1, 2] {
                TASKLETS[number].schedule();
            }
            Ok(())
        })?;
        until("the last one has run", || ORDER.load(Ordering::SeqCst) >= 100)?;
        let order = ORDER.load(Ordering::SeqCst);
        check!(order == 312, "on CPU {}: in the order {order}", cpu.id());
    }
    check!(ELSEWHERE.load(Ordering::SeqCst) == 0, "some ran on another CPU");
    Ok(())
}

/// A device that interrupts is quietened by the interrupt and served by its thread, which lets it
/// interrupt again; bottom halves are disabled meanwhile. Shown without `threadirqs` too.
pub fn i6_a_device_with_a_thread_is_quiet_until_the_thread_has_served_it() -> Outcome {
    static MAY_INTERRUPT: AtomicBool = AtomicBool::new(true);
    static SERVED: AtomicU32 = AtomicU32::new(0);
    static WRONG_PLACE: AtomicU32 = AtomicU32::new(0);
    static DEVICE: Device = Device::new(
        "test",
        |on| MAY_INTERRUPT.store(on, Ordering::SeqCst),
        || {
            let state = cpu::without_interrupts(|| cpus::this().local.irq.snapshot());
            let is_right = !MAY_INTERRUPT.load(Ordering::SeqCst)
                && kind_at(cpu::stack_pointer()) == Some(StackKind::Thread)
                && sched::current().name().ends_with("-test")
                && state.bottom_halves_are_disabled()
                && state.hardirq_depth() == 0
                && cpu::interrupts_are_on();
            WRONG_PLACE.fetch_add(u32::from(!is_right), Ordering::SeqCst);
            SERVED.fetch_add(1, Ordering::SeqCst);
        },
    );
    const TIMES: u32 = 50;
    static STARTED: AtomicBool = AtomicBool::new(false);
    SERVED.store(0, Ordering::SeqCst);
    WRONG_PLACE.store(0, Ordering::SeqCst);
    if !STARTED.swap(true, Ordering::SeqCst) {
        DEVICE.start_thread(255).map_err(|error| format!("{error:?}"))?;
    }
    probes::set_probe(Some(|_| DEVICE.wake_thread()));
    let mut outcome = Ok(());
    for turn in 1..=TIMES {
        software_interrupt();
        outcome = outcome.and(until("the thread has served the device", || {
            SERVED.load(Ordering::SeqCst) == turn && MAY_INTERRUPT.load(Ordering::SeqCst)
        }));
    }
    probes::set_probe(None);
    outcome?;
    let wrong = WRONG_PLACE.load(Ordering::SeqCst);
    check!(wrong == 0, "{wrong} of {TIMES} times not in its thread, or not as a thread serves it");
    Ok(())
}

/// With `threadirqs` each CPU's softirqs run in its thread, whatever raises them; without it, none
/// of these few does.
pub fn i6_with_interrupt_threads_every_softirq_runs_in_a_thread() -> Outcome {
    static IN_THREAD: AtomicU32 = AtomicU32::new(0);
    static ELSEWHERE: AtomicU32 = AtomicU32::new(0);
    for count in [&IN_THREAD, &ELSEWHERE] {
        count.store(0, Ordering::SeqCst);
    }
    softirq::set_probe(|| {
        let count = if is_in_thread() { &IN_THREAD } else { &ELSEWHERE };
        count.fetch_add(1, Ordering::SeqCst);
    });
    let count = || IN_THREAD.load(Ordering::SeqCst) + ELSEWHERE.load(Ordering::SeqCst);
    let mut ran = Ok(());
    for turn in 1..=20 {
        if turn % 2 == 0 {
            softirq::disable_bottom_halves();
            softirq::raise_from_thread(Softirq::Probe);
            softirq::enable_bottom_halves();
        } else {
            probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
            software_interrupt();
        }
        ran = ran.and(until("the softirq has run", || count() == turn));
    }
    probes::set_probe(None);
    softirq::set_probe(|| {});
    ran?;
    let seen = (IN_THREAD.load(Ordering::SeqCst), ELSEWHERE.load(Ordering::SeqCst));
    let expected = if ksoftirqd::is_forced() { (20, 0) } else { (0, 20) };
    check!(seen == expected, "in threads and elsewhere: {seen:?}");
    Ok(())
}
