//! Classifying addresses, walking across stacks, names, and the registry of all stacks.

use super::arch::expectations::EXPECTED;
use super::arch::registers::interrupt_with_frame_pointer;
use super::support::{stack_at, stack_of_cpu, until};
use super::{Outcome, check};
use crate::provoke;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use kstack::addr::{Addr, CpuId};
use kstack::arch::current::regs::Rules;
use kstack::kind::StackKind;
use kstack::registry;
use kstack::unwind::{Backtrace, End, FrameRules, Step};
use machine::arch::cpu;
use machine::arch::irqchip::software_interrupt;
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::backtrace::{self, STEPS};
use threads::report::symbols;
use threads::{sched, stacks};

/// Every byte at the edges of every live stack belongs to it; its neighbours, code, null and the
/// ends of memory belong to none.
pub fn b1_every_address_is_on_the_stack_it_is_on_or_on_none() -> Outcome {
    let registry = registry::get().ok_or("no registry")?;
    let arena = registry.arena().range();
    let mut kinds = Vec::new();
    let mut number = 0;
    for (_, stack) in registry.live() {
        // Threads come and go; those that belong to this test and to CPUs stay.
        let lasting = stack.kind != StackKind::Thread || stack.owner == sched::current().id();
        if !lasting {
            continue;
        }
        let (lowest, top) = (stack.range.lowest.get(), stack.range.top.get());
        for address in [lowest, lowest + 1, lowest + 4096 - 1, top - 4096, top - 8, top - 1] {
            check!(stack_at(address) == Some(stack), "{address:x}: {:?}", stack_at(address));
        }
        for address in [lowest - 1, lowest - 8, lowest - 4096, top, top + 1, top + 4095] {
            check!(stack_at(address).is_none(), "{address:x}: {:?}", stack_at(address));
        }
        if stack.kind != StackKind::Thread {
            check!(stack.cpu.is_some(), "{stack:?} has no CPU");
        }
        number += 1;
        if !kinds.contains(&stack.kind) {
            kinds.push(stack.kind);
        }
    }
    let of_each_cpu = EXPECTED.cpu_stacks.len() + 2;
    check!(
        kinds.len() > of_each_cpu && number > of_each_cpu * cpus::online_count() as usize,
        "only {number} stacks of the kinds {kinds:?}"
    );
    let code = b1_every_address_is_on_the_stack_it_is_on_or_on_none as *const () as usize;
    let heap = Vec::<u8>::with_capacity(8);
    let nowhere = [
        0,
        8,
        usize::MAX,
        code,
        heap.as_ptr() as usize,
        core::ptr::from_ref(&HANDLER) as usize,
        arena.lowest.get() - 1,
        arena.top.get(),
        arena.top.get() - 1,
        linux::abi::USER_TOP as usize,
    ];
    for address in nowhere {
        check!(stack_at(address).is_none(), "{address:x}: {:?}", stack_at(address));
    }
    Ok(())
}

/// Where a handler was, as steps.
pub(super) static HANDLER: SpinLock<Option<Backtrace<STEPS>>> = SpinLock::new(None);

fn keep_steps() {
    let steps = backtrace::steps_here();
    *HANDLER.lock() = Some(steps);
}

/// From a softirq to the thread below it.
pub(super) const SOFTIRQ_TO_THREAD: &str = if matches!(EXPECTED.softirq_stack, StackKind::Irq) {
    "irq to thread"
} else {
    "softirq to thread"
};

/// What a backtrace crosses, without the plain frames: seams as from and to, and where code was
/// interrupted.
pub(super) fn crossings(backtrace: &Backtrace<STEPS>) -> Vec<&'static str> {
    let name = |step: &Step| match step {
        Step::Seam { from: StackKind::Irq, to } if to.kind == StackKind::Thread => "irq to thread",
        Step::Seam { from: StackKind::Softirq, to } if to.kind == StackKind::Thread => {
            "softirq to thread"
        }
        Step::Seam { from: StackKind::Irq, to } if to.kind == StackKind::Softirq => {
            "irq to softirq"
        }
        Step::Seam { from: StackKind::NmiBody, to } if to.kind == StackKind::Irq => "nmi to irq",
        Step::Seam { from: StackKind::NmiBody, to } if to.kind == StackKind::Thread => {
            "nmi to thread"
        }
        Step::Seam { .. } => "another seam",
        Step::Interrupted(_) => "interrupted",
        Step::UserBoundary(_) => "user",
        Step::End(End::Reliable) => "reliable",
        Step::End(_) => "unreliable",
        Step::Caller(_) => "",
        _ => "a step that the test does not know",
    };
    backtrace.steps().iter().map(|(step, _)| name(step)).filter(|name| !name.is_empty()).collect()
}

/// Whether the backtrace goes through this function (by symbols, or within half a KiB of its
/// start).
pub(super) fn goes_through(backtrace: &Backtrace<STEPS>, function: usize) -> bool {
    let lies_in = |pc: usize| match symbols::lookup(pc as u64) {
        Some(symbol) => pc as u64 - symbol.offset == function as u64,
        None => (function..function + 512).contains(&pc),
    };
    backtrace.steps().iter().any(|(step, _)| match step {
        Step::Caller(pc) => lies_in(pc.get() - 1),
        Step::Interrupted(regs) => lies_in(regs.pc.get()),
        _ => false,
    })
}

/// Takes the software interrupt here; a frame that backtraces must go through.
#[inline(never)]
pub(super) fn interrupted_here() {
    software_interrupt();
    core::hint::black_box(());
}

pub(super) fn steps_of(body: impl FnOnce()) -> Result<Backtrace<STEPS>, alloc::string::String> {
    *HANDLER.lock() = None;
    body();
    probes::set_probe(None);
    softirq::set_probe(|| {});
    HANDLER.lock().take().ok_or_else(|| "nothing was handled".into())
}

/// From the handler on the IRQ stack through the interrupted function to the thread's outermost
/// frame.
pub fn b2_a_backtrace_in_an_interrupt_crosses_to_the_thread_it_hit() -> Outcome {
    let steps = steps_of(|| {
        probes::set_probe(Some(|_| keep_steps()));
        interrupted_here();
    })?;
    let crossed = crossings(&steps);
    check!(crossed == ["irq to thread", "interrupted", "reliable"], "{crossed:?}");
    check!(goes_through(&steps, interrupted_here as *const () as usize), "{:x?}", steps.steps());
    Ok(())
}

/// The same from the softirq on the way out.
pub fn b2_a_backtrace_in_a_softirq_crosses_to_the_thread_that_was_interrupted() -> Outcome {
    let steps = steps_of(|| {
        probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
        softirq::set_probe(keep_steps);
        interrupted_here();
    })?;
    let crossed = crossings(&steps);
    check!(crossed == [SOFTIRQ_TO_THREAD, "interrupted", "reliable"], "{crossed:?}");
    check!(goes_through(&steps, interrupted_here as *const () as usize), "{:x?}", steps.steps());
    Ok(())
}

/// Raised by a thread: no interrupt in between, and the seam is there all the same.
pub fn b2_a_backtrace_in_a_softirq_of_a_thread_crosses_to_that_thread() -> Outcome {
    let steps = steps_of(|| {
        softirq::set_probe(keep_steps);
        softirq::disable_bottom_halves();
        softirq::raise_from_thread(Softirq::Probe);
        softirq::enable_bottom_halves();
    })?;
    let crossed = crossings(&steps);
    check!(crossed == [SOFTIRQ_TO_THREAD, "reliable"], "{crossed:?}");
    Ok(())
}

/// Frame pointers that lie: each walk ends, says that it is not reliable, and reads no memory that
/// is not a stack (that would fault here).
pub fn b2_a_frame_pointer_that_lies_ends_the_backtrace_unreliably() -> Outcome {
    let mine = sched::current().stack_range();
    let mut loops = [0_usize; 4];
    let at = |loops: &[usize; 4], index: usize| core::ptr::from_ref(&loops[index]) as usize;
    loops[0] = at(&loops, 2);
    loops[2] = at(&loops, 0);
    let loops = core::hint::black_box(loops);
    let (first, second) = (at(&loops, 0), at(&loops, 2));
    // SAFETY: (1) two words of this frame, made to point at each other where they now are.
    unsafe {
        (first as *mut usize).write_volatile(second);
        (second as *mut usize).write_volatile(first);
    }
    let idle = stack_of_cpu(StackKind::Idle, cpus::by_id(CpuId::new(0)))?;
    // A frame pointer points this far above what is read there.
    let above = Rules::RECORD_BELOW.get();
    let lies = [
        ("a user address", 0x7fff_0000),
        ("the guard below", mine.lowest.get() - 16),
        ("the guard above", mine.top.get() + above),
        ("the last word", mine.top.get() + above - size_of::<usize>()),
        ("code", software_interrupt as *const () as usize & !7),
        ("half way up, which is not canonical where that matters", 1 << (usize::BITS - 1)),
        ("the end of memory", usize::MAX - 7),
        ("misaligned", mine.top.get() - 0x103),
        ("a loop", first),
        ("marked, outside", 0x7fff_0001),
        ("marked, at the edge", mine.top.get() - 32 + 1),
        ("zeros of another stack", idle.range.lowest.get() + above),
    ];
    for (what, fp) in lies {
        let steps = steps_of(|| {
            probes::set_probe(Some(|_| keep_steps()));
            interrupt_with_frame_pointer(fp);
        })?;
        if what == "zeros of another stack" {
            // A chain that ends with the outermost marker cannot be told from a real one, but it
            // names the stack.
            check!(crossings(&steps).contains(&"another seam"), "{:?}", crossings(&steps));
            continue;
        }
        check!(!steps.is_reliable(), "{what} ({fp:x}) passes: {:x?}", steps.steps());
        check!(steps.end().is_some(), "{what}: it did not end");
    }
    Ok(())
}

/// By address and back; and none where there is no function.
pub fn b4_an_address_has_the_name_of_its_function_with_file_and_line() -> Outcome {
    let functions = [
        (provoke::recurse_until_overflow as *const () as u64, "recurse_until_overflow"),
        (provoke::one_giant_frame as *const () as u64, "one_giant_frame"),
        (interrupted_here as *const () as u64, "interrupted_here"),
    ];
    for (address, name) in functions {
        for offset in [0, 1] {
            let symbol = symbols::lookup(address + offset);
            let symbol = symbol.ok_or_else(|| format!("no symbol at {address:x}, {name}"))?;
            check!(symbol.name.ends_with(name), "{address:x} is {}, not {name}", symbol.name);
            check!(symbol.offset == offset, "{name}: offset {}", symbol.offset);
            check!(offset < symbol.size, "{name}: size {}", symbol.size);
        }
        let last = symbols::lookup(address).map_or(0, |symbol| symbol.size) - 1;
        let symbol = symbols::lookup(address + last);
        check!(symbol.is_some_and(|symbol| symbol.name.ends_with(name)), "{name}: {symbol:?}");
        // The last byte may be of an instruction that the compiler has from no line.
        let file = symbols::lookup(address).and_then(|symbol| symbol.place).unwrap_or("nowhere");
        check!(file.contains(".rs:"), "{name} stands in {file}");
    }
    for address in [0, 8, u64::MAX, 0xffff_c900_0000_0000] {
        let symbol = symbols::lookup(address);
        check!(symbol.is_none(), "{address:x} is {symbol:?}");
    }
    Ok(())
}

/// Of a thread that sleeps: the function that put it to sleep, and its own; of one that runs: none.
pub fn b4_the_backtrace_of_a_sleeping_thread_shows_where_it_waits() -> Outcome {
    static BED: sched::WaitQueue = sched::WaitQueue::new();
    static UP: AtomicBool = AtomicBool::new(false);
    #[inline(never)]
    fn goes_to_bed(_: usize) {
        BED.wait_uninterruptibly(|| UP.load(Ordering::Relaxed));
        core::hint::black_box(());
    }
    UP.store(false, Ordering::Relaxed);
    let thread = sched::spawn_kernel("sleeping", goes_to_bed, 0).map_err(|e| format!("{e:?}"))?;
    let asleep = until("the thread sleeps", || {
        thread.state() == sched::State::Blocked && !thread.is_on_cpu()
    });
    let text = backtrace::of_thread(&thread);
    let mine = backtrace::of_thread(sched::current());
    UP.store(true, Ordering::Relaxed);
    BED.wake_all();
    thread.join();
    let gone = backtrace::of_thread(&thread);
    asleep?;
    let text = text.ok_or("a sleeping thread has no backtrace")?;
    let flat = text.replace('\n', ";");
    check!(text.contains("goes_to_bed"), "its own function is not in {flat}");
    check!(text.contains("wait"), "no waiting function in {flat}");
    check!(text.contains("the end; reliable"), "not reliable: {flat}");
    check!(mine.is_none(), "a running thread has a backtrace: {mine:?}");
    check!(gone.is_none(), "a thread that is gone has a backtrace: {gone:?}");
    Ok(())
}

/// One of each kind per CPU, one per live thread, no two overlap, and nothing else is there.
pub fn n9_the_registry_lists_every_stack_once() -> Outcome {
    static HELD: sched::WaitQueue = sched::WaitQueue::new();
    static LET_GO: AtomicU32 = AtomicU32::new(0);
    LET_GO.store(0, Ordering::Relaxed);
    let threads: Result<Vec<_>, _> = (0..10)
        .map(|_| {
            let body = |_| HELD.wait_uninterruptibly(|| LET_GO.load(Ordering::Relaxed) != 0);
            sched::spawn_kernel("listed", body, 0)
        })
        .collect();
    let threads = threads.map_err(|e| format!("{e:?}"))?;
    let registry = registry::get().ok_or("no registry")?;
    let live: Vec<_> = registry.live().map(|(_, stack)| stack).collect();
    let all = sched::all();
    let pages = stacks::census().used_pages;
    LET_GO.store(1, Ordering::Relaxed);
    HELD.wake_all();
    for thread in &threads {
        thread.join();
    }
    for cpu in cpus::online() {
        for &kind in [StackKind::Idle, StackKind::Irq].iter().chain(EXPECTED.cpu_stacks) {
            let number = live.iter().filter(|s| s.kind == kind && s.cpu == Some(cpu.id())).count();
            check!(number == 1, "CPU {} has {number} {kind} stacks", cpu.id());
        }
    }
    for thread in &threads {
        let owned: Vec<_> =
            live.iter().filter(|s| s.kind == StackKind::Thread && s.owner == thread.id()).collect();
        check!(owned.len() == 1, "thread {} has {} stacks", thread.id(), owned.len());
        check!(owned[0].range == thread.stack_range(), "{:?}", owned[0]);
    }
    let of_threads = live.iter().filter(|s| s.kind == StackKind::Thread).count();
    let of_cpus = live.len() - of_threads;
    check!(
        of_cpus == (EXPECTED.cpu_stacks.len() + 2) * cpus::online_count() as usize,
        "{of_cpus} stacks of CPUs"
    );
    for stack in live.iter().filter(|s| s.kind == StackKind::Thread) {
        let owner = all.iter().find(|thread| thread.id() == stack.owner);
        check!(owner.is_some(), "{stack:?} belongs to no thread");
    }
    let mut ranges: Vec<_> = live.iter().map(|stack| stack.range).collect();
    ranges.sort_unstable_by_key(|range| range.lowest);
    let apart = ranges.windows(2).all(|pair| pair[0].top < pair[1].lowest);
    check!(apart, "two stacks touch: {ranges:?}");
    let listed: usize = ranges.iter().map(|range| range.size().in_pages()).sum();
    check!(listed as u64 == pages, "{listed} pages listed, {pages} counted");
    let here = Addr::new(cpu::stack_pointer());
    check!(ranges.iter().any(|range| range.contains(here)), "not even this one is listed");
    Ok(())
}

/// Other CPUs look at the backtraces of threads that are born, recurse, yield and die, while their
/// stacks are unmapped as soon as they are free: no fault, no endless walk, and every text ends
/// with a reason. Red if the stack is borrowed for less than the walk: the kernel faults on it.
pub fn b2_t8_backtraces_of_threads_that_come_and_go_elsewhere_harm_nothing() -> Outcome {
    static STOP: AtomicBool = AtomicBool::new(false);
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    static WITHOUT_END: AtomicU32 = AtomicU32::new(0);
    #[inline(never)]
    fn deep(left: usize) -> usize {
        let here = core::hint::black_box([left; 6]);
        if left == 0 {
            sched::yield_now();
            return here[0];
        }
        let below = deep(left - 1);
        if left.is_multiple_of(7) {
            sched::yield_now();
        }
        below + core::hint::black_box(here)[left % 6]
    }
    fn mortal(depth: usize) {
        core::hint::black_box(deep(depth));
    }
    fn looker(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            for thread in sched::all() {
                if let Some(text) = backtrace::of_thread(&thread) {
                    LOOKS.fetch_add(1, Ordering::Relaxed);
                    if !text.contains("-- the end") && !text.contains("-- user mode") {
                        WITHOUT_END.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            sched::yield_now();
        }
    }
    STOP.store(false, Ordering::Relaxed);
    LOOKS.store(0, Ordering::Relaxed);
    WITHOUT_END.store(0, Ordering::Relaxed);
    let live = stacks::census().live;
    let spawn = |name, body: fn(usize), argument| {
        sched::spawn_kernel(name, body, argument).map_err(|error| format!("{error:?}"))
    };
    let lookers = (0..3).map(|_| spawn("looker", looker, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut made = 0;
    while made < 300 || LOOKS.load(Ordering::Relaxed) < 300 {
        let threads =
            (0..6).map(|i| spawn("mortal", mortal, 5 + i * 4)).collect::<Result<Vec<_>, _>>();
        for thread in threads.iter().flatten() {
            thread.join();
            made += 1;
        }
        // What they leave goes at once: the next walk that is too late finds nothing there.
        stacks::drain_this_cpu();
        stacks::reclaim(u32::MAX);
    }
    STOP.store(true, Ordering::Relaxed);
    for thread in &lookers {
        thread.join();
    }
    let (looks, odd) = (LOOKS.load(Ordering::Relaxed), WITHOUT_END.load(Ordering::Relaxed));
    check!(odd == 0, "{odd} of {looks} backtraces of {made} threads had no end");
    until("stacks are back", || stacks::census().live <= live)
}
