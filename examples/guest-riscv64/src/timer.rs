//! The timer, through the SBI; and, for programs without a better one, a trap handler of this
//! kernel's own.

use crate::{lock::Lock, power, println};
use core::sync::atomic::{AtomicU64, Ordering};
use riscv::register::{sepc, sie, stval, stvec, time};

/// The cause of the timer's interrupt.
pub const CAUSE: usize = 5;
/// Units of the `virt` machine's clock between two ticks: 10 ms.
const PERIOD: u64 = 100_000;

static TICKS: AtomicU64 = AtomicU64::new(0);
static ON_TICK: Lock<fn()> = Lock::new(|| {});

/// What else is to be done at each tick.
pub fn on_tick(what: fn()) {
    *ON_TICK.lock() = what;
}

/// Ticks since the start.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// The first tick is to come.
pub fn start() {
    sbi_rt::set_timer(time::read64() + PERIOD);
    // SAFETY: its handler is there.
    unsafe { sie::set_stimer() };
}

/// Handles a tick.
pub fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
    sbi_rt::set_timer(time::read64() + PERIOD);
    let what = *ON_TICK.lock();
    what();
}

/// Points the hart at this kernel's own trap handler.
pub fn load_trap_handler() {
    let handler = &raw const guest_trap as usize;
    // SAFETY: the handler is made for it.
    unsafe { stvec::write(stvec::Stvec::from_bits(handler)) };
}

// Saves what Rust code may change, calls a handler on the interrupted stack, goes back.
core::arch::global_asm!(
    ".balign 4",
    ".globl guest_trap",
    "guest_trap:",
    "addi sp, sp, -128",
    "sd ra, 0(sp)", "sd t0, 8(sp)", "sd t1, 16(sp)", "sd t2, 24(sp)",
    "sd a0, 32(sp)", "sd a1, 40(sp)", "sd a2, 48(sp)", "sd a3, 56(sp)",
    "sd a4, 64(sp)", "sd a5, 72(sp)", "sd a6, 80(sp)", "sd a7, 88(sp)",
    "sd t3, 96(sp)", "sd t4, 104(sp)", "sd t5, 112(sp)", "sd t6, 120(sp)",
    "csrr a0, scause",
    "call {on_trap}",
    "ld ra, 0(sp)", "ld t0, 8(sp)", "ld t1, 16(sp)", "ld t2, 24(sp)",
    "ld a0, 32(sp)", "ld a1, 40(sp)", "ld a2, 48(sp)", "ld a3, 56(sp)",
    "ld a4, 64(sp)", "ld a5, 72(sp)", "ld a6, 80(sp)", "ld a7, 88(sp)",
    "ld t3, 96(sp)", "ld t4, 104(sp)", "ld t5, 112(sp)", "ld t6, 120(sp)",
    "addi sp, sp, 128",
    "sret",
    on_trap = sym on_trap,
);

unsafe extern "C" {
    safe static guest_trap: u8;
}

extern "C" fn on_trap(cause: usize) {
    if cause == 1 << 63 | CAUSE {
        tick();
        return;
    }
    println!("trap {cause:#x} at {:#x}, address {:#x}", sepc::read(), stval::read());
    power::off(power::EXCEPTION)
}
