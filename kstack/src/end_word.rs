//! The end word of a stack: a constant at its far end, looked at on every switch away from it.
//!
//! A guard stops what walks off a stack page by page. It says nothing of a write that reaches the
//! last word and no further, and nothing where there is no guard. So the lowest word of every
//! stack of [`Stacks`](crate::Stacks) is no owner's to use:
//!
//! ```text
//!   top      | frames                          |
//!            |   ...                           |
//!            | END_WORD                        |  looked at when the thread leaves its CPU
//!   lowest   | (arm32: thread_info, as built)  |
//!            | guard                           |
//! ```
//!
//! | when | who writes it |
//! | --- | --- |
//! | the stack has been mapped | the pool, by [`Backing::mark_end`](crate::Backing::mark_end) |
//! | its lowest page has been erased | the same: the word is the same for every owner, and shows nothing of the last |
//! | a thread that overflowed is about to be ended on its stack | the overflow's handler: its own frames went over the word |
//! | an NMI or a debug exception had just room for its registers on the thread's stack (i386) | its return path |
//!
//! A thread's is looked at by every switch away from it, those of a CPU's own stacks by the
//! kernel's tick ([`CpuLocal::check_ends`]). Found overwritten, it stops the system with a
//! report that names the stack and its thread ([`Cause::EndOverwritten`]). The thread is not
//! ended instead: no access failed, so nothing says what wrote there and where else.
//!
//! The page with the word in it is present whenever its thread is about to leave a CPU: a stack is
//! mapped as a whole while it is held. A kernel that takes pages below SP from threads that sleep
//! puts the lowest one back with the word in it, before the thread runs.

use crate::arch::current::BELOW_END;
use crate::arch::current::call::call_on_stack;
use crate::local::CpuLocal;
use crate::{report, unwind};
use core::sync::atomic::Ordering;
use kstack_core::addr::Addr;
#[cfg(doc)]
use kstack_core::verdict::Cause;

/// What the word holds. Linux's number: "STACkEND".
pub const END_WORD: usize = 0x57ac_6e9d;

/// Where the end word of the stack is whose lowest byte is `lowest`.
#[inline(always)]
pub const fn at(lowest: Addr) -> Addr {
    lowest.wrapping_add(BELOW_END)
}

/// # Safety
///
/// 1. There is a word.
#[cfg(not(feature = "address-sanitizer"))]
#[inline(always)]
unsafe fn read(end: usize) -> usize {
    // SAFETY: (1) by the caller's promise.
    unsafe { (end as *const usize).read_volatile() }
}

/// The same, without a word to the sanitizer: no frame is there.
///
/// # Safety
///
/// 1. There is a word.
#[cfg(feature = "address-sanitizer")]
#[sanitize(kernel_address = "off")]
#[inline(never)]
unsafe fn read(end: usize) -> usize {
    // SAFETY: (1) by the caller's promise.
    unsafe { *(end as *const usize) }
}

/// # Safety
///
/// 1. There is a word, which nothing else uses.
#[cfg_attr(feature = "address-sanitizer", sanitize(kernel_address = "off"))]
#[inline(never)]
unsafe fn write(end: usize, word: usize) {
    // SAFETY: (1) by the caller's promise.
    unsafe { *(end as *mut usize) = word };
}

/// Whether the end word of a stack is as it should be.
///
/// # Safety
///
/// 1. `lowest` is the lowest byte of a stack of [`Stacks`](crate::Stacks) that stays mapped
///    meanwhile.
#[inline(always)]
pub unsafe fn is_whole(lowest: Addr) -> bool {
    // SAFETY: (1) the lowest word of a mapped stack, by the caller's promise.
    unsafe { read(at(lowest).get()) == END_WORD }
}

impl CpuLocal {
    /// Stops the system if the end word of the running thread's stack has been overwritten. For a
    /// kernel that switches with [`switch`](crate::arch::current::switch::switch) itself:
    /// [`Thread::switch_to`](crate::Thread::switch_to) does it. Two loads, a comparison and a
    /// branch.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on; interrupts are off, in the context of a
    ///    thread, right before [`CpuLocal::set_thread`] names the next one.
    /// 2. The running thread's stack is one of [`Stacks`](crate::Stacks).
    #[inline(always)]
    pub unsafe fn check_end(&self) {
        // SAFETY: (1) the stack that this runs on.
        if !unsafe { is_whole(self.thread_lowest()) } {
            stop(self);
        }
    }

    /// Adds a stack to those that [`CpuLocal::check_ends`] looks at. [`cpu::prepare`] adds what it
    /// makes; a kernel adds its CPU's idle stack, and the boot stack. False: there are too many,
    /// and this one is not looked at.
    ///
    /// # Safety
    ///
    /// 1. The stack is mapped, with its end word, for as long as the CPU runs.
    /// 2. The CPU has not come up yet, or this is the CPU, with interrupts off.
    ///
    /// [`cpu::prepare`]: crate::cpu::prepare
    #[must_use]
    pub unsafe fn watch_end(&self, lowest: Addr) -> bool {
        let free = self.ends().iter().find(|place| place.load(Ordering::Relaxed) == 0);
        if let Some(place) = free {
            place.store(at(lowest).get(), Ordering::Relaxed);
        }
        free.is_some()
    }

    /// Stops the system if the end word of a stack of this CPU's own has been overwritten: the IRQ
    /// stack, those of exceptions, softirqs and overflows, the idle and the boot stack. No switch
    /// leaves them, or seldom one; so this is for a kernel's tick. Five instructions for each
    /// stack.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on; interrupts are off.
    #[inline]
    pub unsafe fn check_ends(&self) {
        for place in self.ends() {
            let end = place.load(Ordering::Relaxed);
            if end == 0 {
                return;
            }
            // SAFETY: (1) the lowest word of a stack that the CPU keeps, by the promise of
            // `watch_end`.
            if unsafe { read(end) } != END_WORD {
                stop_for(Addr::new(end));
            }
        }
    }

    /// Whether the end word of the running thread's stack is as it should be.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on.
    pub(crate) unsafe fn end_is_whole(&self) -> bool {
        // SAFETY: (1) the running thread's stack, which is mapped.
        unsafe { is_whole(self.thread_lowest()) }
    }

    /// Writes the end word of the running thread's stack again: its frames went over it, and are
    /// given up.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on, and the lowest frame of the running thread is
    ///    never returned to.
    pub(crate) unsafe fn mark_end_again(&self) {
        // SAFETY: (1) a word of the running thread's stack, which is mapped as a whole, and which
        // nothing uses by the caller's promise.
        unsafe { write(at(self.thread_lowest()).get(), END_WORD) };
    }
}

/// On the stack this runs on: it is an interrupt's.
#[cold]
#[inline(never)]
fn stop_for(end: Addr) {
    let here = 0_usize;
    let sp = Addr::new(core::ptr::from_ref(core::hint::black_box(&here)) as usize);
    report::end_is_overwritten(unwind::frame_pointer(), sp, end);
}

/// On the IRQ stack: there may be no room left on the thread's, and the report is not to overflow.
#[cold]
#[inline(never)]
fn stop(local: &CpuLocal) {
    extern "C" fn there(fp: usize, sp: usize) {
        // SAFETY: (1) the CPU has loaded its block, where the word was found.
        let lowest = unsafe { CpuLocal::this() }.thread_lowest();
        report::end_is_overwritten(Addr::new(fp), Addr::new(sp), at(lowest));
    }
    let here = 0_usize;
    let sp = core::ptr::from_ref(core::hint::black_box(&here)) as usize;
    // SAFETY: (1) this is a thread's context with interrupts off, by the promise of `check_end`:
    // nothing else is on the IRQ stack; (2) `there` does not return; (3) no interrupt can arrive.
    unsafe { call_on_stack(unwind::frame_pointer().get(), sp, there, local.irq_top().get()) };
}
