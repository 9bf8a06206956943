//! This kernel's stacks, by kstack.

use crate::{devices, memory, println, tasks};

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::interrupts::{self, InterruptsOff};
use kstack::unwind::{self, Backtrace};
use kstack::{Backing, Hooks, SavedRegs, Stacks, Start, Thread, cpu, hooks};
use kstack::{local::CpuLocal, pool::Exhausted, verdict::OverflowReport};

pub struct Pages;
// SAFETY: (1) (2) `memory` maps a frame of its own, and there is one CPU; (3) to (5) the defaults.
unsafe impl Backing for Pages {
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        memory::map(page.get()).ok_or(Exhausted::Frame)
    }
    fn unmap_pages(&self, range: AddrRange) {
        (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES).for_each(memory::unmap);
    }
}
// SAFETY: (1) `memory` maps nothing else there; (2) `Pages` is theirs; (3) `bring_up` loads the
// CPU's block.
static STACKS: Stacks<Pages> = unsafe { kstack::stacks!(Pages, lowest: 0xd000_0000, slots: 64) };
static CPUS: [cpu::Block; 1] = cpu::blocks();
static HOOKS: Hooks = Hooks::new(|| 0)
    .interrupt(on_interrupt)
    .preempt(preempt)
    .thread_returned(|| critical(|_| tasks::end()))
    .end_thread(end_thread)
    .stop(crate::stop);

pub type Task = Thread<Pages>;
pub fn task(number: usize, run: extern "C" fn(usize)) -> Task {
    let stack = STACKS.acquire_thread(number as u64).expect("no stack");
    Thread::new(stack, Start::Kernel { function: run, argument: number }, number)
}
pub unsafe fn switch(from: &Task, to: &Task) {
    // SAFETY: (1) to (3) by the scheduler's promise.
    critical(|off| unsafe { from.switch_to(to, off, 0) });
}
pub fn critical<R>(body: impl FnOnce(&InterruptsOff) -> R) -> R {
    // SAFETY: (1) the CPU is up.
    unsafe { interrupts::without(body) }
}
fn on_interrupt(_vector: u8, _regs: &mut SavedRegs) {
    devices::on_timer();
    crate::on_tick();
    // SAFETY: (1) the CPU is up.
    unsafe { CpuLocal::this() }.ask_for_preemption();
}
fn preempt() {
    // SAFETY: (1) the CPU is up.
    unsafe { CpuLocal::this() }.take_preemption_request();
    tasks::give_way();
}
fn end_thread(report: &OverflowReport) -> ! {
    println!("{report}");
    tasks::end()
}
pub fn say_backtrace() {
    let mut backtrace = Backtrace::<32>::empty();
    unwind::here(&mut backtrace);
    println!("{backtrace}");
}
pub fn bring_up(main: fn(&'static Task) -> !) -> ! {
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    // SAFETY: (1) to (4) the boot stack is left, and everything is mapped for good.
    panic!("{}", unsafe { cpu::bring_up(&STACKS, &CPUS[0], main) })
}
// kstack glue: end
