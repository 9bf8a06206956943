//! All that a CPU needs of this architecture before it takes its first interrupt: its overflow
//! stack and the vectors. [`crate::cpu`] calls this, and says what comes when.

use super::tables::{CpuTables, Unfit};
use super::vectors;
use crate::local::CpuLocal;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use kstack_core::addr::Addr;
use kstack_core::addr::AddrRange;
use kstack_core::kind::StackKind;
use kstack_core::pool::AcquireError;

/// The stacks, and their pages, that a CPU needs here besides its idle stack and its IRQ stack. All
/// of the geometry's size: the bit test holds for every stack that the kernel runs on.
pub const CPU_STACKS: &[(StackKind, usize)] =
    &[(StackKind::Overflow, super::GEOMETRY.body().in_pages())];

/// Where the tables of a CPU lie, until they are made.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct TablesPlace(UnsafeCell<MaybeUninit<CpuTables>>);

impl TablesPlace {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    pub(crate) const fn get(&self) -> *mut CpuTables {
        self.0.get().cast()
    }
}

/// Loads the block alone, before the CPU's tables are made.
///
/// # Safety
///
/// 1. As for [`CpuLocal::load`].
pub(crate) unsafe fn load_block(local: &'static CpuLocal, _tables: *mut CpuTables) {
    // SAFETY: (1) by the caller's promise.
    unsafe { local.load() };
}

/// Makes a CPU's overflow stack, with `stack`, and its tables.
///
/// # Safety
///
/// 1. What `stack` gives is mapped, this CPU's for as long as it runs, and used for nothing else.
/// 2. `tables` is mapped and writable, this CPU's likewise.
pub(crate) unsafe fn prepare(
    local: &'static CpuLocal,
    tables: *mut CpuTables,
    mut stack: impl FnMut(StackKind) -> Result<AddrRange, AcquireError>,
) -> Result<(), AcquireError> {
    let top = stack(StackKind::Overflow)?.top;
    let made = CpuTables::new();
    made.set_overflow_stack(top);
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        local.arch.set_overflow_top(top);
        tables.write(made);
    }
    Ok(())
}

/// Loads what [`prepare`] made, on the CPU itself, and its block. A CPU that ran on SP_EL1 is on
/// SP_EL0 afterwards, at the same place.
///
/// # Safety
///
/// 1. As for [`CpuTables::load`], but for SPSel, and for [`CpuLocal::load`].
pub(crate) unsafe fn load(local: &'static CpuLocal, tables: *mut CpuTables) -> Result<(), Unfit> {
    const EL1: u64 = 1 << 2;
    let level: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mrs {}, currentel", out(reg) level, options(nomem, nostack, preserves_flags)) };
    if level != EL1 {
        return Err(Unfit::NotAtEl1);
    }
    if local.arch.overflow_top().get() == 0 {
        return Err(Unfit::NoOverflowStack);
    }
    if local.irq_top().get() == 0 {
        return Err(Unfit::NoIrqStack);
    }
    // SAFETY: (1) by the caller's promise; (2) SP has the same value before and after, whichever
    // register it was.
    unsafe {
        asm!("mov {sp}, sp", "msr spsel, #0", "mov sp, {sp}", sp = out(reg) _, options(nostack, preserves_flags));
        local.load();
        (*tables).load(vectors::vectors());
    }
    Ok(())
}

/// Leaves whatever this runs on for `stack`, an empty stack of `top` downwards, and calls
/// `next(argument)` there.
///
/// # Safety
///
/// 1. The stack below `stack.top` is mapped, this CPU's, and empty; nothing on the old stack is
///    used again.
pub(crate) unsafe fn continue_on(
    stack: AddrRange,
    next: extern "C" fn(argument: usize) -> !,
    argument: usize,
) -> ! {
    // SAFETY: (1) by the caller's promise; (2) a zero frame pointer is the outermost marker; (3) a
    // top is as aligned as the procedure call standard wants SP.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov x29, xzr",
            "blr {next}",
            "brk #1",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            in("x0") argument,
            options(noreturn),
        )
    }
}

/// Entries from user mode start at what [`CpuLocal`] says: there is nothing to tell the CPU.
///
/// # Safety
///
/// 1. As on other architectures.
#[inline(always)]
pub(crate) unsafe fn set_user_entry_stack(_local: &CpuLocal, _top: Addr) {}
