//! What the tables that this CPU has loaded map in the kernel's half.

use super::layout::{ARENA, CPU_TABLES, DIRECT_MAP, IMAGE, IMAGE_LOWEST};
use super::paging::{ADDRESS, NO_EXEC, NO_EXEC_PRIVILEGED, NOT_BLOCK, PRESENT, READ_ONLY, USER};
use crate::arch::any::mappings::{Entry, Form};
pub use crate::arch::any::mappings::{Mapping, Rights};
use crate::arch::any::paging::Access;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// What lies from which address on, in ascending order.
pub const PARTS: &[(u64, &str)] = &[
    (DIRECT_MAP, "direct map"),
    (ARENA, "stacks"),
    (IMAGE + IMAGE_LOWEST, "image"),
    (CPU_TABLES, "tables of CPUs"),
];

/// Three levels; the first has two entries.
const FORM: Form = Form { shifts: &[30, 21, 12], read: |value, level| said(value, level == 2) };

/// Calls `found` with everything that is mapped, in ascending order.
pub fn for_each(found: &mut dyn FnMut(Mapping)) {
    let (low, high): (u32, u32);
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrrc p15, 1, {}, {}, c2", out(reg) low, out(reg) high, options(nomem, nostack, preserves_flags));
    }
    let root = u64::from(low) | u64::from(high) << 32;
    FORM.walk(root & ADDRESS, 0..2, DIRECT_MAP, found);
}

/// What an entry says, where it may be a table's or, at the last level, not.
fn said(value: u64, is_last: bool) -> Entry {
    if value & PRESENT == 0 {
        return Entry::Absent;
    }
    if value & NOT_BLOCK != 0 && !is_last {
        // The bits of permissions in it are never set.
        return Entry::Table(value & ADDRESS, Rights::ALL);
    }
    let exec = value & (NO_EXEC | NO_EXEC_PRIVILEGED) == 0;
    let access = Access { write: value & READ_ONLY == 0, exec };
    Entry::Maps(value & ADDRESS, Rights { access, user: value & USER != 0 })
}

/// Makes a page of the kernel's read-only, or writable. The caller flushes.
pub fn set_writable(leaf: &AtomicU64, write: bool) {
    let kept = leaf.load(Ordering::Relaxed) & !READ_ONLY;
    leaf.store(if write { kept } else { kept | READ_ONLY }, Ordering::Release);
    // SAFETY: (1) barriers: the entry is there for the table walk of the next access.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}
