//! The emulator's calls: its debug console, and ending the machine with a status.
//!
//! `hlt #0xf000` with the operation in w0 and its argument in x1 ("Semihosting for AArch32 and
//! AArch64", Arm).

use crate::drivers::serial::Uart;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, Ordering};

const SYS_WRITEC: u64 = 0x03;
/// Text up to a NUL.
pub(super) const SYS_WRITE0: u64 = 0x04;
pub(super) const SYS_EXIT_EXTENDED: u64 = 0x20;
/// Reason "application exit": the second word is the status.
pub(super) const APPLICATION_EXIT: u64 = 0x2_0026;

/// Whether the machine answers: without, the instruction is an undefined one.
static HAS_SEMIHOSTING: AtomicBool = AtomicBool::new(false);

global_asm!(
    // Every exception continues past the instruction that caused it, with a mark in x10.
    ".section .text.semihosting_probe, \"ax\"",
    ".balign 2048",
    "semihosting_probe_vectors:",
    ".rept 16",
    ".balign 128",
    "mrs x9, elr_el1",
    "add x9, x9, #{instruction}",
    "msr elr_el1, x9",
    "mov x10, #1",
    "eret",
    ".endr",
    ".balign 128",
    ".text",
    instruction = const 4,
);

/// Finds out whether the machine has semihosting, by asking for the last error number. Once, at
/// boot, everything masked.
fn find_semihosting() {
    const SYS_ERRNO: u64 = 0x13;
    unsafe extern "C" {
        static semihosting_probe_vectors: u8;
    }
    let faulted: u64;
    // SAFETY: (1) if the instruction traps, the vectors lead behind it, and change what is
    // declared; everything is masked, so nothing else comes to them; (2) the vectors are as they
    // were afterwards; (3) the operation reads and writes no memory.
    unsafe {
        asm!("mrs {old}, vbar_el1", "msr vbar_el1, {probe}", "isb", "hlt #0xf000", "msr vbar_el1, {old}", "isb",
             old = out(reg) _, probe = in(reg) &raw const semihosting_probe_vectors, inout("x0") SYS_ERRNO => _,
             inout("x1") 0_u64 => _, out("x9") _, inout("x10") 0_u64 => faulted, options(nostack));
    }
    HAS_SEMIHOSTING.store(faulted == 0, Ordering::Relaxed);
}

/// One semihosting operation, if the machine has them.
///
/// # Safety
///
/// 1. `argument` is what the operation wants, and memory behind it is valid.
pub(super) unsafe fn semihosting(operation: u64, argument: *const u64) {
    if !HAS_SEMIHOSTING.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: (1) by the caller's promise; (2) the emulator changes x0 only.
    unsafe {
        asm!("hlt #0xf000", inout("x0") operation => _, in("x1") argument, options(nostack));
    }
}

/// The debug console, as a serial line. Where there is none, what is sent is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Semihosting;

impl Uart for Semihosting {
    /// Finds out whether there is one. Nothing comes in.
    fn set_up(self, _interrupt_on_input: bool) {
        find_semihosting();
    }

    /// Nothing does.
    fn let_interrupt(self, _on_input: bool) {}

    /// It has no line.
    fn interrupt_when_ready(self) {}

    fn put(self, byte: u8) {
        // SAFETY: (1) the operation reads one byte at the address.
        unsafe { semihosting(SYS_WRITEC, (&raw const byte).cast()) };
    }

    fn take(self) -> Option<u8> {
        None
    }
}
