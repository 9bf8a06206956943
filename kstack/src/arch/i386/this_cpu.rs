//! How a CPU finds its block: through the FS segment.
//!
//! The descriptor [`PER_CPU`] in each CPU's table has the block as its base. The first word of
//! [`CpuLocal`] is its own address, so that one load through FS gives a pointer. In user mode FS is
//! the program's; every entry loads the kernel's.

use super::RESERVE;
use super::local::ArchLocal;
use super::tables::{GUARD_SEGMENT, PER_CPU};
use crate::local::{CpuLocal, OneStep};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::irq::IrqState;

impl ArchLocal {
    pub(super) const NMI_BODY_TOP: usize = CpuLocal::ARCH + offset_of!(Self, nmi_body_top);
    pub(super) const NMI_ACTIVE: usize = CpuLocal::ARCH + offset_of!(Self, nmi_active);
    pub(super) const NMI_LATCHED: usize = CpuLocal::ARCH + offset_of!(Self, nmi_latched);
    pub(super) const DEBUG_TOP: usize = CpuLocal::ARCH + offset_of!(Self, debug_top);
    pub(super) const DEBUG_ACTIVE: usize = CpuLocal::ARCH + offset_of!(Self, debug_active);
    pub(super) const MACHINE_CHECK_TOP: usize =
        CpuLocal::ARCH + offset_of!(Self, machine_check_top);
    pub(super) const SYSENTER_RETURN: usize = CpuLocal::ARCH + offset_of!(Self, sysenter_return);
}

/// Makes `local` the CPU's own: fills the descriptor [`PER_CPU`] of the table that is loaded, and
/// loads FS.
///
/// # Safety
///
/// 1. As for [`CpuLocal::load`], whose second half this is.
/// 2. The loaded descriptor table is writable, has room for [`PER_CPU`], and no other CPU loads FS
///    from it meanwhile.
pub(crate) unsafe fn load(local: &'static CpuLocal) {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u32,
    }
    let mut gdt = Pointer { limit: 0, base: 0 };
    let descriptor = super::tables::data_descriptor(core::ptr::from_ref(local) as u32);
    // SAFETY: (1) only stores the register; (2) by the caller's promise there is room; (3) the
    // descriptor is a writable data segment, which FS may hold.
    unsafe {
        asm!("sgdt [{}]", in(reg) &raw mut gdt, options(nostack, preserves_flags));
        ((gdt.base + u32::from(PER_CPU)) as *mut u64).write_volatile(descriptor);
        asm!("mov fs, {:x}", in(reg) PER_CPU, options(nostack, preserves_flags));
        if crate::protected::IS_ON {
            asm!("mov gs, {:x}", in(reg) GUARD_SEGMENT, options(nostack, preserves_flags));
        }
    }
}

/// Whether code that the stack protector was compiled into finds its canary in the CPU's block, or
/// with the thread: what [`crate::protector`] needs.
#[cfg(feature = "stack-protector")]
pub(crate) const COMPILED_CODE_FINDS_CANARY: bool = true;

/// See [`PLACE_IN_THREAD`](crate::protector::PLACE_IN_THREAD).
pub(crate) const GUARD_IN_THREAD: Option<usize> = None;

/// The word that compiled code compares the canaries of frames with, on the CPU this runs on.
#[inline(always)]
pub(crate) fn guard(local: &CpuLocal) -> &AtomicUsize {
    &local.canary
}

/// The block is about to be loaded: compiled code continues to compare with what it does.
#[inline(always)]
pub(crate) fn keep_guard(local: &CpuLocal) {
    /// Where LLVM has it, in GS.
    const GUARD: usize = 0x14;
    const { assert!(offset_of!(CpuLocal, canary) == GUARD) };
    let canary;
    // SAFETY: (1) GS has a block, or boot's guard, by what a kernel with the stack protector sees
    // to.
    unsafe {
        asm!("mov {}, gs:[{at}]", out(reg) canary, at = const GUARD,
             options(nostack, preserves_flags, readonly));
    }
    local.canary.store(canary, Ordering::Relaxed);
}

/// Offset of the word that says who is where, for [`ONE_STEP`].
const IRQ_CONTEXT: usize = offset_of!(CpuLocal, irq) + IrqState::CONTEXT;
/// Offset of the mask of softirqs that are pending, likewise.
const IRQ_PENDING: usize = offset_of!(CpuLocal, irq) + IrqState::PENDING;

/// What this CPU does to its block in one instruction, with interrupts on: an interrupt comes
/// before or after it, and it reaches the block of the CPU that executes it, whichever that is.
pub(crate) const ONE_STEP: Option<OneStep> =
    Some(OneStep { disable_bottom_halves, enable_bottom_halves, raise });

#[inline(always)]
fn disable_bottom_halves() {
    // SAFETY: (1) as for `this`.
    unsafe {
        asm!("add dword ptr fs:[{context}], {once}", context = const IRQ_CONTEXT,
             once = const IrqState::BOTTOM_HALVES_OFF_ONCE, options(nostack));
    }
}

#[inline(always)]
fn enable_bottom_halves() -> bool {
    // SAFETY: (1) as for `this`.
    unsafe {
        asm!("sub dword ptr fs:[{context}], {once}", "jb {too_many}", "jnz {left}",
             "cmp dword ptr fs:[{pending}], 0", "je {left}",
             context = const IRQ_CONTEXT, pending = const IRQ_PENDING,
             once = const IrqState::BOTTOM_HALVES_OFF_ONCE,
             too_many = label {
                 // None were disabled: the word is as it was, and softirqs that are pending may
                 // run.
                 disable_bottom_halves();
                 return true;
             },
             left = label { return false; }, options(nostack));
    }
    true
}

#[inline(always)]
fn raise(softirqs: u32) {
    // SAFETY: (1) as for `this`.
    unsafe {
        asm!("or dword ptr fs:[{pending}], {softirqs:e}", pending = const IRQ_PENDING,
             softirqs = in(reg) softirqs, options(nostack));
    }
}

/// See [`CpuLocal::this`]. One load.
#[inline(always)]
pub(crate) fn this() -> &'static CpuLocal {
    let address: usize;
    // SAFETY: (1) FS is a loaded block ([`CpuLocal::load`] comes before any code that can get
    // here); (2) its first word is its own address.
    unsafe {
        asm!("mov {}, fs:[{own}]", out(reg) address, own = const CpuLocal::OWN_ADDRESS,
             options(nostack, preserves_flags, readonly));
        &*(address as *const CpuLocal)
    }
}

/// The running thread has changed: it is read from the block, so there is nothing else to set.
#[inline(always)]
pub(crate) fn set_current(_local: &CpuLocal, _thread: usize) {}

/// See [`CpuLocal::current_thread`]. One load.
#[inline(always)]
pub(crate) fn current_thread() -> usize {
    let thread: usize;
    // SAFETY: (1) as for `this`.
    unsafe {
        asm!("mov {}, fs:[{thread}]", out(reg) thread, thread = const CpuLocal::THREAD,
             options(nostack, preserves_flags, readonly));
    }
    thread
}

/// SP, in the function that this is inlined into.
#[inline(always)]
pub(crate) fn sp() -> usize {
    let sp;
    // SAFETY: (1) reading SP has no effect.
    unsafe { asm!("mov {}, esp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// Zeroes the words from `from` to SP. One piece of assembly, so that SP is where it is when the
/// last word is zeroed: no frame is below it.
///
/// # Safety
///
/// 1. They are of the stack that this runs on, and in use by nothing (no red zone).
#[inline(always)]
pub(crate) unsafe fn wipe_below_sp(from: usize) {
    // SAFETY: (1) below SP, and of the stack: by the caller's promise.
    unsafe {
        asm!(
            "jmp 3f",
            "2: mov dword ptr [{at}], 0",
            "add {at}, {word}",
            "3: cmp {at}, esp",
            "jb 2b",
            at = inout(reg) from => _,
            word = const size_of::<usize>(),
            options(nostack),
        );
    }
}

/// How far SP stands above the lowest byte of the running thread's stack; more than any stack has
/// where SP is not on it. Interrupts off: the thread stays on this CPU.
#[inline(always)]
pub(crate) fn left_on_thread_stack() -> usize {
    let left: usize;
    // SAFETY: (1) as for `this`; reading ESP has no effect.
    unsafe {
        asm!("mov {left}, esp", "sub {left}, fs:[{line}]", left = out(reg) left,
             line = const CpuLocal::THREAD_LINE, options(nostack, readonly));
    }
    left.wrapping_add(RESERVE.get())
}

/// Whether SP may be less than MORE bytes above the line on the thread's stack: a first look, in
/// two instructions, or three for more than 0 bytes, that is wrong on a stack that lies below the
/// thread's.
#[inline(always)]
pub(crate) fn may_be_below_line<const MORE: usize>() -> bool {
    // SAFETY: (1) as for `this`; only compares.
    unsafe {
        if MORE == 0 {
            asm!("cmp esp, fs:[{line}]", "jb {below}", line = const CpuLocal::THREAD_LINE,
                 below = label { return true; }, options(nostack, readonly));
        } else {
            asm!("lea {sp}, [esp - {more}]", "cmp {sp}, fs:[{line}]", "jb {below}", sp = out(reg) _,
                 more = const MORE, line = const CpuLocal::THREAD_LINE,
                 below = label { return true; }, options(nostack, readonly));
        }
    }
    false
}
