//! What the tables that this CPU has loaded map in the kernel's half.

use super::layout::{ARENA, DIRECT_MAP, IMAGE, RECORDS_LOWEST};
use super::paging::{
    ADDRESS, DIRTY_BY_CPU, NO_KERNEL_EXEC, READ_ONLY, TABLE, USER, VALID, publish,
};
use crate::arch::any::mappings::{Entry, Form};
pub use crate::arch::any::mappings::{Mapping, Rights};
use crate::arch::any::paging::Access;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// What lies from which address on, in ascending order.
pub const PARTS: &[(u64, &str)] = &[
    (DIRECT_MAP, "direct map"),
    (ARENA, "stacks"),
    (RECORDS_LOWEST, "records of stacks"),
    (IMAGE, "image"),
];

/// Four levels.
const FORM: Form = Form { shifts: &[39, 30, 21, 12], read: |value, level| said(value, level == 3) };

/// Calls `found` with everything that is mapped, in ascending order.
pub fn for_each(found: &mut dyn FnMut(Mapping)) {
    let root: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mrs {}, ttbr1_el1", out(reg) root, options(nomem, nostack, preserves_flags)) };
    FORM.walk(root & ADDRESS, 0..512, 0xffff_0000_0000_0000, found);
}

/// What an entry says, where it may be a table's or, at the last level, not. A page that the CPU
/// may make writable counts as that.
fn said(value: u64, is_last: bool) -> Entry {
    if value & VALID == 0 {
        return Entry::Absent;
    }
    if value & TABLE == TABLE && !is_last {
        // The bits of permissions in it are never set.
        return Entry::Table(value & ADDRESS, Rights::ALL);
    }
    let write = value & READ_ONLY == 0 || value & DIRTY_BY_CPU != 0;
    let access = Access { write, exec: value & NO_KERNEL_EXEC == 0 };
    Entry::Maps(value & ADDRESS, Rights { access, user: value & USER != 0 })
}

/// Makes a page of the kernel's read-only, or writable. The caller flushes.
pub fn set_writable(leaf: &AtomicU64, write: bool) {
    let kept = leaf.load(Ordering::Relaxed) & !(READ_ONLY | DIRTY_BY_CPU);
    leaf.store(kept | if write { DIRTY_BY_CPU } else { READ_ONLY }, Ordering::Release);
    publish();
}
