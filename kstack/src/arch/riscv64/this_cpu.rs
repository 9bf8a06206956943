//! How a CPU finds its block: tp, which is no allocatable register, and stands `TP` bytes above
//! the block's lowest.
//!
//! Where code that the stack protector was compiled into looks for its canary, 24 bytes below tp,
//! is the block's canary so. To find the block takes one instruction either way.
//!
//! In user mode tp is the program's, and the block's address waits in `sscratch`; see the table of
//! states in [`super::entry`].

use super::RESERVE;
use super::local::{ArchLocal, TP};
use crate::local::{CpuLocal, OneStep};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The offset from tp of what has this offset in [`CpuLocal`], for assembly.
pub(super) const fn from_tp(offset: usize) -> isize {
    offset as isize - TP as isize
}

impl ArchLocal {
    /// Offset from tp of the word for t0, for assembly.
    pub(super) const T0: isize = from_tp(CpuLocal::ARCH + offset_of!(Self, t0));
    /// Offset from tp of the word for a broken SP, for assembly.
    pub(super) const BROKEN_SP: isize = from_tp(CpuLocal::ARCH + offset_of!(Self, broken_sp));
    /// Offset from tp of the overflow stack's top, for assembly.
    pub(super) const OVERFLOW_TOP: isize = from_tp(CpuLocal::ARCH + offset_of!(Self, overflow_top));
    /// Offset from tp of the count of overflows, for assembly.
    pub(super) const OVERFLOWS: isize = from_tp(CpuLocal::ARCH + offset_of!(Self, overflows));
}

/// Makes `local` the CPU's own: tp, and 0 in `sscratch`, which says "in the kernel".
///
/// # Safety
///
/// As for [`CpuLocal::load`], whose second half this is.
pub(crate) unsafe fn load(local: &'static CpuLocal) {
    // SAFETY: (1) tp is reserved: compiled code neither keeps anything there nor expects anything;
    // (2) the address is in the block, which stays by the caller's promise.
    unsafe {
        asm!("csrw sscratch, zero", "addi tp, {}, {above}", in(reg) core::ptr::from_ref(local),
             above = const TP, options(nostack));
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
    /// Where LLVM has it, from tp.
    const GUARD: isize = -0x18;
    const { assert!(from_tp(offset_of!(CpuLocal, canary)) == GUARD) };
    let canary;
    // SAFETY: (1) tp is that of a block, or of boot's, by what a kernel with the stack protector
    // sees to.
    unsafe {
        asm!("ld {}, {at}(tp)", out(reg) canary, at = const GUARD,
             options(nostack, preserves_flags, readonly));
    }
    local.canary.store(canary, Ordering::Relaxed);
}

/// What this CPU does to its block in one instruction, with interrupts on: nothing. An atomic
/// instruction takes its address from a register, and between finding the block and it the thread
/// may be moved to another CPU.
pub(crate) const ONE_STEP: Option<OneStep> = None;

/// See [`CpuLocal::this`]. One instruction.
#[inline(always)]
pub(crate) fn this() -> &'static CpuLocal {
    let address: usize;
    // SAFETY: (1) tp is a loaded block ([`CpuLocal::load`] comes before any code that can get
    // here).
    unsafe {
        asm!("addi {}, tp, -{above}", out(reg) address, above = const TP,
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
        asm!("ld {}, {thread}(tp)", out(reg) thread, thread = const from_tp(CpuLocal::THREAD),
             options(nostack, preserves_flags, readonly));
    }
    thread
}

/// SP, in the function that this is inlined into.
#[inline(always)]
pub(crate) fn sp() -> usize {
    let sp;
    // SAFETY: (1) reading SP has no effect.
    unsafe { asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
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
            "j 3f",
            "2: sd zero, 0({at})",
            "addi {at}, {at}, {word}",
            "3: bltu {at}, sp, 2b",
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
    // SAFETY: (1) as for `this`; reading SP has no effect.
    unsafe {
        asm!("ld {left}, {line}(tp)", "sub {left}, sp, {left}", left = out(reg) left,
             line = const from_tp(CpuLocal::THREAD_LINE), options(nostack, preserves_flags, readonly));
    }
    left.wrapping_add(RESERVE.get())
}

/// Whether SP may be less than MORE bytes above the line on the thread's stack: a first look, in
/// two instructions, or three for more than 0 bytes, that is wrong on a stack that lies below the
/// thread's.
#[inline(always)]
pub(crate) fn may_be_below_line<const MORE: usize>() -> bool {
    // SAFETY: (1) as for `this`; reading SP has no effect.
    unsafe {
        if MORE == 0 {
            asm!("ld {line}, {at}(tp)", "bltu sp, {line}, {below}", line = out(reg) _,
                 at = const from_tp(CpuLocal::THREAD_LINE),
                 below = label { return true; }, options(nostack, preserves_flags, readonly));
        } else {
            asm!("ld {line}, {at}(tp)", "addi {line}, {line}, {more}", "bltu sp, {line}, {below}",
                 line = out(reg) _, at = const from_tp(CpuLocal::THREAD_LINE), more = const MORE,
                 below = label { return true; }, options(nostack, preserves_flags, readonly));
        }
    }
    false
}

/// Writes `value` to `bytes` bytes from `at` on, by no function that the compiler knows.
#[cfg(feature = "address-sanitizer")]
#[sanitize(kernel_address = "off")]
#[inline]
pub(crate) fn fill(at: usize, bytes: usize, value: usize) {
    // SAFETY: (1) shadow that is mapped, by those that call this.
    unsafe {
        asm!(
            "j 3f",
            "2: sb {value}, 0({at})",
            "addi {at}, {at}, 1",
            "3: bltu {at}, {top}, 2b",
            at = inout(reg) at => _,
            top = in(reg) at + bytes,
            value = in(reg) value,
            options(nostack),
        );
    }
}

/// The frame pointer of a function whose frame record these words are: its caller's frame pointer,
/// and where it returns to.
#[cfg(feature = "address-sanitizer")]
pub(crate) fn as_fp(record: &[usize; 2]) -> kstack_core::addr::Addr {
    kstack_core::addr::Addr::new(core::ptr::from_ref(record) as usize + size_of::<[usize; 2]>())
}
