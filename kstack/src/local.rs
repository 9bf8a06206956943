//! The per-CPU block that entry code reads, and `current`. What the block holds is the same
//! everywhere; how a CPU finds its own is the architecture's ([`crate::arch::current::local`]).
//!
//! A kernel embeds [`CpuLocal`] as the first field of its own per-CPU data. Offsets in assembly
//! come from `offset_of!`, never from a number; the one fixed place is the canary's.

use crate::arch::current::RESERVE;
use crate::arch::current::local::ArchLocal;
use crate::irq_cell::IrqCell;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::cache::CpuCache;
use kstack_core::erase::CpuBit;
use kstack_core::meter::Watermark;
use kstack_core::offset::Offset;

/// What entry code and the switch need to know of a CPU.
///
/// Only the CPU itself writes it, with interrupts off; other CPUs may read it for reports.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CpuLocal {
    /// The block's own address: where a CPU finds its block through a segment, one load gives a
    /// pointer.
    own_address: AtomicUsize,
    /// The running thread, as the kernel knows it: `current`.
    pub(crate) thread: AtomicUsize,
    /// The top of the running thread's stack: where entries from user mode start.
    thread_top: AtomicUsize,
    /// A word for entry code that has no register yet.
    scratch: AtomicUsize,
    /// The top of the IRQ stack.
    irq_top: AtomicUsize,
    /// The stack-protector canary of the running thread. Compilers read it at GS:40 on x86_64.
    pub(crate) canary: AtomicUsize,
    /// The address RESERVE bytes above the lowest of the running thread's stack body: the line of
    /// [`crate::room`].
    thread_line: AtomicUsize,
    /// Where the depth of the running thread's stack is kept.
    watermark: AtomicUsize,
    /// Interrupt and softirq nesting.
    pub irq: IrqCell,
    cpu: AtomicU32,
    /// Whether another thread is to run here soon; see [`CpuLocal::ask_for_preemption`].
    preemption_asked: AtomicU32,
    /// How far below its usual place the next call from user mode begins.
    entry_offset: Offset,
    /// The CPU in the coherent set of a stack.
    coherent: CpuBit,
    cache: Cache,
    /// What only this architecture's entry code needs.
    pub arch: ArchLocal,
    /// Where the end words of this CPU's own stacks are, 0 behind the last; see
    /// [`crate::end_word`].
    ends: [AtomicUsize; MAX_ENDS],
    /// What the canaries of this CPU's own stacks are made of; see [`crate::protector`].
    pub(crate) stack_canary: AtomicUsize,
}

/// Stacks that a CPU can have of its own: the IRQ, idle and boot stacks, and the architecture's.
pub(crate) const MAX_ENDS: usize = 12;

/// What a CPU can do to the words of its block in one instruction, which interrupts and moves to
/// another CPU come before or after.
#[derive(Debug)]
pub(crate) struct OneStep {
    /// Disables bottom halves once more.
    pub(crate) disable_bottom_halves: fn(),
    /// The reverse. Whether softirqs may have to run now: to be looked at again with interrupts
    /// off.
    ///
    /// First the count, then the look at what is pending: an interrupt in between runs it on its
    /// way out. The other way round one that raises a softirq in between would leave it to a thread
    /// that has looked already.
    pub(crate) enable_bottom_halves: fn() -> bool,
    /// Marks the softirqs of this mask as pending.
    pub(crate) raise: fn(u32),
}

/// The stacks that this CPU keeps at hand.
#[derive(Debug)]
#[repr(transparent)]
struct Cache(UnsafeCell<CpuCache>);

// SAFETY: (1) only the CPU itself touches it, with interrupts off: the promise of
// [`CpuLocal::with_cache`].
unsafe impl Sync for Cache {}

const _: () = assert!(offset_of!(CpuLocal, canary) == 5 * size_of::<usize>());

impl CpuLocal {
    /// Offset of the block's own address, for assembly.
    pub const OWN_ADDRESS: usize = offset_of!(Self, own_address);
    /// Offset of the running thread, for assembly.
    pub const THREAD: usize = offset_of!(Self, thread);
    /// Offset of the thread stack's top, for assembly.
    pub const THREAD_TOP: usize = offset_of!(Self, thread_top);
    /// Offset of the line on the thread's stack ([`crate::room`]), for assembly.
    pub const THREAD_LINE: usize = offset_of!(Self, thread_line);
    /// Offset of the scratch word, for assembly.
    pub const SCRATCH: usize = offset_of!(Self, scratch);
    /// Offset of the IRQ stack's top, for assembly.
    pub const IRQ_TOP: usize = offset_of!(Self, irq_top);
    /// Offset of the architecture's own words, for assembly.
    pub const ARCH: usize = offset_of!(Self, arch);

    /// A block for CPU `cpu`, not yet loaded.
    pub const fn new(cpu: CpuId) -> Self {
        Self {
            own_address: AtomicUsize::new(0),
            thread: AtomicUsize::new(0),
            thread_top: AtomicUsize::new(0),
            scratch: AtomicUsize::new(0),
            irq_top: AtomicUsize::new(0),
            canary: AtomicUsize::new(0),
            thread_line: AtomicUsize::new(RESERVE.get()),
            watermark: AtomicUsize::new(0),
            irq: IrqCell::new(),
            cpu: AtomicU32::new(cpu.get()),
            preemption_asked: AtomicU32::new(0),
            entry_offset: Offset::new(),
            coherent: CpuBit::of(cpu),
            cache: Cache(UnsafeCell::new(CpuCache::new(cpu))),
            arch: ArchLocal::new(),
            ends: [const { AtomicUsize::new(0) }; MAX_ENDS],
            stack_canary: AtomicUsize::new(0),
        }
    }

    /// Where the end words are that [`CpuLocal::check_ends`] looks at.
    #[inline(always)]
    pub(crate) fn ends(&self) -> &[AtomicUsize] {
        &self.ends
    }

    /// Keeps the block's own address, where code finds it through a segment.
    pub(crate) fn keep_own_address(&self) {
        self.own_address.store(core::ptr::from_ref(self) as usize, Ordering::Relaxed);
    }

    /// Stores who runs from now on; the half of [`CpuLocal::set_thread`] that is memory.
    #[inline(always)]
    pub(crate) fn store_thread(
        &self,
        thread: usize,
        stack: AddrRange,
        watermark: &'static Watermark,
        canary: usize,
    ) {
        self.thread.store(thread, Ordering::Relaxed);
        self.thread_line.store(stack.lowest.wrapping_add(RESERVE).get(), Ordering::Relaxed);
        self.thread_top.store(stack.top.get(), Ordering::Relaxed);
        self.watermark.store(core::ptr::from_ref(watermark) as usize, Ordering::Relaxed);
        self.canary.store(canary, Ordering::Relaxed);
    }

    /// Takes an SP of the running thread into account for the depth of its stack. False if it is on
    /// another stack.
    ///
    /// The sample so far lies on the stack, or above its top if there is none: an SP between the
    /// two is no deeper, and on the stack. That is what an interrupt nearly always finds.
    #[inline(always)]
    pub(crate) fn sample_thread(&self, sp: Addr) -> bool {
        let top = self.thread_top.load(Ordering::Relaxed);
        if sp.get() >= top {
            return false;
        }
        // SAFETY: (1) a top other than 0 is stored together with a watermark, a reference to a
        // static.
        let watermark = unsafe { &*(self.watermark.load(Ordering::Relaxed) as *const Watermark) };
        if watermark.is_above(sp) {
            if sp.get() < self.thread_lowest().get() {
                return false;
            }
            watermark.sample(sp);
        }
        true
    }

    /// Gives the CPU its IRQ stack. Before its first interrupt.
    ///
    /// # Safety
    ///
    /// 1. It is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs, and
    ///    used for nothing else.
    pub unsafe fn set_irq_top(&self, irq_top: Addr) {
        self.irq_top.store(irq_top.get(), Ordering::Relaxed);
    }

    /// Which CPU this is.
    #[inline(always)]
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed))
    }

    /// This CPU as a member of the coherent set of a stack, for
    /// [`SlotRecord::needs_flush_by`](kstack_core::record::SlotRecord::needs_flush_by).
    #[inline(always)]
    pub fn coherent_bit(&self) -> CpuBit {
        self.coherent
    }

    /// Top of the IRQ stack.
    #[inline(always)]
    pub fn irq_top(&self) -> Addr {
        Addr::new(self.irq_top.load(Ordering::Relaxed))
    }

    /// Another thread deserves this CPU: on the way out of the next interrupt that may preempt,
    /// `Hooks::preempt` is called. For the CPU itself, with interrupts off.
    #[inline(always)]
    pub fn ask_for_preemption(&self) {
        self.preemption_asked.store(1, Ordering::Relaxed);
    }

    /// Whether preemption was asked for and the request not taken yet.
    #[inline(always)]
    pub fn preemption_is_asked(&self) -> bool {
        self.preemption_asked.load(Ordering::Relaxed) != 0
    }

    /// Takes the request. Returns whether there was one. For the CPU itself, with interrupts off.
    #[inline(always)]
    pub fn take_preemption_request(&self) -> bool {
        let asked = self.preemption_is_asked();
        if asked {
            self.preemption_asked.store(0, Ordering::Relaxed);
        }
        asked
    }

    /// How far below its usual place the next call from user mode begins, a system call or an
    /// exception: none until a kernel stirs it in its `before_user` hook. See
    /// [`kstack_core::offset`].
    #[inline(always)]
    pub fn entry_offset(&self) -> &Offset {
        &self.entry_offset
    }

    /// Lowest address of the running thread's stack.
    #[inline(always)]
    pub fn thread_lowest(&self) -> Addr {
        Addr::new(self.thread_line.load(Ordering::Relaxed)).wrapping_sub(RESERVE)
    }

    /// Top of the running thread's stack.
    #[inline(always)]
    pub fn thread_top(&self) -> Addr {
        Addr::new(self.thread_top.load(Ordering::Relaxed))
    }

    /// The running thread, as this block has it: for code of the CPU itself with interrupts off,
    /// and for reports.
    pub fn thread(&self) -> usize {
        self.thread.load(Ordering::Relaxed)
    }

    /// Runs `body` on the stacks that this CPU keeps at hand.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on, and interrupts are off.
    /// 2. `body` does not come here again, and one pool alone does.
    #[inline(always)]
    pub unsafe fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        // SAFETY: (1) (2) by the caller's promise: nothing else has a reference meanwhile.
        body(unsafe { &mut *self.cache.0.get() })
    }

    /// The canary of the running thread, as the switch to it has stored it.
    pub fn canary(&self) -> usize {
        self.canary.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static MARK: Watermark = Watermark::new();

    fn with_stack() -> CpuLocal {
        let local = CpuLocal::new(CpuId::new(3));
        let stack = AddrRange { lowest: Addr::new(0x8000), top: Addr::new(0xc000) };
        // What `set_thread` stores, without the register that only a CPU has.
        local.store_thread(77, stack, &MARK, 0x5a5a);
        local
    }

    /// Red if an SP on another stack is counted as the thread's depth, or one on its own is not.
    #[test]
    fn t13_only_an_sp_on_the_thread_s_stack_is_sampled_there() {
        let local = with_stack();
        for sp in [0x7fff, 0xc000, 0, usize::MAX] {
            assert!(!local.sample_thread(Addr::new(sp)), "{sp:#x}");
        }
        assert_eq!(MARK.lowest_sample(), None);
        for sp in [0xbfff, 0x9000, 0x8000] {
            assert!(local.sample_thread(Addr::new(sp)), "{sp:#x}");
            assert_eq!(MARK.lowest_sample(), Some(Addr::new(sp)));
        }
        // A block that was never given a thread has no stack.
        assert!(!CpuLocal::new(CpuId::new(0)).sample_thread(Addr::new(0x9000)));
    }

    #[test]
    fn t9_a_block_says_whose_it_is_and_who_runs() {
        let local = with_stack();
        assert_eq!((local.cpu(), local.thread(), local.canary()), (CpuId::new(3), 77, 0x5a5a));
        assert_eq!(
            (local.thread_lowest(), local.thread_top()),
            (Addr::new(0x8000), Addr::new(0xc000))
        );
        // SAFETY: (1) nothing runs there: no interrupt comes to a block that no CPU has.
        unsafe { local.set_irq_top(Addr::new(0x2_0000)) };
        assert_eq!(local.irq_top(), Addr::new(0x2_0000));
    }

    /// Red if a request is lost, or taken twice.
    #[test]
    fn i2_a_request_for_preemption_lasts_until_it_is_taken() {
        let local = CpuLocal::new(CpuId::new(0));
        assert!(!local.preemption_is_asked() && !local.take_preemption_request());
        local.ask_for_preemption();
        local.ask_for_preemption();
        assert!(local.preemption_is_asked());
        assert!(local.take_preemption_request());
        assert!(!local.preemption_is_asked() && !local.take_preemption_request());
    }
}
