//! A third kernel: arm64, no heap, no lock, no scheduler: two threads that take turns with the idle
//! thread, on kstack's stacks.
#![no_std]
#![no_main]

mod boot;
mod devices;
mod paging;

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::unwind::{self, Backtrace};
use kstack::{Backing, Hooks, SavedRegs, Stacks, Start, Thread, cpu, hooks, interrupts};
use kstack::{pool::Exhausted, verdict::OverflowReport};

struct Pages;
// SAFETY: (1) (2) `paging` maps a frame of its own, and there is one CPU; (3) to (5) the defaults.
unsafe impl Backing for Pages {
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        paging::map(page.get()).then_some(()).ok_or(Exhausted::Frame)
    }
    fn unmap_pages(&self, range: AddrRange) {
        (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES).for_each(paging::unmap);
    }
}
// SAFETY: (1) `paging` maps nothing else there; (2) `Pages` is theirs; (3) `bring_up` loads the
// CPU's block.
static STACKS: Stacks<Pages> =
    unsafe { kstack::stacks!(Pages, lowest: 0xffff_0080_0000_0000, slots: 32) };
static CPUS: [cpu::Block; 1] = cpu::blocks();
// This kernel has no locks.
static HOOKS: Hooks = Hooks::new(|| 0).interrupt(on_interrupt).end_thread(end_thread);

fn thread(number: u64, function: extern "C" fn(usize)) -> Thread<Pages> {
    let stack = STACKS.acquire_thread(number).expect("no stack");
    Thread::new(stack, Start::Kernel { function, argument: number as usize }, number as usize)
}
fn switch(from: &Thread<Pages>, to: &Thread<Pages>) {
    // SAFETY: (1) to (3) only the idle thread goes to others, they go to it, and it outlives them.
    unsafe { interrupts::without(|off| from.switch_to(to, off, 0)) };
}
fn on_interrupt(_vector: u8, _regs: &mut SavedRegs) {
    devices::handle();
    tick();
}
fn end_thread(report: &OverflowReport) -> ! {
    say!("{report}");
    give_way();
    unreachable!("a thread that ended runs again")
}
extern "C" fn kernel_main() -> ! {
    // SAFETY: (1) everything is writable.
    unsafe { hooks::install(&HOOKS) };
    // SAFETY: (1) to (4) the boot stack is left, and everything is mapped for good.
    panic!("{}", unsafe { cpu::bring_up(&STACKS, &CPUS[0], main) })
}
fn say_backtrace() {
    let mut backtrace = Backtrace::<32>::empty();
    unwind::here(&mut backtrace);
    say!("{backtrace}");
}
// kstack glue: end

static IDLE: AtomicPtr<Thread<Pages>> = AtomicPtr::new(core::ptr::null_mut());
static OTHER: AtomicPtr<Thread<Pages>> = AtomicPtr::new(core::ptr::null_mut());

fn resume(idle: &Thread<Pages>, other: &Thread<Pages>) {
    OTHER.store((&raw const *other).cast_mut(), Relaxed);
    switch(idle, other);
}

fn give_way() {
    // SAFETY: `main` keeps both threads for as long as the other one runs.
    switch(unsafe { &*OTHER.load(Relaxed) }, unsafe { &*IDLE.load(Relaxed) });
}

/// Ticks; what the next one is to do besides: 1, say how it was reached; 2, overflow.
static TICKS: AtomicU32 = AtomicU32::new(0);
static NEXT: AtomicU32 = AtomicU32::new(0);

fn tick() {
    TICKS.fetch_add(1, Relaxed);
    match NEXT.swap(0, Relaxed) {
        1 => {
            say!("in the timer's handler:");
            say_backtrace();
        }
        2 => overflow(),
        _ => {}
    }
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(level: u64) -> u64 {
    let frame = black_box([level; 16]);
    deeper(level + 1) + frame[0]
}

fn overflow() {
    black_box(deeper(0));
}

extern "C" fn turns(number: usize) {
    for turn in 1..=2 {
        say!("thread {number} turn {turn}");
        give_way();
    }
    say_backtrace();
    loop {
        give_way();
    }
}

extern "C" fn overflows(_number: usize) {
    overflow();
}

fn main(idle: &'static Thread<Pages>) -> ! {
    IDLE.store((&raw const *idle).cast_mut(), Relaxed);
    devices::start_timer();
    // SAFETY: (1) the CPU is up, and its timer has a handler.
    unsafe { interrupts::on() };
    let (one, two) = (thread(1, turns), thread(2, turns));
    for _ in 0..3 {
        resume(idle, &one);
        resume(idle, &two);
    }
    let three = thread(3, overflows);
    resume(idle, &three);
    drop(three);
    say!("the kernel continues");
    for next in [1, 0, 2] {
        NEXT.store(next, Relaxed);
        let before = TICKS.load(Relaxed);
        while TICKS.load(Relaxed) < before + 2 {
            core::hint::spin_loop();
        }
    }
    unreachable!("an overflow of the IRQ stack went unnoticed")
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("{info}");
    // An overflow of the IRQ stack is how this ends.
    devices::end(if NEXT.load(Relaxed) == 0 && TICKS.load(Relaxed) > 4 { 33 } else { 35 })
}
