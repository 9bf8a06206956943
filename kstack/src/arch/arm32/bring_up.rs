//! All that a CPU needs of this architecture before it takes its first interrupt: its stacks for
//! overflows, the words of its exception modes, the vectors. [`crate::cpu`] calls this, and says
//! what comes when.

use super::regs::SVC_MODE;
use super::tables::{CpuTables, Unfit};
use super::{entry, vectors};
use crate::local::CpuLocal;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use kstack_core::addr::Addr;
use kstack_core::addr::AddrRange;
use kstack_core::kind::StackKind;
use kstack_core::pool::AcquireError;

/// The per-CPU stacks this architecture needs besides IRQ and idle, with their pages.
pub const CPU_STACKS: &[(StackKind, usize)] = &[(StackKind::Overflow, 2)];

/// Bytes at the top of a stack that its first function leaves alone, as [`crate::first_frame`]
/// does.
const FREE_AT_TOP: usize = 8;

/// Where the tables of a CPU lie, until they are made.
#[derive(Debug)]
#[repr(C, align(16384))]
pub(crate) struct TablesPlace(UnsafeCell<MaybeUninit<CpuTables>>);

impl TablesPlace {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    pub(crate) const fn get(&self) -> *mut CpuTables {
        self.0.get().cast()
    }
}

const _: () = assert!(
    align_of::<TablesPlace>() == super::GEOMETRY.align().get(),
    "the last stack, in the tables, passes the bit test"
);

/// Loads the block alone, before the CPU's tables are made.
///
/// # Safety
///
/// 1. As for [`CpuLocal::load`].
pub(crate) unsafe fn load_block(local: &'static CpuLocal, _tables: *mut CpuTables) {
    // SAFETY: (1) by the caller's promise.
    unsafe { local.load() };
}

/// Makes a CPU's stacks for overflows, with `stack`, and its tables.
///
/// # Safety
///
/// 1. What `stack` gives is mapped, this CPU's for as long as it runs, and used for nothing else.
/// 2. `tables` is mapped and writable, this CPU's likewise, at a multiple of the geometry's
///    alignment.
pub(crate) unsafe fn prepare(
    local: &'static CpuLocal,
    tables: *mut CpuTables,
    mut stack: impl FnMut(StackKind) -> Result<AddrRange, AcquireError>,
) -> Result<(), AcquireError> {
    let top = stack(StackKind::Overflow)?.top;
    let last = CpuTables::last_stack(Addr::new(tables as usize));
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        tables.write(CpuTables::new());
        local.arch.set_overflow_tops(top, last.top);
    }
    Ok(())
}

/// Loads what [`prepare`] made, on the CPU itself, and its block.
///
/// # Safety
///
/// 1. As for [`CpuTables::load`], and for [`CpuLocal::load`].
pub(crate) unsafe fn load(local: &'static CpuLocal, tables: *mut CpuTables) -> Result<(), Unfit> {
    const MODE: u32 = 0x1f;
    let status: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mrs {}, cpsr", out(reg) status, options(nomem, nostack, preserves_flags)) };
    if status & MODE != SVC_MODE {
        return Err(Unfit::NotInSvcMode);
    }
    if local.arch.overflow_top().get() == 0 {
        return Err(Unfit::NoOverflowStack);
    }
    if local.irq_top().get() == 0 {
        return Err(Unfit::NoIrqStack);
    }
    // SAFETY: (1) by the caller's promise.
    unsafe {
        local.load();
        local.arch.keep_irq_before_test(entry::irq_before_test());
        CpuTables::load(tables, vectors::vectors());
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
            "sub sp, {top}, #{free}",
            "mov r11, #0",
            "blx {next}",
            "udf #0",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            in("r0") argument,
            free = const FREE_AT_TOP,
            options(noreturn),
        )
    }
}

/// SP_svc is there already when the CPU leaves for user mode: there is nothing to tell it.
///
/// # Safety
///
/// 1. As on other architectures.
#[inline(always)]
pub(crate) unsafe fn set_user_entry_stack(_local: &CpuLocal, _top: Addr) {}
