//! This kernel's stacks, by kstack: guarded, cached, an IRQ stack, overflows that are named and
//! survived, backtraces.

use alloc::boxed::Box;
use core::ops::Deref;
use guest_x86_64::sched::{Context, Scheduler};
use guest_x86_64::{interrupts, memory, println, sync};
use x86_64::VirtAddr;

/// The tasks.
pub static TASKS: Scheduler<Task> = Scheduler::new();

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::unwind::{self, Backtrace};
use kstack::{Backing, Hooks, SavedRegs, Stacks, Start, Thread, cpu, hooks, local::CpuLocal};
use kstack::{pool::Exhausted, verdict::OverflowReport};

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
static STACKS: Stacks<Pages> =
    unsafe { kstack::stacks!(Pages, lowest: 0xffff_c900_0000_0000, slots: 64) };
static CPUS: [cpu::Block; 1] = cpu::blocks();
static HOOKS: Hooks =
    Hooks::new(sync::held).interrupt(on_interrupt).preempt(preempt).end_thread(end);

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
fn on_interrupt(vector: u8, _regs: &mut SavedRegs) {
    interrupts::handle(vector);
    // SAFETY: (1) the CPU is up.
    unsafe { CpuLocal::this() }.ask_for_preemption();
}
fn preempt() {
    // SAFETY: (1) the CPU is up.
    unsafe { CpuLocal::this() }.take_preemption_request();
    TASKS.yield_now();
}
fn end(report: &OverflowReport) -> ! {
    println!("{report}");
    TASKS.exit()
}
/// Continues on a guarded stack, with tables that survive overflows.
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
