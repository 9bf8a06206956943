//! The kernel before it knows kstack: stacks are memory of the heap, without a guard, and
//! interrupts stay on them.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_x86_64::sched::{Context, Scheduler};
use guest_x86_64::{entry, exit, interrupts, println};

struct Plain {
    sp: UnsafeCell<usize>,
    _stack: Vec<u128>,
}

// SAFETY: the scheduler's lock, and one CPU.
unsafe impl Send for Plain {}

impl Context for Plain {
    fn new(_task: u64, run: extern "C" fn(usize)) -> Self {
        let mut stack = vec![0_u128; 1024];
        let top = stack.len();
        // What `switch` pops, above a word for alignment: six registers, of which rbx is the first
        // function, and where to return to.
        let frame = [0, 0, 0, 0, 0, run as *const () as usize, 0, start as *const () as usize];
        for (pair, place) in frame.chunks(2).zip(&mut stack[top - 4..]) {
            *place = pair[0] as u128 | (pair[1] as u128) << 64;
        }
        Self {
            sp: UnsafeCell::new(&raw const stack[top - 4] as usize + size_of::<usize>()),
            _stack: stack,
        }
    }

    unsafe fn switch(from: &Self, to: &Self) {
        // SAFETY: the caller's.
        unsafe { switch(from.sp.get(), *to.sp.get()) };
    }
}

#[unsafe(naked)]
unsafe extern "C" fn switch(from: *mut usize, to: usize) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The first instruction of a task; rbx is what it calls.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("sti", "xor ebp, ebp", "call rbx", "ud2")
}

static TASKS: Scheduler<Plain> = Scheduler::new();
static TURNS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

extern "C" fn run(_: usize) {
    TASKS.run()
}

/// Works without ever giving way, until the other one has worked too.
fn work<const ME: usize>() {
    while TURNS[1 - ME].load(Ordering::Relaxed) < 1000 || TURNS[ME].load(Ordering::Relaxed) < 1000 {
        TURNS[ME].fetch_add(1, Ordering::Relaxed);
    }
    println!("task {} saw both work", TASKS.current());
}

fn main(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    interrupts::load_tables();
    TASKS.adopt(Plain { sp: UnsafeCell::new(0), _stack: Vec::new() });
    interrupts::on_tick(|| TASKS.yield_now());
    let tasks = [TASKS.spawn(run, work::<0>), TASKS.spawn(run, work::<1>)];
    x86_64::instructions::interrupts::enable();
    for task in tasks {
        TASKS.join(task);
    }
    println!("two tasks ran, {} ticks", interrupts::ticks());
    exit::with(exit::Code::Success)
}
entry!(main);
