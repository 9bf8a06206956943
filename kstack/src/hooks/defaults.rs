//! What a hook does that the kernel has not replaced: nothing where nothing is right, otherwise a
//! panic with a sentence.

use super::table::hooks;
use crate::arch::current::regs::SavedRegs;
use crate::local::CpuLocal;
use crate::registry;
use kstack_core::addr::Addr;
use kstack_core::irq::{Again, MAX_ROUNDS};
use kstack_core::kind::StackKind;
use kstack_core::stacks::{Code, StackLookup, ThreadId};
use kstack_core::unwind::frames::Frame;
use kstack_core::verdict::{Context, OverflowReport};

pub(super) fn interrupt(vector: u8, _regs: &mut SavedRegs) {
    panic!("interrupt {vector} has come, and kstack's Hooks::interrupt is not set");
}

/// The controller hears of an interrupt from its handler.
pub(super) fn in_service() -> Option<u8> {
    None
}

pub(super) fn softirqs(pending: u32) {
    panic!("softirqs {pending:#x} were raised, and kstack's Hooks::softirqs is not set");
}

/// As many rounds as Linux has; what is due then waits for the next interrupt.
pub(super) fn softirqs_again(round: u32, _due: u32) -> Again {
    if round < MAX_ROUNDS { Again::Now } else { Again::Later }
}

/// Nothing was left to a thread.
pub(super) fn softirq_thread() {}

/// No thread takes another's place: the request is taken and forgotten.
pub(super) fn preempt() {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let _asked = unsafe { CpuLocal::this() }.take_preemption_request();
}

pub(super) fn syscall(regs: &mut SavedRegs) {
    panic!("a program at {} made a system call, and kstack's Hooks::syscall is not set", regs.pc());
}

pub(super) fn before_user(_regs: &mut SavedRegs) {}

pub(super) fn user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    panic!(
        "exception {vector} in a program at {}, address {fault}, and kstack's Hooks::user_exception is not set",
        regs.pc()
    );
}

pub(super) fn kernel_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    panic!("exception {vector} in the kernel at {}, address {fault}, sp {}", regs.pc(), regs.sp());
}

pub(super) fn after_switch(_message: usize) {}

pub(super) fn thread_returned() -> ! {
    panic!(
        "the function of a kernel thread has returned, and kstack's Hooks::thread_returned is not set"
    );
}

pub(super) fn nmi(regs: &mut SavedRegs) {
    panic!("an NMI has come at {}, and kstack's Hooks::nmi is not set", regs.pc());
}

pub(super) fn debug(regs: &mut SavedRegs) {
    panic!("a debug exception has come at {}, and kstack's Hooks::debug is not set", regs.pc());
}

pub(super) fn code(_pc: Addr) -> Code {
    Code::Unknown
}

pub(super) fn frame(_pc: Addr) -> Option<Frame> {
    None
}

pub(super) fn context() -> Context {
    running_context()
}

pub(super) fn end_thread(report: &OverflowReport) -> ! {
    panic!("kstack's Hooks::end_thread is not set\n{report}");
}

pub(super) fn stop(report: &OverflowReport) -> ! {
    panic!("{report}");
}

/// What this library knows of the running context, with the kernel's count of spinning locks. The
/// thread is the owner of the stack that [`CpuLocal::set_thread`] named, if it is a thread's; the
/// kernel's half is that of the stacks, where an address tells it.
pub fn running_context() -> Context {
    Context { spinning_locks: (hooks().spinning_locks)(), ..own_context() }
}

/// What this library knows by itself: it asks the kernel for nothing.
pub(crate) fn own_context() -> Context {
    // SAFETY: (1) called by entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    let irq = local.irq.snapshot();
    let below_top = Addr::new(local.thread_top().get().wrapping_sub(1));
    let running = registry::get().and_then(|registry| registry.stack_at(below_top));
    let thread = running.filter(|stack| stack.kind == StackKind::Thread);
    Context {
        thread: thread.map_or(ThreadId::NONE, |stack| stack.owner),
        spinning_locks: 0,
        in_interrupt: irq.hardirq_depth() > 0,
        in_softirq: irq.in_softirq(),
        in_nmi: local.arch.in_nmi(),
        bottom_halves_disabled: irq.bottom_halves_are_disabled(),
        // Told by the fault itself.
        interrupts_off: false,
        kernel_lowest: kernel_lowest(),
    }
}

/// The lowest address of the half that the stacks are in; 0 if that is the lower half, which tells
/// nothing.
fn kernel_lowest() -> Addr {
    const UPPER_HALF: usize = 1 << (usize::BITS - 1);
    let stacks = registry::get().map_or(0, |registry| registry.arena().range().lowest.get());
    Addr::new(stacks & UPPER_HALF)
}
