//! This kernel's stacks, by kstack: guarded, cached, an IRQ stack, overflows that are named and
//! survived, backtraces.

use alloc::boxed::Box;
use core::ops::Deref;
use guest_riscv64::tasks::{Context, Tasks};
use guest_riscv64::{lock, paging, println, timer};

/// The tasks.
pub static TASKS: Tasks<Task> = Tasks::new();

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::unwind::{self, Backtrace};
use kstack::{Backing, Hooks, SavedRegs, Stacks, Start, Thread, cpu, hooks};
use kstack::{pool::Exhausted, verdict::OverflowReport};

pub struct Pages;
// SAFETY: (1) (2) `paging` maps a frame of its own, and there is one hart; (3) to (5) the defaults.
unsafe impl Backing for Pages {
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        paging::map(page.get()).then_some(()).ok_or(Exhausted::Frame)
    }
    fn unmap_pages(&self, range: AddrRange) {
        (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES).for_each(paging::unmap);
    }
}
// SAFETY: (1) `paging` maps nothing else there; (2) `Pages` is theirs; (3) `bring_up` loads the
// hart's block.
static STACKS: Stacks<Pages> =
    unsafe { kstack::stacks!(Pages, lowest: 0xffff_ffe0_0000_0000, slots: 64) };
static CPUS: [cpu::Block; 1] = cpu::blocks();
static HOOKS: Hooks = Hooks::new(lock::held).interrupt(on_interrupt).end_thread(end);

pub struct Task(pub Box<dyn Deref<Target = Thread<Pages>> + Send>);
impl Context for Task {
    fn new(task: usize, run: extern "C" fn(usize)) -> Self {
        let stack = STACKS.acquire_thread(task as u64).expect("no stack for a task");
        let start = Start::Kernel { function: run, argument: 0 };
        Self(Box::new(Box::new(Thread::new(stack, start, task))))
    }
    unsafe fn switch(from: &Self, to: &Self) {
        // SAFETY: (1) to (3) the ring's promise; the hart is up.
        unsafe { kstack::interrupts::without(|off| from.0.switch_to(&to.0, off, 0)) };
    }
}
fn on_interrupt(cause: u8, _regs: &mut SavedRegs) {
    assert_eq!(usize::from(cause), timer::CAUSE);
    timer::tick();
}
fn end(report: &OverflowReport) -> ! {
    println!("{report}");
    TASKS.exit()
}
/// Continues on a guarded stack, with a trap handler that survives overflows.
pub fn bring_up(main: fn(idle: &'static Thread<Pages>) -> !) -> ! {
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    // SAFETY: (1) to (4) the boot stack is left, and everything is mapped for good.
    panic!("{}", unsafe { cpu::bring_up(&STACKS, &CPUS[0], main) })
}
/// Says how this was reached.
pub fn say_backtrace() {
    let mut backtrace = Backtrace::<32>::empty();
    unwind::here(&mut backtrace);
    println!("{backtrace}");
}
// kstack glue: end
