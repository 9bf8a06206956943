//! The stack protector: canaries, and what becomes of a frame that was written over. Only in the
//! variant of the kernel that is built with it.

use super::arch::registers::loaded_canary;
use super::support::until;
use super::{Outcome, check};
use crate::provoke;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack::kind::StackKind;
use kstack::verdict::{Cause, Consequence, Side};
use machine::arch::cpu;
use machine::arch::irqchip::software_interrupt;
use machine::spin::SpinLock;
use machine::{cpus, entropy};
use threads::entry::probes;
use threads::report::on_purpose::{ARRAY, smash_frame};
use threads::report::{overflow, symbols};
use threads::sched;

static CAME_BACK: AtomicU32 = AtomicU32::new(0);

/// Smashes a frame by `beyond` bytes in a thread made for it.
fn smash(beyond: usize) -> Outcome {
    fn body(beyond: usize) {
        black_box(smash_frame(black_box(0x41), beyond));
        CAME_BACK.fetch_add(1, Ordering::Relaxed);
    }
    let contained = overflow::contained_count();
    let _old = overflow::take_last_report();
    CAME_BACK.store(0, Ordering::Relaxed);
    let thread =
        sched::spawn_kernel("smasher", body, beyond).map_err(|error| format!("{error:?}"))?;
    thread.join();
    check!(CAME_BACK.load(Ordering::Relaxed) == 0, "the function returned");
    check!(overflow::contained_count() == contained + 1, "not counted as contained");
    check!(!thread.has_stack(), "its stack was not taken back");
    let report = overflow::take_last_report().ok_or("there is no report")?;
    let verdict = &report.verdict;
    check!(verdict.cause == Cause::FrameSmashed, "{:?}", verdict.cause);
    check!(verdict.consequence == Consequence::EndThread, "{:?}", verdict.consequence);
    check!(verdict.side == Side::Above, "{:?}", verdict.side);
    check!(verdict.stack.kind == StackKind::Thread, "{:?}", verdict.stack);
    check!(verdict.stack.owner == thread.id(), "the report blames {:?}", verdict.stack);
    check!(verdict.stack.range.contains(report.fault.sp), "SP {}", report.fault.sp);
    // Where the backtrace begins: the function itself, whatever is left of its callers.
    let name = symbols::lookup(report.fault.pc.get() as u64 - 1).map_or("?", |symbol| symbol.name);
    check!(name.ends_with("smash_frame"), "the report names {name}");
    let text = overflow::last_text();
    let owner = format!("kernel stack frame smashed: thread stack of thread {}", thread.id());
    for part in [&owner, "  running: smasher", "smash_frame+0x"] {
        check!(text.contains(part), "the printed report lacks \"{part}\": {text}");
    }
    Ok(())
}

/// By one word, the canary itself, and by enough to reach the return address. Red without the
/// protector (the function returns, to the first 0x41 in the second case), and if the report
/// begins elsewhere.
pub fn h1_a_smashed_frame_ends_its_thread_before_it_returns_and_is_named() -> Outcome {
    for beyond in [size_of::<usize>(), ARRAY, size_of::<usize>(), ARRAY] {
        smash(beyond)?;
    }
    Ok(())
}

/// What lies right above an array in a frame of this thread's.
#[inline(never)]
fn above_an_array() -> [usize; 4] {
    let array = black_box([0_u8; ARRAY]);
    let first = black_box(&array).as_ptr().cast::<usize>();
    let words = ARRAY / size_of::<usize>();
    // SAFETY: (1) words of this frame and of the caller's: the stack is deeper than that.
    core::array::from_fn(|at| unsafe { first.add(words + at).read_volatile() })
}

/// Whether the running thread's frames have its canary, and code compares with it.
fn has_its_canary() -> bool {
    let mine = sched::current().canary();
    cpu::without_interrupts(loaded_canary) == mine && above_an_array().contains(&mine)
}

static SEEN: SpinLock<Vec<usize>> = SpinLock::new(Vec::new());
static WRONG: AtomicU32 = AtomicU32::new(0);

/// Red if a switch leaves what code compares with as it is, or two threads have one canary.
pub fn h1_every_thread_has_a_canary_and_a_switch_changes_what_is_compared() -> Outcome {
    const THREADS: usize = 16;
    static STARTED: AtomicU32 = AtomicU32::new(0);
    fn body(_: usize) {
        STARTED.fetch_add(1, Ordering::Relaxed);
        for _ in 0..200 {
            if !has_its_canary() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
            sched::yield_now();
        }
        SEEN.lock().push(sched::current().canary());
    }
    STARTED.store(0, Ordering::Relaxed);
    WRONG.store(0, Ordering::Relaxed);
    *SEEN.lock() = Vec::with_capacity(THREADS);
    let threads: Result<Vec<_>, _> =
        (0..THREADS).map(|_| sched::spawn_kernel("guarded", body, 0)).collect();
    for thread in threads.map_err(|error| format!("{error:?}"))? {
        thread.join();
    }
    // One after another: collecting sorts them first, with a buffer on the stack.
    let mut canaries = BTreeSet::new();
    canaries.extend(SEEN.lock().iter().copied());
    check!(STARTED.load(Ordering::Relaxed) as usize == THREADS, "not all ran");
    let wrong = WRONG.load(Ordering::Relaxed);
    check!(wrong == 0, "{wrong} times a frame had another canary than its thread");
    check!(canaries.len() == THREADS, "{} canaries for {THREADS} threads", canaries.len());
    check!(has_its_canary(), "this thread has not its canary");
    check!(canaries.insert(sched::current().canary()), "this thread's is another's too");
    check!(!canaries.contains(&0), "a canary is 0");
    Ok(())
}

/// On the IRQ stack another canary is in force, each CPU's own; back on the thread's stack, the
/// thread's. Red if a handler's frames have the canary of whatever they interrupted.
pub fn h1_stacks_of_a_cpu_have_canaries_of_their_own() -> Outcome {
    static IN_HANDLER: AtomicUsize = AtomicUsize::new(0);
    static ABOVE: AtomicU32 = AtomicU32::new(0);
    IN_HANDLER.store(0, Ordering::Relaxed);
    ABOVE.store(0, Ordering::Relaxed);
    probes::set_probe(Some(|_| {
        let canary = loaded_canary();
        ABOVE.store(u32::from(above_an_array().contains(&canary)), Ordering::Relaxed);
        IN_HANDLER.store(canary, Ordering::Release);
    }));
    let of_irq = cpu::without_interrupts(|| {
        software_interrupt();
        cpus::this().local.stack_canary(StackKind::Irq)
    });
    let arrived = until("the interrupt arrives", || IN_HANDLER.load(Ordering::Acquire) != 0);
    probes::set_probe(None);
    arrived?;
    let in_handler = IN_HANDLER.load(Ordering::Relaxed);
    check!(in_handler == of_irq, "{in_handler:x} in the handler, {of_irq:x} is the stack's");
    check!(ABOVE.load(Ordering::Relaxed) == 1, "the handler's frame has another canary");
    check!(in_handler != sched::current().canary(), "the handler has its thread's canary");
    check!(has_its_canary(), "the thread's canary has not come back");
    let kinds = [StackKind::Irq, StackKind::Softirq, StackKind::NmiBody, StackKind::Debug];
    let online = cpus::online_count() as usize;
    let mut all = BTreeSet::new();
    let of = |cpu: &cpus::Cpu| kinds.map(|kind| cpu.local.stack_canary(kind));
    all.extend(cpus::all().take(online).flat_map(of));
    check!(all.len() == kinds.len() * online, "{} canaries on {online} CPUs", all.len());
    Ok(())
}

/// The machine has a source besides the time, which says something else each time, and about half
/// of the bits of a canary are set.
pub fn h1_canaries_come_from_what_no_program_can_foresee() -> Outcome {
    check!(entropy::is_good(), "the machine has no source of random numbers");
    if let (Some(first), Some(second)) = (cpu::random(), cpu::random()) {
        check!(first != second, "the CPU's generator says {first:x} twice");
    }
    const DRAWN: u32 = 256;
    let mut canaries = BTreeSet::new();
    canaries.extend((0..DRAWN).map(|_| sched::new_canary()));
    check!(canaries.len() == DRAWN as usize, "two are alike");
    check!(canaries.iter().all(|canary| canary & 0xff == 0), "one does not end in a zero byte");
    let set: u32 = canaries.iter().map(|canary| canary.count_ones()).sum();
    let about = DRAWN * (usize::BITS - 8) / 2;
    // Six standard deviations of 256 * 56 throws are 360.
    check!(set.abs_diff(about) < 360, "{set} bits are set, where {about} are expected");
    Ok(())
}

/// Announces the stop because of a smashed frame, and who is to be named.
fn expect_smashed(test: &str, kind: StackKind) {
    control!(
        "expect {test} stack={kind} cause={} side=above consequence=stop-system running=0 backtrace~=smash_frame",
        Cause::FrameSmashed.name(),
    );
}

/// A handler cannot be cut out. Red if the thread that it interrupted is ended.
pub fn h1_a_smashed_frame_in_an_interrupt_handler_stops_the_machine_and_is_named() -> Outcome {
    expect_smashed(
        "h1_a_smashed_frame_in_an_interrupt_handler_stops_the_machine_and_is_named",
        StackKind::Irq,
    );
    provoke::smash_in_interrupt();
    until("the machine stops", || false)
}

/// What a thread does with interrupts off may be half done.
pub fn h1_a_smashed_frame_with_interrupts_off_stops_the_machine() -> Outcome {
    expect_smashed("h1_a_smashed_frame_with_interrupts_off_stops_the_machine", StackKind::Thread);
    cpu::without_interrupts(|| {
        black_box(smash_frame(black_box(0x41), black_box(size_of::<usize>())));
    });
    Err("the machine went on".into())
}
