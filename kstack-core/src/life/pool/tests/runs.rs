//! Contiguous stacks: the same pool over an allocator that says where each lies.

use super::super::*;
use super::machine::thread_request;
use crate::addr::{Addr, PAGE_BYTES};
use crate::cache::CACHE_STACKS;
use crate::geometry::Geometry;
use crate::record::AccountId;
use std::boxed::Box;
use std::cell::RefCell;
use std::vec::Vec;

const LOWEST: usize = 0x4000_0000;
const PAGES: usize = 4;

/// Memory of which others have parts; blocks are given out from the top.
struct Memory {
    /// Of each page: whether it is given out, and what its first word is.
    pages: Vec<(bool, u64)>,
    end_words: Vec<Addr>,
    charged: usize,
    /// Calls that can fail, until one does.
    fail_after: Option<u32>,
}

impl Memory {
    fn fails(&mut self) -> bool {
        match &mut self.fail_after {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn page(addr: Addr) -> usize {
        (addr.get() - LOWEST) / PAGE_BYTES
    }

    fn given(&self) -> usize {
        self.pages.iter().filter(|page| page.0).count()
    }
}

impl Pages for &RefCell<Memory> {
    fn charge(&mut self, _: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        let mut memory = self.borrow_mut();
        if memory.fails() {
            return Err(OverLimit);
        }
        memory.charged += size.get();
        Ok(())
    }

    fn uncharge(&mut self, _: AccountId, size: ByteSize) {
        self.borrow_mut().charged -= size.get();
    }

    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        panic!("{page} of a contiguous stack is mapped")
    }

    fn unmap_pages(&mut self, range: AddrRange) {
        panic!("a contiguous stack {range:?} is unmapped")
    }

    fn take_run(&mut self, pages: u8) -> Result<AddrRange, Exhausted> {
        let mut memory = self.borrow_mut();
        if memory.fails() {
            return Err(Exhausted::Frame);
        }
        let pages = usize::from(pages);
        let blocks = memory.pages.len() / PAGES;
        let is_free = |block: &usize| !memory.pages[block * PAGES..][..PAGES].iter().any(|p| p.0);
        let block = (0..blocks).rev().find(is_free).ok_or(Exhausted::Frame)?;
        let top = (block + 1) * PAGES;
        memory.pages[top - pages..top].fill((true, 0));
        let lowest = Addr::new(LOWEST + (top - pages) * PAGE_BYTES);
        Ok(AddrRange::sized(lowest, ByteSize::pages(pages)))
    }

    fn give_run(&mut self, stack: AddrRange) {
        let mut memory = self.borrow_mut();
        for page in Memory::page(stack.lowest)..Memory::page(stack.top) {
            assert!(memory.pages[page].0, "a page is given back that was not given out");
            // The next owner finds whatever this one left.
            memory.pages[page] = (false, 0xdead);
        }
    }

    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        let pages = plan(DirtyPages::topmost(PAGES as u8));
        for page in pages.addresses(body.top) {
            self.borrow_mut().pages[Memory::page(page)].1 = 0;
        }
        pages.count()
    }

    fn flush_local(&mut self, _: AddrRange) {}

    fn mark_end(&mut self, lowest: Addr) {
        self.borrow_mut().end_words.push(lowest);
    }
}

struct Shared(RefCell<PoolShared>);

impl Lock for Shared {
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }
}

struct World {
    memory: RefCell<Memory>,
    shared: Shared,
    pool: Pool<'static>,
    cache: CpuCache,
}

/// Room for so many blocks of four pages, the odd ones of which are others'.
fn world(blocks: usize) -> World {
    let shape = Geometry::without_guards(ByteSize::pages(PAGES), ByteSize::pages(PAGES));
    let arena = Arena::new(Addr::new(LOWEST), blocks as u32, shape.expect("whole pages"));
    let records: Vec<SlotRecord> = (0..blocks).map(|_| SlotRecord::new()).collect();
    let records = Box::leak(records.into_boxed_slice());
    let arena = arena.expect("room");
    let (pool, shared) = Pool::contiguous(arena, records, ErasePolicy::Full).expect("no guards");
    let pages = (0..blocks * PAGES).map(|page| (page / PAGES % 2 == 1, 0)).collect();
    let memory = Memory { pages, end_words: Vec::new(), charged: 0, fail_after: None };
    World {
        memory: RefCell::new(memory),
        shared: Shared(RefCell::new(shared)),
        pool,
        cache: CpuCache::new(CpuId::new(0)),
    }
}

impl World {
    fn acquire(&mut self, request: &Request) -> Result<LiveStack, AcquireError> {
        self.pool.acquire(request, &mut self.cache, &self.shared, &mut &self.memory)
    }

    fn release(&mut self, stack: LiveStack) -> ReleaseOutcome {
        self.pool.release(stack, &mut self.cache, &self.shared, &mut &self.memory)
    }
}

/// Red if the pool chooses the slot itself: the odd ones are other memory.
#[test]
fn t3_a_contiguous_stack_lies_where_the_allocator_has_room_and_nowhere_else() {
    let mut world = world(8);
    let stacks: Vec<LiveStack> =
        (0..4).map(|_| world.acquire(&thread_request()).expect("room")).collect();
    let slots: Vec<u32> = stacks.iter().map(|stack| stack.slot().get()).collect();
    assert_eq!(slots, [6, 4, 2, 0]);
    assert_eq!(world.acquire(&thread_request()), Err(AcquireError::NoMemory));
    let census = world.pool.census();
    assert_eq!((census.live, census.mapped_pages), (4, 16));
    for stack in stacks {
        let body = world.pool.body(stack.slot());
        assert!(world.memory.borrow().end_words.contains(&body.lowest), "no end word");
        assert_eq!(body.size(), ByteSize::pages(PAGES));
        assert_eq!(world.release(stack), ReleaseOutcome::Cached);
    }
    assert_eq!(world.memory.borrow().charged, 0);
}

/// Red if what is shrunk stays in the pool's hands, or goes to its free slots: the allocator's next
/// owner would share it with a stack.
#[test]
fn t3_t4_what_is_given_back_is_the_allocators_and_the_slot_is_none_of_the_pools() {
    let mut world = world(64);
    let others = world.memory.borrow().given();
    let many = 2 * CACHE_STACKS;
    let stacks: Vec<LiveStack> =
        (0..many).map(|_| world.acquire(&thread_request()).expect("room")).collect();
    for stack in stacks {
        let _: ReleaseOutcome = world.release(stack);
    }
    assert!(world.pool.drain_cpu(&mut world.cache, &world.shared) > 0);
    assert_eq!(world.memory.borrow().given(), others + many * PAGES, "parked is still held");
    let done = world.pool.reclaim(u32::MAX, &world.shared, &mut &world.memory);
    assert_eq!(done as usize, many);
    assert_eq!(world.memory.borrow().given(), others);
    assert_eq!(world.shared.with(|shared| shared.free().count()), 0);
    assert_eq!(world.pool.census().free, 64);
    // The same slots, as the allocator has it.
    let again = world.acquire(&thread_request()).expect("room");
    assert_eq!(again.slot().get(), 62);
    let _: ReleaseOutcome = world.release(again);
}

#[test]
fn t3_t11_each_failure_on_the_way_to_a_contiguous_stack_leaks_nothing() {
    let mut world = world(8);
    let before = (world.memory.borrow().given(), world.pool.census());
    for (after, error) in [(0, AcquireError::OverLimit), (1, AcquireError::NoMemory)] {
        world.memory.borrow_mut().fail_after = Some(after);
        assert_eq!(world.acquire(&thread_request()), Err(error));
        assert_eq!((world.memory.borrow().given(), world.pool.census()), before);
        assert_eq!(world.memory.borrow().charged, 0);
    }
    world.memory.borrow_mut().fail_after = Some(2);
    let stack = world.acquire(&thread_request()).expect("two calls can fail");
    let _: ReleaseOutcome = world.release(stack);
}

/// The room above the arena's is memory too: what it has no record of is given back.
#[test]
fn t3_t11_memory_that_the_arena_does_not_have_is_refused_and_given_back() {
    let mut world = world(8);
    world.memory.borrow_mut().pages.extend([(false, 0); PAGES]);
    let before = world.memory.borrow().given();
    assert_eq!(world.acquire(&thread_request()), Err(AcquireError::NoAddressSpace));
    assert_eq!((world.memory.borrow().given(), world.memory.borrow().charged), (before, 0));
}

#[test]
fn t3_a_contiguous_stack_of_another_size_has_the_top_of_its_block() {
    let mut world = world(4);
    let small = Request { pages: Some(2), ..thread_request() };
    let stack = world.acquire(&small).expect("room");
    let body = world.pool.body(stack.slot());
    assert_eq!(body.size(), ByteSize::pages(2));
    assert_eq!(body.top, world.pool.arena().body(stack.slot()).top);
    assert_eq!(world.release(stack), ReleaseOutcome::ToUnmap);
    assert_eq!(world.pool.shrink(1, &world.shared, &mut &world.memory), 1);
    assert_eq!(world.memory.borrow().given(), 8);
    let too_large = Request { pages: Some(5), ..thread_request() };
    assert_eq!(world.acquire(&too_large), Err(AcquireError::BadSize));
}

/// Read by its next owner, whatever the last one left would tell of it.
#[test]
fn t3_t5_a_contiguous_stack_that_is_used_again_reads_as_zero() {
    let mut world = world(2);
    let stack = world.acquire(&thread_request()).expect("room");
    let body = world.pool.body(stack.slot());
    let pages = Memory::page(body.lowest)..Memory::page(body.top);
    world.memory.borrow_mut().pages[pages.clone()].fill((true, 0x5ec2e7));
    let _: ReleaseOutcome = world.release(stack);
    let again = world.acquire(&thread_request()).expect("it is parked");
    assert_eq!(world.pool.body(again.slot()), body);
    assert!(world.memory.borrow().pages[pages].iter().all(|page| *page == (true, 0)));
    assert_eq!(world.memory.borrow().end_words, [body.lowest, body.lowest]);
    let _: ReleaseOutcome = world.release(again);
}

#[test]
fn t3_a_pool_of_contiguous_stacks_with_guards_is_refused() {
    let lowest = Arena::lowest_from(Addr::new(LOWEST), Geometry::X86_64).expect("room");
    let arena = Arena::new(lowest, 1, Geometry::X86_64).expect("room");
    let mut records = [SlotRecord::new()];
    let refused = Pool::contiguous(arena, &mut records, ErasePolicy::Full).err();
    assert_eq!(refused, Some(PoolError::HasGuards));
}
