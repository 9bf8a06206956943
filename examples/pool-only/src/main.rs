//! A program with a scheduler, a switch and a fault handler of its own, which takes nothing of
//! kstack but its stacks: guarded, cached, zeroed when they come back, and named by arithmetic when
//! one overflows.
//!
//! It runs as an ordinary process of Linux on x86_64; `mmap` is its paging. Between the marks is
//! all it needs of kstack.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("this program's switch and fault handler are for Linux on x86_64");

mod fibers;
mod pages;

use std::hint::black_box;

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, CpuId, PAGE_BYTES};
use kstack::{Backing, Stack, Stacks, arena::Place, cache::CpuCache, pool::Exhausted};
use std::sync::Mutex;

pub struct Pages;
static CACHE: Mutex<CpuCache> = Mutex::new(CpuCache::new(CpuId::new(0)));
// SAFETY: (1) (2) `pages::set` is `mmap`; (3) the defaults zero everything; (4) one cache, behind a
// lock; (5) the fault handler asks for no stack.
unsafe impl Backing for Pages {
    const FRAMES_ARE_ZEROED: bool = true;
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        pages::set(page.get(), PAGE_BYTES, true).map_err(|_| Exhausted::Frame)
    }
    fn unmap_pages(&self, range: AddrRange) {
        pages::set(range.lowest.get(), range.size().get(), false).expect("pages are given back");
    }
    fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R {
        body()
    }
    fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        body(&mut CACHE.lock().unwrap())
    }
}
// SAFETY: (1) `pages::reserve` has these addresses for them; (2) `Pages` is theirs alone; (3)
// nothing here takes exceptions by kstack.
static STACKS: Stacks<Pages> = unsafe { kstack::stacks!(Pages, lowest: pages::LOWEST, slots: 64) };

/// Whose guard an address is in, and how far below the stack.
fn overflowed(address: usize) -> Option<(u64, usize)> {
    let Place::GuardBelow { slot, distance } = STACKS.arena().place(Addr::new(address)) else {
        return None;
    };
    let stack = STACKS.registry().record(slot).stack(STACKS.arena(), slot)?;
    Some((stack.owner.get(), distance.get()))
}
// kstack glue: end

fn turns() {
    for turn in 1..=3 {
        println!("fiber {} turn {turn}", fibers::current());
        fibers::give_way();
    }
}

fn overflow() {
    #[expect(unconditional_recursion, reason = "the stack is to overflow")]
    fn deeper(level: u64) -> u64 {
        let frame = black_box([level; 16]);
        deeper(level + 1) + frame[0]
    }
    println!("{}", deeper(0));
}

fn stack(owner: u64) -> Stack<Pages> {
    STACKS.acquire_thread(owner).expect("there is memory for a stack")
}

fn main() {
    pages::reserve();
    fibers::on_overflow(|address| match overflowed(address) {
        Some((owner, distance)) => {
            println!("fiber {owner} overflowed its stack, {distance} bytes below it, and is ended")
        }
        None => {
            println!("a fault at {address:#x}, which no stack explains");
            std::process::exit(1);
        }
    });
    fibers::run([(1, stack(1), turns as fn()), (2, stack(2), turns)]);
    fibers::run([(3, stack(3), overflow as fn()), (4, stack(4), turns)]);
    let before = STACKS.census();
    let again = stack(5);
    let top = again.range().top.get() as *const u64;
    // SAFETY: (1) the stack's topmost word.
    assert_eq!(unsafe { top.sub(1).read() }, 0, "a stack comes back with what was on it");
    assert!(STACKS.cache_stats().hits > 0, "{:?}", STACKS.cache_stats());
    assert_eq!(before.mapped_pages, STACKS.census().mapped_pages);
    println!("a used stack came back from the cache, zeroed");
}
