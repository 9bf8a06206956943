//! What boot options have done last on the way to user mode.
//!
//! | option | what | Linux's |
//! | --- | --- | --- |
//! | `stack_erasing=on` | what the call left on stacks is erased ([`kstack::on_return`]) | `stackleak`, at build |
//! | `randomize_kstack_offset=on` | the next call begins elsewhere ([`kstack::offset`]) | of this name |
//!
//! Without either it costs a load and a branch.

use crate::stacks;
use core::sync::atomic::{AtomicU8, Ordering};
use kstack::addr::AddrRange;
use kstack::on_return;
use machine::arch::cpu;
use machine::cpus::{self, Cpu};
use machine::mix::mix;
use machine::options;

/// The bit of erasing.
pub const ERASE: u8 = 1;
/// The bit of offsets.
pub const OFFSET: u8 = 2;

static WANTED: AtomicU8 = AtomicU8::new(0);

/// Reads the options. Once, at boot.
pub fn set_up() {
    let bit = |option: &str, bit| match options::get(option).as_deref() {
        Some("on" | "1" | "y") => bit,
        _ => 0,
    };
    want(bit("stack_erasing", ERASE) | bit("randomize_kstack_offset", OFFSET));
}

/// Wants these from now on, on every CPU. What a CPU's next call has for an offset stays until it
/// is stirred again.
pub fn want(bits: u8) {
    WANTED.store(bits, Ordering::Relaxed);
}

/// What is wanted.
#[inline(always)]
pub fn wanted() -> u8 {
    WANTED.load(Ordering::Relaxed)
}

/// Does it. On the stack of the running thread, interrupts off until user mode.
#[cold]
#[inline(never)]
pub fn act() {
    let cpu = cpus::this();
    if wanted() & OFFSET != 0 {
        // The counter at the end of a call, which no program sees, is not known to the bit; mixed,
        // each bit of it counts.
        let random = mix(cpu::cycles() ^ core::ptr::from_ref(cpu) as u64) as u32;
        cpu.local.entry_offset().stir(random);
    }
    if wanted() & ERASE != 0 {
        // SAFETY: (1) in a thread, on the way to user mode, interrupts off, as the hook
        // `before_user` is.
        unsafe { erase(cpu) };
    }
}

/// Erases what a call has left on this CPU's stacks.
///
/// # Safety
///
/// 1. This is the CPU it runs on, on the stack of its running thread, with interrupts off, and no
///    interrupt is being handled.
#[inline]
pub unsafe fn erase(cpu: &Cpu) {
    let stack = AddrRange { lowest: cpu.local.thread_lowest(), top: cpu.local.thread_top() };
    // SAFETY: (1) by the caller's promise; (2) all stacks are the pool's, which gives them out as
    // zero; (3) no target of this kernel has a red zone (`xtask::arch`); (4) the page of SP was
    // written to: the caller's frame is there.
    unsafe { on_return::erase(&cpu.local, stacks::untouched_below(stack)) };
}
