//! Interrupts, exceptions and the system call. FIQs are in [`super::fiq`].
//!
//! # An interrupt or exception, step by step
//!
//! ```text
//!   CPU       changes to IRQ, abort, undefined or FIQ mode: LR = where it was (about), SPSR = CPSR as it was, SP = the
//!             mode's words
//!   stub      writes r0, PC and CPSR to the mode's words, r0 = their address, changes to SVC mode
//!   common    from user: SP_svc stands at the top of the thread stack; room for SavedRegs; the user's SP and LR
//!             from the kernel: room for SavedRegs; the bit test; no_room if it fails
//!             the rest of SavedRegs; r11 = their address + 1; calls Rust with SP 8-aligned
//!   return    interrupts off; to user mode: pending work, thread pointer; registers; one instruction loads PC and CPSR
//! ```
//!
//! A system call (`svc`) arrives in SVC mode at once: no words, no other mode.
//!
//! # States of SP_svc
//!
//! | state | SP_svc | left by |
//! | --- | --- | --- |
//! | user mode runs | 8 below the top of the running thread's stack | an exception: room for SavedRegs is taken |
//! | on a thread stack, sound | in its body, bit 13 clear | a call on the IRQ stack; the switch; the return path |
//! | an exception found no room | in a guard, bit 13 set | `no_room`: SP = overflow stack, depth 1 |
//! | on the overflow stack | in its body, bit 13 clear | `end_on_own_stack` (depth 0), or the system stops |
//! | the overflow stack found no room | in a guard, bit 13 set | `no_room`: SP = last stack, depth 2; the system stops |
//! | the last stack found no room | anywhere | `no_room`: the CPU is parked, depth 3; nothing is written any more |
//!
//! # Invariants
//!
//! 1. An entry from the kernel tests SP before it writes anything on the stack that SP points to.
//!    The test needs no register: stacks are aligned to twice their size, so one bit tells.
//!    Everything up to then is in the mode's words. There must be room for SavedRegs, and RESERVE
//!    below them ([`crate::room`]): the controller has not been asked yet, so an interrupt that
//!    finds no room comes again. A FIQ, which comes with interrupts off too, lives on that reserve:
//!    it asks for [`FIQ_RESERVE`](super::cause::FIQ_RESERVE) only.
//! 2. From the first instruction of an entry to the call of Rust code, and from the last one to the
//!    return, IRQ is masked. FIQ is masked in its own handler, and from a failed bit test on until
//!    the overflow stack is left: only there does SP point nowhere for a moment.
//! 3. Rust code is called with SP 8-aligned, as the procedure call standard wants it; what was
//!    interrupted need not have it so.
//! 4. TPIDRURO is the running thread's from before the first Rust code to after the last; the
//!    program's outside.
//! 5. In user mode SP_svc is where the saved user registers end: the return path leaves it there.

use super::RESERVE;
use super::cause::{LINE, SOFTWARE};
use super::fault::on_trap;
use super::local::{ArchLocal, BODY_SHIFT};
use super::overflow;
use super::regs::{SVC_MODE, SavedRegs, USER_MODE};
use super::return_path::return_path;
use super::save::{regs_at, save_from_kernel, save_from_user, unsaved};
use super::tables::ModeWords;
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use core::ops::Range;

/// One exception's entry, from any mode but its own, up to the call of [`on_trap`].
///
/// In: LR = PC of the interrupted instruction + `BACK`; SPSR; SP = the mode's words. Out:
/// SavedRegs, on the thread stack (from user) or the current one; SVC mode.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn stub<const VECTOR: u8, const BACK: usize>() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "sub lr, lr, #{back}",
        "stm sp, {{r0, lr}}",
        "mrs lr, spsr",
        "str lr, [sp, #{word_cpsr}]",
        "tst lr, #{not_user}",
        "mov r0, sp",
        "cps #{svc_mode}",
        "bne 2f",

        // From user mode. SP_svc is at the top; LR_svc is free.
        save_from_user!(),
        "b 3f",

        // From the kernel. Nothing is written on this stack before the test.
        "2:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "sub sp, sp, #{size} + {reserve}",
        "tst sp, #{outside}",
        "bne 4f",
        save_from_kernel!(),

        "3:",
        "add r11, r4, #1",
        "bic sp, sp, #{misaligned}",
        "mov r0, #{vector}",
        "mov r1, r4",
        "bl {on_trap}",
        "mov sp, r4",
        "b {return_path}",

        // No room.
        "4:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "cpsid f",
        "add sp, sp, #{reserve}",
        "str lr, [r0, #{word_lr}]",
        "str r1, [r0, #{word_r1}]",
        "mov r1, #{vector}",
        "b {no_room}",
        ".cfi_endproc",
        back = const BACK,
        vector = const VECTOR,
        size = const size_of::<SavedRegs>(),
        reserve = const RESERVE.get(),
        sp_at = const offset_of!(SavedRegs, sp),
        pc = const offset_of!(SavedRegs, pc),
        cpsr = const offset_of!(SavedRegs, cpsr),
        orig_r0 = const offset_of!(SavedRegs, orig_r0),
        word_cpsr = const ModeWords::CPSR,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        // Of all modes, only user mode's number ends in zeros.
        not_user = const !USER_MODE & 0xf,
        svc_mode = const SVC_MODE,
        outside = const 1 << BODY_SHIFT,
        misaligned = const 7,
        thread = const CpuLocal::THREAD,
        on_trap = sym on_trap,
        return_path = sym return_path,
        no_room = sym overflow::no_room,
    )
}

/// Instructions of a [`stub`] up to the branch that says that there is no room, this one included.
const STUB_BEFORE_TEST: usize = 26;

/// The instructions of an IRQ's entry that come before it knows whether there is room.
pub(super) fn irq_before_test() -> Range<usize> {
    let stub = stub::<LINE, 4> as *const () as usize;
    stub..stub + STUB_BEFORE_TEST * size_of::<u32>()
}

/// The `svc` instruction. From user mode: a system call, number in r7, arguments in r0 to r6. From
/// the kernel: a software interrupt.
///
/// In: LR_svc = return address, SPSR; everything else as it was. IRQ masked by the CPU.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn svc_entry() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "sub sp, sp, #{size} + {reserve}",
        // From user mode it cannot fail.
        "tst sp, #{outside}",
        "bne 4f",
        "add sp, sp, #{reserve}",
        "stm sp, {{r0-r12}}",
        "mov r6, lr",
        "mrs r5, spsr",
        "str r6, [sp, #{pc}]",
        "str r5, [sp, #{cpsr}]",
        "str r0, [sp, #{orig_r0}]",
        "mov r4, sp",
        "add r11, sp, #1",
        "tst r5, #{not_user}",
        "bne 2f",
        "add r0, sp, #{sp_at}",
        "stm r0, {{sp, lr}}^",
        regs_at!("r4"),
        "mrc p15, 0, r5, c13, c0, 4",
        "ldr r5, [r5, #{thread}]",
        "mcr p15, 0, r5, c13, c0, 3",
        // Everything that belongs to the user is saved: interrupts may come.
        "cpsie i",
        "mov r0, sp",
        "bl {on_syscall}",
        "b {return_path}",

        // From the kernel. LR was the caller's to lose.
        "2:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "add r5, sp, #{size}",
        "add r0, sp, #{sp_at}",
        "stm r0, {{r5, r6}}",
        regs_at!("r4"),
        "bic sp, sp, #{misaligned}",
        "mov r0, #{software}",
        "mov r1, r4",
        "bl {on_trap}",
        "mov sp, r4",
        "b {return_path}",

        // No room. Without a mode's words, r0 goes through the thread pointer, which the block has
        // a copy of.
        "4:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "cpsid f",
        "add sp, sp, #{reserve}",
        "mcr p15, 0, r0, c13, c0, 3",
        "mrc p15, 0, r0, c13, c0, 4",
        "add r0, r0, #{svc_words}",
        "str r1, [r0, #{word_r1}]",
        "mrc p15, 0, r1, c13, c0, 3",
        "str r1, [r0, #{word_r0}]",
        "str lr, [r0, #{word_pc}]",
        "str lr, [r0, #{word_lr}]",
        "mrs r1, spsr",
        "str r1, [r0, #{word_cpsr}]",
        "mrc p15, 0, r1, c13, c0, 4",
        "ldr r1, [r1, #{thread}]",
        "mcr p15, 0, r1, c13, c0, 3",
        "mov r1, #{software}",
        "b {no_room}",
        ".cfi_endproc",
        size = const size_of::<SavedRegs>(),
        reserve = const RESERVE.get(),
        sp_at = const offset_of!(SavedRegs, sp),
        pc = const offset_of!(SavedRegs, pc),
        cpsr = const offset_of!(SavedRegs, cpsr),
        orig_r0 = const offset_of!(SavedRegs, orig_r0),
        word_r0 = const ModeWords::R0,
        word_pc = const ModeWords::PC,
        word_cpsr = const ModeWords::CPSR,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        svc_words = const ArchLocal::SVC_WORDS,
        outside = const 1 << BODY_SHIFT,
        misaligned = const 7,
        not_user = const !USER_MODE & 0xf,
        software = const SOFTWARE,
        thread = const CpuLocal::THREAD,
        on_syscall = sym crate::hooks::on_syscall,
        on_trap = sym on_trap,
        return_path = sym return_path,
        no_room = sym overflow::no_room,
    )
}
