//! Step 4 of docs/adopting.md: interrupts run on a stack of their own, and preempt on the thread's.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "parts/threads.rs"]
mod threads;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_x86_64::{entry, exit, interrupts, println, sync};
use kstack::addr::Addr;
use kstack::stacks::StackLookup;
use kstack::{Hooks, SavedRegs, Thread, cpu, hooks, kind::StackKind, local::CpuLocal};
use threads::{CPUS, Pages, STACKS, TASKS, Task, run};

static HOOKS: Hooks = Hooks::new(sync::held).interrupt(on_interrupt).preempt(preempt);

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

static TICKS_THERE: AtomicU64 = AtomicU64::new(0);
static TURNS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

fn note_stack() {
    let here = 0_u8;
    let stack = STACKS.registry().stack_at(Addr::new(&raw const here as usize));
    if stack.is_some_and(|stack| stack.kind == StackKind::Irq) {
        TICKS_THERE.fetch_add(1, Ordering::Relaxed);
    }
}

/// Works without ever giving way, until the other one has worked too.
fn work<const ME: usize>() {
    while TURNS[1 - ME].load(Ordering::Relaxed) < 1000 || TURNS[ME].load(Ordering::Relaxed) < 1000 {
        TURNS[ME].fetch_add(1, Ordering::Relaxed);
    }
}

fn start(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    // SAFETY: (1) to (4) the boot stack is left, and everything is mapped for good.
    panic!("{}", unsafe { cpu::bring_up(&STACKS, &CPUS[0], main) })
}

fn main(idle: &'static Thread<Pages>) -> ! {
    TASKS.adopt(Task(Box::new(idle)));
    interrupts::on_tick(note_stack);
    let tasks = [TASKS.spawn(run, work::<0>), TASKS.spawn(run, work::<1>)];
    x86_64::instructions::interrupts::enable();
    for task in tasks {
        TASKS.join(task);
    }
    // A tick between the two loads would be counted once.
    x86_64::instructions::interrupts::disable();
    let (there, all) = (TICKS_THERE.load(Ordering::Relaxed), interrupts::ticks());
    assert!(there > 0 && there == all, "{there} of {all} ticks on the IRQ stack");
    println!("two tasks ran, preempted on their stacks by ticks on the IRQ stack");
    exit::with(exit::Code::Success)
}
entry!(start);
