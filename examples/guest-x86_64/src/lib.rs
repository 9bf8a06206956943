//! A small kernel for one PC, as a hobby kernel is today: the usual crates, its own paging,
//! allocator, interrupts and scheduler. Nothing in this library knows kstack; the programs in
//! `src/bin` and `src/main.rs` are this kernel without it, and with more and more of it.
#![no_std]

extern crate alloc;

pub mod boot;
pub mod exit;
pub mod heap;
pub mod interrupts;
pub mod memory;
pub mod sched;
pub mod serial;
pub mod sync;

/// What every program of this kernel starts with: memory, heap, interrupt controller. Interrupts
/// are off, and stay off.
///
/// # Safety
///
/// Once, with what the boot code got.
pub unsafe fn init(start_info: u64) {
    let frames = memory::usable(start_info);
    memory::init(frames);
    heap::init();
    interrupts::init_pic();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    // A panic may come from the middle of a line.
    serial::steal();
    println!("{info}");
    exit::after_failure(exit::Code::Panic)
}
