//! Single instructions, as functions.

use core::arch::asm;
use core::sync::atomic::Ordering;
use kstack::arch::current::tables::CpuTables;
use kstack::interrupts::InterruptsOff;

pub use crate::arch::any::cpu::{
    interrupts_are_on, interrupts_off, interrupts_on, without_interrupts,
};
pub use crate::arch::pc::cpu::{
    breakpoint, continue_on, cycles, flush_all, flush_page, flush_pages, frame_pointer, halt,
    keeps_off_programs, random, stack_pointer, wait_for_interrupt, zero_page,
};
pub(in crate::arch) use crate::arch::pc::cpu::{load_fpu, save_fpu, xrstor, xsave, xsaveopt};

/// Loads the page tables whose root is at this physical address, below 4 GiB. Interrupts are off:
/// the CPU whose task state segments get the root is the one whose register does.
///
/// # Safety
///
/// 1. The tables map the kernel as all others do, and stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64, _off: &InterruptsOff) {
    let tables = crate::cpus::this().arch.tables.load(Ordering::Relaxed);
    if !tables.is_null() {
        // SAFETY: (1) this CPU's tables, with interrupts off; (2) both by the caller's promise.
        unsafe { CpuTables::set_page_tables(tables, root as u32) };
    }
    // SAFETY: (1) by the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root as u32, options(nostack, preserves_flags)) };
}

/// What a program loads into segment registers: every entry saves it, so that there is nothing left
/// to switch.
pub(in crate::arch) type Selectors = ();

/// Stores nothing.
///
/// # Safety
///
/// None: there is nothing to store.
#[inline(always)]
pub(in crate::arch) unsafe fn save_selectors(_to: *mut Selectors) {}

/// Loads nothing.
///
/// # Safety
///
/// None: there is nothing to load.
#[inline(always)]
pub(in crate::arch) unsafe fn load_selectors(_from: *const Selectors) {}

/// Every return to user mode loads all data segments: see `segments`.
pub(in crate::arch) fn reload_local_data() {}

/// The base of GS of the running program, which is none that it could set.
pub(in crate::arch) const fn user_gs_base() -> u64 {
    0
}

/// Sets it.
pub(in crate::arch) const fn set_user_gs_base(_base: u64) {}
