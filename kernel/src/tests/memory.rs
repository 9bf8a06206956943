//! Memory: what programs make of their address space, page tables that CPUs make at once, and what
//! a CPU may still remember when memory changes its owner.

use super::support::{make_arena_tables, runs_beside_itself, settled_frames, until};
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use kstack::Backing;
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::depot::Depot;
use kstack::stacks::ThreadId;
use linux::run_captured;
use linux::sorted::{Item, Sorted};
use machine::arch::irqchip::software_interrupt;
use machine::arch::{cpu, paging, smp};
use machine::memory::{ARENA, direct, frames};
use machine::spin::SpinLock;
use threads::sched;
use threads::stacks;
use threads::stacks::pages;

/// Runs one part of the program that tries an address space; afterwards every frame is free again.
fn part(name: &str) -> Outcome {
    program(&[b"/kstack/bin/address-space", name.as_bytes()])
}

fn program(argv: &[&[u8]]) -> Outcome {
    make_arena_tables()?;
    let before = settled_frames()?;
    let path = core::str::from_utf8(argv[0]).map_err(|_| "no path")?;
    let ran = run_captured(path, argv);
    let (status, output) = ran.map_err(|error| format!("{error}"))?;
    check!(status == 0, "status {status}: {}", String::from_utf8_lossy(&output));
    // The last thread of a child may still be on its way out on another CPU.
    let mut after = settled_frames()?;
    let back = until("every frame is free", || {
        after = settled_frames().unwrap_or(0);
        after >= before
    });
    check!(back.is_ok(), "{before} frames free before, {after} after");
    Ok(())
}

pub fn u1_a_guard_that_a_program_makes_is_as_good_as_the_kernels() -> Outcome {
    part("guard")
}

pub fn u1_p4_the_heap_grows_past_holes_and_never_over_anything() -> Outcome {
    part("heap")
}

pub fn u1_p3_the_stack_keeps_its_gap_to_what_is_accessible_and_none_to_a_guard() -> Outcome {
    part("stack")
}

pub fn u1_a_failed_mapping_changes_nothing() -> Outcome {
    part("fixed")
}

pub fn u1_a_program_has_as_many_areas_as_linux_allows_and_no_more() -> Outcome {
    part("limit")
}

pub fn u1_address_space_without_pages_costs_no_time() -> Outcome {
    part("reservation")
}

pub fn u1_no_cpu_writes_to_a_page_after_it_was_protected() -> Outcome {
    part("shootdown")
}

pub fn u1_p2_what_a_parent_writes_after_a_fork_is_its_own() -> Outcome {
    part("fork-flush")
}

pub fn u1_files_grow_have_holes_and_leave_half_of_memory() -> Outcome {
    part("files")
}

/// More of them than CPUs, threads of one process among them: each finds its own word behind its
/// thread pointer, always.
pub fn u1_p2_every_thread_has_its_own_thread_pointer() -> Outcome {
    runs_beside_itself("/kstack/bin/own-pointer")
}

/// Programs that exit, are replaced, borrow memory and are killed: each time the tables go, and
/// every CPU is looked at: see `Memory`'s `drop`, which stops the machine if one has them loaded.
pub fn u1_p2_page_tables_are_freed_when_no_cpu_has_them_loaded() -> Outcome {
    let before = linux::freed_count();
    let work =
        "for i in 1 2 3; do busybox true; (busybox false | busybox cat); done; exec busybox true";
    let ran = run_captured("/bin/busybox", &[b"sh", b"-c", work.as_bytes()]);
    let (status, _) = ran.map_err(|error| format!("{error}"))?;
    check!(status == 0, "status {status}");
    until("all of them are gone", || linux::freed_count() >= before + 8)
}

const RACERS: usize = 3;
static RACE_AT: AtomicU64 = AtomicU64::new(0);
static FOUND: [AtomicUsize; RACERS] = [const { AtomicUsize::new(0) }; RACERS];

/// Wants the leaf entry of each address that is set, as soon as it is; ends at the address 1.
fn race(me: usize) {
    let mut last = 0;
    loop {
        let at = RACE_AT.load(Ordering::Acquire);
        if at == 1 {
            return;
        }
        if at == last {
            core::hint::spin_loop();
            continue;
        }
        last = at;
        let leaf = paging::kernel_leaf_or_new(at);
        let leaf = leaf.map_or(1, |leaf| core::ptr::from_ref(leaf) as usize);
        FOUND[me].store(leaf, Ordering::Release);
    }
}

/// Three CPUs want a page table that is not there, at the same moment: all get the same one, and
/// one frame is used.
pub fn u1_t10_page_tables_made_by_several_cpus_at_once_are_one() -> Outcome {
    const SPAN: u64 = 2 << 20;
    const TABLES: u64 = 24;
    // The far end of the arena, where no other test has come yet.
    let top = stacks::arena().range().top.get() as u64 & !(SPAN - 1);
    RACE_AT.store(0, Ordering::Relaxed);
    let racers: Result<Vec<_>, _> =
        (0..RACERS).map(|me| sched::spawn_kernel("racer", race, me)).collect();
    let racers = racers.map_err(|error| format!("{error:?}"))?;
    let outcome = (1..=TABLES).try_for_each(|table| {
        let at = top - table * SPAN;
        check!(at > ARENA, "the arena is smaller than that");
        FOUND.iter().for_each(|found| found.store(0, Ordering::Relaxed));
        let before = frames::free_count();
        RACE_AT.store(at, Ordering::Release);
        until("every CPU has its entry", || {
            FOUND.iter().all(|found| found.load(Ordering::Acquire) != 0)
        })?;
        let leaves: Vec<usize> = FOUND.iter().map(|found| found.load(Ordering::Relaxed)).collect();
        check!(leaves.iter().all(|&leaf| leaf == leaves[0]), "different tables: {leaves:x?}");
        check!(leaves[0] != 1, "no frame");
        // The tables above may be new for the first one.
        let used = before.saturating_sub(frames::free_count());
        check!(used <= 1 || table == 1, "{used} frames for one table");
        Ok(())
    });
    RACE_AT.store(1, Ordering::Release);
    racers.iter().for_each(|racer| racer.join());
    outcome
}

static LOOKS: AtomicUsize = AtomicUsize::new(0);
static SEEN: AtomicUsize = AtomicUsize::new(0);
static LOOK_AGAIN: AtomicBool = AtomicBool::new(false);

fn look(at: usize) -> usize {
    // SAFETY: (1) a word of a page that the test has mapped when it lets the spectator look.
    unsafe { core::ptr::with_exposed_provenance::<usize>(at).read_volatile() }
}

/// Reads a word of a page, so that its CPU has the translation, and once more when the page is
/// another one.
fn spectator(at: usize) {
    SEEN.store(look(at), Ordering::Relaxed);
    LOOKS.store(1, Ordering::Release);
    while !LOOK_AGAIN.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    SEEN.store(look(at), Ordering::Relaxed);
    LOOKS.store(2, Ordering::Release);
}

/// The frames behind a stack get another owner only when no CPU can reach them through the stack's
/// address any more: a CPU that has the translation looks again when another frame is mapped there,
/// and must see that one.
pub fn u1_t10_a_cpu_forgets_a_stack_before_its_frames_change_owner() -> Outcome {
    // An address of the arena that no stack has: what unmaps is the same.
    let top = stacks::arena().range().top.get() & !((2 << 20) - 1);
    let page = Addr::new(top - (4 << 20));
    let at = page.get();
    let range = AddrRange::sized(page, ByteSize::pages(1));
    let pages = stacks::all_stacks().backing();
    for round in 0..12 {
        pages.map_page(page).map_err(|_| "no frame")?;
        // SAFETY: (1) the page was just mapped, and nothing else uses it.
        unsafe { core::ptr::with_exposed_provenance_mut::<usize>(at).write_volatile(1) };
        LOOKS.store(0, Ordering::Relaxed);
        LOOK_AGAIN.store(false, Ordering::Relaxed);
        let leaf = paging::kernel_leaf_or_new(at as u64).map_err(|_| "no table")?;
        let old = paging::leaf_frame(leaf.load(Ordering::Acquire)).ok_or("not mapped")?;
        let spectator = sched::spawn_kernel("spectator", spectator, at);
        let spectator = spectator.map_err(|error| format!("{error:?}"))?;
        until("the other CPU has looked", || LOOKS.load(Ordering::Acquire) == 1)?;
        check!(SEEN.load(Ordering::Relaxed) == 1, "the other CPU saw something else");
        pages.unmap_pages(range);
        // The next owner of the frame, which writes to it.
        let mut taken = Vec::new();
        while taken.last() != Some(&old) && taken.len() < 4096 {
            taken.push(frames::alloc().ok_or("no frame")?);
        }
        let found = taken.last() == Some(&old);
        if found {
            // SAFETY: (1) a frame of ours, in the direct map.
            unsafe { direct::<usize>(old.addr()).write_volatile(2) };
        }
        let mapped = pages.map_page(page);
        LOOK_AGAIN.store(true, Ordering::Release);
        spectator.join();
        if mapped.is_ok() {
            pages.unmap_pages(range);
        }
        taken.into_iter().for_each(frames::release);
        check!(found && mapped.is_ok(), "no frame to show it with, in round {round}");
        let seen = SEEN.load(Ordering::Relaxed);
        check!(seen == 0, "a CPU read {seen} through a translation that was taken back");
    }
    Ok(())
}

/// A CPU that spins on a lock, interrupts off, forgets what it is told to: the holder of the lock
/// may be the one that waits for it. Red by silence: each waits for the other.
pub fn u1_t10_a_cpu_that_spins_on_a_lock_answers_a_flush() -> Outcome {
    static LOCK: SpinLock<()> = SpinLock::new(());
    static HELD: AtomicBool = AtomicBool::new(false);
    static SPINS: AtomicBool = AtomicBool::new(false);
    static HERE: AtomicBool = AtomicBool::new(false);
    fn spin(_: usize) {
        HERE.store(true, Ordering::Release);
        while !HELD.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
        cpu::without_interrupts(|| {
            SPINS.store(true, Ordering::Release);
            drop(LOCK.lock());
        });
    }
    for _ in 0..20 {
        [&HELD, &SPINS, &HERE].iter().for_each(|flag| flag.store(false, Ordering::Release));
        let spinner = sched::spawn_kernel("spinning", spin, 0);
        let spinner = spinner.map_err(|error| format!("{error:?}"))?;
        until("the other thread runs", || HERE.load(Ordering::Acquire))?;
        let held = LOCK.lock();
        HELD.store(true, Ordering::Release);
        while !SPINS.load(Ordering::Acquire) {
            // It may be off its CPU, behind a thread that wants a flush.
            smp::answer_flush();
            core::hint::spin_loop();
        }
        smp::flush_others();
        drop(held);
        spinner.join();
    }
    Ok(())
}

/// By two ways of counting: what is charged, and what lives.
pub fn t7_what_is_charged_is_the_sum_of_all_live_stacks() -> Outcome {
    until("nothing is on its way out", || linux::all().is_empty() && stacks::census().ending == 0)?;
    let sum = || -> usize {
        let registry = stacks::registry();
        registry.live().map(|(_, stack)| stack.range.size().get()).sum()
    };
    let (charged, live) = (pages::charged_bytes(), sum());
    check!(charged == live, "{charged} bytes are charged, {live} live");
    let one = stacks::acquire_thread(ThreadId::NONE).map_err(|error| format!("{error:?}"))?;
    let more = pages::charged_bytes() - charged;
    check!(more == one.range().size().get() && sum() == live + more, "{more} for one more");
    let path = "/proc/meminfo";
    let ran = run_captured("/bin/busybox", &[b"grep", b"KernelStack", path.as_bytes()]);
    let (_, output) = ran.map_err(|error| format!("{error}"))?;
    let text = String::from_utf8_lossy(&output).into_owned();
    let kib: usize = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    // The program that asks has a stack, too.
    let wanted = (charged + 2 * more) / 1024;
    check!(kib == wanted, "{text:?}, not {wanted} kB");
    drop(one);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number(u64);

impl Item for Number {
    fn key(&self) -> u64 {
        self.0
    }

    fn gap(&self, next: &Self) -> u64 {
        next.0 - self.0
    }
}

/// Thousands of insertions and removals, in bursts at one place and everywhere: it says what a
/// plain list says.
pub fn u1_t11_a_sorted_list_says_what_a_plain_one_says() -> Outcome {
    let (mut sorted, mut plain) = (Sorted::new(), Vec::<u64>::new());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for step in 0..12_000_u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // It grows, shrinks, and grows again; every other thousand steps at one place.
        let spread = if step / 1000 % 2 == 0 { 1 << 20 } else { 600 };
        let key = (random >> 20) % spread + 5;
        let place = sorted.at_or_below(key);
        let below = plain.partition_point(|&other| other <= key).checked_sub(1);
        let found = place.and_then(|place| sorted.get(place)).copied();
        check!(found == below.map(|at| Number(plain[at])), "{found:?} at or below {key}");
        let above = sorted.at_or_above(key).and_then(|place| sorted.get(place)).copied();
        let wanted = plain.get(plain.partition_point(|&other| other < key));
        check!(above == wanted.map(|&number| Number(number)), "{above:?} at or above {key}");
        let grows = step % 6000 < 3500;
        match (plain.binary_search(&key), place, grows) {
            (Err(at), _, true) => {
                sorted.reserve(&[key, key + 1]).map_err(|_| "no room")?;
                sorted.insert(Number(key)).map_err(|_| "no room")?;
                plain.insert(at, key);
            }
            (_, Some(place), false) => {
                let gone = sorted.remove(place);
                let at = below.ok_or("nothing there")?;
                check!(gone == Number(plain.remove(at)), "{gone:?} was taken");
            }
            _ => {}
        }
        check!(sorted.len() == plain.len(), "{} items of {}", sorted.len(), plain.len());
        if step % 500 == 0 {
            let all: Vec<u64> = sorted.iter().map(|number| number.0).collect();
            check!(all == plain, "the lists differ after {step} steps");
            let copy = sorted.try_clone().map_err(|_| "no room")?;
            check!(copy.iter().eq(sorted.iter()), "the copy differs");
            let least = 900;
            let pair = sorted.pairs_down(u64::MAX, least, |below, above| {
                let (below, above) = (below?.0, above?.0);
                (above - below >= least).then_some((below, above))
            });
            let pairs = plain.windows(2).rev().find(|pair| pair[1] - pair[0] >= least);
            check!(pair == pairs.map(|pair| (pair[0], pair[1])), "{pair:?} after {step} steps");
        }
    }
    Ok(())
}

pub fn u1_whatever_is_mapped_protected_and_unmapped_the_areas_are_what_they_should_be() -> Outcome {
    program(&[b"/kstack/bin/address-model"])
}

/// Red when the depot's periods never end: it would want for good what it wanted at first.
pub fn t4_the_depot_learns_how_many_stacks_are_wanted() -> Outcome {
    until("the depot wants more than at first", || {
        let held: Vec<_> =
            (0..80).map_while(|_| stacks::acquire_thread(ThreadId::NONE).ok()).collect();
        drop(held);
        stacks::depot_counts().1 > Depot::FIRST_TARGET
    })
}

static DEEPEST: AtomicUsize = AtomicUsize::new(0);
static NOTED: AtomicUsize = AtomicUsize::new(0);

/// Some frames down, an interrupt. Returns what keeps the frames apart.
#[inline(never)]
fn deep(levels: usize) -> usize {
    let here = core::hint::black_box([levels; 16]);
    if levels == 0 {
        DEEPEST.store(cpu::stack_pointer(), Ordering::Relaxed);
        software_interrupt();
        return here[0];
    }
    deep(levels - 1) + here[levels % 16]
}

fn deep_thread(_: usize) {
    core::hint::black_box(deep(16));
    let noted = sched::current().lowest_seen();
    NOTED.store(noted.map_or(0, Addr::get), Ordering::Release);
}

/// Red when no depth is ever sampled, or that of another stack.
pub fn t13_an_interrupt_notes_how_deep_its_threads_stack_is() -> Outcome {
    NOTED.store(0, Ordering::Relaxed);
    let thread = sched::spawn_kernel("deep", deep_thread, 0);
    thread.map_err(|error| format!("{error:?}"))?.join();
    let (deepest, noted) = (DEEPEST.load(Ordering::Relaxed), NOTED.load(Ordering::Acquire));
    check!(noted <= deepest && deepest - noted < 1024, "{noted:#x} was noted at {deepest:#x}");
    Ok(())
}
