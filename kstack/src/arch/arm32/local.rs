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
//! TPIDRPRW alone would not do for `current`: between reading it and loading through it, the thread may be moved to another
//! CPU, and would find whoever runs on the old one.

use super::RESERVE;
use crate::local::{CpuLocal, OneStep};
use core::arch::asm;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// Whether `current` is found by masking SP.
pub const THREAD_INFO_ON_STACK: bool = cfg!(feature = "thread-info-on-stack");

/// The bit of SP that is set outside a body, and below which SP is masked.
pub(super) const BODY_SHIFT: u32 = super::GEOMETRY.body().get().trailing_zeros();

/// What a system call from the kernel that finds no room saves here instead: same layout as a mode's words.
type SvcWords = super::tables::ModeWords;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    /// The top of the overflow stack; 0: there is none yet.
    overflow_top: AtomicUsize,
    /// The top of the last stack, for an overflow of the overflow stack.
    last_top: AtomicUsize,
    /// How many of these two are in use.
    overflow_depth: AtomicUsize,
    /// The thread pointer of the running program, loaded on the way to user mode.
    user_tls: AtomicUsize,
    /// A FIQ is being handled.
    nmi_active: AtomicBool,
    svc_words: SvcWords,
}

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

    pub(crate) const fn new() -> Self {
        Self {
            overflow_top: AtomicUsize::new(0),
            last_top: AtomicUsize::new(0),
            overflow_depth: AtomicUsize::new(0),
            user_tls: AtomicUsize::new(0),
            nmi_active: AtomicBool::new(false),
            svc_words: SvcWords::new(),
        }
    }

    /// Whether an NMI is being handled: a FIQ.
    pub fn in_nmi(&self) -> bool {
        self.nmi_is_active()
    }

    /// Softirqs have no stack of their own: they run on the IRQ stack.
    #[inline(always)]
    pub fn softirq_top(&self) -> Option<Addr> {
        None
    }

    /// Gives the CPU its overflow stack, and the last stack for an overflow of that one.
    ///
    /// # Safety
    ///
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs, and used for nothing else.
    pub unsafe fn set_overflow_tops(&self, overflow: Addr, last: Addr) {
        self.last_top.store(last.get(), Ordering::Relaxed);
        self.overflow_top.store(overflow.get(), Ordering::Relaxed);
    }

    /// Top of the overflow stack.
    pub fn overflow_top(&self) -> Addr {
        Addr::new(self.overflow_top.load(Ordering::Relaxed))
    }

    /// Stacks for overflows that are in use: 1 while one is handled, 2 if that overflowed too.
    pub fn overflow_depth(&self) -> usize {
        self.overflow_depth.load(Ordering::Relaxed)
    }

    /// The overflow stack is left for good.
    pub(super) fn leave_overflow_stack(&self) {
        self.overflow_depth.store(0, Ordering::Relaxed);
    }

    /// Whether an NMI is being handled: a FIQ, from the kernel or from user mode.
    pub fn nmi_is_active(&self) -> bool {
        self.nmi_active.load(Ordering::Relaxed)
    }

    pub(super) fn set_nmi_active(&self, active: bool) {
        self.nmi_active.store(active, Ordering::Relaxed);
    }

    /// What the thread pointer will be in user mode. Interrupts off, or by the running thread for itself.
    pub fn set_user_tls(&self, base: usize) {
        self.user_tls.store(base, Ordering::Relaxed);
    }

    /// What the thread pointer will be in user mode.
    pub fn user_tls(&self) -> usize {
        self.user_tls.load(Ordering::Relaxed)
    }
}

const _: () = assert!(size_of::<usize>() == 4);

/// Makes `local` the CPU's own: TPIDRPRW, and `current` from it.
///
/// # Safety
///
/// As for [`CpuLocal::load`], whose second half this is.
pub(crate) unsafe fn load(local: &'static CpuLocal) {
    // SAFETY: (1) both registers exist on every ARMv7; (2) the block's address, by the caller's promise a good one from now
    // on; (3) the thread as the block has it, or 0.
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

/// What this CPU does to its block in one instruction, with interrupts on: nothing.
/// An exclusive pair is two instructions, and between finding the block and them the thread may be moved to another CPU.
pub(crate) const ONE_STEP: Option<OneStep> = None;

/// See [`CpuLocal::this`]. One instruction.
#[inline(always)]
pub(crate) fn this() -> &'static CpuLocal {
    let address: usize;
    // SAFETY: (1) TPIDRPRW is a loaded block ([`CpuLocal::load`] comes before any code that can get here).
    unsafe {
        asm!("mrc p15, 0, {}, c13, c0, 4", out(reg) address,
             options(nomem, nostack, preserves_flags));
        &*(address as *const CpuLocal)
    }
}

/// The running thread has changed in the block: the switch that follows takes it from there, and so does [`load`]. With
/// `thread-info-on-stack` the low end of the thread's stack gets it too.
#[inline(always)]
pub(crate) fn set_current(local: &CpuLocal, thread: usize) {
    if THREAD_INFO_ON_STACK {
        // SAFETY: (1) the lowest word of the stack that the block names, which is mapped and about to be run on; it is
        // nobody's but `thread_info`'s.
        unsafe { (thread_info_at(local.thread_lowest()).get() as *mut usize).write(thread) };
    }
}

/// See [`CpuLocal::current_thread`].
#[cfg(not(feature = "thread-info-on-stack"))]
#[inline(always)]
pub(crate) fn current_thread() -> usize {
    let thread: usize;
    // SAFETY: (1) reading the register has no effect; memory is clobbered, so that it is read after a switch.
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
    // SAFETY: (1) SP is on a stack whose body is aligned to twice its size, so the masked address is its lowest word.
    unsafe {
        asm!("lsr {0}, sp, #{shift}", "lsl {0}, {0}, #{shift}", "ldr {0}, [{0}]", out(reg) thread,
             shift = const BODY_SHIFT, options(nostack, preserves_flags, readonly));
    }
    thread
}

/// How far SP stands above the lowest byte of the running thread's stack; more than any stack has where SP is not on it.
/// Interrupts off: the thread stays on this CPU.
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

/// Whether SP may be less than MORE bytes above the line on the thread's stack: a first look, at one bit and without memory, in three
/// instructions, that is wrong on stacks that are not in the arena and on those of CPUs.
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

/// Where `thread_info` of a stack lies when it is on the stack.
pub const fn thread_info_at(lowest: Addr) -> Addr {
    lowest
}
