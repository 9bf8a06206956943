//! A kernel that keeps its own GDT, TSS and IDT and takes single vectors of kstack's: double fault,
//! NMI, debug exception and machine check with their stacks, and the timer. All other gates stay
//! the kernel's.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "parts/overflow.rs"]
mod overflow;
#[path = "parts/threads.rs"]
mod threads;

use alloc::boxed::Box;
use guest_x86_64::{entry, exit, interrupts, println, sync};
use kstack::arch::x86_64::{
    tables::{CpuTables, Ist},
    vectors,
};
use kstack::verdict::OverflowReport;
use kstack::{Hooks, SavedRegs, Thread, cpu, hooks, local::CpuLocal};
use threads::{CPUS, Pages, STACKS, TASKS, Task, run};
use x86_64::VirtAddr;
use x86_64::structures::{idt::InterruptDescriptorTable, tss::TaskStateSegment};

static HOOKS: Hooks =
    Hooks::new(sync::held).interrupt(on_interrupt).preempt(preempt).end_thread(end_thread);

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

fn end_thread(report: &OverflowReport) -> ! {
    println!("{report}");
    TASKS.exit()
}

/// The vectors that have stacks of their own.
const EXCEPTIONS: [u8; 4] = [1, 2, 8, 18];

/// In the kernel's TSS: the stacks that kstack has made for this CPU.
fn stacks_into(tss: &mut TaskStateSegment) {
    // SAFETY: (1) `prepare` has written it.
    let made = unsafe { CpuTables::read_tss(CPUS[0].tables()) };
    for ist in Ist::ALL {
        let top = VirtAddr::new(made.exception_stack(ist));
        tss.interrupt_stack_table[ist as usize - 1] = top;
    }
}

/// In the kernel's IDT: the gates that lead to kstack.
fn gates_into(idt: &mut InterruptDescriptorTable) {
    let address = |vector| VirtAddr::new(vectors::vector(vector).get() as u64);
    for vector in EXCEPTIONS {
        let ist = Ist::of_vector(vector).expect("it has a stack of its own") as u16 - 1;
        // SAFETY: the entry is made for this vector and this stack.
        unsafe {
            match vector {
                1 => idt.debug.set_handler_addr(address(1)).set_stack_index(ist),
                2 => idt.non_maskable_interrupt.set_handler_addr(address(2)).set_stack_index(ist),
                8 => idt.double_fault.set_handler_addr(address(8)).set_stack_index(ist),
                _ => idt.machine_check.set_handler_addr(address(18)).set_stack_index(ist),
            };
        }
    }
    // SAFETY: the entry is made for this vector.
    unsafe { idt[interrupts::TIMER].set_handler_addr(address(interrupts::TIMER)) };
}

fn start(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    let local = CPUS[0].local();
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    STACKS.install();
    // SAFETY: (1) the block stays, and is this CPU's; (2) interrupts are off.
    unsafe { local.load() };
    // SAFETY: (1) the CPU's own, which has not come up yet.
    if let Err(refused) = unsafe { cpu::prepare(&STACKS, local, CPUS[0].tables()) } {
        panic!("{refused}");
    }
    interrupts::load_tables_with(stacks_into, gates_into);
    // Loading segment registers has cleared the GS base.
    // SAFETY: (1) (2) as above.
    unsafe { local.load() };
    // SAFETY: (1) it is for this CPU, which has none yet.
    let idle = unsafe { cpu::idle_stack(&STACKS, local.cpu()) }.expect("no idle stack");
    // SAFETY: (1) block and tables are loaded; (2) the boot stack is left.
    unsafe { cpu::run_idle(local, idle, main) }
}

fn main(idle: &'static Thread<Pages>) -> ! {
    TASKS.adopt(Task(Box::new(idle)));
    x86_64::instructions::interrupts::enable();
    let before = interrupts::ticks();
    while interrupts::ticks() < before + 2 {
        x86_64::instructions::hlt();
    }
    println!("the timer ticks through a gate of the kernel's table");
    TASKS.join(TASKS.spawn(run, overflow::overflow));
    println!("the kernel continues");
    // The kernel's own gate: not kstack's to handle.
    exit::expect_failure();
    // SAFETY: nothing is mapped there.
    unsafe { core::ptr::without_provenance::<u64>(0x1000).read_volatile() };
    unreachable!("a read of nothing succeeded")
}
entry!(start);
