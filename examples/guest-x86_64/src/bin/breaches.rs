//! What forgotten duties look like: docs/adopting.md quotes each sentence.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "parts/threads.rs"]
mod threads;

use alloc::boxed::Box;
use guest_x86_64::{entry, exit, interrupts, println, sync};
use kstack::cpu::{self, Block};
use kstack::{Hooks, Thread, hooks};
use threads::{CPUS, Pages, STACKS, TASKS, Task, run};
use x86_64::instructions;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

static HOOKS: Hooks = Hooks::new(sync::held);
static OTHERS: [Block; 2] = cpu::blocks();

fn refused(block: &'static Block) {
    // SAFETY: (1) to (4) as long as it is refused, the boot stack is still in use, and a stack or
    // two of the CPU's are lost.
    println!("refused: {}", unsafe { cpu::bring_up(&STACKS, block, main) });
}

fn start(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    refused(&CPUS[0]);
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    interrupts::mask_all();
    instructions::interrupts::enable();
    refused(&CPUS[0]);
    instructions::interrupts::disable();
    // SAFETY: there are no programs, and nothing is read-only yet.
    unsafe {
        Cr4::update(|cr4| cr4.insert(Cr4Flags::FSGSBASE));
        refused(&OTHERS[0]);
        Cr4::update(|cr4| cr4.remove(Cr4Flags::FSGSBASE));
        Cr0::update(|cr0| cr0.remove(Cr0Flags::WRITE_PROTECT));
        refused(&OTHERS[1]);
        Cr0::update(|cr0| cr0.insert(Cr0Flags::WRITE_PROTECT));
    }
    refused(&OTHERS[0]);
    refused(&CPUS[0]);
    unreachable!("it came up")
}

fn main(idle: &'static Thread<Pages>) -> ! {
    TASKS.adopt(Task(Box::new(idle)));
    instructions::interrupts::enable();
    exit::expect_failure();
    TASKS.spawn(run, || ());
    // SAFETY: the vector of the timer, for which there is no hook.
    unsafe { core::arch::asm!("int {}", const interrupts::TIMER) };
    unreachable!("an interrupt without a hook went unnoticed")
}
entry!(start);
