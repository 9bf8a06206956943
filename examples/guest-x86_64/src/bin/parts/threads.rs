//! Steps 3 and 4: kstack brings the CPU up and switches; its defaults replace what steps 1 and 2
//! had of their own.

use alloc::boxed::Box;
use core::ops::Deref;
use guest_x86_64::memory;
use guest_x86_64::sched::{Context, Scheduler};
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::{Backing, Stacks, Start, Thread, cpu, pool::Exhausted};
use x86_64::VirtAddr;

pub struct Pages;

// SAFETY: (1) (2) `memory` maps a frame of its own, and there is one CPU; (3) to (5) the defaults.
unsafe impl Backing for Pages {
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        memory::map(VirtAddr::new(page.get() as u64)).map_err(|_| Exhausted::Frame)
    }

    fn unmap_pages(&self, range: AddrRange) {
        for page in (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES) {
            memory::unmap(VirtAddr::new(page as u64));
        }
    }
}

// SAFETY: (1) `memory` maps nothing else there; (2) `Pages` is theirs; (3) `bring_up` loads the
// CPU's block.
pub static STACKS: Stacks<Pages> =
    unsafe { kstack::stacks!(Pages, lowest: 0xffff_c900_0000_0000, slots: 64) };
pub static CPUS: [cpu::Block; 1] = cpu::blocks();

/// A thread of kstack's: the idle one, which the CPU keeps, or the scheduler's own.
pub struct Task(pub Box<dyn Deref<Target = Thread<Pages>> + Send>);

impl Context for Task {
    fn new(task: u64, run: extern "C" fn(usize)) -> Self {
        let stack = STACKS.acquire_thread(task).expect("no stack for a task");
        let start = Start::Kernel { function: run, argument: 0 };
        Self(Box::new(Box::new(Thread::new(stack, start, task as usize))))
    }

    unsafe fn switch(from: &Self, to: &Self) {
        // SAFETY: (1) to (3) the scheduler's promise; the CPU is up.
        unsafe { kstack::interrupts::without(|off| from.0.switch_to(&to.0, off, 0)) };
    }
}

pub static TASKS: Scheduler<Task> = Scheduler::new();

pub extern "C" fn run(_: usize) {
    TASKS.run()
}
