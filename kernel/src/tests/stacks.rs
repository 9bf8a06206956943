//! The life of stacks on this machine: reuse, erasing, borrowing, running out, and nothing left
//! behind.

use super::arch::expectations::EXPECTED;
use super::support::{above_end, free_frames, kind_at, on_every_cpu, until};
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::arch::current::RESERVE;
use kstack::cache::{CACHE_HALF, CACHE_STACKS};
use kstack::end_word;
use kstack::kind::StackKind;
use kstack::stacks::ThreadId;
use machine::arch::irqchip::software_interrupt;
use machine::arch::{cpu, paging};
use machine::cpus;
use machine::memory::frames;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::sched::TASKS;
use threads::sched::{self, WaitQueue};
use threads::stacks::pages;
use threads::stacks::{self, OwnedStack, StackError};

fn acquire() -> Result<OwnedStack, String> {
    stacks::acquire_thread(ThreadId::NONE).map_err(|error| format!("{error:?}"))
}

fn acquire_many(number: usize) -> Result<Vec<OwnedStack>, String> {
    (0..number).map(|_| acquire()).collect()
}

/// The leaf entries of a stack, without the bits that the CPU sets.
fn mapping(range: AddrRange) -> Vec<u64> {
    (range.lowest.get()..range.top.get())
        .step_by(PAGE_BYTES)
        .filter_map(|page| pages::leaf(Addr::new(page)))
        .map(|leaf| paging::without_dirty(leaf.load(Ordering::Acquire)))
        .collect()
}

/// A hundred in a row: the same stack, the same mapping, no miss; and with the lock held by
/// another thread all along, so a hit that took it would never end.
pub fn t4_a_stack_from_the_cache_takes_no_lock_and_changes_no_mapping() -> Outcome {
    // No other thread unmaps anything meanwhile.
    balance()?;
    cpu::without_interrupts(|| {
        let first = acquire()?;
        let (slot, range) = (first.as_ref().slot, first.range());
        drop(first);
        let before = (mapping(range), pages::mapped_pages(), frames::free_count());
        let (stats, flushes) = (stacks::cache_stats(), machine::arch::smp::flushes());
        let slots: Result<Vec<_>, String> = stacks::while_shared_is_locked(|| {
            (0..100).map(|_| acquire().map(|stack| stack.as_ref().slot)).collect()
        });
        let other = slots?.into_iter().find(|&other| other != slot);
        check!(other.is_none(), "another one: {other:?}, not {slot:?}");
        let now = stacks::cache_stats();
        check!(now.hits == stats.hits + 100, "{} hits of 100", now.hits - stats.hits);
        check!(
            (now.misses, now.refills, now.flushes) == (stats.misses, stats.refills, stats.flushes),
            "{now:?}, {stats:?} before"
        );
        let after = (mapping(range), pages::mapped_pages(), frames::free_count());
        check!(after == before, "the mapping has changed: {after:x?}, {before:x?} before");
        check!(machine::arch::smp::flushes() == flushes, "other CPUs had to flush");
        Ok(())
    })
}

/// Waits until no stack is being unmapped. Returns how many are parked and how many are mapped.
fn at_rest() -> Result<(usize, usize), String> {
    let pages = stacks::arena().geometry().body().get() / PAGE_BYTES;
    until("no more are parked than are wanted", || {
        let (parked, wanted) = stacks::depot_counts();
        let census = stacks::census();
        let mapped = pages::mapped_pages() as u64;
        parked <= wanted && census.ending == 0 && census.mapped_pages == mapped
    })?;
    Ok((stacks::depot_counts().0 as usize, pages::mapped_pages() / pages))
}

/// More than fit: the rest goes to the depot, by halves; and what is more than the depot wants is
/// unmapped.
pub fn t4_a_full_cache_passes_half_on_and_the_excess_is_unmapped() -> Outcome {
    let number = 4 * CACHE_STACKS;
    let held = acquire_many(number)?;
    let before = at_rest()?;
    let drained = cpu::without_interrupts(|| {
        let drained = stacks::drain_this_cpu();
        let before = stacks::cache_stats();
        drop(held);
        let flushes = (stacks::cache_stats().flushes - before.flushes) as usize;
        let expected = (number - CACHE_STACKS) / CACHE_HALF;
        check!(flushes == expected, "{flushes} flushes, not {expected}");
        Ok::<_, String>(drained)
    })?;
    // Another CPU may unmap what is too much at any moment: what was passed on is parked, or
    // unmapped.
    let after = at_rest()?;
    let passed = (after.0 + before.1).wrapping_sub(before.0 + after.1);
    let expected = drained + number - CACHE_STACKS;
    check!(passed == expected, "{passed} passed on, not {expected}: {before:?}, then {after:?}");
    // How many the depot wants moves with the traffic, so the number is taken anew if it did.
    let mut seen = Vec::new();
    for _ in 0..5 {
        balance()?;
        let (_, wanted) = stacks::depot_counts();
        let many = acquire_many(wanted as usize + 8 * CACHE_STACKS)?;
        let peak = pages::mapped_pages();
        drop(many);
        at_rest()?;
        let mapped = pages::mapped_pages();
        if mapped < peak {
            return Ok(());
        }
        seen.push((wanted, stacks::depot_counts(), peak, mapped));
    }
    Err(format!("nothing is unmapped: {seen:?}"))
}

/// A CPU that goes away leaves nothing in its cache; what it had serves others without being mapped
/// anew.
pub fn t4_draining_a_cpu_puts_its_stacks_where_others_find_them() -> Outcome {
    let held = acquire_many(CACHE_STACKS)?;
    cpu::without_interrupts(|| {
        stacks::drain_this_cpu();
        drop(held);
        let (parked, _) = stacks::depot_counts();
        let drained = stacks::drain_this_cpu();
        check!(drained == CACHE_STACKS, "{drained} drained, not {CACHE_STACKS}");
        check!(stacks::drain_this_cpu() == 0, "something was left");
        let (now, _) = stacks::depot_counts();
        check!((now - parked) as usize == drained, "{now} parked, {parked} before");
        let before = stacks::cache_stats();
        let pages = pages::mapped_pages();
        drop(acquire()?);
        let after = stacks::cache_stats();
        check!(after.refills == before.refills + 1, "{after:?}, {before:?} before");
        check!(after.misses == before.misses && after.hits == before.hits, "{after:?}");
        check!(pages::mapped_pages() == pages, "mapped anew");
        Ok(())
    })
}

/// The lowest address of the range that does not read as zero.
fn first_stain(lowest: usize, top: usize) -> Option<usize> {
    (lowest..top).step_by(8).find(|&at| {
        // SAFETY: (1) the callers pass mapped, aligned stack memory.
        unsafe { (at as *const u64).read_volatile() != 0 }
    })
}

/// What is left alone right below SP: calls and interrupts use it meanwhile.
const MARGIN: usize = 2048;
const WAYS: usize = 7;

fn write(at: usize) {
    // SAFETY: (1) the callers write to their own stack, below what they use.
    unsafe { (at as *mut u8).write_volatile(0xdb) };
}

/// Recursion, so that frames with holes are left behind. `above` is SP in the caller.
#[inline(never)]
fn leave_frames(lowest: usize, above: usize) -> usize {
    /// What is pushed on the way to the interrupt below.
    const CALLS: usize = 128;
    let frame = core::hint::black_box([0xdb_usize; 40]);
    let sp = cpu::stack_pointer();
    // From the deepest frame, too, an interrupt must find its room, or the thread is ended: its
    // registers and RESERVE below them. The next frame is as wide as this one.
    let room = RESERVE.get() + EXPECTED.saved_regs + CALLS;
    if sp < lowest + room + (above - sp) {
        // One comes right here, whatever the width of a frame and where the first one began.
        software_interrupt();
        return frame[3];
    }
    leave_frames(lowest, sp) + core::hint::black_box(frame)[7]
}

/// Writes to the stack below SP in one of several orders.
#[inline(never)]
fn stain(way: usize, lowest: usize) {
    let top = cpu::stack_pointer() - MARGIN;
    let mut seed = way as u64 + lowest as u64;
    match way % WAYS {
        0 => (lowest..top).for_each(write),
        1 => (lowest..top).rev().for_each(write),
        // One byte of each page, at the odd end of it.
        2 => (lowest + 4095..top).step_by(PAGE_BYTES).for_each(write),
        // The far page only: a depth that was reached by jumping over the pages in between.
        3 => (lowest..lowest + PAGE_BYTES).for_each(write),
        4 => write(lowest),
        5 => (0..500).for_each(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            write(lowest + (seed >> 33) as usize % (top - lowest));
        }),
        _ => {
            core::hint::black_box(leave_frames(lowest, cpu::stack_pointer()));
        }
    }
}

static STAINED: AtomicU32 = AtomicU32::new(0);
static STAIN_AT: AtomicUsize = AtomicUsize::new(0);

/// Looks whether its stack is clean, then stains it, on whatever CPUs it gets to run on.
fn look_and_stain(way: usize) {
    let lowest = above_end(sched::current().stack_range());
    if let Some(at) = first_stain(lowest, (cpu::stack_pointer() - MARGIN) & !7) {
        STAINED.fetch_add(1, Ordering::Relaxed);
        STAIN_AT.store(at, Ordering::Relaxed);
    }
    stain(way, lowest);
    sched::yield_now();
    stain(way + 1, lowest);
}

/// Every way of writing, on all CPUs, many lives of few stacks: each owner finds zeros below its
/// own first frames, and a stack that is given out reads as zero from its lowest to its highest
/// byte.
pub fn t5_a_reused_stack_reads_as_zero_whatever_its_last_owner_wrote() -> Outcome {
    STAINED.store(0, Ordering::Relaxed);
    for round in 0..60 {
        let threads: Result<Vec<_>, _> = (0..9)
            .map(|n| sched::spawn_kernel("staining", look_and_stain, round * 9 + n))
            .collect();
        for thread in threads.map_err(|error| format!("{error:?}"))? {
            thread.join();
        }
        for stack in acquire_many(10)? {
            let range = stack.range();
            // SAFETY: (1) the stack is ours and mapped.
            check!(unsafe { end_word::is_whole(range.lowest) }, "{range:?} has no end word");
            let stain = first_stain(above_end(range), range.top.get());
            check!(stain.is_none(), "round {round}: {stain:x?} of {range:?} is not zero");
        }
    }
    let stained = STAINED.load(Ordering::Relaxed);
    check!(stained == 0, "{stained} owners found stains, the last at {STAIN_AT:x?}");
    Ok(())
}

/// In an interrupt handler, more of them than a cache holds; and the very next owner gets one of
/// them: no grace period.
pub fn t8_stacks_are_given_back_in_an_interrupt_handler_and_at_once() -> Outcome {
    static GOING: SpinLock<Vec<OwnedStack>> = SpinLock::new(Vec::new());
    static ON_IRQ_STACK: AtomicBool = AtomicBool::new(false);
    let census = stacks::census();
    let charged = pages::charged_bytes();
    let held = acquire_many(3 * CACHE_STACKS)?;
    let last = held.last().map(OwnedStack::as_ref).ok_or("no stacks")?;
    *GOING.lock() = held;
    let next = cpu::without_interrupts(|| {
        probes::set_probe(Some(|_| {
            let going = core::mem::take(&mut *GOING.lock());
            let here = kind_at(cpu::stack_pointer()) == Some(StackKind::Irq);
            ON_IRQ_STACK.store(here, Ordering::Relaxed);
            drop(going);
        }));
        software_interrupt();
        probes::set_probe(None);
        acquire()
    })?;
    check!(ON_IRQ_STACK.load(Ordering::Relaxed), "that was no interrupt handler");
    check!(next.as_ref().slot == last.slot, "{:?} is next, not {last:?}", next.as_ref());
    check!(next.as_ref().generation != last.generation, "the same life: {last:?}");
    drop(next);
    let after = stacks::census();
    check!(after.live == census.live && after.used_pages == census.used_pages, "{after:?}");
    check!(pages::charged_bytes() == charged, "still charged");
    Ok(())
}

static RESTING: WaitQueue = WaitQueue::new();
static RISE: AtomicBool = AtomicBool::new(false);

/// The thread ends while its stack is borrowed: what was on it stays readable, and no other thread
/// gets it; afterwards it cannot be borrowed, and is used again.
pub fn t8_a_borrowed_stack_outlives_its_thread_and_cannot_be_borrowed_after() -> Outcome {
    fn body(_: usize) {
        let words = core::hint::black_box([0x00b0_44ed_usize; 64]);
        RESTING.wait_uninterruptibly(|| RISE.load(Ordering::Relaxed));
        core::hint::black_box(words);
    }
    fn count(range: AddrRange) -> usize {
        let words = (range.lowest.get()..range.top.get()).step_by(size_of::<usize>());
        // SAFETY: (1) the stack is borrowed, so it is mapped.
        words.filter(|&at| unsafe { (at as *const usize).read_volatile() } == 0x00b0_44ed).count()
    }
    RISE.store(false, Ordering::Relaxed);
    let thread = sched::spawn_kernel("resting", body, 0).map_err(|error| format!("{error:?}"))?;
    until("it rests", || thread.state() == sched::State::Blocked && !thread.is_on_cpu())?;
    let stack = thread.stack_ref();
    let borrowed = thread.borrow_stack().ok_or("a resting thread's stack cannot be borrowed")?;
    let range = borrowed.range();
    let before = count(range);
    RISE.store(true, Ordering::Relaxed);
    RESTING.wake_all();
    thread.join();
    check!(thread.is_reaped() && !thread.has_stack(), "it has not ended");
    check!(before >= 64 && count(range) >= 64, "{before}, then {} words", count(range));
    check!(paging::kernel_is_mapped(range.lowest.get() as u64), "it is not mapped");
    let again = thread.borrow_stack();
    check!(again.is_none(), "a stack whose owner is gone can be borrowed");
    // No other thread gets it.
    let others = acquire_many(60)?;
    let reused = others.iter().any(|other| other.as_ref().slot == stack.slot);
    check!(!reused, "it has a new owner while it is borrowed");
    drop((others, borrowed));
    check!(thread.borrow_stack().is_none(), "it can be borrowed afterwards");
    let others = acquire_many(CACHE_STACKS * 8)?;
    let found = others.iter().find(|other| other.as_ref().slot == stack.slot);
    let found = found.ok_or("it did not come back")?;
    check!(count(found.range()) == 0, "its words are still there");
    check!(thread.borrow_stack().is_none(), "the old life can be borrowed");
    Ok(())
}

/// All that a creation could leak, in pages and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Balance {
    live: u32,
    free_slots: u32,
    mapped_pages: usize,
    charged: usize,
    /// Those that are page tables of the arena among them.
    free_frames: usize,
}

/// Empties caches and depot, so that every page that is still mapped has an owner.
fn balance() -> Result<Balance, String> {
    on_every_cpu(|_| {
        stacks::drain_this_cpu();
        Ok(())
    })?;
    stacks::drain_this_cpu();
    // The thread that unmaps the excess may be at it.
    until("nothing is parked", || {
        stacks::reclaim(u32::MAX);
        let census = stacks::census();
        census.parked == 0 && census.ending == 0
    })?;
    let census = stacks::census();
    check_pages(census.mapped_pages)?;
    Ok(Balance {
        live: census.live,
        free_slots: census.free,
        mapped_pages: pages::mapped_pages(),
        charged: pages::charged_bytes(),
        free_frames: free_frames()? + pages::leaf_tables(),
    })
}

fn check_pages(counted: u64) -> Outcome {
    let mapped = pages::mapped_pages() as u64;
    check!(mapped == counted, "{mapped} pages mapped, {counted} recorded");
    Ok(())
}

/// The n-th frame that is asked for fails, for every n until creation succeeds: pages of the stack
/// and, where a new stretch of the arena begins, page tables. Each failure is an error, and leaves
/// everything as it was.
pub fn t11_every_failing_frame_is_an_error_and_leaks_nothing() -> Outcome {
    let mut held = Vec::new();
    let (mut pages_failed, mut tables_failed) = (0, 0);
    let _start = balance()?;
    let outcome = (|| {
        // Until a new page table was needed: 64 slots share one, and those used before have theirs.
        while tables_failed == 0 && held.len() < 2000 {
            let before = (stacks::census(), pages::charged_bytes(), frames::free_count());
            for failing in 0.. {
                frames::fail_after(failing);
                let stack = stacks::acquire_thread(ThreadId::NONE);
                let spared = frames::stop_failing();
                match stack {
                    Ok(stack) => {
                        check!(spared, "the {failing}th frame failed and nobody said so");
                        // The stack's pages, and a table perhaps.
                        let pages = EXPECTED.stack_kib as u64 / 4;
                        check!(
                            (pages..=pages + 2).contains(&failing),
                            "only {failing} frames were needed"
                        );
                        held.push(stack);
                        break;
                    }
                    Err(StackError::NoMemory) => pages_failed += 1,
                    Err(StackError::NoPageTable) => tables_failed += 1,
                    Err(other) => return Err(format!("frame {failing}: {other:?}")),
                }
                check!(!spared, "an error without a failure");
                let after = (stacks::census(), pages::charged_bytes());
                check!(after == (before.0, before.1), "frame {failing}: {after:?}, {before:?}");
                // A page table that was made for the attempt stays: it is used by the next one.
                let kept = before.2 - frames::free_count();
                check!(kept <= 1, "frame {failing}: {kept} frames are gone");
            }
        }
        Ok(())
    })();
    let number = held.len();
    drop(held);
    outcome?;
    let failed = pages_failed + tables_failed;
    let pages = EXPECTED.stack_kib / 4;
    check!(failed >= pages * number && tables_failed > 0, "{pages_failed}, {tables_failed}");
    Ok(())
}

/// Whether a thread's structure would find a place in the slabs there are.
fn tasks_are_free() -> bool {
    let counts = TASKS.counts();
    counts.objects < counts.slabs * counts.objects_per_slab
}

/// The same through the creation of threads, after all failures of which a thread must start.
pub fn t11_a_thread_that_cannot_be_made_is_an_error_and_leaks_nothing() -> Outcome {
    static RAN: AtomicU32 = AtomicU32::new(0);
    RAN.store(0, Ordering::Relaxed);
    let create = || {
        sched::spawn_kernel(
            "perhaps",
            |_| {
                RAN.fetch_add(1, Ordering::Relaxed);
            },
            0,
        )
    };
    let before = balance()?;
    let heap = machine::memory::heap::allocated_bytes;
    // No object is left in the last slab, so that the thread needs another.
    let mut fillers = Vec::new();
    while tasks_are_free() {
        check!(TASKS.reserve(), "no object, and there is one");
        fillers.push(TASKS.alloc());
    }
    let (mut failures, mut no_task, mut leaked) = (0, 0, 0);
    for failing in 0.. {
        let bytes = heap();
        frames::fail_after(failing);
        let thread = create();
        frames::stop_failing();
        leaked += if thread.is_err() { heap() - bytes } else { 0 };
        match thread {
            Ok(thread) => {
                thread.join();
                break;
            }
            Err(sched::SpawnError::Stack(StackError::NoMemory)) => failures += 1,
            Err(sched::SpawnError::NoTask) => no_task += 1,
            Err(other) => return Err(format!("frame {failing}: {other:?}")),
        }
    }
    for filler in fillers {
        // SAFETY: (1) given out above, and in no other use.
        unsafe { TASKS.free(filler) };
    }
    check!(failures == EXPECTED.stack_kib / 4, "{failures} failures, not one for each page");
    check!(no_task == 1, "{no_task} failures, not one for the slab of the thread's structure");
    check!(RAN.load(Ordering::Relaxed) == 1, "{RAN:?} threads ran");
    check!(leaked == 0, "{leaked} bytes of heap are gone");
    let after = balance()?;
    check!(after == before, "{after:?}, {before:?} before");
    Ok(())
}

/// Over the limit is an error of its own, charges nothing, and ends when a thread gives a stack
/// back.
pub fn t11_over_the_limit_creation_fails_and_charges_nothing() -> Outcome {
    let body = stacks::arena().geometry().body().get();
    let charged = pages::charged_bytes();
    let old = pages::set_limit(charged + 2 * body);
    let outcome = (|| {
        let first = acquire()?;
        let second = acquire()?;
        for _ in 0..3 {
            let third = stacks::acquire_thread(ThreadId::NONE).map(|_| ());
            check!(third == Err(StackError::OverLimit), "{third:?}");
            let thread = sched::spawn_kernel("over", |_| (), 0).map(|_| ());
            let expected = Err(sched::SpawnError::Stack(StackError::OverLimit));
            check!(thread == expected, "{thread:?}");
            let now = pages::charged_bytes();
            check!(now == charged + 2 * body, "{now} charged");
        }
        drop(first);
        let third = acquire()?;
        drop(second);
        drop(third);
        Ok(())
    })();
    pages::set_limit(old);
    outcome?;
    check!(pages::charged_bytes() == charged, "{} charged", pages::charged_bytes());
    Ok(())
}

/// Four threads, on four CPUs if they can, create and end others in batches of changing size; done
/// twice, the second time nothing may be gone: not a slot, not a page, not a frame.
pub fn t4_t8_t11_threads_made_and_ended_on_four_cpus_leave_nothing_behind() -> Outcome {
    const MAKERS: usize = 4;
    const BATCHES: usize = 40;
    static ENDED: AtomicU64 = AtomicU64::new(0);
    static FAILED: AtomicU32 = AtomicU32::new(0);
    static ENDED_ON: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
    fn live(way: usize) {
        stain(way, above_end(sched::current().stack_range()));
        if way.is_multiple_of(3) {
            sched::yield_now();
        }
        cpu::without_interrupts(|| {
            ENDED_ON[cpus::this().id().index()].fetch_add(1, Ordering::Relaxed)
        });
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
    fn make(maker: usize) {
        for batch in 0..BATCHES {
            let size = (maker * 7 + batch * 5) % 23 + 1;
            let threads: Vec<_> =
                (0..size).map(|way| sched::spawn_kernel("brief", live, way)).collect();
            for thread in threads {
                match thread {
                    Ok(thread) => thread.join(),
                    Err(_) => _ = FAILED.fetch_add(1, Ordering::Relaxed),
                }
            }
        }
    }
    let sizes =
        (0..MAKERS).flat_map(|maker| (0..BATCHES).map(move |b| (maker * 7 + b * 5) % 23 + 1));
    let expected = sizes.sum::<usize>() as u64;
    let mut balances = Vec::new();
    for _ in 0..2 {
        ENDED.store(0, Ordering::Relaxed);
        let makers: Result<Vec<Arc<_>>, _> =
            (0..MAKERS).map(|maker| sched::spawn_kernel("making", make, maker)).collect();
        for maker in makers.map_err(|error| format!("{error:?}"))? {
            maker.join();
        }
        let ended = ENDED.load(Ordering::Relaxed);
        check!(ended == expected, "{ended} threads ended, not {expected}; {FAILED:?} failed");
        balances.push(balance()?);
    }
    check!(balances[0] == balances[1], "{balances:?}");
    check!(ENDED_ON.iter().all(|n| n.load(Ordering::Relaxed) > 0), "ended on {ENDED_ON:?}");
    Ok(())
}
