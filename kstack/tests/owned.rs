//! Stacks on the host: memory that is there from the start stands for pages, so that every byte can
//! be looked at.

use kstack::addr::{Addr, AddrRange, ByteSize, CpuId, PAGE_BYTES};
use kstack::arena::Arena;
use kstack::cache::CpuCache;
use kstack::erase::ErasePolicy;
use kstack::geometry::Geometry;
use kstack::kind::StackKind;
use kstack::pool::{AcquireError, Exhausted, ReleaseOutcome, Request};
use kstack::record::SlotRecord;
use kstack::verdict::{Cause, Consequence, Context, Delivery, Fault, StackTable, judge};
use kstack::{Backing, Stack, Stacks};
use std::alloc::{Layout, alloc};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pages that are counted; `left` of them there are still.
struct Memory {
    cache: Mutex<CpuCache>,
    left: AtomicUsize,
    mapped: AtomicUsize,
    surplus: AtomicUsize,
}

// SAFETY: (1) the arena is memory of this test's own, which is there all the time; (2) and is used
// by nothing else; (3) the default of `erase`; (4) one cache under a lock, for all threads; (5) no
// interrupts.
unsafe impl Backing for Memory {
    const ABSENT_IS_REMEMBERED: bool = false;

    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        let one_less = |left: usize| left.checked_sub(1);
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        taken.map_err(|_| Exhausted::Frame)?;
        self.mapped.fetch_add(1, Ordering::SeqCst);
        // What the last owner of the frame left there.
        // SAFETY: (1) a page of the arena.
        unsafe { (page.get() as *mut u8).write_bytes(0xa5, PAGE_BYTES) };
        Ok(())
    }

    fn unmap_pages(&self, range: AddrRange) {
        self.mapped.fetch_sub(range.size().in_pages(), Ordering::SeqCst);
        self.left.fetch_add(range.size().in_pages(), Ordering::SeqCst);
    }

    fn on_surplus(&self) {
        self.surplus.fetch_add(1, Ordering::SeqCst);
    }

    fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R {
        body()
    }

    fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        body(&mut self.cache.lock().expect("no panic in it"))
    }
}

fn stacks(slots: u32, pages: usize) -> &'static Stacks<Memory> {
    let geometry = Geometry::X86_64;
    let bytes = geometry.stride().get() * (slots as usize + 1);
    let layout = Layout::from_size_align(bytes, geometry.align().get()).expect("a layout");
    // SAFETY: (1) the layout has a size.
    let lowest = Addr::new(unsafe { alloc(layout) } as usize);
    let arena = Arena::lowest_from(lowest, geometry).expect("far from the end");
    let arena = Arena::new(arena, slots, geometry).expect("as the geometry wants it");
    let records = (0..slots).map(|_| SlotRecord::new()).collect::<Vec<_>>().leak();
    let memory = Memory {
        cache: Mutex::new(CpuCache::new(CpuId::new(0))),
        left: AtomicUsize::new(pages),
        mapped: AtomicUsize::new(0),
        surplus: AtomicUsize::new(0),
    };
    // SAFETY: (1) memory of this test's own; (2) `Memory` was made for it; (3) nothing takes an
    // exception or unwinds.
    let stacks = unsafe { Stacks::new(arena, records, ErasePolicy::Dirtied, memory) };
    Box::leak(Box::new(stacks.expect("a record for every slot")))
}

/// Red, by a read near address 0, if the verdict's table asks a register that no CPU has loaded
/// yet: a kernel that takes stacks first and brings its CPUs up later may ask whose guard it was.
#[test]
fn l1_a_verdict_before_any_cpu_is_up_knows_no_running_thread() {
    let stacks = stacks(2, 100);
    let stack = stacks.acquire_thread(7).expect("pages for one");
    assert_eq!(stacks.registry().running_on(CpuId::new(0)), None);
    let in_guard = stack.range().lowest.wrapping_sub(ByteSize::new(8));
    let fault = Fault {
        address: in_guard,
        sp: stack.range().lowest,
        pc: Addr::new(0x1000),
        cpu: CpuId::new(0),
        delivery: Delivery::OwnStack,
    };
    // Named as an access, and not as an overflow: as far as the table knows, another thread
    // may have made it.
    let judged = |fault| judge(stacks.arena(), stacks.registry(), &fault, &Context::default());
    let verdict = judged(fault).expect("the address says it");
    assert_eq!((verdict.stack.owner.get(), verdict.distance.get()), (7, 8));
    assert_eq!((verdict.cause, verdict.consequence), (Cause::GuardAccess, Consequence::StopSystem));
    assert_eq!(judged(Fault { delivery: Delivery::AnotherStack, ..fault }), None);
}

/// Every byte of a stack.
fn bytes(stack: &mut Stack<Memory>) -> &mut [u8] {
    let range = stack.range();
    // SAFETY: (1) the stack's memory, which nothing else looks at.
    unsafe { std::slice::from_raw_parts_mut(range.lowest.get() as *mut u8, range.size().get()) }
}

/// Every byte of a stack that is its owner's: not the end word, which is as it should be.
fn above_end(stack: &mut Stack<Memory>) -> &mut [u8] {
    let kept = if cfg!(feature = "entry") { size_of::<usize>() } else { 0 };
    #[cfg(feature = "entry")]
    {
        // SAFETY: (1) the stack's memory is there all the time.
        let whole = unsafe { kstack::end_word::is_whole(stack.range().lowest) };
        assert!(whole, "the end word is not there");
    }
    &mut bytes(stack)[kept..]
}

/// Red without the zeroing of new pages, or if the default of `erase` left a page out.
#[test]
fn n6_t7_t12_a_stack_is_zero_whoever_had_its_pages_or_itself_before() {
    let stacks = stacks(4, 64);
    for _ in 0..3 {
        let mut stack = stacks.acquire_thread(7).expect("a stack");
        assert_eq!(stack.range().size(), ByteSize::kib(16));
        assert!(above_end(&mut stack).iter().all(|&byte| byte == 0), "it is not zero");
        bytes(&mut stack).fill(0x5a);
        assert_eq!(stack.record().owner().get(), 7);
        assert_eq!(stack.release(), ReleaseOutcome::Cached);
    }
    assert_eq!(stacks.cache_stats().hits, 2);
    assert_eq!(stacks.backing().mapped.load(Ordering::SeqCst), 4, "mapped once");
}

#[test]
fn n6_a_stack_goes_back_when_it_is_dropped_and_surplus_is_told() {
    let stacks = stacks(64, 1000);
    let many: Vec<_> = (1..=40).map(|owner| stacks.acquire_thread(owner)).collect();
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(stacks.census().live, 40);
    drop(many);
    assert_eq!(stacks.census().live, 0);
    assert!(stacks.excess() > 0 && stacks.backing().surplus.load(Ordering::SeqCst) > 0);
    let excess = stacks.excess();
    assert_eq!(stacks.shrink(u32::MAX), excess);
    assert!(stacks.drain_this_cpu() > 0);
    while stacks.reclaim(8) > 0 {}
    assert_eq!(stacks.backing().mapped.load(Ordering::SeqCst), 0, "all is unmapped");
}

#[test]
fn n6_a_borrowed_stack_stays_until_the_borrow_is_dropped() {
    let stacks = stacks(4, 64);
    let mut stack = stacks.acquire_thread(1).expect("a stack");
    let (name, range) = (stack.as_ref(), stack.range());
    bytes(&mut stack).fill(1);
    let borrowed = stacks.borrow(name).expect("it is live");
    assert_eq!(stack.release(), ReleaseOutcome::StillBorrowed);
    assert!(stacks.borrow(name).is_none(), "its owner is gone");
    assert_eq!(borrowed.range(), range);
    let other = stacks.acquire_thread(2).expect("another");
    assert_ne!(other.range(), range);
    drop(borrowed);
    let mut again = stacks.acquire_thread(3).expect("the first one");
    assert_eq!(again.range(), range);
    assert!(above_end(&mut again).iter().all(|&byte| byte == 0));
}

#[test]
fn n6_what_cannot_be_had_is_refused_and_costs_nothing() {
    let stacks = stacks(2, 6);
    let first = stacks.acquire_thread(1).expect("four of six pages");
    assert_eq!(stacks.acquire_thread(2).err(), Some(AcquireError::NoMemory));
    assert_eq!(stacks.backing().mapped.load(Ordering::SeqCst), 4, "what was mapped went back");
    let irq = Request::for_cpu(StackKind::Irq, CpuId::new(0), None);
    assert_eq!(stacks.acquire(&irq).err(), Some(AcquireError::BelongsToCpu));
    drop(first);
    assert!(stacks.acquire_thread(3).is_ok());
}
