//! How a CPU finds its block: through TPIDRPRW. And how it finds `current`.
//!
//! | build | `current` is | so that |
//! | --- | --- | --- |
//! | default | TPIDRURO, exchanged with the program's thread pointer at the boundary to user mode | one instruction, right across preemption; no overflow reaches it |
//! | `thread-info-on-stack` | the word at the low end of the stack that SP is on | three instructions, no register taken; an overflow writes over it |
//!
//! ```text
//!   a stack with thread-info-on-stack             SP & !0x1fff = body lowest
//!   top      +-----------------------------+
//!            | ...                         |      SP is somewhere here
//!   lowest   | thread_info: current (word) |      written before the switch, and by a call on another stack
//!            +-----------------------------+
//! ```
//!
//! TPIDRPRW alone would not do for `current`: between reading it and loading through it, the thread
//! may be moved to another CPU, and would find the thread that runs on the old one.

use super::RESERVE;
#[cfg(feature = "thread-info-on-stack")]
use super::local::BODY_SHIFT;
use super::local::{ArchLocal, THREAD_INFO_ON_STACK, thread_info_at};
use crate::local::{CpuLocal, OneStep};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicUsize;
use kstack_core::addr::Addr;

impl ArchLocal {
    /// Offset in [`CpuLocal`] of the overflow stack's top, for assembly.
    pub(super) const OVERFLOW_TOP: usize = CpuLocal::ARCH + offset_of!(Self, overflow_top);
    /// Offset in [`CpuLocal`] of the last stack's top, for assembly.
    pub(super) const LAST_TOP: usize = CpuLocal::ARCH + offset_of!(Self, last_top);
    /// Offset in [`CpuLocal`] of the count of overflow stacks in use, for assembly.
    pub(super) const OVERFLOW_DEPTH: usize = CpuLocal::ARCH + offset_of!(Self, overflow_depth);
    /// Offset in [`CpuLocal`] of the program's thread pointer, for assembly.
    pub(super) const USER_TLS: usize = CpuLocal::ARCH + offset_of!(Self, user_tls);
    /// Offset in [`CpuLocal`] of the words of a system call without room, for assembly.
    pub(super) const SVC_WORDS: usize = CpuLocal::ARCH + offset_of!(Self, svc_words);
}

const _: () = assert!(size_of::<usize>() == 4);

/// Makes `local` the CPU's own: TPIDRPRW, and `current` from it.
///
/// # Safety
///
/// As for [`CpuLocal::load`], whose second half this is.
pub(crate) unsafe fn load(local: &'static CpuLocal) {
    // SAFETY: (1) both registers exist on every ARMv7; (2) the block's address, by the caller's
    // promise a good one from now on; (3) the thread as the block has it, or 0.
    unsafe {
        asm!(
            "mcr p15, 0, {local}, c13, c0, 4",
            "ldr {thread}, [{local}, #{at}]",
            "mcr p15, 0, {thread}, c13, c0, 3",
            local = in(reg) local,
            thread = out(reg) _,
            at = const CpuLocal::THREAD,
            options(nostack, preserves_flags),
        );
    }
}

/// Whether code that the stack protector was compiled into finds its canary in the CPU's block, or
/// with the thread: what [`crate::protector`] needs. It does not; the reason is there.
#[cfg(feature = "stack-protector")]
pub(crate) const COMPILED_CODE_FINDS_CANARY: bool = false;

/// See [`PLACE_IN_THREAD`](crate::protector::PLACE_IN_THREAD).
pub(crate) const GUARD_IN_THREAD: Option<usize> = None;

/// The word that compiled code would compare the canaries of frames with.
#[inline(always)]
pub(crate) fn guard(local: &CpuLocal) -> &AtomicUsize {
    &local.canary
}

/// Nothing is compared.
#[inline(always)]
pub(crate) fn keep_guard(_local: &CpuLocal) {}

/// What this CPU does to its block in one instruction, with interrupts on: nothing. An exclusive
/// pair is two instructions, and between finding the block and them the thread may be moved to
/// another CPU.
pub(crate) const ONE_STEP: Option<OneStep> = None;

/// See [`CpuLocal::this`]. One instruction.
#[inline(always)]
pub(crate) fn this() -> &'static CpuLocal {
    let address: usize;
    // SAFETY: (1) TPIDRPRW is a loaded block ([`CpuLocal::load`] comes before any code that can get
    // here).
    unsafe {
        asm!("mrc p15, 0, {}, c13, c0, 4", out(reg) address,
             options(nomem, nostack, preserves_flags));
        &*(address as *const CpuLocal)
    }
}

/// The running thread has changed in the block: the switch that follows takes it from there, and so
/// does [`load`]. With `thread-info-on-stack` the low end of the thread's stack gets it too.
#[inline(always)]
pub(crate) fn set_current(local: &CpuLocal, thread: usize) {
    if THREAD_INFO_ON_STACK {
        // SAFETY: (1) the lowest word of the stack that the block names, which is mapped and about
        // to be run on; it is `thread_info`'s alone.
        unsafe { (thread_info_at(local.thread_lowest()).get() as *mut usize).write(thread) };
    }
}

/// See [`CpuLocal::current_thread`].
#[cfg(not(feature = "thread-info-on-stack"))]
#[inline(always)]
pub(crate) fn current_thread() -> usize {
    let thread: usize;
    // SAFETY: (1) reading the register has no effect; memory is clobbered, so that it is read after
    // a switch.
    unsafe {
        asm!("mrc p15, 0, {}, c13, c0, 3", out(reg) thread, options(nostack, preserves_flags));
    }
    thread
}

/// See [`CpuLocal::current_thread`].
#[cfg(feature = "thread-info-on-stack")]
#[inline(always)]
pub(crate) fn current_thread() -> usize {
    let thread: usize;
    // SAFETY: (1) SP is on a stack whose body is aligned to twice its size, so the masked address
    // is its lowest word.
    unsafe {
        asm!("lsr {0}, sp, #{shift}", "lsl {0}, {0}, #{shift}", "ldr {0}, [{0}]", out(reg) thread,
             shift = const BODY_SHIFT, options(nostack, preserves_flags, readonly));
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
            "b 3f",
            "2: str {zero}, [{at}], #{word}",
            "3: cmp {at}, sp",
            "blo 2b",
            at = inout(reg) from => _,
            zero = in(reg) 0,
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
        asm!("mrc p15, 0, {left}, c13, c0, 4", "ldr {left}, [{left}, #{line}]",
             "sub {left}, sp, {left}", left = out(reg) left,
             line = const CpuLocal::THREAD_LINE, options(nostack, preserves_flags, readonly));
    }
    left.wrapping_add(RESERVE.get())
}

/// Whether SP may be less than MORE bytes above the line on the thread's stack: a first look, at
/// one bit and without memory, in three instructions, that is wrong on stacks that are not in the
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
