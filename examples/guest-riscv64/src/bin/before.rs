//! The kernel before it knows kstack: stacks are memory of the heap, without a guard, and
//! interrupts stay on them.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{vec, vec::Vec};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use guest_riscv64::tasks::{Context, Tasks};
use guest_riscv64::{entry, power, println, timer};

struct Plain {
    sp: UnsafeCell<usize>,
    _stack: Vec<u128>,
}

// SAFETY: one hart, interrupts off where it is used.
unsafe impl Send for Plain {}

impl Context for Plain {
    fn new(_number: usize, run: extern "C" fn(usize)) -> Self {
        let mut stack = vec![0_u128; 1024];
        let frame = stack.len() - 7;
        // ra and s0, of the fourteen words that `switch` loads.
        stack[frame] =
            start as *const () as usize as u128 | (run as *const () as usize as u128) << 64;
        Self { sp: UnsafeCell::new(&raw const stack[frame] as usize), _stack: stack }
    }

    unsafe fn switch(from: &Self, to: &Self) {
        // SAFETY: the caller's.
        unsafe { switch(from.sp.get(), *to.sp.get()) };
    }
}

#[unsafe(naked)]
unsafe extern "C" fn switch(from: *mut usize, to: usize) {
    naked_asm!(
        "addi sp, sp, -112",
        "sd ra, 0(sp)",
        "sd s0, 8(sp)",
        "sd s1, 16(sp)",
        "sd s2, 24(sp)",
        "sd s3, 32(sp)",
        "sd s4, 40(sp)",
        "sd s5, 48(sp)",
        "sd s6, 56(sp)",
        "sd s7, 64(sp)",
        "sd s8, 72(sp)",
        "sd s9, 80(sp)",
        "sd s10, 88(sp)",
        "sd s11, 96(sp)",
        "sd sp, 0(a0)",
        "mv sp, a1",
        "ld ra, 0(sp)",
        "ld s0, 8(sp)",
        "ld s1, 16(sp)",
        "ld s2, 24(sp)",
        "ld s3, 32(sp)",
        "ld s4, 40(sp)",
        "ld s5, 48(sp)",
        "ld s6, 56(sp)",
        "ld s7, 64(sp)",
        "ld s8, 72(sp)",
        "ld s9, 80(sp)",
        "ld s10, 88(sp)",
        "ld s11, 96(sp)",
        "addi sp, sp, 112",
        "ret",
    )
}

/// The first instruction of a task; s0 is what it calls.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("csrsi sstatus, 2", "mv t0, s0", "li s0, 0", "jalr t0", "unimp")
}

static TASKS: Tasks<Plain> = Tasks::new();
static TURNS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

extern "C" fn run(_: usize) {
    TASKS.run()
}

fn work() {
    for _ in 0..3 {
        TURNS[TASKS.current() - 1].fetch_add(1, Ordering::Relaxed);
        TASKS.give_way();
    }
}

fn main(tree: usize) -> ! {
    // SAFETY: once, with the firmware's argument.
    unsafe { guest_riscv64::init(tree) };
    timer::load_trap_handler();
    TASKS.adopt(Plain { sp: UnsafeCell::new(0), _stack: Vec::new() });
    TASKS.spawn(run, work);
    TASKS.spawn(run, work);
    timer::start();
    guest_riscv64::lock::restore(true);
    TASKS.join_all();
    while timer::ticks() < 3 {
        riscv::asm::wfi();
    }
    assert!(TURNS.iter().all(|turns| turns.load(Ordering::Relaxed) == 3));
    println!("two tasks took turns, and the timer ticks");
    power::off(power::SUCCESS)
}
entry!(main);
