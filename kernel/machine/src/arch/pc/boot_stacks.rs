//! What the CPUs start with: the first one's stack, and what each of the others runs with.
//!
//! The code that starts them is each tree's, and reads it all from here.

use crate::cpus::MAX_CPUS;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize};

/// Bytes of the stack the first CPU boots on, until its idle stack is there.
pub const BOOT_STACK_BYTES: usize = 32 * 1024;
/// Bytes of the guard below it.
const BOOT_GUARD_BYTES: usize = 4096;
/// Where the stack begins, counted from the guard's lowest byte.
pub(in crate::arch) const BOOT_STACK_TOP: usize = BOOT_GUARD_BYTES + BOOT_STACK_BYTES;

/// The stack the first CPU boots on.
#[repr(C, align(4096))]
pub(in crate::arch) struct BootStack([AtomicU8; BOOT_STACK_TOP]);

pub(in crate::arch) static BOOT_STACK: BootStack =
    BootStack([const { AtomicU8::new(0) }; BOOT_STACK_TOP]);

/// The bounds of the stack that the first CPU boots on.
pub fn boot_stack() -> AddrRange {
    AddrRange::sized(boot_guard().top, ByteSize::new(BOOT_STACK_BYTES))
}

/// What lies below it, and is not mapped once the kernel has tables of its own.
pub fn boot_guard() -> AddrRange {
    AddrRange::sized(Addr::new(&raw const BOOT_STACK as usize), ByteSize::new(BOOT_GUARD_BYTES))
}

/// Numbers of local APICs that there can be: as many as the eight bits of CPUID leaf 1 name.
const APICS: usize = 256;

pub(in crate::arch) static SECONDARY_TABLES: AtomicU64 = AtomicU64::new(0);
/// Each CPU's number, by that of its local APIC; and its stack, by its own number. A CPU looks
/// itself up, so that one which starts later than it was waited for runs on its own stack, whatever
/// has been prepared since.
pub(in crate::arch) static SECONDARY_NUMBERS: [AtomicU8; APICS] =
    [const { AtomicU8::new(0) }; APICS];
pub(in crate::arch) static SECONDARY_STACKS: [AtomicU64; MAX_CPUS] =
    [const { AtomicU64::new(0) }; MAX_CPUS];

/// What a CPU will run with when it starts: page tables, the same for all, and by the number of its
/// local APIC its own number, which is the argument of `kernel_secondary`, and a stack. On a 32-bit
/// CPU each fits a register: the upper halves stay zero.
pub fn prepare_secondary(tables: u64, apic: u32, cpu: usize, stack_top: u64) {
    SECONDARY_TABLES.store(tables, Ordering::SeqCst);
    SECONDARY_STACKS[cpu].store(stack_top, Ordering::SeqCst);
    SECONDARY_NUMBERS[apic as usize % APICS].store(cpu as u8, Ordering::SeqCst);
}
