//! All that a CPU needs of this architecture before it takes its first interrupt: its exception
//! stacks with the words above them, its tables, the gates. [`crate::cpu`] calls this, and says
//! what comes when.

use super::load::{fill_gates, gates_are_filled};
use super::tables::{CpuTables, ExceptionHead, Ist, NmiWords, Unfit};
use crate::local::CpuLocal;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;
use kstack_core::addr::AddrRange;
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::kind::StackKind;
use kstack_core::pool::AcquireError;

/// The stacks, and their pages, that a CPU needs here besides its idle stack and its IRQ stack.
pub const CPU_STACKS: &[(StackKind, usize)] = &[
    (StackKind::NmiBody, 4 * WIDER),
    (StackKind::DoubleFault, 4 * WIDER),
    (StackKind::Nmi, 1),
    (StackKind::Debug, 2 * WIDER),
    (StackKind::MachineCheck, 2 * WIDER),
];

/// Frames with red zones take more.
const WIDER: usize = if cfg!(feature = "address-sanitizer") { 2 } else { 1 };

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

const fn kind_of(ist: Ist) -> StackKind {
    match ist {
        Ist::DoubleFault => StackKind::DoubleFault,
        Ist::Nmi => StackKind::Nmi,
        Ist::Debug => StackKind::Debug,
        Ist::MachineCheck => StackKind::MachineCheck,
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

/// Makes a CPU's exception stacks, with `stack`, and its tables.
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
    let words = ByteSize::new(size_of::<NmiWords>());
    let body_top = stack(StackKind::NmiBody)?.top.wrapping_sub(words);
    // SAFETY: (1) the highest bytes of a mapped stack that nothing uses yet; 16-aligned, because a
    // page is.
    unsafe { (body_top.get() as *mut NmiWords).write(NmiWords::new()) };
    let mut ist_tops = [Addr::new(0); Ist::ALL.len()];
    for (top, ist) in ist_tops.iter_mut().zip(Ist::ALL) {
        let head = ByteSize::new(size_of::<ExceptionHead>());
        *top = stack(kind_of(ist))?.top.wrapping_sub(head);
    }
    let nmi_stack = ist_tops[Ist::Nmi as usize - 1].get() as u64;
    for top in ist_tops {
        let head = ExceptionHead { nmi_words: body_top.get() as u64, nmi_stack };
        // SAFETY: (1) as above.
        unsafe { (top.get() as *mut ExceptionHead).write(head) };
    }
    // SAFETY: (1) written above, on a stack that is this CPU's.
    unsafe { local.arch.set_nmi_body_top(body_top) };
    // SAFETY: (1) by the caller's promise.
    unsafe { tables.write(CpuTables::new(Addr::new(tables as usize), ist_tops)) };
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
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            in("rdi") argument,
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
    let tables = local.arch.tables.load(Ordering::Relaxed);
    if !tables.is_null() {
        // SAFETY: (1) (2) by the caller's promise.
        unsafe { CpuTables::set_user_entry_stack(tables, top) };
    }
}
