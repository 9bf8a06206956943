//! What every tree has for the code outside of it, with its exact type: the compiler checks the
//! tree that it builds.
//!
//! It is the checklist for a new architecture, too: write the tree until this file compiles. The
//! heads of x86_64's files say what each function promises; a tree may have more, which only its
//! own files, or a kernel's tree of that name, may use.
//!
//! Beside these, vectors, system-call entry and return path, all in `.text.kstack_entry`: the CPU
//! reaches them, through what `tables` has it read. Where the CPU changes no stack by itself:
//! `overflow`, which finds another when the registers do not fit. Where an entry can interrupt the
//! first instruction of another: `nmi`.
//!
//! The files of a tree import each other in one direction, which `cargo xtask lint` checks:
//!
//! ```text
//!   vectors ──▶ nmi, overflow ──▶ entry ──▶ fault ──▶ (crate::report) ──▶ containment
//!                                   └──▶ return_path, save, cause, this_cpu ──▶ local, regs
//! ```

use kstack_core::addr::{Addr, ByteSize};
use kstack_core::geometry::Geometry;
use kstack_core::unwind::FrameRules;

use super::current::regs::{self, Rules, SavedRegs};
use super::current::{BELOW_END, GEOMETRY, RESERVE};

// The tree itself: what a stack is here. The table in its head says which stack each entry lands
// on.
const _: Geometry = GEOMETRY;
const _: ByteSize = RESERVE;
const _: ByteSize = BELOW_END;

// `regs`: what an entry from anywhere saves, and how the unwinder reads it.
const _: fn(&SavedRegs) -> bool = SavedRegs::from_user;
const _: fn(&SavedRegs) -> bool = SavedRegs::interrupts_are_on;
const _: fn(&SavedRegs) -> Addr = SavedRegs::pc;
const _: fn(&SavedRegs) -> Addr = SavedRegs::sp;
const _: fn(&SavedRegs) -> Addr = SavedRegs::fp;
const _: fn() -> usize = regs::frame_pointer;
const _: () = are_frame_rules::<Rules>();

const fn are_frame_rules<Rules: FrameRules>() {}

/// The layer `switch`: from one stack to another.
#[cfg(feature = "switch")]
mod switch {
    use super::super::current::call::call_on_stack;
    use super::super::current::switch::{SwitchFrame, switch};
    use super::Addr;

    // `call`: a call on another stack, with a frame record on the old one.
    type Callee = extern "C" fn(usize, usize);
    const _: unsafe extern "C" fn(usize, usize, Callee, usize) = call_on_stack;

    // `switch`: where the first frame's function and argument are, and the switch itself.
    const _: fn(Addr, usize, usize, usize) -> SwitchFrame = SwitchFrame::bare;
    const _: fn(&SwitchFrame) -> Addr = SwitchFrame::fp;
    const _: fn(&SwitchFrame) -> usize = SwitchFrame::function;
    const _: fn(&SwitchFrame) -> usize = SwitchFrame::argument;
    const _: fn(&SwitchFrame) -> Addr = SwitchFrame::return_address;
    const _: unsafe extern "C" fn(*mut usize, usize, usize) -> usize = switch;
}

/// The layer `entry`: what the CPU reads, where it enters, and how it returns.
#[cfg(feature = "entry")]
mod entry {
    use core::sync::atomic::AtomicUsize;
    use kstack_core::addr::AddrRange;
    use kstack_core::kind::StackKind;
    use kstack_core::pool::AcquireError;
    use kstack_core::verdict::OverflowReport;

    use super::super::current::bring_up::{self, TablesPlace};
    use super::super::current::containment;
    use super::super::current::interrupts;
    use super::super::current::local::ArchLocal;
    use super::super::current::regs::SavedRegs;
    use super::super::current::switch::SwitchFrame;
    use super::super::current::tables::{CpuTables, Unfit};
    use super::super::current::this_cpu;
    use super::Addr;
    use crate::local::{CpuLocal, OneStep};

    // `bring_up`: all of a CPU before its first interrupt.
    type Stacks = fn(StackKind) -> Result<AddrRange, AcquireError>;
    const _: &[(StackKind, usize)] = bring_up::CPU_STACKS;
    const _: fn() -> TablesPlace = TablesPlace::new;
    const _: fn(&TablesPlace) -> *mut CpuTables = TablesPlace::get;
    const _: unsafe fn(&'static CpuLocal, *mut CpuTables) = bring_up::load_block;
    const _: unsafe fn(&'static CpuLocal, *mut CpuTables, Stacks) -> Result<(), AcquireError> =
        bring_up::prepare;
    const _: unsafe fn(&'static CpuLocal, *mut CpuTables) -> Result<(), Unfit> = bring_up::load;
    const _: unsafe fn(AddrRange, extern "C" fn(usize) -> !, usize) -> ! = bring_up::continue_on;
    const _: unsafe fn(&CpuLocal, Addr) = bring_up::set_user_entry_stack;

    // `interrupts`: of this CPU.
    const _: bool = interrupts::OFF_WRITES_TO_STACK;
    const _: unsafe fn() -> bool = interrupts::off;
    const _: unsafe fn() = interrupts::mask;
    const _: unsafe fn() = interrupts::on;
    const _: fn() -> bool = interrupts::are_on;
    const _: fn() -> ! = interrupts::trap_without_room::<0>;

    // `containment`: the end of a thread on its own stack.
    const _: fn(&'static OverflowReport, &SavedRegs) -> ! = containment::end_on_own_stack;

    // `local`: the words of this architecture in a CPU's block.
    const _: fn() -> ArchLocal = ArchLocal::new;
    const _: fn(&ArchLocal) -> bool = ArchLocal::in_nmi;
    const _: fn(&ArchLocal) -> Option<Addr> = ArchLocal::softirq_top;

    // `this_cpu`: the path to the block, and to the running thread.
    const _: Option<usize> = this_cpu::GUARD_IN_THREAD;
    const _: fn(&CpuLocal) -> &AtomicUsize = this_cpu::guard;
    const _: fn(&CpuLocal) = this_cpu::keep_guard;
    const _: Option<OneStep> = this_cpu::ONE_STEP;
    const _: unsafe fn(&'static CpuLocal) = this_cpu::load;
    const _: fn() -> &'static CpuLocal = this_cpu::this;
    const _: fn(&CpuLocal, usize) = this_cpu::set_current;
    const _: fn() -> usize = this_cpu::current_thread;
    const _: fn() -> usize = this_cpu::sp;
    const _: unsafe fn(usize) = this_cpu::wipe_below_sp;
    const _: fn() -> usize = this_cpu::left_on_thread_stack;
    const _: fn() -> bool = this_cpu::may_be_below_line::<0>;

    // `switch`: the first frame of a thread that may return to user mode.
    const _: fn(Addr, usize, usize, usize) -> SwitchFrame = SwitchFrame::first;
}
