//! A fifth kernel: arm32, with the short descriptors of older ARM kernels, every address mapped to
//! itself, no heap, no lock. Its threads stand in a row and hand on to the next.
#![no_std]
#![no_main]

mod boot;
mod devices;
mod paging;
mod row;

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::unwind::{self, Backtrace};
use kstack::{Backing, Hooks, SavedRegs, Stacks, Start, Thread, cpu, hooks, interrupts};
use kstack::{pool::Exhausted, verdict::OverflowReport};

pub struct Pages;
// SAFETY: (1) (2) `paging` maps a frame of its own, and there is one CPU; (3) to (5) the defaults.
unsafe impl Backing for Pages {
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        paging::map(page.get()).ok_or(Exhausted::Frame)
    }
    fn unmap_pages(&self, range: AddrRange) {
        (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES).for_each(paging::unmap);
    }
}
// SAFETY: (1) `paging` maps nothing else there; (2) `Pages` is theirs; (3) `bring_up` loads the
// CPU's block.
static STACKS: Stacks<Pages> = unsafe { kstack::stacks!(Pages, lowest: 0xe000_0000, slots: 32) };
static CPUS: [cpu::Block; 1] = cpu::blocks();
// This kernel has no locks.
static HOOKS: Hooks = Hooks::new(|| 0)
    .interrupt(on_interrupt)
    .thread_returned(row::leave)
    .end_thread(end_thread)
    .stop(stop);

pub type Member = Thread<Pages>;
pub fn member(number: usize, function: extern "C" fn(usize)) -> Member {
    let stack = STACKS.acquire_thread(number as u64).expect("no stack");
    Thread::new(stack, Start::Kernel { function, argument: number }, number)
}
pub fn switch(from: &Member, to: &Member) {
    // SAFETY: (1) to (3) the row's: `from` runs, and both stay in it until they have left.
    unsafe { interrupts::without(|off| from.switch_to(to, off, 0)) };
}
fn on_interrupt(_vector: u8, _regs: &mut SavedRegs) {
    devices::handle();
    tick();
}
fn end_thread(report: &OverflowReport) -> ! {
    say!("{report}");
    row::leave()
}
fn stop(report: &OverflowReport) -> ! {
    say!("{report}");
    devices::end(33)
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
fn deeper(level: u32) -> u32 {
    let frame = black_box([level; 16]);
    deeper(level + 1) + frame[0]
}

fn overflow() {
    black_box(deeper(0));
}

extern "C" fn turns(number: usize) {
    for turn in 1..=2 {
        say!("thread {number} turn {turn}");
        row::give_way();
    }
    say_backtrace();
}

extern "C" fn overflows(_number: usize) {
    overflow();
}

fn main(idle: &'static Member) -> ! {
    row::begin(idle);
    devices::start_timer();
    // SAFETY: (1) the CPU is up, and its timer has a handler.
    unsafe { interrupts::on() };
    row::join(member(1, turns));
    row::join(member(2, turns));
    while row::has_others() {
        row::give_way();
    }
    row::join(member(3, overflows));
    while row::has_others() {
        row::give_way();
    }
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
    devices::end(35)
}
