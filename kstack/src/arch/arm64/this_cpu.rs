//! How a CPU finds its block, and a thread itself.
//!
//! TPIDR_EL1 holds the address of the block; programs can neither read nor write it. TPIDRRO_EL0
//! holds the running thread while the kernel runs, so that `current` is one instruction, right
//! across preemption: from the block it would be two, and between them the thread may move to
//! another CPU. Programs can read that register, so entries set it, and the return path clears it.

use super::RESERVE;
use super::local::ArchLocal;
use crate::local::{CpuLocal, OneStep};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::addr::Addr;

impl ArchLocal {
    /// Offset of the overflow stack's top in [`CpuLocal`], for assembly.
    pub(super) const OVERFLOW_TOP: usize = CpuLocal::ARCH + offset_of!(Self, overflow_top);
    /// Offset of the count of second faults in [`CpuLocal`], for assembly.
    pub(super) const SECOND_FAULTS: usize = CpuLocal::ARCH + offset_of!(Self, second_faults);
}

/// Makes `local` the CPU's own.
///
/// # Safety
///
/// As for [`CpuLocal::load`], whose second half this is.
pub(crate) unsafe fn load(local: &'static CpuLocal) {
    // SAFETY: (1) the registers are the kernel's, and by the caller's promise the block lives as
    // long as the CPU runs.
    unsafe {
        asm!("msr tpidr_el1, {local}", "ldr {thread}, [{local}, #{offset}]", "msr tpidrro_el0, {thread}", local = in(reg) local,
             thread = out(reg) _, offset = const CpuLocal::THREAD, options(nostack, preserves_flags));
    }
}

/// Whether code that the stack protector was compiled into finds its canary in the CPU's block, or
/// with the thread: what [`crate::protector`] needs.
#[cfg(feature = "stack-protector")]
pub(crate) const COMPILED_CODE_FINDS_CANARY: bool = true;

/// Where LLVM has the canary, from TPIDRRO_EL0.
const GUARD: usize = 0x28;

/// See [`PLACE_IN_THREAD`](crate::protector::PLACE_IN_THREAD).
pub(crate) const GUARD_IN_THREAD: Option<usize> = Some(GUARD);

/// The word that compiled code compares the canaries of frames with, on the CPU this runs on.
#[inline(always)]
pub(crate) fn guard(_local: &CpuLocal) -> &AtomicUsize {
    // SAFETY: (1) TPIDRRO_EL0 is that of boot's, or the running thread's word, which is the address
    // of its structure with a canary there, by what a kernel with the stack protector sees to.
    unsafe { &*((current_thread() + GUARD) as *const AtomicUsize) }
}

/// The block is about to be loaded: compiled code continues to compare with what it does.
#[inline(always)]
pub(crate) fn keep_guard(local: &CpuLocal) {
    let (now, next) = (current_thread(), local.thread());
    if next == 0 {
        // No thread yet: what [`load`] takes from the block is what there is.
        local.thread.store(now, Ordering::Relaxed);
        return;
    }
    // SAFETY: (1) as in `guard`, of both.
    unsafe {
        let canary = ((now + GUARD) as *const usize).read();
        (*((next + GUARD) as *const AtomicUsize)).store(canary, Ordering::Relaxed);
    }
}

/// What this CPU does to its block in one instruction, with interrupts on: nothing. An exclusive
/// pair is two instructions, and between finding the block and them the thread may be moved to
/// another CPU.
pub(crate) const ONE_STEP: Option<OneStep> = None;

/// See [`CpuLocal::this`]. One instruction.
#[inline(always)]
pub(crate) fn this() -> &'static CpuLocal {
    let address: usize;
    // SAFETY: (1) TPIDR_EL1 is a loaded block ([`CpuLocal::load`] comes before any code that can
    // get here).
    unsafe {
        asm!("mrs {}, tpidr_el1", out(reg) address, options(nostack, preserves_flags, readonly));
        &*(address as *const CpuLocal)
    }
}

/// The running thread has changed. `local` is the block of the CPU this runs on, or of one that has
/// not loaded it yet.
#[inline(always)]
pub(crate) fn set_current(local: &CpuLocal, thread: usize) {
    if core::ptr::eq(local, this()) {
        // SAFETY: (1) while the kernel runs, the register is the kernel's; programs see zero in it.
        unsafe { asm!("msr tpidrro_el0, {}", in(reg) thread, options(nostack, preserves_flags)) };
    }
}

/// See [`CpuLocal::current_thread`]. One instruction.
#[inline(always)]
pub(crate) fn current_thread() -> usize {
    let thread: usize;
    // SAFETY: (1) reading the register has no effect; memory may change what it holds: a switch is
    // a call.
    unsafe {
        asm!("mrs {}, tpidrro_el0", out(reg) thread, options(nostack, preserves_flags, readonly));
    }
    thread
}

/// SP, in the function that this is inlined into.
#[inline(always)]
pub(crate) fn sp() -> usize {
    let sp;
    // SAFETY: (1) reading SP has no effect.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
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
            "mov {top}, sp",
            "b 3f",
            "2: str xzr, [{at}], #{word}",
            "3: cmp {at}, {top}",
            "b.lo 2b",
            at = inout(reg) from => _,
            top = out(reg) _,
            word = const size_of::<usize>(),
            options(nostack),
        );
    }
}

/// How far SP stands above the lowest byte of the running thread's stack; more than any stack has
/// where SP is not on it. Interrupts off: the thread stays on this CPU.
#[inline(always)]
pub(crate) fn left_on_thread_stack() -> usize {
    let (left, sp): (usize, usize);
    // SAFETY: (1) as for `this`; reading SP has no effect.
    unsafe {
        asm!("mrs {left}, tpidr_el1", "ldr {left}, [{left}, #{line}]", "mov {sp}, sp",
             left = out(reg) left, sp = out(reg) sp, line = const CpuLocal::THREAD_LINE,
             options(nostack, preserves_flags, readonly));
    }
    sp.wrapping_sub(left).wrapping_add(RESERVE.get())
}

/// Whether SP may be less than MORE bytes above the line on the thread's stack: a first look, at
/// one bit and without memory, in two instructions, that is wrong on stacks that are not in the
/// arena and on those of CPUs.
#[inline(always)]
pub(crate) fn may_be_below_line<const MORE: usize>() -> bool {
    let lower: usize;
    // SAFETY: (1) reading SP has no effect.
    unsafe {
        asm!("sub {}, sp, #{more}", out(reg) lower, more = const RESERVE.get() + MORE,
             options(nomem, nostack, preserves_flags));
    }
    super::GEOMETRY.sp_bit_says_overflow(Addr::new(lower))
}

/// Writes `value` to `bytes` bytes from `at` on, by no function that the compiler knows.
#[cfg(feature = "address-sanitizer")]
#[sanitize(kernel_address = "off")]
#[inline]
pub(crate) fn fill(at: usize, bytes: usize, value: usize) {
    // SAFETY: (1) shadow that is mapped, by those that call this.
    unsafe {
        asm!(
            "b 3f",
            "2: strb {value:w}, [{at}], #1",
            "3: cmp {at}, {top}",
            "b.lo 2b",
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
pub(crate) fn as_fp(record: &[usize; 2]) -> Addr {
    Addr::new(core::ptr::from_ref(record) as usize)
}
