//! The table itself, and where the installed one is found.

use crate::arch::current::regs::SavedRegs;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack_core::addr::Addr;
use kstack_core::irq::Again;
use kstack_core::stacks::Code;
use kstack_core::unwind::frames::Frame;
use kstack_core::verdict::{Context, OverflowReport};

/// The kernel's side of every entry.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Hooks {
    /// How many spinning locks this CPU holds: a thread that holds one cannot be ended where it
    /// stands, because what the lock guards may be half changed. Asked on overflow. There is no
    /// default: 0 for a kernel that has such locks ends threads inside them.
    pub spinning_locks: fn() -> u32,
    /// A device's or CPU's interrupt. Interrupts off; on the IRQ stack if it came from the kernel.
    pub interrupt: fn(vector: u8, regs: &mut SavedRegs),
    /// The vector of an interrupt that the CPU has taken and whose handler has not begun, if the
    /// controller knows of one: asked when an entry found no room on the thread's stack. `None`
    /// where the controller hears of it from the handler only.
    pub in_service: fn() -> Option<u8>,
    /// Runs the softirq vectors whose bits are set. Interrupts on; never nested.
    pub softirqs: fn(pending: u32),
    /// Softirqs became due while others ran, `round` times in a row by now: whether they run right
    /// now, wait for the next interrupt, or are left to a thread. Interrupts off. By default
    /// [`MAX_ROUNDS`](crate::irq::MAX_ROUNDS) rounds, then the next interrupt.
    pub softirqs_again: fn(round: u32, due: u32) -> Again,
    /// Softirqs wait for the thread that they were left to
    /// ([`run_softirqs_in_thread`](crate::irq::run_softirqs_in_thread)): wake it. Interrupts off;
    /// may come again while it is awake.
    pub softirq_thread: fn(),
    /// After an interrupt from the kernel in thread context, if [`CpuLocal::ask_for_preemption`]
    /// was called: the place to preempt. The hook takes the request. Interrupts off, on the thread
    /// stack.
    ///
    /// [`CpuLocal::ask_for_preemption`]: crate::local::CpuLocal::ask_for_preemption
    pub preempt: fn(),
    /// A system call. Interrupts on, on the thread stack.
    pub syscall: fn(regs: &mut SavedRegs),
    /// Right before user mode: pending work. Interrupts off on entry and on return; may be turned
    /// on in between.
    pub before_user: fn(regs: &mut SavedRegs),
    /// An exception in user mode. Interrupts off on entry; on the thread stack. `fault` is the
    /// address, for page faults.
    pub user_exception: fn(vector: u8, fault: Addr, regs: &mut SavedRegs),
    /// An exception in the kernel that no stack explains; returns if the kernel repaired it. On the
    /// interrupted stack.
    pub kernel_exception: fn(vector: u8, fault: Addr, regs: &mut SavedRegs),
    /// The first thing a stack runs after a switch to it: `message` is what the other side passed.
    /// Interrupts off.
    pub after_switch: fn(message: usize),
    /// The function of a kernel thread has returned, and the thread has no registers of user mode
    /// to continue with. With interrupts as the function left them, at the top of the thread's
    /// stack.
    pub thread_returned: fn() -> !,
    /// An NMI. It may have interrupted anything: take no lock that an interrupted instruction could
    /// hold. If the handler of one from user mode takes an exception, the next may come inside it,
    /// once.
    pub nmi: fn(regs: &mut SavedRegs),
    /// A debug exception in the kernel. As for NMIs.
    pub debug: fn(regs: &mut SavedRegs),
    /// The code that an instruction of the kernel lies in, for backtraces; its bytes must be
    /// readable. [`Code::Unknown`] where that is not known: such backtraces say that frames may be
    /// missing. Called in any context.
    pub code: fn(pc: Addr) -> Code,
    /// Where the caller of an instruction is, by a table of the kernel's image
    /// ([`Frames`](crate::unwind::frames::Frames)); `None` where there is none, or it does not say:
    /// then the code is read. Called in any context.
    pub frame: fn(pc: Addr) -> Option<Frame>,
    /// What the overflow verdict needs to know of the running context, besides stacks. By default
    /// [`running_context`](super::running_context).
    pub context: fn() -> Context,
    /// Ends the running thread, whose stack overflowed or which touched a guard. Interrupts off; on
    /// the thread's own stack, rewound to its top. By default the report is what the kernel panics
    /// with.
    pub end_thread: fn(report: &OverflowReport) -> !,
    /// Stops the system. On the double-fault stack, or the stack that touched a guard; no lock may
    /// be waited for. By default the report is what the kernel panics with.
    pub stop: fn(report: &OverflowReport) -> !,
}

/// In the section of what is written once: a kernel maps it read-only afterwards, because every
/// entry goes where this leads.
#[unsafe(link_section = ".data.kstack_once")]
static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(core::ptr::null_mut());

/// Installs the table. Before any CPU loads its descriptor tables.
///
/// # Safety
///
/// 1. The section `.data.kstack_once` is writable still.
pub unsafe fn install(hooks: &'static Hooks) {
    HOOKS.store(core::ptr::from_ref(hooks).cast_mut(), Ordering::Release);
}

/// The code that an instruction lies in; unknown before the table is there.
pub(crate) fn code_at(pc: Addr) -> Code {
    let hooks = HOOKS.load(Ordering::Acquire);
    // SAFETY: (1) null, or a reference to a static that `install` stored.
    unsafe { hooks.as_ref() }.map_or(Code::Unknown, |hooks| (hooks.code)(pc))
}

/// Where the caller of an instruction is; not known before the table is there.
pub(crate) fn frame_at(pc: Addr) -> Option<Frame> {
    let hooks = HOOKS.load(Ordering::Acquire);
    // SAFETY: (1) null, or a reference to a static that `install` stored.
    unsafe { hooks.as_ref() }.and_then(|hooks| (hooks.frame)(pc))
}

/// Whether a table is installed.
pub fn are_installed() -> bool {
    !HOOKS.load(Ordering::Acquire).is_null()
}

/// Where the pointer to the table lies. A kernel whose tests replace the table does it through
/// another mapping of these bytes.
pub fn place() -> *const AtomicPtr<Hooks> {
    &raw const HOOKS
}

/// The installed table.
#[inline(always)]
pub(crate) fn hooks() -> &'static Hooks {
    // SAFETY: (1) entry code runs only after `install`, which stored a reference to a static;
    // nothing else is ever stored.
    unsafe { &*HOOKS.load(Ordering::Relaxed) }
}
