//! A small kernel for the riscv64 `virt` machine, started by OpenSBI: Sv39, a buddy heap, the SBI's
//! timer, tasks that give way. Nothing in this library knows kstack.
#![no_std]

extern crate alloc;

pub mod boot;
pub mod console;
pub mod heap;
pub mod lock;
pub mod paging;
pub mod power;
pub mod tasks;
pub mod timer;

/// What every program of this kernel starts with. Interrupts are off, and stay off.
///
/// # Safety
///
/// Once, with the address of the device tree that the firmware gave.
pub unsafe fn init(tree: usize) {
    paging::init(tree);
    heap::init();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: interrupts stay off from here on.
    unsafe { riscv::register::sstatus::clear_sie() };
    console::steal();
    println!("{info}");
    power::after_failure(power::PANIC)
}
