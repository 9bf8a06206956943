//! Exceptions, interrupts and the system call: what the vectors lead to, once there is room.
//!
//! # An exception, step by step
//!
//! ```text
//!   CPU       masks everything, sets SPSel = 1: SP is the top of the overflow stack; pc and pstate to ELR_EL1 and SPSR_EL1
//!   slot      x0 and x1, and PSTATE if from the kernel, to the 32 bytes below SP; x0 = where SavedRegs will lie: below SP_EL0, or below thread_top from user
//!             mode. One bit of what is RESERVE bytes lower set: there is no room, on to `overflow`
//!   entry     saves SavedRegs through x0; then SPSel = 0, SP = x0, x29 = x0 + 1; debug exceptions and SErrors on, but after a
//!             synchronous exception not before it is known to be no debug exception; calls Rust
//!   return    interrupts off; to user mode: pending work; everything masked; SPSel = 1; registers; eret
//! ```
//!
//! # State, line by line
//!
//! | place | SPSel, SP | SP_EL0 | masked | if an exception comes |
//! | --- | --- | --- | --- | --- |
//! | a program | 0, its own | its own | F | EL0 vectors |
//! | the kernel | 0, a stack of the arena | same | I as it likes; F | EL1t vectors |
//! | slot and saving | 1, overflow top | the interrupted SP | D A I F | only a store through a wild x0 can fault: EL1h, told by SP = top |
//! | after saving | 0, SavedRegs | same | I F | EL1t vectors |
//! | loading registers | 1, overflow top | the SP to come | D A I F | none can: SavedRegs were mapped |
//! | overflow handler | 1, overflow stack | the broken SP | D A I F | EL1h vectors: second fault |
//!
//! # Invariants
//!
//! 1. Outside the overflow handler SP_EL1 is the overflow stack's top, whenever a program or the
//!    kernel runs. Nothing here moves it.
//! 2. ELR_EL1, SPSR_EL1, ESR_EL1 and FAR_EL1 are valid only while everything is masked; they are
//!    read before that ends, and written after it begins.
//! 3. Until the last of x2 to x30 is saved, x1 is the interrupted pc and x0 the place: if a store
//!    faults, both can be told from the registers of that fault, and PSTATE from what the slot
//!    kept.
//! 4. Rust code is called with SP 16-aligned: SavedRegs is a multiple of 16, and so are the tops of
//!    stacks.
//! 5. TPIDR_EL1 is the CPU's block from boot on; programs cannot change it, so there is nothing to
//!    exchange on the way in.
//! 6. From the kernel Rust code is called only with RESERVE bytes left ([`crate::room`]). Until
//!    then nothing has changed, and the interrupt controller has not been asked: an interrupt that
//!    finds no room comes again.
//! 7. TPIDRRO_EL0 is the running thread whenever Rust code runs, and zero whenever a program does.

use super::cause::{CLASS_SHIFT, FROM_CONTROLLER, SVC};
use super::fault::on_exception;
use super::regs::SavedRegs;
use super::return_path::return_to_user;
use super::save::{
    DEBUG_AND_SERROR, INTERRUPTS, SLOT_SCRATCH, load_and_return, save_at_x0, unsaved,
};
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

unsafe extern "C" {
    // The bytes behind the entries that save registers.
    fn kstack_kernel_sync_end();
    fn kstack_kernel_irq_end();
    fn kstack_user_sync_end();
    fn kstack_user_irq_end();
}

/// Whether this is an instruction of an entry that saves registers through x0.
pub(super) fn is_saving_entry(pc: Addr) -> bool {
    let entries: [(extern "C" fn(), unsafe extern "C" fn()); 4] = [
        (kernel_sync, kstack_kernel_sync_end),
        (kernel_irq, kstack_kernel_irq_end),
        (user_sync, kstack_user_sync_end),
        (user_irq, kstack_user_irq_end),
    ];
    entries.iter().any(|&(first, end)| (first as usize..end as usize).contains(&pc.get()))
}

/// A synchronous exception, an FIQ or an SError from the kernel. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn kernel_sync() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        save_at_x0!(),
        "mrs x1, esr_el1",
        "stp x2, x1, [x0, #{orig_x0}]",
        "lsr x2, x1, #{class_shift}",
        // The stack is sound and the registers are on it: from here on it is the stack.
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "cmp x2, #{svc}",
        "b.eq 2f",
        "mrs x1, far_el1",
        "bl {on_exception}",
        "b 3f",
        // A software interrupt: the shortest way, since it is what costs are compared by. pc is
        // behind the instruction already.
        "2:",
        "msr daifclr, #{debug_and_serror}",
        "bl {on_software_interrupt}",
        "3:",
        load_and_return!(),
        ".cfi_endproc",
        ".globl {end}",
        "{end}:",
        end = sym kstack_kernel_sync_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        class_shift = const CLASS_SHIFT,
        svc = const SVC,
        debug_and_serror = const DEBUG_AND_SERROR,
        on_software_interrupt = sym on_software_interrupt,
        on_exception = sym on_exception,
    )
}

/// An interrupt in the kernel. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn kernel_irq() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        save_at_x0!(),
        "stp x2, xzr, [x0, #{orig_x0}]",
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "msr daifclr, #{debug_and_serror}",
        "bl {on_irq}",
        load_and_return!(),
        ".cfi_endproc",
        ".globl {end}",
        "{end}:",
        end = sym kstack_kernel_irq_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        debug_and_serror = const DEBUG_AND_SERROR,
        on_irq = sym on_irq,
    )
}

/// A system call, or any other exception in user mode. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn user_sync() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        save_at_x0!(),
        "mrs x1, esr_el1",
        "stp x2, x1, [x0, #{orig_x0}]",
        "lsr x2, x1, #{class_shift}",
        // The running thread, for `current`.
        "mrs x3, tpidr_el1",
        "ldr x3, [x3, #{thread}]",
        "msr tpidrro_el0, x3",
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "cmp x2, #{svc}",
        "b.ne 2f",
        // Everything that belongs to the program is saved: interrupts may come.
        "msr daifclr, #{all_but_fiq}",
        "bl {on_syscall}",
        "b {return_to_user}",
        "2:",
        "mrs x1, far_el1",
        "bl {on_exception}",
        "b {return_to_user}",
        ".cfi_endproc",
        ".globl {end}",
        "{end}:",
        end = sym kstack_user_sync_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        thread = const CpuLocal::THREAD,
        scratch = const SLOT_SCRATCH,
        class_shift = const CLASS_SHIFT,
        svc = const SVC,
        all_but_fiq = const DEBUG_AND_SERROR | INTERRUPTS,
        on_syscall = sym crate::hooks::on_syscall,
        on_exception = sym on_exception,
        return_to_user = sym return_to_user,
    )
}

/// An interrupt in user mode. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn user_irq() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        save_at_x0!(),
        "stp x2, xzr, [x0, #{orig_x0}]",
        // The running thread, for `current`.
        "mrs x3, tpidr_el1",
        "ldr x3, [x3, #{thread}]",
        "msr tpidrro_el0, x3",
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "msr daifclr, #{debug_and_serror}",
        "bl {on_irq}",
        "b {return_to_user}",
        ".cfi_endproc",
        ".globl {end}",
        "{end}:",
        end = sym kstack_user_irq_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        thread = const CpuLocal::THREAD,
        scratch = const SLOT_SCRATCH,
        debug_and_serror = const DEBUG_AND_SERROR,
        on_irq = sym on_irq,
        return_to_user = sym return_to_user,
    )
}

/// All interrupts of the controller arrive here.
extern "C" fn on_irq(regs: &mut SavedRegs) {
    crate::irq::on_interrupt(FROM_CONTROLLER, regs);
}

/// `svc` in the kernel: an interrupt whose number is in the instruction.
extern "C" fn on_software_interrupt(regs: &mut SavedRegs) {
    crate::irq::on_interrupt(regs.esr as u8, regs);
}
