//! Step 3 of docs/adopting.md: an overflow is survived. kstack's tables replace the kernel's, and
//! its handler ends the thread.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "parts/overflow.rs"]
mod overflow;
#[path = "parts/threads.rs"]
mod threads;

use alloc::boxed::Box;
use guest_x86_64::{entry, exit, interrupts, println, sync};
use kstack::verdict::OverflowReport;
use kstack::{Hooks, Thread, cpu, hooks};
use threads::{CPUS, Pages, STACKS, TASKS, Task, run};

static HOOKS: Hooks = Hooks::new(sync::held).end_thread(end_thread);

fn end_thread(report: &OverflowReport) -> ! {
    println!("{report}");
    TASKS.exit()
}

fn start(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    // The hook for interrupts is step 4's.
    interrupts::mask_all();
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    // SAFETY: (1) to (4) the boot stack is left, and everything is mapped for good.
    panic!("{}", unsafe { cpu::bring_up(&STACKS, &CPUS[0], main) })
}

fn main(idle: &'static Thread<Pages>) -> ! {
    TASKS.adopt(Task(Box::new(idle)));
    // What an overflow with interrupts off leaves half done is not known: a thread is ended only
    // with them on.
    x86_64::instructions::interrupts::enable();
    TASKS.join(TASKS.spawn(run, overflow::overflow));
    println!("the kernel continues");
    exit::with(exit::Code::Success)
}
entry!(start);
