//! What stacks there are, for people and for /proc.

use crate::sched::{self, Thread};
use crate::stacks::{self, all_stacks, census, contiguous, depot_counts, depths};
use alloc::collections::BinaryHeap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use kstack::addr::{Addr, AddrRange, CpuId};
use kstack::kind::StackKind;
use kstack::record::SlotRecord;
use kstack::stacks::{StackId, ThreadId};
use machine::memory::frames;
use machine::nodes;

/// One stack, for people.
#[derive(Debug)]
pub struct StackInfo {
    /// What it is for.
    pub kind: StackKind,
    /// The CPU it belongs to or runs on.
    pub cpu: Option<CpuId>,
    /// The thread it belongs to.
    pub owner: String,
    /// Its bounds.
    pub range: AddrRange,
    /// Where SP is, if that is known: of threads that are not running.
    pub sp: Option<Addr>,
    /// The lowest SP sampled.
    pub lowest_seen: Option<Addr>,
}

/// Every live stack.
pub fn all() -> Vec<StackInfo> {
    let threads = sched::all();
    let owner_of = |id: ThreadId| threads.iter().find(|thread| thread.id() == id);
    let info = |(record, stack): (&SlotRecord, StackId)| {
        let thread = owner_of(stack.owner);
        StackInfo {
            kind: stack.kind,
            cpu: stack.cpu.or_else(|| thread.map(|thread| thread.last_cpu())),
            owner: thread.map_or_else(|| "-".to_string(), |thread| describe(thread)),
            range: stack.range,
            sp: thread
                .filter(|thread| !thread.is_on_cpu())
                .map(|thread| Addr::new(thread.saved_sp())),
            lowest_seen: record.watermark().lowest_sample(),
        }
    };
    stacks::live().map(info).collect()
}

/// Writes a line for each live stack: kind, CPU, bounds, owner.
pub fn write_all(to: &mut dyn Write) -> fmt::Result {
    let threads = sched::try_all().map_err(|_| fmt::Error)?;
    let mut order = Vec::new();
    order.try_reserve_exact(threads.len()).map_err(|_| fmt::Error)?;
    order.extend(threads.iter().enumerate().map(|(place, thread)| (thread.id(), place)));
    // In place, by a heap: it calls nothing again and again, however many threads there are.
    let order = BinaryHeap::from(order).into_sorted_vec();
    for (_, stack) in stacks::live() {
        let found = order.binary_search_by_key(&stack.owner, |(id, _)| *id);
        let owner = found.ok().and_then(|at| threads.get(order[at].1));
        let cpu = stack.cpu.or_else(|| owner.map(|thread| thread.last_cpu()));
        let cpu = cpu.map_or(-1, |cpu| i64::from(cpu.get()));
        write!(to, "{} {cpu} {:?} ", stack.kind, stack.range)?;
        match owner {
            Some(thread) => writeln!(to, "{} {}", thread.id(), thread.name())?,
            None => writeln!(to, "-")?,
        }
    }
    Ok(())
}

/// Writes how deep stacks have been: a line for each that belongs to a CPU, and one for all threads
/// that have ended: kind, CPU, bytes, bytes left by the deepest.
pub fn write_depths(to: &mut dyn Write) -> fmt::Result {
    for (stack, left) in depths::of_cpus() {
        let cpu = stack.cpu.map_or(-1, |cpu| i64::from(cpu.get()));
        writeln!(to, "{} {cpu} {} {}", stack.kind, stack.range.size().get(), left.get())?;
    }
    match depths::of_ended().least_left() {
        Some(left) => writeln!(to, "thread -1 {} {}", kstack::GEOMETRY.body().get(), left.get()),
        None => Ok(()),
    }
}

fn describe(thread: &Thread) -> String {
    alloc::format!("{} {}", thread.id(), thread.name())
}

/// The pool's figures, for people.
pub fn counts() -> String {
    let census = census();
    let (parked, target) = depot_counts();
    let contiguous = contiguous::pool_if_made().map_or_else(String::new, |pool| {
        let of_these = pool.census();
        alloc::format!(
            "; contiguous: {} live, {} parked, {} pages",
            of_these.live,
            of_these.parked,
            of_these.mapped_pages
        )
    });
    let of_nodes: String = match nodes::count() {
        1 => String::new(),
        count => (0..count)
            .map(|node| {
                let census = all_stacks().census_on(node as u32);
                let (parked, target) = all_stacks().depot_counts_on(node as u32);
                let (live, missed) = (census.live, frames::fallbacks(node));
                alloc::format!(
                    "; node {node}: {live} live, {} parked (depot {parked}, wants {target}), {missed} frames from elsewhere",
                    census.parked,
                )
            })
            .collect(),
    };
    alloc::format!(
        "{} live, {} parked (depot {parked}, wants {target}), {} being taken back, {} slots free; {} pages mapped, {} in use{contiguous}{of_nodes}",
        census.live,
        census.parked,
        census.ending,
        census.free,
        census.mapped_pages,
        census.used_pages,
    )
}
