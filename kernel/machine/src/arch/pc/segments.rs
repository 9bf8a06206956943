//! Segments that programs describe themselves: the local descriptor table (Intel SDM vol. 3, 3.5).
//!
//! Each address space has one [`LocalSegments`] at most, shared by all threads that run in it. A
//! CPU loads the table when such a thread comes, and none when it leaves. A table never changes
//! once it can be loaded: a change makes another one.
//!
//! ```text
//!   the thread that changes it              each other CPU
//!   makes a new table, and names it
//!   an interrupt to each, and waits ───▶    has loaded this space's? loads what is named now; answers
//!   loads the new one, drops the old one
//! ```
//!
//! # No return to user mode faults
//!
//! An `iret` to a segment that is not there, or to an instruction beyond its end, faults in the
//! kernel. So what the saved registers name is looked at right before ([`fault_of_return`]), for
//! each thread whose registers can name anything but the segments that are always there: one with a
//! table, and one that came back from a handler with other segments. Interrupts are off from the
//! look to user mode, and it is an interrupt, or a wait with interrupts off for a lock that is
//! never held there, that loads another table: what was there stays there.
//!
//! | saved selector | looked at |
//! | --- | --- |
//! | CS, SS | by `lar` and `lsl`, as `iret` does (Intel SDM vol. 2, IRET): the exception that it would raise is the program's |
//! | DS, ES, FS, GS on i386 | by `lar`: one that is not there any more becomes null, as on Linux |
//! | DS, ES, FS, GS in 64-bit mode | when a thread comes, since they are loaded then: the same |
//!
//! # What no table has
//!
//! A segment of privilege 3 is all that a [`Segment`] can be: no gate, no 64-bit code, and accessed
//! already, so that no CPU writes to the table. A stack segment of 16 bits is none: `iret` loads
//! only half of SP for it and leaves half of the kernel's to the program.

use super::access::{ALLOWED, CODE, CODE_64, PRESENT, PRIVILEGE, last_byte, rights};
use crate::arch::any::flush;
pub use crate::arch::any::segments::{Description, MOST};
use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, user};
use crate::cpus;
use crate::memory::fallible::{self, NoMemory};
use crate::spin::SpinLock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack::addr::Addr;
use kstack::arch::current::tables::CpuTables;

/// A segment of a program, as the CPU reads it; or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Segment(u64);

impl Segment {
    /// None.
    pub const NONE: Self = Self(0);

    /// One of privilege level 3, accessed (Intel SDM vol. 3, figure 3-8).
    pub const fn new(of: Description) -> Self {
        let (base, limit) = (of.base as u64, of.limit as u64);
        let kind = 1 | (!of.is_restricted as u64) << 1 | (of.contents as u64 & 3) << 2;
        const OF_PROGRAM: u64 = 1 << 44 | 3 << 45;
        Self(
            limit & 0xffff
                | (base & 0xff_ffff) << 16
                | kind << 40
                | OF_PROGRAM
                | (of.is_present as u64) << 47
                | (limit >> 16 & 0xf) << 48
                | (of.is_available as u64) << 52
                | (of.is_32_bit as u64) << 54
                | (of.in_pages as u64) << 55
                | (base >> 24) << 56,
        )
    }

    /// As the program reads it.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Table(Vec<Segment>);

/// The table of an address space. See the module's head.
#[derive(Debug)]
pub struct LocalSegments {
    table: SpinLock<Arc<Table>>,
    /// The same table, for CPUs.
    named: AtomicPtr<Table>,
}

impl LocalSegments {
    /// One with these segments.
    pub fn new(segments: Vec<Segment>) -> Result<Arc<Self>, NoMemory> {
        assert!(segments.len() <= MOST, "more segments than a table has");
        let table = fallible::shared(Table(segments))?;
        let named = AtomicPtr::new(Arc::as_ptr(&table).cast_mut());
        fallible::shared(Self { table: SpinLock::new(table), named })
    }

    /// The table of a child's copy of the address space.
    pub fn fork(&self) -> Result<Arc<Self>, NoMemory> {
        Self::new(self.copy(0)?)
    }

    /// A copy of the segments, with room for one at least.
    pub fn copy(&self, least: usize) -> Result<Vec<Segment>, NoMemory> {
        let table = self.table.lock().clone();
        let mut copy = Vec::new();
        let length = table.0.len().max(least);
        copy.try_reserve_exact(length).map_err(|_| NoMemory)?;
        // CANNOT FAIL: there is room for all.
        copy.extend_from_slice(&table.0);
        copy.resize(length, Segment::NONE);
        Ok(copy)
    }

    /// Replaces all of them, on every CPU. Interrupts are on, or no lock is held that is waited for
    /// without answering.
    pub fn replace(&self, segments: Vec<Segment>) -> Result<(), NoMemory> {
        assert!(segments.len() <= MOST, "more segments than a table has");
        let table = fallible::shared(Table(segments))?;
        let before = {
            let mut now = self.table.lock();
            self.named.store(Arc::as_ptr(&table).cast_mut(), Ordering::SeqCst);
            core::mem::replace(&mut *now, table)
        };
        // Until all have answered, a CPU may have the one before loaded.
        flush::set_also(refresh);
        flush::flush_others(core::hint::spin_loop);
        cpu::without_interrupts(refresh);
        drop(before);
        Ok(())
    }

    /// Makes this CPU use it. Interrupts off. What `self` points at stays until [`unload`].
    pub(super) fn load(&self) {
        let cpu = cpus::this();
        cpu.arch
            .local_segments
            .store(core::ptr::from_ref(self).cast_mut().cast(), Ordering::Relaxed);
        let table = self.named.load(Ordering::SeqCst);
        // SAFETY: (1) the table is dropped only after this CPU has answered, which it does not
        // before interrupts are on again, or in a wait that loads the one named then.
        let segments = unsafe { &(*table).0 };
        set(Addr::new(segments.as_ptr() as usize), size_of_val(&segments[..]) as u32);
        cpu::reload_local_data();
    }
}

/// Makes this CPU use none. Interrupts off.
pub(super) fn unload() {
    let loaded = &cpus::this().arch.local_segments;
    if !loaded.load(Ordering::Relaxed).is_null() {
        loaded.store(core::ptr::null_mut(), Ordering::Relaxed);
        set(Addr::new(0), 0);
    }
}

/// Whether this CPU uses it.
pub(super) fn is_loaded(segments: *const LocalSegments) -> bool {
    core::ptr::eq(cpus::this().arch.local_segments.load(Ordering::Relaxed), segments.cast())
}

/// Loads again what is named now. Interrupts off.
fn refresh() {
    let loaded = cpus::this().arch.local_segments.load(Ordering::Relaxed).cast::<LocalSegments>();
    // SAFETY: (1) what a CPU has loaded, the thread that runs there keeps, until `unload`.
    if let Some(loaded) = unsafe { loaded.as_ref() } {
        loaded.load();
    }
}

fn set(base: Addr, bytes: u32) {
    let tables = cpus::this().arch.tables.load(Ordering::Relaxed);
    // SAFETY: (1) this CPU's loaded tables, interrupts off by the callers; (2) a table does not
    // change, and stays: see the module's head; (3) a `Segment` is nothing else; (4)
    // `fault_of_return` is asked for each thread that has a table.
    unsafe { CpuTables::set_local_segments(tables, base, bytes) };
}

/// Whether a selector can be a program's SS. Interrupts off, or the answer is old.
pub fn is_stack(selector: u16) -> bool {
    stack_fault(selector).is_none()
}

const NOT_PRESENT: u8 = 11;
const STACK: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;

fn stack_fault(selector: u16) -> Option<(u8, u32)> {
    let error = u32::from(selector & !3);
    match rights(selector) {
        _ if selector <= 3 => Some((GENERAL_PROTECTION, 0)),
        Some(rights)
            if selector & 3 == 3
                && rights & (CODE | ALLOWED) == ALLOWED
                && rights & PRIVILEGE == PRIVILEGE =>
        {
            (rights & PRESENT == 0).then_some((STACK, error))
        }
        _ => Some((GENERAL_PROTECTION, error)),
    }
}

/// The exception that a return to user mode with these registers would raise; its error code is in
/// them then. What can be mended, is: data segments that are not there any more. Interrupts off
/// until then.
pub fn fault_of_return(regs: &mut SavedRegs) -> Option<u8> {
    user::mend_data_segments(regs);
    let (vector, error) = fault_of(regs)?;
    user::set_error_code(regs, error);
    Some(vector)
}

fn fault_of(regs: &SavedRegs) -> Option<(u8, u32)> {
    let [code, stack, pc] = user::where_it_goes(regs);
    let (code, stack) = (code as u16, stack as u16);
    let error = u32::from(code & !3);
    let rights = match rights(code) {
        _ if code <= 3 => return Some((GENERAL_PROTECTION, 0)),
        Some(rights) if code & 3 == 3 && rights & CODE != 0 => rights,
        _ => return Some((GENERAL_PROTECTION, error)),
    };
    if rights & PRESENT == 0 {
        return Some((NOT_PRESENT, error));
    }
    if let Some(fault) = stack_fault(stack) {
        return Some(fault);
    }
    // The address of 64-bit code is the return path's affair.
    let is_beyond = |last: u32| pc > u64::from(last);
    let is_bad = rights & CODE_64 == 0 && last_byte(code).is_none_or(is_beyond);
    is_bad.then_some((GENERAL_PROTECTION, 0))
}
