//! What the CPUs start with: the first one's stack, and what the next one of the others runs with.
//!
//! The code that starts them is each tree's, and reads it all from here.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Bytes of the stack the first CPU boots on, until its idle stack is there.
pub const BOOT_STACK_BYTES: usize = 32 * 1024;

/// The stack the first CPU boots on.
#[repr(C, align(4096))]
pub(in crate::arch) struct BootStack([AtomicU8; BOOT_STACK_BYTES]);

pub(in crate::arch) static BOOT_STACK: BootStack =
    BootStack([const { AtomicU8::new(0) }; BOOT_STACK_BYTES]);

pub(in crate::arch) static SECONDARY_TABLES: AtomicU64 = AtomicU64::new(0);
pub(in crate::arch) static SECONDARY_STACK: AtomicU64 = AtomicU64::new(0);
pub(in crate::arch) static SECONDARY_ARGUMENT: AtomicU64 = AtomicU64::new(0);

/// What the next CPU that starts will run with: page tables, stack, and the argument of `secondary_main`. One at a time. On a 32-bit
/// CPU each fits a register: the upper halves stay zero.
pub fn prepare_secondary(tables: u64, stack_top: u64, argument: u64) {
    SECONDARY_TABLES.store(tables, Ordering::SeqCst);
    SECONDARY_STACK.store(stack_top, Ordering::SeqCst);
    SECONDARY_ARGUMENT.store(argument, Ordering::SeqCst);
}
