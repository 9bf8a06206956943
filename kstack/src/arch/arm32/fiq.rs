//! FIQ: this machine's NMI.
//!
//! It is masked by itself alone, so it hits code that runs with IRQ masked: entries and return
//! paths too. From the kernel it therefore keeps what those have in registers that only they use
//! (SPSR_svc, a program's TPIDRURO), and goes back by one load of PC and CPSR from the stack, which
//! touches neither. What it does not keep is what an abort or an undefined instruction writes, so
//! its handler must not cause one.
//!
//! ```text
//!   SVC mode: svc_entry has SPSR_svc in its hands         ldm loads the program's r0-r12, SPSR_svc waits for movs pc, lr
//!        |                                                     |
//!        FIQ --> r5 = SPSR_svc, r6 = TPIDRURO --> handler --> both back, rfe
//! ```

use super::cause::{FIQ, FIQ_RESERVE};
use super::local::BODY_SHIFT;
use super::overflow;
use super::regs::{SVC_MODE, SavedRegs, USER_MODE};
use super::return_path::to_user;
use super::save::{save_from_kernel, save_from_user, unsaved};
use super::tables::ModeWords;
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};

/// FIQ's entry. It can hit the kernel at any instruction; see the module's head.
///
/// In: LR = PC of the interrupted instruction + 4; SPSR; SP = the mode's words; FIQ and IRQ masked
/// by the CPU. SavedRegs lies on the thread stack (from user) or the current one; SVC mode.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn fiq_entry() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "sub lr, lr, #4",
        "stm sp, {{r0, lr}}",
        "mrs lr, spsr",
        "str lr, [sp, #{word_cpsr}]",
        "tst lr, #{not_user}",
        "mov r0, sp",
        "cps #{svc_mode}",
        "bne 2f",

        // From user mode, as any entry. The return path leaves out what is pending: a switch to
        // another thread would take the mask along.
        save_from_user!(),
        "add r11, sp, #1",
        "bic sp, sp, #{misaligned}",
        "mov r0, r4",
        "bl {on_fiq}",
        "mov sp, r4",
        "b {to_user}",

        // From the kernel.
        "2:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "sub sp, sp, #{size} + {reserve}",
        "tst sp, #{outside}",
        "bne 4f",
        save_from_kernel!(),
        // What an entry or a return path may have in its hands.
        "mrs r5, spsr",
        "mrc p15, 0, r6, c13, c0, 3",
        "mrc p15, 0, r7, c13, c0, 4",
        "ldr r7, [r7, #{thread}]",
        "mcr p15, 0, r7, c13, c0, 3",
        "add r11, sp, #1",
        "bic sp, sp, #{misaligned}",
        "mov r0, r4",
        "bl {on_fiq}",
        "mov sp, r4",
        "mcr p15, 0, r6, c13, c0, 3",
        "msr spsr_cxsf, r5",
        // PC and CPSR move up by a word, to right below where SP was: there rfe takes them from,
        // and leaves SP behind them.
        "ldr r0, [sp, #{pc}]",
        "ldr r1, [sp, #{cpsr}]",
        "str r0, [sp, #{return_at}]",
        "str r1, [sp, #{return_at} + {word}]",
        "clrex",
        "ldr lr, [sp, #{lr_at}]",
        ".cfi_def_cfa_register sp",
        "ldm sp, {{r0-r12}}",
        "add sp, sp, #{return_at}",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "rfeia sp!",

        // No room. The controller has not been asked: it comes again.
        "4:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "add sp, sp, #{reserve}",
        "str lr, [r0, #{word_lr}]",
        "str r1, [r0, #{word_r1}]",
        "mov r1, #{vector}",
        "b {no_room}",
        ".cfi_endproc",
        vector = const FIQ as usize,
        size = const size_of::<SavedRegs>(),
        reserve = const FIQ_RESERVE,
        sp_at = const offset_of!(SavedRegs, sp),
        lr_at = const offset_of!(SavedRegs, lr),
        pc = const offset_of!(SavedRegs, pc),
        cpsr = const offset_of!(SavedRegs, cpsr),
        orig_r0 = const offset_of!(SavedRegs, orig_r0),
        return_at = const size_of::<SavedRegs>() - 2 * size_of::<u32>(),
        word = const size_of::<u32>(),
        word_cpsr = const ModeWords::CPSR,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        not_user = const !USER_MODE & 0xf,
        svc_mode = const SVC_MODE,
        outside = const 1 << BODY_SHIFT,
        misaligned = const 7,
        thread = const CpuLocal::THREAD,
        on_fiq = sym on_fiq,
        to_user = sym to_user,
        no_room = sym overflow::no_room,
    )
}

/// FIQ, which masking IRQ does not keep out: this machine's NMI. It is masked itself, so none comes
/// during another.
extern "C" fn on_fiq(regs: &mut SavedRegs) {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let arch = &unsafe { CpuLocal::this() }.arch;
    arch.set_nmi_active(true);
    (hooks().nmi)(regs);
    arch.set_nmi_active(false);
}
