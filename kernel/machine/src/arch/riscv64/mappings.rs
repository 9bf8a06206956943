//! What the tables that this CPU has loaded map in the kernel's half.

use super::layout::{ARENA, DIRECT_MAP, IMAGE, RECORDS_LOWEST};
use super::paging::{EXEC, LEAF, PRESENT, USER, WRITE, address_in};
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
const FORM: Form = Form { shifts: &[39, 30, 21, 12], read: |value, _| said(value) };

/// Calls `found` with everything that is mapped, in ascending order.
pub fn for_each(found: &mut dyn FnMut(Mapping)) {
    let satp: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("csrr {}, satp", out(reg) satp, options(nomem, nostack, preserves_flags)) };
    /// The root's page number (privileged architecture, 12.1.11).
    const PAGE_NUMBER: u64 = (1 << 44) - 1;
    // An address whose highest 17 bits are equal.
    FORM.walk((satp & PAGE_NUMBER) << 12, 256..512, 0xffff_0000_0000_0000, found);
}

/// What an entry says.
fn said(value: u64) -> Entry {
    if value & PRESENT == 0 {
        return Entry::Absent;
    }
    // The bits of permissions are a leaf's alone.
    if value & LEAF == 0 {
        return Entry::Table(address_in(value), Rights::ALL);
    }
    let access = Access { write: value & WRITE != 0, exec: value & EXEC != 0 };
    Entry::Maps(address_in(value), Rights { access, user: value & USER != 0 })
}

/// Makes a page of the kernel's read-only, or writable. The caller flushes.
pub fn set_writable(leaf: &AtomicU64, write: bool) {
    if write {
        leaf.fetch_or(WRITE, Ordering::AcqRel);
    } else {
        leaf.fetch_and(!WRITE, Ordering::AcqRel);
    }
}
