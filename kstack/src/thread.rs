//! A thread, as far as its stack goes: the stack, and where SP was when the thread left its CPU.
//!
//! ```text
//!   Thread::new(stack, start, word)      the first frame is built
//!   a.switch_to(&b, …)                   a's SP is kept in a; b's stack, line, watermark and word become the CPU's; SP is b's
//!   drop(b), when it has left its CPU    the stack goes back to its pool
//! ```
//!
//! What to run next is the kernel's decision, and so is who keeps a thread from being switched to
//! while its old CPU is still leaving it.

use crate::arch::current::{bring_up, switch};
use crate::backing::Backing;
use crate::first_frame::{self, Start};
use crate::interrupts::InterruptsOff;
use crate::local::CpuLocal;
use crate::owned::Stack;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::addr::Addr;
use kstack_core::stacks::ThreadId;

/// A thread's stack and its place on it.
#[derive(Debug)]
#[must_use = "a thread that is not kept gives its stack back"]
pub struct Thread<B: Backing> {
    stack: Stack<B>,
    sp: AtomicUsize,
    word: usize,
    canary: usize,
}

impl<B: Backing> Thread<B> {
    /// A thread on a stack that nothing runs on: the first switch to it begins at `start`. `word`
    /// is what [`CpuLocal::current_thread`] answers while it runs. Called where the CPU may be
    /// changed.
    ///
    /// # Panics
    ///
    /// If no CPU is up yet.
    pub fn new(stack: Stack<B>, start: Start<'_>, word: usize) -> Self {
        let backing = stack.stacks().backing();
        let sp = backing.without_interrupts(|| {
            // SAFETY: (1) by the promise of `Stacks::new`.
            let local = unsafe { CpuLocal::if_loaded() }.expect("a thread before any CPU is up");
            stack.make_coherent(local.cpu());
            // SAFETY: (1) the stack is moved into this thread, which has never run; a stack that
            // something runs on is kept by that.
            unsafe { first_frame::build(stack.range(), start) }
        });
        Self::of(stack, sp, word)
    }

    pub(crate) const fn of(stack: Stack<B>, sp: usize, word: usize) -> Self {
        Self { stack, sp: AtomicUsize::new(sp), word, canary: 0 }
    }

    /// The same with a stack-protector canary of its own, for kernels that are compiled with one.
    pub const fn with_canary(mut self, canary: usize) -> Self {
        self.canary = canary;
        self
    }

    /// Its stack.
    #[inline(always)]
    pub const fn stack(&self) -> &Stack<B> {
        &self.stack
    }

    /// What the kernel calls it: the owner of its stack.
    pub fn owner(&self) -> ThreadId {
        self.stack.record().owner()
    }

    /// What [`CpuLocal::current_thread`] answers while it runs.
    #[inline(always)]
    pub const fn word(&self) -> usize {
        self.word
    }

    /// Where SP was when it left its CPU: for a backtrace of it. While it runs, this is old.
    pub fn saved_sp(&self) -> Addr {
        Addr::new(self.sp.load(Ordering::Acquire))
    }

    /// # Safety
    ///
    /// 1. `local` is the block of the CPU this runs on; interrupts are off; the CPU continues on
    ///    this thread's stack at once.
    #[inline(always)]
    pub(crate) unsafe fn make_current(&self, local: &CpuLocal) {
        let range = self.stack.range();
        // SAFETY: (1) by the caller's promise; (2) the stack is this thread's; (3) the word is the
        // kernel's own.
        unsafe {
            local.set_thread(self.word, range, self.stack.record().watermark(), self.canary);
            bring_up::set_user_entry_stack(local, range.top);
        }
    }

    /// Leaves this thread for `next`; returns when another thread comes back to this one, with the
    /// message it passed. The first thing that a new thread does is to hand `message` to
    /// [`Hooks::after_switch`](crate::Hooks).
    ///
    /// # Safety
    ///
    /// 1. This thread is the one that runs here: it was switched to last on this CPU, or is its
    ///    idle thread.
    /// 2. `next` is another thread that runs on no CPU, that no other CPU switches to meanwhile,
    ///    and that has left its old CPU for good.
    /// 3. Neither is dropped while it runs, nor before it has left its CPU.
    #[inline(always)]
    pub unsafe fn switch_to(&self, next: &Self, _off: &InterruptsOff, message: usize) -> usize {
        // SAFETY: (1) this thread runs on a CPU that has come up.
        let local = unsafe { CpuLocal::this() };
        next.stack.make_coherent(local.cpu());
        // SAFETY: (1) this CPU's; interrupts are off, as the proof says; (2) the stack is a pool's.
        unsafe { local.check_end() };
        // SAFETY: (1) (2) by the caller's promise; interrupts are off, as the proof says; (3) the
        // saved SP was stored by a switch or built.
        unsafe {
            next.make_current(local);
            switch::switch(self.sp.as_ptr(), next.sp.load(Ordering::Acquire), message)
        }
    }
}
