//! The vector table.

use super::cause::{DATA_ABORT, LINE, PREFETCH_ABORT, UNDEFINED};
use super::entry::{stub, svc_entry};
use super::fiq::fiq_entry;
use super::save::unsaved;
use crate::arch::cfi::interrupted;
use core::arch::global_asm;
use kstack_core::addr::Addr;

global_asm!(
    ".section .text.kstack_entry, \"ax\"",
    ".arm",
    ".balign 32",
    ".globl kstack_vectors",
    "kstack_vectors:",
    interrupted!(),
    unsaved!(),
    // Reset and the hypervisor's entry: never taken here.
    "b .",
    "b {undefined}",
    "b {svc}",
    "b {prefetch}",
    "b {data}",
    "b .",
    "b {irq}",
    "b {fiq}",
    ".cfi_endproc",
    ".text",
    // The return address is past an undefined instruction by 2 or 4, which on_exception takes into
    // account.
    undefined = sym stub::<UNDEFINED, 0>,
    svc = sym svc_entry,
    prefetch = sym stub::<PREFETCH_ABORT, 4>,
    data = sym stub::<DATA_ABORT, 8>,
    irq = sym stub::<LINE, 4>,
    fiq = sym fiq_entry,
);

/// Where the vectors are.
pub fn vectors() -> Addr {
    unsafe extern "C" {
        safe static kstack_vectors: u8;
    }
    Addr::new(&raw const kstack_vectors as usize)
}
