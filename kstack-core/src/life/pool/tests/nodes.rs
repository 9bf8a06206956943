//! Several memory nodes: slots and depots of their own, and stacks that go home.

use super::super::*;
use super::machine::{Machine, thread_request};
use crate::cache::CACHE_STACKS;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::vec::Vec;

const SLOTS: u32 = 48;
const BORDER: u32 = 32;

/// Two nodes: the machine's own shared part, and one that was split off. CPU 1 is on the second.
struct Nodes<'m> {
    machine: &'m Machine,
    second: &'m Mutex<PoolShared>,
    here: u32,
}

impl Lock for Nodes<'_> {
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        self.with_node(self.here, f)
    }

    fn nodes(&self) -> u32 {
        2
    }

    fn with_node<R>(&self, node: u32, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        let part = if node == 0 { &self.machine.shared } else { self.second };
        f(&mut part.lock().expect("no test panics inside"))
    }

    fn node_of(&self, slot: SlotIndex) -> u32 {
        u32::from(slot.get() >= BORDER)
    }

    fn is_near(&self, slot: SlotIndex) -> bool {
        self.node_of(slot) == self.here
    }
}

struct World {
    machine: Machine,
    second: Mutex<PoolShared>,
    caches: [CpuCache; 2],
}

impl World {
    fn new() -> Self {
        let machine = Machine::new(SLOTS, 2, ErasePolicy::Dirtied);
        let second = machine.shared.lock().expect("no panic").split_off(SLOTS - BORDER);
        let second = Mutex::new(second.expect("as many as there are"));
        let caches = [0, 1].map(|number| CpuCache::new(CpuId::new(number)));
        Self { machine, second, caches }
    }

    fn lock(&self, here: u32) -> Nodes<'_> {
        Nodes { machine: &self.machine, second: &self.second, here }
    }

    fn acquire(&mut self, cpu: u32) -> Result<LiveStack, AcquireError> {
        let lock = Nodes { machine: &self.machine, second: &self.second, here: cpu };
        let mut pages = self.machine.cpu(cpu);
        let cache = &mut self.caches[cpu as usize];
        self.machine.pool.acquire(&thread_request(), cache, &lock, &mut pages)
    }

    fn release(&mut self, cpu: u32, stack: LiveStack) -> ReleaseOutcome {
        let lock = Nodes { machine: &self.machine, second: &self.second, here: cpu };
        let mut pages = self.machine.cpu(cpu);
        let cache = &mut self.caches[cpu as usize];
        self.machine.pool.release(stack, cache, &lock, &mut pages)
    }

    /// No cache and no depot has a stack of the other node.
    fn check(&self) {
        for (node, cache) in (0..).zip(&self.caches) {
            let lock = self.lock(node);
            assert!(cache.stacks().iter().all(|slot| lock.is_near(*slot)), "a cache is mixed");
            lock.with(|shared| {
                shared.depot.for_each(self.machine.pool.records(), |slot| {
                    assert_eq!(lock.node_of(slot), node, "a depot is mixed");
                });
                shared.free.for_each_returned(self.machine.pool.records(), |slot| {
                    assert_eq!(lock.node_of(slot), node, "free slots are mixed");
                });
            });
        }
    }
}

/// Red if a stack stays in the cache of the CPU that let go of it, goes to that CPU's depot, or if
/// an unmapped slot changes its node.
#[test]
fn t6_stacks_come_from_their_own_node_and_go_back_there_whichever_cpu_lets_go() {
    let mut world = World::new();
    let mut held: Vec<LiveStack> = Vec::new();
    let (mut seed, mut sent) = (7_u64, 0);
    for step in 0..6000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (cpu, choice) = ((seed >> 40) as u32 % 2, (seed >> 33) as usize % 20);
        if choice < 9 && held.len() < 14 {
            let stack = world.acquire(cpu).expect("each node has room for these");
            assert_eq!(world.lock(0).node_of(stack.slot()), cpu, "of another node");
            held.push(stack);
        } else if choice < 18 && !held.is_empty() {
            let stack = held.swap_remove(choice % held.len());
            let near = world.lock(cpu).is_near(stack.slot());
            let outcome = world.release(cpu, stack);
            let is_sent = matches!(outcome, ReleaseOutcome::SentHome { .. });
            assert_eq!(is_sent, !near, "{outcome:?}");
            sent += usize::from(is_sent);
        } else if choice == 18 {
            let mut pages = world.machine.cpu(cpu);
            let lock = world.lock(cpu);
            world.machine.pool.reclaim(3, &lock, &mut pages);
        } else if step % 3 == 0 {
            let lock = Nodes { machine: &world.machine, second: &world.second, here: cpu };
            world.machine.pool.drain_cpu(&mut world.caches[cpu as usize], &lock);
        }
        world.check();
    }
    assert!(sent > 500, "{sent} went home");
}

/// Red if a CPU is refused a stack while the other node has slots, or takes the other's first.
#[test]
fn t6_t11_a_node_without_slots_takes_anothers_which_go_home_all_the_same() {
    let mut world = World::new();
    let stacks: Vec<LiveStack> =
        (0..SLOTS).map(|_| world.acquire(1).expect("some node has one")).collect();
    let nodes: Vec<u32> = stacks.iter().map(|stack| world.lock(0).node_of(stack.slot())).collect();
    let own = (SLOTS - BORDER) as usize;
    assert!(nodes[..own].iter().all(|&node| node == 1) && nodes[own..].iter().all(|&n| n == 0));
    let different: BTreeSet<u32> = stacks.iter().map(|stack| stack.slot().get()).collect();
    assert_eq!(different.len(), SLOTS as usize);
    assert_eq!(world.acquire(1), Err(AcquireError::NoAddressSpace));
    for stack in stacks {
        let _: ReleaseOutcome = world.release(1, stack);
    }
    world.check();
    let lock = world.lock(0);
    let parked = |node| lock.with_node(node, |shared| shared.depot.count() as usize);
    assert_eq!((parked(0), parked(1)), (BORDER as usize, own - CACHE_STACKS));
    let mut pages = world.machine.cpu(0);
    assert_eq!(world.machine.pool.reclaim(u32::MAX, &lock, &mut pages) as usize, 40);
    let free = |node| lock.with_node(node, |shared| shared.free.count());
    assert_eq!((free(0), free(1)), (BORDER, SLOTS - BORDER - CACHE_STACKS as u32));
    let of_second = |slot: SlotIndex| slot.get() >= BORDER;
    assert_eq!(world.machine.pool.census_of(of_second).parked as usize, CACHE_STACKS);
}
