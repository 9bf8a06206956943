//! Backtraces of this kernel: the core's unwinder, reading stacks where they are.
//!
//! A read cannot fault: it happens only inside the bounds of a stack that the registry says is live
//! *and* that stays mapped for as long as the walk takes. These are
//!
//! 1. stacks that belong to a CPU;
//! 2. the stack this runs on, and that of the thread that runs on this CPU;
//! 3. the stack that an entry on this CPU interrupted, as the registers say that the entry saved at
//!    the top of an exception stack: the CPU goes back to it;
//! 4. a stack that the caller has borrowed, and names.
//!
//! Any other, that of a thread that may be ending on another CPU, ends the walk: it could be
//! unmapped between two reads.

use crate::arch::current::regs::{self, Rules};
use crate::hooks;
use crate::local::CpuLocal;
use crate::registry::{self, Registry};
use kstack_core::addr::{Addr, AddrRange, ByteSize};
use kstack_core::pool::BorrowedStack;
use kstack_core::stacks::{Code, StackId, StackLookup};
use kstack_core::unwind::frames::Frame;
use kstack_core::unwind::{Backtrace, Doubts, FrameRules, SavedRegs, Step, Unwinder};

/// The registry, as a walk on this CPU may use it.
struct Walk<'r> {
    registry: &'r Registry,
    /// The stack this runs on, the running thread's, and one that is borrowed.
    kept: [AddrRange; 3],
}

impl<'r> Walk<'r> {
    #[inline(always)]
    fn new(registry: &'r Registry, borrowed: AddrRange) -> Self {
        let here = 0_usize;
        let here = Addr::new(core::ptr::from_ref(&here) as usize);
        let here = registry.stack_at(here).map_or(AddrRange::EMPTY, |stack| stack.range);
        // SAFETY: (1) by the promise of `Registry::new`.
        let local = unsafe { CpuLocal::if_loaded() };
        // A thread that is moved to another CPU between the two reads has bounds of no stack: its
        // own is `here` anyway.
        let running = local.map_or(AddrRange::EMPTY, |local| AddrRange {
            lowest: local.thread_lowest(),
            top: local.thread_top(),
        });
        Self { registry, kept: [here, running, borrowed] }
    }
}

impl StackLookup for Walk<'_> {
    #[inline]
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        self.registry.stack_at(addr)
    }

    fn stays_mapped(&self, stack: &StackId) -> bool {
        stack.kind.belongs_to_cpu() || self.kept.contains(&stack.range)
    }

    fn code_at(&self, pc: Addr) -> Code {
        hooks::code_at(pc)
    }

    fn frame_at(&self, pc: Addr) -> Option<Frame> {
        hooks::frame_at(pc)
    }
}

/// Reads a word of a stack.
#[inline(always)]
fn read(addr: Addr) -> Option<usize> {
    // SAFETY: (1) the unwinder asks only for aligned words inside the mapped part of stacks that
    // stay mapped, see the module's head.
    Some(unsafe { (addr.get() as *const usize).read_volatile() })
}

/// From an interrupted context outwards.
///
/// # Safety
///
/// 1. `regs` is what an entry on this CPU has saved, and the CPU has not gone back there yet.
pub unsafe fn from_regs<const N: usize>(
    registry: &Registry,
    regs: &regs::SavedRegs,
    into: &mut Backtrace<N>,
) {
    let walk = Walk::new(registry, AddrRange::EMPTY);
    into.collect::<Rules, _, _>(&mut Unwinder::from_regs(&walk, read, reduced(regs)));
}

/// The frame pointer of the function that this is inlined into.
#[inline(always)]
pub fn frame_pointer() -> Addr {
    Addr::new(regs::frame_pointer())
}

/// From the caller outwards.
#[inline(always)]
pub fn here<const N: usize>(into: &mut Backtrace<N>) {
    if let Some(registry) = registry::get() {
        from_fp(registry, frame_pointer(), into);
    }
}

/// From a frame pointer of this thread's own outwards.
pub fn from_fp<const N: usize>(registry: &Registry, fp: Addr, into: &mut Backtrace<N>) {
    let walk = Walk::new(registry, AddrRange::EMPTY);
    into.collect::<Rules, _, _>(&mut Unwinder::new(&walk, read, fp));
}

/// Calls `visit` with each step from a frame pointer of this thread's own outwards, the end
/// included.
#[inline]
pub fn for_each(registry: &Registry, fp: Addr, visit: impl FnMut(Step)) {
    let walk = Walk::new(registry, AddrRange::EMPTY);
    visit_all(&walk, Unwinder::new(&walk, read, fp), visit);
}

/// The same from a frame pointer of a thread that does not run, and whose stack is borrowed.
pub fn for_each_of(
    registry: &Registry,
    borrowed: &BorrowedStack,
    fp: Addr,
    visit: impl FnMut(Step),
) {
    let range = registry.record(borrowed.slot()).body_range(registry.arena(), borrowed.slot());
    let walk = Walk::new(registry, range);
    visit_all(&walk, Unwinder::new(&walk, read, fp), visit);
}

/// The same from an interrupted context outwards.
///
/// # Safety
///
/// 1. As for [`from_regs`].
pub unsafe fn for_each_from_regs(
    registry: &Registry,
    regs: &regs::SavedRegs,
    visit: impl FnMut(Step),
) {
    let walk = Walk::new(registry, AddrRange::EMPTY);
    visit_all(&walk, Unwinder::from_regs(&walk, read, reduced(regs)), visit);
}

/// How many frames there are from a frame pointer of this thread's own outwards. No code is looked
/// at: of a function without frames the caller is not counted.
#[inline]
pub fn count(registry: &Registry, fp: Addr) -> usize {
    let walk = Walk::new(registry, AddrRange::EMPTY);
    let mut unwinder = Unwinder::new(&walk, read, fp);
    let mut frames = 0;
    loop {
        match unwinder.step::<Rules>() {
            Step::Caller(_) => frames += 1,
            Step::End(_) => return frames,
            _ => {}
        }
    }
}

/// What the unwinder needs to know of an interrupted context.
fn reduced(regs: &regs::SavedRegs) -> SavedRegs {
    let at = Addr::new(core::ptr::from_ref(regs) as usize);
    let all = AddrRange::sized(at, ByteSize::new(size_of::<regs::SavedRegs>()));
    let mut word = |addr: Addr| {
        if !all.contains_span(addr, ByteSize::new(size_of::<usize>())) {
            return None;
        }
        // SAFETY: (1) inside the registers, which are words; (2) they are borrowed for the length
        // of this function.
        Some(unsafe { (addr.get() as *const usize).read() })
    };
    let nothing = Addr::new(0);
    Rules::read_saved_regs(at, &mut word).unwrap_or(SavedRegs {
        pc: nothing,
        sp: nothing,
        fp: nothing,
        link: None,
        from_user: false,
    })
}

#[inline(always)]
fn visit_all(
    walk: &Walk<'_>,
    mut unwinder: Unwinder<'_, Walk<'_>, impl FnMut(Addr) -> Option<usize>>,
    mut visit: impl FnMut(Step),
) {
    let mut doubts = Doubts::default();
    loop {
        let step = doubts.see::<Rules>(walk, unwinder.step::<Rules>());
        visit(step);
        if let Step::End(_) = step {
            break;
        }
    }
}
