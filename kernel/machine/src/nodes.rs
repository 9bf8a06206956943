//! Memory nodes: which memory is near which CPU, as firmware tells it.
//!
//! ```text
//!   PCs          SRAT: CPU by APIC number -> domain, memory -> domain (ACPI 6.5, 5.2.16)
//!                SLIT: how far a domain is from each other (5.2.17)
//!   `virt`       device tree: `numa-node-id` of a CPU's and of a memory's node, `distance-map`
//!      │ add_cpu, add_memory, set_distances, at boot
//!      ▼
//!   nodes 0.. in the order of the numbers of firmware's domains
//!      │ settle
//!      ▼
//!   each CPU's block has its node; frames are divided among lists of each node
//! ```
//!
//! A machine of which firmware says nothing, or one thing only, has one node, and asks no more than
//! how many there are. Memory and CPUs that are not named are of node 0.

use crate::cpus::{self, Cpu, MAX_CPUS};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// The most nodes there can be; the domains that are more are counted to the first.
pub const MAX_NODES: usize = 8;
/// Stretches of memory that are kept at most.
const MAX_STRETCHES: usize = 32;
const FRAME_SHIFT: u32 = 12;

static COUNT: AtomicUsize = AtomicUsize::new(1);
/// Domains by the numbers that firmware gives them, in the order of their nodes.
static DOMAINS: [AtomicU32; MAX_NODES] = [const { AtomicU32::new(0) }; MAX_NODES];
static NAMED: AtomicUsize = AtomicUsize::new(0);

/// How far each node is from each other, in the firmware's unit: 10 is a node from itself.
static DISTANCES: [[AtomicU8; MAX_NODES]; MAX_NODES] =
    [const { [const { AtomicU8::new(FAR) }; MAX_NODES] }; MAX_NODES];
/// Between two nodes of which firmware does not say.
const FAR: u8 = 20;

/// What a CPU is called, and its node.
static CPUS: [[AtomicU32; 2]; MAX_CPUS] = [const { [const { AtomicU32::new(0) }; 2] }; MAX_CPUS];
static NAMED_CPUS: AtomicUsize = AtomicUsize::new(0);

/// The first frame of a stretch of memory, the first one beyond it, and its node.
static MEMORY: [[AtomicUsize; 3]; MAX_STRETCHES] =
    [const { [const { AtomicUsize::new(0) }; 3] }; MAX_STRETCHES];
static STRETCHES: AtomicUsize = AtomicUsize::new(0);

/// The node of a domain, which is new if it was not named before.
fn node_of_domain(domain: u32) -> usize {
    let named = NAMED.load(Ordering::Relaxed);
    let known =
        DOMAINS.iter().take(named).position(|known| known.load(Ordering::Relaxed) == domain);
    known.unwrap_or_else(|| {
        let Some(place) = DOMAINS.get(named) else { return 0 };
        place.store(domain, Ordering::Relaxed);
        NAMED.store(named + 1, Ordering::Relaxed);
        named
    })
}

/// A CPU is in a domain. At boot, on the first CPU.
pub fn add_cpu(hardware_id: u32, domain: u32) {
    let number = NAMED_CPUS.load(Ordering::Relaxed);
    if let Some([name, node]) = CPUS.get(number) {
        name.store(hardware_id, Ordering::Relaxed);
        node.store(node_of_domain(domain) as u32, Ordering::Relaxed);
        NAMED_CPUS.store(number + 1, Ordering::Relaxed);
    }
}

/// Memory from a physical address on is in a domain. At boot, on the first CPU.
pub fn add_memory(lowest: u64, bytes: u64, domain: u32) {
    let number = STRETCHES.load(Ordering::Relaxed);
    let frame = |address: u64| usize::try_from(address >> FRAME_SHIFT).unwrap_or(usize::MAX);
    let top = frame(lowest.saturating_add(bytes));
    let place = MEMORY.get(number).filter(|_| frame(lowest) < top);
    if let Some([first, beyond, node]) = place {
        first.store(frame(lowest), Ordering::Relaxed);
        beyond.store(top, Ordering::Relaxed);
        node.store(node_of_domain(domain), Ordering::Relaxed);
        STRETCHES.store(number + 1, Ordering::Relaxed);
    }
}

/// Takes over how far domains are from each other, as far as `between` says. At boot, on the first
/// CPU, when all domains have been named.
pub fn set_distances(between: impl Fn(u32, u32) -> Option<u8>) {
    let named = || DOMAINS.iter().take(NAMED.load(Ordering::Relaxed));
    for (from, row) in named().zip(&DISTANCES) {
        for (to, place) in named().zip(row) {
            let (from, to) = (from.load(Ordering::Relaxed), to.load(Ordering::Relaxed));
            if let Some(distance) = between(from, to) {
                place.store(distance, Ordering::Relaxed);
            }
        }
    }
}

/// All has been told: from here on there are as many nodes as have memory or CPUs, in the order of
/// their domains' numbers, whatever the order in which they were named.
pub fn settle() {
    let named = NAMED.load(Ordering::Relaxed);
    let domain_of = |node: usize| DOMAINS[node % MAX_NODES].load(Ordering::Relaxed);
    let rank = |node: usize| (0..named).filter(|&o| domain_of(o) < domain_of(node)).count();
    for [_, node] in CPUS.iter().take(NAMED_CPUS.load(Ordering::Relaxed)) {
        node.store(rank(node.load(Ordering::Relaxed) as usize) as u32, Ordering::Relaxed);
    }
    for [.., node] in MEMORY.iter().take(STRETCHES.load(Ordering::Relaxed)) {
        node.store(rank(node.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
    let told = DISTANCES.each_ref().map(|row| row.each_ref().map(|d| d.load(Ordering::Relaxed)));
    for (from, row) in told.iter().enumerate().take(named) {
        for (to, &distance) in row.iter().enumerate().take(named) {
            DISTANCES[rank(from) % MAX_NODES][rank(to) % MAX_NODES]
                .store(distance, Ordering::Relaxed);
        }
    }
    COUNT.store(named.max(1), Ordering::Release);
    settle_cpu(cpus::this());
}

/// How many nodes there are: at least one.
#[inline(always)]
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// How far a node's memory is from another node.
pub fn distance(from: usize, to: usize) -> u8 {
    DISTANCES[from % MAX_NODES][to % MAX_NODES].load(Ordering::Relaxed)
}

/// The nodes besides this one, the nearest first; those that are equally far in the order of their
/// numbers, from this one's on.
pub fn others_by_distance(node: usize) -> impl Iterator<Item = usize> {
    let count = count();
    let mut others: [usize; MAX_NODES] = core::array::from_fn(|further| (node + further) % count);
    let used = &mut others[..count];
    // The first is the node itself. Each goes below those that are farther.
    for last in 2..count {
        let mut at = last;
        while at > 1 && distance(node, used[at]) < distance(node, used[at - 1]) {
            used.swap(at, at - 1);
            at -= 1;
        }
    }
    others.into_iter().take(count).skip(1)
}

/// A CPU whose hardware number is known is on its node from now on.
pub fn settle_cpu(cpu: &Cpu) {
    let id = cpu.hardware_id.load(Ordering::Relaxed);
    let named = CPUS.iter().take(NAMED_CPUS.load(Ordering::Relaxed));
    let mut known = named.filter(|[name, _]| name.load(Ordering::Relaxed) == id);
    let node = known.next().map_or(0, |[_, node]| node.load(Ordering::Relaxed));
    cpu.node.store(node as usize, Ordering::Relaxed);
}

/// The node of the CPU this runs on; where interrupts are on, of one that it ran on a moment ago.
#[inline(always)]
pub fn here() -> usize {
    cpus::this().node.load(Ordering::Relaxed)
}

/// Runs `body` as if this CPU were on that node: what it takes is near another CPU. By a thread
/// that stays on its CPU.
pub fn on<R>(node: usize, body: impl FnOnce() -> R) -> R {
    let mine = &cpus::this().node;
    let before = mine.swap(node, Ordering::Relaxed);
    let result = body();
    mine.store(before, Ordering::Relaxed);
    result
}

/// The node of the memory at a physical address.
#[inline(always)]
pub fn of_memory(physical: u64) -> usize {
    if count() == 1 { 0 } else { of_one_of_several(physical) }
}

#[inline(never)]
fn of_one_of_several(physical: u64) -> usize {
    let frame = (physical >> FRAME_SHIFT) as usize;
    for [first, beyond, node] in MEMORY.iter().take(STRETCHES.load(Ordering::Relaxed)) {
        if (first.load(Ordering::Relaxed)..beyond.load(Ordering::Relaxed)).contains(&frame) {
            return node.load(Ordering::Relaxed);
        }
    }
    0
}

/// The lowest address above this one at which another node may begin.
pub(crate) fn next_border(physical: u64) -> u64 {
    let named = MEMORY.iter().take(STRETCHES.load(Ordering::Relaxed));
    let borders = named.flat_map(|[first, beyond, _]| [first, beyond]);
    let addresses = borders.map(|at| (at.load(Ordering::Relaxed) as u64) << FRAME_SHIFT);
    addresses.filter(|&at| at > physical).min().unwrap_or(u64::MAX)
}
