//! What the tables that this CPU has loaded map in the kernel's half.

use super::layout::{
    ARENA, CPU_TABLES, DEVICE_WINDOW, DIRECT_MAP, FIRMWARE_WINDOW, IMAGE, RECORDS_LOWEST,
};
use crate::arch::any::mappings::Form;
pub use crate::arch::any::mappings::{Mapping, Rights};
pub use crate::arch::pc::page_entry::set_writable;
use crate::arch::pc::page_entry::{ADDRESS, said};
use core::arch::asm;

/// What lies from which address on, in ascending order.
pub const PARTS: &[(u64, &str)] = &[
    (DIRECT_MAP, "direct map"),
    (ARENA, "stacks"),
    (RECORDS_LOWEST, "records of stacks"),
    (CPU_TABLES, "tables of CPUs"),
    (FIRMWARE_WINDOW, "firmware"),
    (DEVICE_WINDOW, "devices"),
    (IMAGE, "image"),
];

/// Four levels.
const FORM: Form = Form { shifts: &[39, 30, 21, 12], read: |value, level| said(value, level == 3) };

/// Calls `found` with everything that is mapped, in ascending order.
pub fn for_each(found: &mut dyn FnMut(Mapping)) {
    let root: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    // An address whose highest 17 bits are equal.
    FORM.walk(root & ADDRESS, 256..512, 0xffff_0000_0000_0000, found);
}
