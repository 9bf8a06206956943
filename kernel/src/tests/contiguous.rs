//! Physically contiguous stacks: one piece of memory each, by the same pool, without guards.

use super::support::{above_end, free_frames, kind_at, on_every_cpu, stack_at, until};
use super::{Outcome, check};
use alloc::collections::BinaryHeap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use kstack::Stacks;
use kstack::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
use kstack::arch::current::{GEOMETRY, RESERVE};
use kstack::dma::entry::Entry;
use kstack::dma::pieces::pieces;
use kstack::dma::{Memory, judge};
use kstack::end_word;
use kstack::kind::StackKind;
use kstack::record::SlotRecord;
use kstack::stacks::ThreadId;
use kstack::verdict::{Cause, Consequence};
use linux::run_captured;
use machine::arch::irqchip::software_interrupt;
use machine::arch::{cpu, paging};
use machine::cpus::{self, MAX_CPUS};
use machine::dma::Physical;
use machine::memory::frames::{self, FRAME_BYTES, Frame, RUN_FRAMES};
use machine::memory::heap;
use threads::report::overflow;
use threads::sched;
use threads::stacks::pages::{self, StackPages};
use threads::stacks::{self, OwnedStack, StackError, contiguous};

fn acquire() -> Result<OwnedStack, String> {
    stacks::acquire_contiguous(ThreadId::new(77)).map_err(|error| format!("{error:?}"))
}

fn pool() -> Result<&'static Stacks<StackPages>, String> {
    contiguous::pool().map_err(|error| format!("{error:?}"))
}

fn physical(at: Addr) -> Result<u64, String> {
    Physical::physical(at).ok_or_else(|| format!("{at} is not mapped"))
}

/// Nothing of the pool is parked: each page it holds has an owner.
fn settle() -> Outcome {
    let pool = pool()?;
    on_every_cpu(|_| {
        contiguous::pool_if_made().map(Stacks::drain_this_cpu);
        Ok(())
    })?;
    until("no contiguous stack is parked", || {
        pool.drain_this_cpu();
        pool.reclaim(u32::MAX);
        let census = pool.census();
        census.parked == 0 && census.ending == 0
    })
}

/// Every CPU asks for the pool at one instant, and then makes one that comes too late: all have the
/// same, and the memory of the others is back. Red if what comes too late keeps its records.
pub fn t3_t11_cpus_that_make_the_pool_at_one_instant_have_one_and_lose_nothing() -> Outcome {
    static MET: AtomicU64 = AtomicU64::new(0);
    static MADE: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
    fn meet_and_make(place: usize) {
        MET.fetch_add(1, Ordering::AcqRel);
        while MET.load(Ordering::Acquire) < u64::from(cpus::online_count()) {
            core::hint::spin_loop();
        }
        let made = contiguous::make().map_or(0, |pool| core::ptr::from_ref(pool) as usize);
        MADE[place].store(made, Ordering::Release);
    }
    let all_make = || -> Outcome {
        MET.store(0, Ordering::Release);
        let cpus = cpus::online().zip(0..);
        let threads: Result<Vec<_>, _> =
            cpus.map(|(cpu, at)| sched::spawn_on(cpu.id(), "making", meet_and_make, at)).collect();
        for thread in threads.map_err(|error| format!("{error:?}"))? {
            thread.join();
        }
        let made = &MADE[..cpus::online_count() as usize];
        let the_one =
            contiguous::pool_if_made().map_or(1, |pool| core::ptr::from_ref(pool) as usize);
        let same = made.iter().all(|made| made.load(Ordering::Acquire) == the_one);
        check!(same, "{made:x?}, and {the_one:x} is known");
        Ok(())
    };
    all_make()?;
    let before = heap::allocated_bytes();
    for _ in 0..4 {
        all_make()?;
    }
    let records = pool()?.arena().slots() as usize * size_of::<SlotRecord>();
    let more = heap::allocated_bytes().saturating_sub(before);
    check!(more < records / 2, "{more} bytes more, where one pool's records take {records}");
    Ok(())
}

/// A device finds it in one piece, an SP finds its alignment, and what is around it is memory of
/// others. Red if the frames do not follow each other, or the run begins where none may.
pub fn t3_a_contiguous_stack_is_one_piece_of_memory_aligned_as_stacks_are() -> Outcome {
    let (first, second) = (acquire()?, acquire()?);
    for stack in [&first, &second] {
        let range = stack.range();
        check!(range.size() == GEOMETRY.body(), "{range:?}");
        check!(range.lowest.is_aligned(GEOMETRY.align()), "{range:?} is not aligned");
        let all: Result<Vec<Entry>, _> = pieces(range, Physical::physical).collect();
        let all = all.map_err(|why| format!("{why}"))?;
        check!(all.len() == 1, "{} pieces: {all:?}", all.len());
        let at = physical(range.lowest)?;
        for page in 0..RUN_FRAMES as u64 {
            let there = frames::is_of_a_stack(at + page * FRAME_BYTES);
            check!(there, "page {page} is not marked as a stack's");
        }
        for beside in [range.lowest.get() - PAGE_BYTES, range.top.get()] {
            check!(paging::kernel_is_mapped(beside as u64), "{beside:#x} is not mapped: a guard");
        }
        let found = stack_at(range.top.get() - 1).ok_or("no stack is known there")?;
        check!(found.range == range && found.owner == ThreadId::new(77), "{found:?}");
        // SAFETY: (1) a stack of the pool that is held.
        check!(unsafe { end_word::is_whole(range.lowest) }, "{range:?} has no end word");
    }
    let overlap = first.range().contains(second.range().lowest);
    check!(!overlap && first.range() != second.range(), "one place for two");
    let gone = first.range();
    drop(first);
    check!(kind_at(gone.lowest.get()).is_none(), "it is known after its end");
    Ok(())
}

/// Red if only the first pool's stacks are looked for. In one piece or not, a buffer on a stack
/// ends with its function, and a device does not know.
pub fn t3_d2_a_buffer_on_a_contiguous_stack_is_refused_by_the_stacks_name() -> Outcome {
    let stack = acquire()?;
    let (lowest, top) = (stack.range().lowest.get(), stack.range().top.get());
    for (at, bytes) in [(lowest, 64), (top - 64, 64), (lowest - 8, 9), (top - 1, 16)] {
        let buffer = AddrRange::sized(Addr::new(at), ByteSize::new(bytes));
        let why = judge::<Physical>(buffer).err().ok_or_else(|| format!("{buffer:?} passed"))?;
        let met = super::dma::on_stack(&why).and_then(|met| met.stack);
        check!(met.is_some_and(|(_, met)| met.range == stack.range()), "{why}");
    }
    let range = stack.range();
    drop(stack);
    settle()?;
    let beside = AddrRange::sized(range.lowest, ByteSize::new(64));
    let refused = judge::<Physical>(beside).err();
    check!(refused.is_none(), "memory that was a stack's is refused: {refused:?}");
    Ok(())
}

/// Red if erasing trusts dirty bits, which the direct map has for blocks at best.
pub fn t3_t5_a_contiguous_stack_used_again_reads_as_zero() -> Outcome {
    cpu::without_interrupts(|| {
        let stack = acquire()?;
        let range = stack.range();
        for at in (above_end(range)..range.top.get()).step_by(size_of::<u64>()) {
            // SAFETY: (1) a word of a stack that is held, and that nothing runs on.
            unsafe { (at as *mut u64).write_volatile(0x5ec2_e75e_c2e7) };
        }
        drop(stack);
        let again = acquire()?;
        check!(again.range() == range, "another one: {:?}, not {range:?}", again.range());
        for at in (above_end(range)..range.top.get()).step_by(size_of::<u64>()) {
            // SAFETY: (1) as above.
            let word = unsafe { (at as *const u64).read_volatile() };
            check!(word == 0, "{word:#x} at {at:#x}");
        }
        // SAFETY: (1) a stack of the pool that is held.
        check!(unsafe { end_word::is_whole(range.lowest) }, "its end word is gone");
        Ok(())
    })
}

static RISE: AtomicBool = AtomicBool::new(false);
static RESTING: sched::WaitQueue = sched::WaitQueue::new();
static HERE: AtomicUsize = AtomicUsize::new(0);

/// Threads run there as anywhere: they are moved between CPUs, interrupted, backtraced while they
/// sleep, and their stacks come back. Red if what looks for a stack asks the first pool alone.
pub fn t3_b2_threads_on_contiguous_stacks_switch_sleep_are_walked_and_end() -> Outcome {
    #[inline(never)]
    fn rest_here(number: usize) {
        let local = 0_usize;
        HERE.store(core::ptr::from_ref(black_box(&local)) as usize, Ordering::Release);
        for _ in 0..50 {
            software_interrupt();
            sched::yield_now();
        }
        RESTING.wait_uninterruptibly(|| RISE.load(Ordering::Acquire));
        black_box(number);
    }
    settle()?;
    let before = pool()?.census();
    RISE.store(false, Ordering::Release);
    let spawn = |number| sched::spawn_contiguous("resting", rest_here, number);
    let threads: Result<Vec<_>, _> = (0..24).map(spawn).collect();
    let threads = threads.map_err(|error| format!("{error:?}"))?;
    let rests =
        |thread: &sched::Thread| thread.state() == sched::State::Blocked && !thread.is_on_cpu();
    until("all of them rest", || threads.iter().all(|thread| rests(thread)))?;
    let census = pool()?.census();
    check!(census.live == before.live + 24, "{census:?}, {before:?} before");
    let found = stack_at(HERE.load(Ordering::Acquire)).ok_or("a local is on no stack")?;
    check!(found.kind == StackKind::Thread, "{found:?}");
    check!(pool()?.arena().range().contains(found.range.lowest), "{found:?} is mapped");
    for thread in &threads {
        let text = threads::report::backtrace::of_thread(thread).ok_or("it does not sleep")?;
        check!(text.contains("rest_here"), "{text}");
        check!(stack_at(thread.stack_range().lowest.get()).is_some(), "its stack is unknown");
    }
    let listed = threads::report::stacks::all();
    let known = |thread: &sched::Thread| listed.iter().any(|s| s.range == thread.stack_range());
    check!(threads.iter().all(|thread| known(thread)), "the list lacks one");
    RISE.store(true, Ordering::Release);
    RESTING.wake_all();
    threads.iter().for_each(|thread| thread.join());
    settle()?;
    let after = pool()?.census();
    check!(after == before, "{after:?}, {before:?} before");
    Ok(())
}

static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Goes down until less is left than an entry asks for, and lets an interrupt in.
fn too_deep(_: usize) {
    #[inline(never)]
    fn down(floor: usize) -> usize {
        let frame = black_box([1_u8; 64]);
        if cpu::stack_pointer() <= floor {
            LEFT.store(cpu::stack_pointer(), Ordering::Release);
            software_interrupt();
            return usize::from(frame[0]);
        }
        down(floor) + usize::from(black_box(frame)[1])
    }
    // The CPU's own push still fits.
    let lowest = sched::current().stack_range().lowest.get();
    black_box(down(lowest + RESERVE.get() - 96));
    LEFT.store(0, Ordering::Release);
}

/// No page stops it; the entry of the interrupt does. Red if a stack outside of the arena is none
/// that an entry's fault is about: then the machine stops with an exception that nothing explains.
pub fn t3_o1_o5_a_thread_too_deep_on_a_contiguous_stack_is_ended_by_the_next_entry() -> Outcome {
    let contained = overflow::contained_count();
    let _old = overflow::take_last_report();
    let thread = sched::spawn_contiguous("too deep", too_deep, 0);
    let thread = thread.map_err(|error| format!("{error:?}"))?;
    thread.join();
    check!(LEFT.load(Ordering::Acquire) != 0, "the thread came back");
    check!(overflow::contained_count() == contained + 1, "not counted");
    let report = overflow::take_last_report().ok_or("there is no report")?;
    let verdict = report.verdict;
    check!(verdict.stack.owner == thread.id(), "{verdict:?}");
    check!(verdict.stack.range == thread.stack_range(), "{verdict:?}");
    check!(verdict.cause == Cause::GuardHit, "{verdict:?}");
    check!(verdict.consequence == Consequence::EndThread, "{verdict:?}");
    settle()
}

/// Each frame that a thread on such a stack takes fails in turn. Red if the run is kept, or its
/// charge.
pub fn t3_t11_every_failing_allocation_of_a_contiguous_stack_leaks_nothing() -> Outcome {
    settle()?;
    let before = (free_frames()?, pages::charged_bytes(), contiguous::held_pages());
    let mut failures = 0;
    for failing in 0.. {
        frames::fail_after(failing);
        let stack = stacks::acquire_contiguous(ThreadId::NONE);
        frames::stop_failing();
        match stack {
            Ok(stack) => {
                drop(stack);
                break;
            }
            Err(StackError::NoMemory) => failures += 1,
            Err(other) => return Err(format!("frame {failing}: {other:?}")),
        }
        let now = (pages::charged_bytes(), contiguous::held_pages());
        check!(now == (before.1, before.2), "{now:?}, {before:?} before");
    }
    check!(failures == 1, "{failures} allocations for one piece of memory");
    settle()?;
    let after = (free_frames()?, pages::charged_bytes(), contiguous::held_pages());
    check!(after == before, "{after:?}, {before:?} before");
    Ok(())
}

/// As Linux counts them: in use, whatever they are made of.
pub fn t3_t7_contiguous_stacks_count_as_kernel_stacks_while_they_are_in_use() -> Outcome {
    settle()?;
    let (charged, held) = (pages::charged_bytes(), contiguous::held_pages());
    let stack_bytes = GEOMETRY.body().get();
    let stacks: Result<Vec<_>, _> = (0..5).map(|_| acquire()).collect();
    let stacks = stacks?;
    check!(pages::charged_bytes() == charged + 5 * stack_bytes, "{} bytes", pages::charged_bytes());
    check!(contiguous::held_pages() == held + 5 * RUN_FRAMES, "{}", contiguous::held_pages());
    let ran = run_captured("/bin/busybox", &[b"grep", b"KernelStack", b"/proc/meminfo"]);
    let (_, output) = ran.map_err(|error| format!("{error}"))?;
    let text = String::from_utf8_lossy(&output).into_owned();
    let kib: usize = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    // The program that asks has one, too.
    let wanted = (charged + 6 * stack_bytes) / 1024;
    check!(kib == wanted, "{text:?}, not {wanted} kB");
    drop(stacks);
    settle()?;
    let after = (pages::charged_bytes(), contiguous::held_pages());
    check!(after == (charged, held), "{after:?}, {charged} and {held} before");
    Ok(())
}

/// Memory in single frames, three of each four: there is no run, and that is an error. Then the
/// fourth ones of some come back, in no order: those are found, and no frame is in two hands. Red
/// if a frame that is not in the list is taken into a run, or one stays in both.
pub fn t3_t11_runs_are_made_of_single_frames_that_lie_together_and_of_no_others() -> Outcome {
    const WANTED: usize = 8;
    let block = RUN_FRAMES as u64 * FRAME_BYTES;
    let align = GEOMETRY.align().get() as u64;
    settle()?;
    let before = free_frames()?;
    // All that was ever given out: from here on memory is fresh.
    let fresh = || frames::fresh().map(|(lowest, _)| lowest).min().unwrap_or(u64::MAX);
    let mut singles: Vec<Frame> = Vec::new();
    let limit = fresh() + 16 * block;
    while fresh() < limit {
        singles.try_reserve(1).map_err(|_| "no heap for the list of frames")?;
        singles.push(frames::alloc().ok_or("no frame")?);
    }
    let top = fresh();
    let mut runs = Vec::new();
    while let Some(run) = frames::alloc_zeroed_run(top) {
        runs.push(run);
    }
    // By a heap, in place: a sort that calls itself is too deep for the smallest stacks.
    let addresses: Vec<u64> = singles.into_iter().map(|frame| frame.addr()).collect();
    let sorted = BinaryHeap::from(addresses).into_sorted_vec();
    let singles: Vec<Frame> = sorted.into_iter().map(Frame::at).collect();
    // Whole blocks among what is held.
    let starts: Vec<u64> = singles
        .windows(RUN_FRAMES)
        .filter(|some| some[0].addr() % align == 0)
        .filter(|some| some[RUN_FRAMES - 1].addr() == some[0].addr() + block - FRAME_BYTES)
        .map(|some| some[0].addr())
        .collect();
    check!(starts.len() >= WANTED, "{} blocks in {} frames", starts.len(), singles.len());
    let starts = &starts[..WANTED];
    let second = |frame: &Frame| frame.addr() % block == FRAME_BYTES;
    let in_block =
        |frame: &Frame| starts.iter().any(|at| (*at..at + block).contains(&frame.addr()));
    let (kept, given): (Vec<Frame>, Vec<Frame>) =
        singles.into_iter().partition(|frame| !in_block(frame) || second(frame));
    let (last, kept): (Vec<Frame>, Vec<Frame>) = kept.into_iter().partition(|f| in_block(f));
    given.into_iter().rev().for_each(frames::release);
    let gathered = frames::gathered_count();
    let none = frames::alloc_zeroed_run(top);
    let looked = frames::gathered_count() - gathered;
    last.into_iter().for_each(frames::release);
    let mut found = Vec::new();
    while let Some(run) = frames::alloc_zeroed_run(top) {
        found.push(run.addr());
    }
    let mut sorted = found.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let of_ours = sorted.iter().filter(|at| starts.contains(at)).count();
    for run in found.iter().map(|at| Frame::at(*at)).chain(runs) {
        frames::release_run(run);
    }
    kept.into_iter().for_each(frames::release);
    check!(none.is_none(), "a run at {none:?}, of which a frame is held");
    check!(looked == 1, "looked {looked} times");
    check!(sorted.len() == found.len(), "one run was given out twice: {found:x?}");
    // Another CPU may have taken a frame or two.
    check!(of_ours + 2 >= WANTED, "{of_ours} of {WANTED}: {found:x?} of {starts:x?}");
    let after = free_frames()?;
    check!(after == before, "{after} frames are free, {before} before");
    // A run that is given back is single frames again, when there are no others.
    let mut all = Vec::new();
    while fresh() < limit + 16 * block {
        all.try_reserve(1).map_err(|_| "no heap for the list of frames")?;
        all.push(frames::alloc().ok_or("no frame")?);
    }
    all.into_iter().for_each(frames::release);
    let after = free_frames()?;
    check!(after == before, "{after} frames are free, {before} before that");
    Ok(())
}

fn expect_end_overwritten(test: &str, victim: &str) {
    control!(
        "expect {test} stack={} cause={} side=below consequence=stop-system victim={victim} reliable=yes running=0 backtrace~=leave_cpu",
        StackKind::Thread,
        Cause::EndOverwritten.name(),
    );
}

fn sleep_without_end() {
    static NEVER: sched::WaitQueue = sched::WaitQueue::new();
    let _killed = NEVER.wait_until(|| false);
}

/// A frame that reaches below: nothing stops it, memory of others is written, and the switch that
/// follows tells. Red if a switch looks at mapped stacks only, or the report names no stack.
pub fn t3_t12_a_thread_that_wrote_below_its_contiguous_stack_stops_the_machine() -> Outcome {
    expect_end_overwritten(
        "t3_t12_a_thread_that_wrote_below_its_contiguous_stack_stops_the_machine",
        "overshooter",
    );
    fn overshoot(_: usize) {
        // The word is the first that a frame from above goes over.
        let end = end_word::at(sched::current().stack_range().lowest).get();
        // SAFETY: (1) none: the word is no owner's to write. That is the purpose.
        unsafe { (end as *mut usize).write_volatile(usize::MAX) };
        sleep_without_end();
    }
    let thread = sched::spawn_contiguous("overshooter", overshoot, 0);
    thread.map_err(|error| format!("{error:?}"))?.join();
    Err("the machine went on".into())
}

static NEIGHBOUR: AtomicU64 = AtomicU64::new(0);

/// What writes past the memory before a stack reaches that stack's end word first: its thread is
/// named, though another wrote. Red if the thread that runs meanwhile is blamed.
pub fn t3_t12_a_contiguous_stack_whose_neighbour_wrote_too_far_is_named() -> Outcome {
    expect_end_overwritten(
        "t3_t12_a_contiguous_stack_whose_neighbour_wrote_too_far_is_named",
        "neighbour",
    );
    fn neighbour(_: usize) {
        let lowest = sched::current().stack_range().lowest.get();
        NEIGHBOUR.store(lowest as u64, Ordering::Release);
        RESTING.wait_uninterruptibly(|| RISE.load(Ordering::Acquire));
        sleep_without_end();
    }
    RISE.store(false, Ordering::Release);
    let thread = sched::spawn_contiguous("neighbour", neighbour, 0);
    let thread = thread.map_err(|error| format!("{error:?}"))?;
    until("it rests", || thread.state() == sched::State::Blocked && !thread.is_on_cpu())?;
    let end = end_word::at(Addr::new(NEIGHBOUR.load(Ordering::Acquire) as usize)).get();
    // SAFETY: (1) none: the word is another thread's. That is the test.
    unsafe { (end as *mut usize).write_volatile(0x1111) };
    // Others switch meanwhile, and nothing is wrong with their stacks.
    for _ in 0..20 {
        sched::yield_now();
    }
    RISE.store(true, Ordering::Release);
    RESTING.wake_all();
    until("the machine has stopped", || false)
}
