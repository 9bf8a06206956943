//! What the tables that this CPU has loaded map in the kernel's part.

use super::layout::{
    ARENA, CPU_TABLES, DEVICE_WINDOW, DEVICES, DIRECT_MAP, FIRMWARE_WINDOW, IMAGE,
};
use crate::arch::any::mappings::{Entry, Form};
pub use crate::arch::any::mappings::{Mapping, Rights};
use crate::arch::pc::page_entry::said;
pub use crate::arch::pc::page_entry::set_writable;
use core::arch::asm;

/// What lies from which address on, in ascending order.
pub const PARTS: &[(u64, &str)] = &[
    (IMAGE, "image"),
    (DIRECT_MAP, "direct map"),
    (ARENA, "stacks"),
    (CPU_TABLES, "tables of CPUs"),
    (FIRMWARE_WINDOW, "firmware"),
    (DEVICE_WINDOW, "devices"),
    (DEVICES[0], "interrupt controllers"),
];

/// Three levels. The first has no permissions.
const FORM: Form = Form {
    shifts: &[30, 21, 12],
    read: |value, level| match said(value, level == 2) {
        Entry::Table(table, _) if level == 0 => Entry::Table(table, Rights::ALL),
        said => said,
    },
};

/// Calls `found` with everything that is mapped, in ascending order.
pub fn for_each(found: &mut dyn FnMut(Mapping)) {
    let root: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    let kernel = IMAGE >> 30;
    // The lowest five bits are not the address's.
    FORM.walk(u64::from(root & !31), kernel..kernel + 1, 0, found);
}
