//! What a kernel gives the entry code: a table of functions, installed once before the first
//! interrupt.
//!
//! Entry code reaches the kernel through this table and through nothing else. [`Hooks::new`] wants
//! the one answer that only the kernel has; every other hook has a default, which a method of the
//! same name replaces:
//!
//! ```
//! # use kstack::{Hooks, SavedRegs, verdict::OverflowReport};
//! # fn spinning_locks_of_this_cpu() -> u32 { 0 }
//! # fn on_interrupt(_: u8, _: &mut SavedRegs) {}
//! # fn end_thread(_: &OverflowReport) -> ! { loop {} }
//! static HOOKS: Hooks =
//!     Hooks::new(spinning_locks_of_this_cpu).interrupt(on_interrupt).end_thread(end_thread);
//! ```
//!
//! Where a default stands for something that the kernel forgot (an interrupt without a handler, a
//! program's exception), it panics with a sentence that names the hook. The functions run on the
//! stack that the module of the architecture says, with interrupts as each field says.

mod defaults;
mod table;

pub(crate) use defaults::own_context;
pub use defaults::running_context;
pub use table::{Hooks, are_installed, install, place};
pub(crate) use table::{code_at, frame_at, hooks};

use crate::arch::current::regs::SavedRegs;
use kstack_core::addr::Addr;
use kstack_core::irq::Again;
use kstack_core::stacks::Code;
use kstack_core::unwind::frames::Frame;
use kstack_core::verdict::{Context, OverflowReport};

/// A method that replaces a hook, named like it.
macro_rules! replacing {
    ($($name:ident: $type:ty,)*) => {
        impl Hooks {
            /// The table with the defaults. `spinning_locks` says how many spinning locks the CPU
            /// holds that it is called on.
            #[must_use]
            pub const fn new(spinning_locks: fn() -> u32) -> Self {
                Self { spinning_locks, $($name: defaults::$name,)* }
            }

            $(
                #[doc = concat!("The same table with another [`", stringify!($name), "`](field@Hooks::", stringify!($name), ").")]
                #[must_use]
                pub const fn $name(mut self, hook: $type) -> Self {
                    self.$name = hook;
                    self
                }
            )*
        }
    };
}

replacing! {
    interrupt: fn(vector: u8, regs: &mut SavedRegs),
    in_service: fn() -> Option<u8>,
    softirqs: fn(pending: u32),
    softirqs_again: fn(round: u32, due: u32) -> Again,
    softirq_thread: fn(),
    preempt: fn(),
    syscall: fn(regs: &mut SavedRegs),
    before_user: fn(regs: &mut SavedRegs),
    user_exception: fn(vector: u8, fault: Addr, regs: &mut SavedRegs),
    kernel_exception: fn(vector: u8, fault: Addr, regs: &mut SavedRegs),
    after_switch: fn(message: usize),
    thread_returned: fn() -> !,
    nmi: fn(regs: &mut SavedRegs),
    debug: fn(regs: &mut SavedRegs),
    code: fn(pc: Addr) -> Code,
    frame: fn(pc: Addr) -> Option<Frame>,
    context: fn() -> Context,
    end_thread: fn(report: &OverflowReport) -> !,
    stop: fn(report: &OverflowReport) -> !,
}

pub(crate) extern "C" fn on_syscall(regs: &mut SavedRegs) {
    crate::shifted::syscall(regs);
}

pub(crate) extern "C" fn before_user(regs: &mut SavedRegs) {
    (hooks().before_user)(regs);
}

pub(crate) extern "C" fn after_switch(message: usize) {
    (hooks().after_switch)(message);
}

/// The first function of a kernel thread has returned; `regs` are what is kept for user mode.
pub(crate) extern "C" fn after_function(regs: &mut SavedRegs) {
    if regs.pc().get() == 0 && regs.sp().get() == 0 {
        (hooks().thread_returned)();
    }
}
