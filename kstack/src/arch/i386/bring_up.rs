//! All that a CPU needs of this architecture before it takes its first interrupt: its stacks for
//! entries, its tables, the gates. [`crate::cpu`] calls this, and says what comes when.

use super::double_fault;
use super::load::{fill_gates, gates_are_filled};
use super::tables::{CpuTables, Unfit};
use crate::local::CpuLocal;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use kstack_core::addr::Addr;
use kstack_core::addr::AddrRange;
use kstack_core::kind::StackKind;
use kstack_core::pool::AcquireError;

/// The stacks, and their pages, that a CPU needs here besides its idle stack and its IRQ stack.
pub const CPU_STACKS: &[(StackKind, usize)] = &[
    (StackKind::Softirq, 2),
    (StackKind::NmiBody, 2),
    (StackKind::Debug, 1),
    (StackKind::MachineCheck, 2),
    (StackKind::DoubleFault, 2),
];

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

/// Loads the block alone, before the CPU's tables are made. Its segment needs a descriptor table,
/// and the one that a boot loader has left may be too short for it, or gone with the loader's
/// memory: the CPU gets the kernel's segments in `tables` first.
///
/// # Safety
///
/// 1. As for [`CpuLocal::load`].
/// 2. `tables` is mapped and writable, this CPU's for as long as it runs, and not loaded yet.
pub(crate) unsafe fn load_block(local: &'static CpuLocal, tables: *mut CpuTables) {
    // SAFETY: (1) by the caller's promise; (2) the table that is loaded then has room.
    unsafe {
        CpuTables::load_first_segments(tables);
        local.load();
    }
}

/// Makes a CPU's stacks for entries, with `stack`, and its tables. The double fault runs on the
/// page tables that are loaded now; a kernel that loads others says so
/// ([`CpuTables::set_page_tables`]).
///
/// # Safety
///
/// 1. What `stack` gives is mapped, this CPU's for as long as it runs, and used for nothing else.
/// 2. `tables` is mapped and writable, this CPU's likewise, and not loaded yet.
pub(crate) unsafe fn prepare(
    local: &'static CpuLocal,
    tables: *mut CpuTables,
    mut stack: impl FnMut(StackKind) -> Result<AddrRange, AcquireError>,
) -> Result<(), AcquireError> {
    let mut top = |kind| stack(kind).map(|stack| stack.top);
    // SAFETY: (1) by the caller's promise.
    unsafe {
        local.arch.set_softirq_top(top(StackKind::Softirq)?);
        let (nmi_body, debug) = (top(StackKind::NmiBody)?, top(StackKind::Debug)?);
        local.arch.set_own_tops(nmi_body, debug, top(StackKind::MachineCheck)?);
    }
    let root: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    let double_fault_top = top(StackKind::DoubleFault)?;
    let entry = Addr::new(double_fault::double_fault as *const () as usize);
    let made = CpuTables::new(Addr::new(tables as usize), double_fault_top, entry, root);
    // SAFETY: (1) by the caller's promise.
    unsafe { tables.write(made) };
    Ok(())
}

/// Loads what [`prepare`] made, on the CPU itself, and its block.
///
/// # Safety
///
/// 1. As for [`CpuTables::load`], and the section `.data.kstack_once` is writable unless the gates
///    are filled.
pub(crate) unsafe fn load(local: &'static CpuLocal, tables: *mut CpuTables) -> Result<(), Unfit> {
    // Every CPU that finds them empty fills them with the same.
    if !gates_are_filled() {
        // SAFETY: (1) by the caller's promise.
        unsafe { fill_gates() };
    }
    if local.irq_top().get() == 0 {
        return Err(Unfit::NoIrqStack);
    }
    // SAFETY: (1) by the caller's promise.
    unsafe { CpuTables::load(tables, local) }
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
            "mov esp, {top}",
            "sub esp, 3 * {word}",
            "push {argument}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            argument = in(reg) argument,
            word = const size_of::<usize>(),
            options(noreturn),
        )
    }
}

/// Sets the stack for entries from user mode on the CPU this runs on, if its tables are this
/// library's.
///
/// # Safety
///
/// 1. `local` is the block of the CPU this runs on, and interrupts are off.
/// 2. `top` is the top of the stack of the thread that runs when user mode is next entered.
#[inline(always)]
pub(crate) unsafe fn set_user_entry_stack(local: &CpuLocal, top: Addr) {
    let tables = local.arch.tables();
    if !tables.is_null() {
        // SAFETY: (1) (2) by the caller's promise.
        unsafe { CpuTables::set_user_entry_stack(tables, top) };
    }
}
