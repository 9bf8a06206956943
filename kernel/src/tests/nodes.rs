//! Memory nodes: where stacks come from, where they go back to, and what is counted. The machines
//! of most runs have one node, where all of it is of that one; some have two.

use super::support::{on_every_cpu, until};
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, CpuId, PAGE_BYTES};
use kstack::arena::SlotIndex;
use kstack::dma::Memory;
use kstack::nodes::MAX_NODES;
use kstack::pool::ReleaseOutcome;
use kstack::record::SlotRecord;
use kstack::stacks::ThreadId;
use linux::run_captured;
use machine::cpus;
use machine::dma::Physical;
use machine::memory::frames::{self, Frame};
use machine::spin::SpinLock;
use machine::{nodes, options};
use threads::sched;
use threads::stacks::pages;
use threads::stacks::records::node_of_record;
use threads::stacks::{self, OwnedStack, all_stacks, contiguous};

/// What the machine was started with.
fn expected() -> usize {
    options::get("nodes").and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn text_of(path: &str) -> Result<String, String> {
    let ran = run_captured("/bin/busybox", &[b"cat", path.as_bytes()]);
    let (_, output) = ran.map_err(|error| format!("{error}"))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Records that one page has.
const IN_A_PAGE: u32 = (PAGE_BYTES / size_of::<SlotRecord>()) as u32;

/// Whether all pages of a stack are memory of that node.
fn check_pages(range: AddrRange, node: usize) -> Outcome {
    for page in (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES) {
        let physical = Physical::physical(Addr::new(page)).ok_or("a page is not mapped")?;
        let of = nodes::of_memory(physical);
        check!(of == node, "page {page:#x} of {range:?} is on node {of}, not {node}");
    }
    Ok(())
}

/// Red if the records stay where the first CPU made them.
pub fn t6_a_stacks_record_is_memory_of_its_node() -> Outcome {
    let arena = stacks::arena();
    let mut on_nodes = [0_usize; MAX_NODES];
    for slot in (0..arena.slots()).map(SlotIndex::new) {
        let Some(found) = node_of_record(slot) else { return Ok(()) };
        // Of a page with records of two nodes' slots, the first slot decides.
        let first = SlotIndex::new(slot.get() / IN_A_PAGE * IN_A_PAGE);
        let node = all_stacks().node_at(arena.body(first).lowest) as usize;
        check!(found == node, "the record of {slot:?} is on node {found}, not {node}");
        on_nodes[node] += 1;
    }
    let used = on_nodes.iter().filter(|&&count| count > 0).count();
    check!(used == nodes::count(), "{on_nodes:?} records on {} nodes", nodes::count());
    Ok(())
}

/// What a thread is told: the node of its CPU.
type Errand = fn(usize) -> Outcome;

static ERRAND: SpinLock<Option<Errand>> = SpinLock::new(None);
static ANSWER: SpinLock<Option<Outcome>> = SpinLock::new(None);

/// Runs `errand` in a thread that stays on a CPU; it is told the CPU's node.
fn in_thread_on(cpu: CpuId, errand: Errand) -> Outcome {
    fn body(_: usize) {
        let errand = *ERRAND.lock();
        let answer = errand.map(|errand| errand(nodes::here()));
        *ANSWER.lock() = answer;
    }
    *ERRAND.lock() = Some(errand);
    let thread = sched::spawn_on(cpu, "on a node", body, 0);
    thread.map_err(|error| format!("{error:?}"))?.join();
    let answer = ANSWER.lock().take();
    answer.ok_or("the thread did not come to its end")?.map_err(|why| format!("CPU {cpu}: {why}"))
}

fn on_each_cpu(errand: Errand) -> Outcome {
    cpus::online().try_for_each(|cpu| in_thread_on(cpu.id(), errand))
}

/// Some CPU of each node.
fn a_cpu_of(node: usize) -> Result<CpuId, String> {
    let found = cpus::online().find(|cpu| cpu.node.load(Ordering::Relaxed) == node);
    found.map(|cpu| cpu.id()).ok_or_else(|| format!("node {node} has no CPU"))
}

fn acquire() -> Result<OwnedStack, String> {
    stacks::acquire_thread(ThreadId::NONE).map_err(|error| format!("{error:?}"))
}

/// Red if an entry of the firmware's table is read at a wrong place, or memory is divided at a
/// wrong border.
pub fn t6_every_cpu_and_all_memory_is_of_the_node_that_firmware_says() -> Outcome {
    let count = expected();
    check!(nodes::count() == count, "{} nodes, not {count}", nodes::count());
    check!(all_stacks().node_count() as usize == count, "stacks of {}", all_stacks().node_count());
    let each = cpus::online_count() as usize / count;
    for cpu in cpus::online() {
        let (node, wanted) = (cpu.node.load(Ordering::Relaxed), cpu.id().index() / each.max(1));
        check!(node == wanted, "CPU {} is on node {node}, not {wanted}", cpu.id());
    }
    let of_node = |node| frames::total_count_on(node);
    let sum: usize = (0..count).map(of_node).sum();
    check!(sum == frames::total_count(), "{sum} frames of {}", frames::total_count());
    let least = frames::total_count() / count / 2;
    check!((0..count).all(|node| of_node(node) > least), "a node has less than {least} frames");
    let online = text_of("/sys/devices/system/node/online")?;
    let wanted = if count == 1 { "0\n".into() } else { format!("0-{}\n", count - 1) };
    check!(online == wanted, "{online:?}, not {wanted:?}");
    for node in 0..count {
        let list = text_of(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
        let (first, last) = (node * each, node * each + each - 1);
        let wanted = if first == last { format!("{first}\n") } else { format!("{first}-{last}\n") };
        check!(list == wanted, "CPUs {list:?} of node {node}, not {wanted:?}");
    }
    Ok(())
}

/// Idle, IRQ and whatever the architecture has besides. Red if the first CPU makes the others' of
/// its own memory.
pub fn t6_a_cpus_stacks_come_from_its_own_node() -> Outcome {
    let mut count = 0;
    for (_, stack) in stacks::live() {
        let Some(cpu) = stack.cpu else { continue };
        let node = cpus::by_id(cpu).node.load(Ordering::Relaxed);
        check_pages(stack.range, node).map_err(|why| format!("{stack}: {why}"))?;
        check!(all_stacks().node_at(stack.range.lowest) as usize == node, "{stack}: its slot");
        count += 1;
    }
    let least = 2 * cpus::online_count() as usize;
    check!(count >= least, "{count} stacks of CPUs");
    Ok(())
}

/// On each CPU in turn: more than its cache and its depot have. Red if a page is taken where the
/// CPU is when it is mapped instead of where the slot is, or the depot is one for all.
pub fn t6_a_threads_stack_comes_from_the_node_of_the_cpu_that_made_it() -> Outcome {
    for _ in 0..3 {
        on_each_cpu(|node| {
            let stacks: Result<Vec<_>, _> = (0..40).map(|_| acquire()).collect();
            for stack in stacks? {
                let of = all_stacks().node_at(stack.range().lowest) as usize;
                check!(of == node, "{:?} is a slot of node {of}, not {node}", stack.range());
                check_pages(stack.range(), node)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

static HELD: SpinLock<Vec<OwnedStack>> = SpinLock::new(Vec::new());
static OUTCOMES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Made on the first node, ended on the last. Red if it stays in the cache of the CPU that let go
/// of it: then the next thread there gets memory of the other node.
pub fn t6_a_stack_that_is_let_go_of_on_another_node_goes_home() -> Outcome {
    const NUMBER: usize = 5;
    let (first, last) = (a_cpu_of(0)?, a_cpu_of(nodes::count() - 1)?);
    OUTCOMES.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    in_thread_on(first, |_| {
        let stacks: Result<Vec<_>, _> = (0..NUMBER).map(|_| acquire()).collect();
        *HELD.lock() = stacks?;
        Ok(())
    })?;
    in_thread_on(last, |node| {
        let held = core::mem::take(&mut *HELD.lock());
        let ranges: Vec<AddrRange> = held.iter().map(|stack| stack.range()).collect();
        for stack in held {
            let away = matches!(stack.release(), ReleaseOutcome::SentHome { .. });
            OUTCOMES[usize::from(away)].fetch_add(1, Ordering::Relaxed);
        }
        let next: Result<Vec<_>, _> = (0..2 * NUMBER).map(|_| acquire()).collect();
        for stack in next? {
            check_pages(stack.range(), node)?;
            let is_old = ranges.contains(&stack.range());
            check!(!is_old || nodes::count() == 1, "{:?} stayed here", stack.range());
        }
        Ok(())
    })?;
    let [kept, away] = OUTCOMES.each_ref().map(|count| count.load(Ordering::Relaxed));
    let wanted = if nodes::count() == 1 { (NUMBER, 0) } else { (0, NUMBER) };
    check!((kept, away) == wanted, "{kept} kept and {away} sent home, not {wanted:?}");
    Ok(())
}

/// Every frame of a node is held; stacks are made there all the same. Red if the other node is not
/// asked, or it is not counted.
pub fn t6_t11_a_node_without_frames_takes_anothers_and_counts_it() -> Outcome {
    static TAKEN: SpinLock<Vec<Frame>> = SpinLock::new(Vec::new());
    let last = nodes::count() - 1;
    if last == 0 {
        check!(frames::fallbacks(0) == 0, "{} frames from elsewhere", frames::fallbacks(0));
        return Ok(());
    }
    let cpu = a_cpu_of(last)?;
    let outcome = in_thread_on(cpu, |node| {
        let mut taken = Vec::new();
        while frames::free_count_on(node) > 0 {
            taken.try_reserve(1).map_err(|_| "no heap for the list of frames")?;
            taken.push(frames::alloc().ok_or("no frame")?);
        }
        *TAKEN.lock() = taken;
        let before = frames::fallbacks(node);
        // More than is parked.
        let parked = all_stacks().depot_counts_on(node as u32).0 as usize;
        let stacks: Result<Vec<_>, _> = (0..parked + 40).map(|_| acquire()).collect();
        let stacks = stacks?;
        let elsewhere = stacks.iter().filter(|stack| check_pages(stack.range(), node).is_err());
        let elsewhere = elsewhere.count();
        let counted = frames::fallbacks(node) - before;
        drop(stacks);
        check!(elsewhere > 0, "no stack has a page of another node");
        check!(counted >= elsewhere, "{counted} counted, {elsewhere} stacks");
        Ok(())
    });
    core::mem::take(&mut *TAKEN.lock()).into_iter().for_each(frames::release);
    // No page of another node stays in this one's depot.
    on_every_cpu(|_| {
        stacks::drain_this_cpu();
        Ok(())
    })?;
    until("nothing is parked", || {
        stacks::drain_this_cpu();
        stacks::reclaim(u32::MAX);
        stacks::census().parked == 0
    })?;
    outcome
}

/// The nearest other node of the last one, by what the machine was started with: not the one that
/// the numbers would say, where there are three.
fn nearest() -> Option<usize> {
    let last = nodes::count() - 1;
    let told = options::get("nearest").and_then(|node| node.parse().ok());
    told.or(last.checked_sub(1))
}

/// Every frame of the last node is held. Red if others are asked in the order of their numbers.
pub fn t6_t11_a_node_without_frames_asks_the_nearest_first() -> Outcome {
    static TAKEN: SpinLock<Vec<Frame>> = SpinLock::new(Vec::new());
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    let last = nodes::count() - 1;
    let Some(nearest) = nearest() else {
        check!(nodes::others_by_distance(0).next().is_none(), "there is no other node");
        return Ok(());
    };
    let outcome = in_thread_on(a_cpu_of(last)?, |node| {
        let mut taken = Vec::new();
        while frames::free_count_on(node) > 0 {
            taken.try_reserve(1).map_err(|_| "no heap for the list of frames")?;
            taken.push(frames::alloc().ok_or("no frame")?);
        }
        *TAKEN.lock() = taken;
        let elsewhere = frames::alloc().ok_or("no frame of another node")?;
        FOUND.store(nodes::of_memory(elsewhere.addr()), Ordering::Relaxed);
        frames::release(elsewhere);
        Ok(())
    });
    core::mem::take(&mut *TAKEN.lock()).into_iter().for_each(frames::release);
    outcome?;
    let found = FOUND.load(Ordering::Relaxed);
    check!(found == nearest, "node {found} was asked first, not {nearest}");
    Ok(())
}

/// By two ways of counting. Red if a slot is of two nodes or of none.
pub fn t6_t7_what_is_in_use_on_each_node_adds_up() -> Outcome {
    let nothing_ends = || linux::all().is_empty() && stacks::census().ending == 0;
    until("nothing is on its way out", nothing_ends)?;
    let sum = || -> usize { (0..nodes::count()).map(stacks::used_bytes_on).sum() };
    let (used, charged) = (sum(), pages::charged_bytes());
    check!(used == charged, "{used} bytes in use on all nodes, {charged} charged");
    let one = acquire()?;
    let node = all_stacks().node_at(one.range().lowest) as usize;
    let (of_node, all) = (stacks::used_bytes_on(node), sum());
    check!(all == used + one.range().size().get(), "{all} after {used}");
    let text = text_of(&format!("/sys/devices/system/node/node{node}/meminfo"))?;
    let line = text.lines().find(|line| line.contains("KernelStack:")).ok_or("no line of it")?;
    let kib = line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).unwrap_or(0_usize);
    // The program that asks may have its stack there.
    let more = one.range().size().get();
    let fits = [of_node, of_node + more].contains(&(kib * 1024));
    check!(fits, "{line:?}, and {of_node} bytes were in use");
    let whole: usize = (0..nodes::count()).map(frames::free_count_on).sum();
    check!(whole.abs_diff(frames::free_count()) < 64, "{whole} frames free, by nodes");
    Ok(())
}

/// One piece of the near memory; ended far away, it goes home. Red if the second pool has one depot
/// for all.
pub fn t3_t6_a_contiguous_stack_comes_from_its_node_and_goes_back_there() -> Outcome {
    let (first, last) = (a_cpu_of(0)?, a_cpu_of(nodes::count() - 1)?);
    fn take_there(node: usize) -> Outcome {
        for _ in 0..12 {
            let stack = stacks::acquire_contiguous(ThreadId::NONE);
            let stack = stack.map_err(|error| format!("{error:?}"))?;
            check_pages(stack.range(), node)?;
            HELD.lock().push(stack);
        }
        Ok(())
    }
    in_thread_on(first, take_there)?;
    in_thread_on(last, |_| {
        let held = core::mem::take(&mut *HELD.lock());
        for stack in held {
            let away = matches!(stack.release(), ReleaseOutcome::SentHome { .. });
            check!(away == (nodes::count() > 1), "sent home: {away}");
        }
        Ok(())
    })?;
    for cpu in [last, first] {
        in_thread_on(cpu, take_there)?;
        core::mem::take(&mut *HELD.lock());
    }
    let pool = contiguous::pool().map_err(|error| format!("{error:?}"))?;
    on_every_cpu(|_| {
        contiguous::pool_if_made().map(kstack::Stacks::drain_this_cpu);
        Ok(())
    })?;
    pool.drain_this_cpu();
    pool.reclaim(u32::MAX);
    check!(pool.census().live == 0, "{:?}", pool.census());
    Ok(())
}
