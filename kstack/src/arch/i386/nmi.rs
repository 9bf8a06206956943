//! Entries that can interrupt any instruction: NMI, debug, machine check; the double fault is in
//! `double_fault`.
//!
//! # NMI
//!
//! There is no interrupt stack table, so an NMI pushes its frame where SP is. That is sound because
//! SP is always a kernel stack (`entry`, invariant 2); what it costs there is the frame, SavedRegs
//! and a few words, about 100 bytes. If there is not even that, the push faults in the guard, which
//! is an overflow like any other. The handler's body, of unknown depth, runs on the NMI body stack.
//!
//! The CPU holds further NMIs back until the next `iret`, *any* `iret`: a breakpoint or page fault
//! inside the handler lets the next NMI in. Its frame goes below the first one's, so nothing is
//! overwritten and there is no window to protect; only the body stack must not be entered twice.
//!
//! | arriving NMI finds | does |
//! | --- | --- |
//! | CS of user mode | runs the handler on the (empty) thread stack |
//! | active = 0 | active = 1; handler on the body stack; active = 0; if latched was set: latched = 0, once more |
//! | active = 1 | sets latched = 1, goes back |
//! | just room for its registers, over the end word | goes back, and the word is written again (`restore_at_end`): it is not the thread that went so far |
//!
//! `active` is cleared *before* `latched` is looked at: an NMI in between runs the handler itself,
//! and the look may run it once more for nothing. The other order would lose it. Either way the
//! body stack was left before.
//!
//! # Debug
//!
//! The same, without the latch: a debug exception inside the debug handler runs on the current
//! stack. One is special: a program that sets the trap flag right before `sysenter` gets its trap
//! at the first instruction of the kernel, on the entry stack. There the trap flag is cleared, and
//! that is all.
//!
//! # Machine check
//!
//! What the hardware says of itself is not repaired: the handler never returns, so its stack is
//! entered once. The report that it prints is deep, and must not hit the end of the stack that was
//! interrupted.

use super::RESERVE;
use super::local::ArchLocal;
use super::regs::SavedRegs;
use super::save::{frame_above_stub, frame_above_word, frame_at_sp, push_segment, saving_entry};
use super::sysenter::sysenter_entry;
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::offset_of;
use kstack_core::addr::Addr;

/// In the flags: trap after each instruction.
const TRAP: u32 = 1 << 8;
/// Vector 2. In: the CPU's frame on the current stack, NMIs held back.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn nmi() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push 0",
        frame_above_word!(),
        "push 0",
        frame_above_stub!(),
        "jmp {saved}",
        ".cfi_endproc",
        saved = sym nmi_save
    )
}

#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn nmi_save() {
    saving_entry!(
        [
            "test byte ptr [esp + {CS}], 3",
            "jnz 5f",
            "cmp dword ptr fs:[{ACTIVE}], 0",
            "jne 4f",
            "3:",
            "mov dword ptr fs:[{ACTIVE}], 1",
            "mov esp, fs:[{BODY_TOP}]",
            "sub esp, 3 * {WORD}",
            "push ebx",
            "call {on_nmi}",
            "mov esp, ebx",
            "mov dword ptr fs:[{ACTIVE}], 0",
            "xor eax, eax",
            "xchg eax, fs:[{LATCHED}]",
            "test eax, eax",
            "jnz 3b",
            // Did the registers go over the end word of the thread's stack?
            "2:",
            "lea eax, [esp + {RESERVE}]",
            "sub eax, fs:[{THREAD_LINE}]",
            "cmp eax, {WORD}",
            "jbe {restore_at_end}",
            "jmp {restore}",
            "4:",
            "mov dword ptr fs:[{LATCHED}], 1",
            "jmp 2b",
            // No pending work after it: a thread switch would leave NMIs held back for as long as
            // the next thread stays in the kernel.
            "5:",
            "and esp, -16",
            "sub esp, 3 * {WORD}",
            "push ebx",
            "call {on_nmi}",
            "mov esp, ebx",
            "jmp {restore}",
            ".globl {end}",
            "{end}:",
        ]
        end = sym kstack_nmi_save_end,
        CS = const offset_of!(SavedRegs, cs),
        ACTIVE = const ArchLocal::NMI_ACTIVE,
        LATCHED = const ArchLocal::NMI_LATCHED,
        BODY_TOP = const ArchLocal::NMI_BODY_TOP,
        RESERVE = const RESERVE.get(),
        THREAD_LINE = const CpuLocal::THREAD_LINE,
        on_nmi = sym on_nmi,
        restore = sym super::return_path::restore,
        restore_at_end = sym super::return_path::restore_at_end,
    )
}

unsafe extern "C" {
    /// The byte behind the last of [`nmi_save`].
    fn kstack_nmi_save_end();
}

/// How far behind the first instruction of [`nmi`] its last push begins.
const LAST_PUSH: usize = 2;

/// Whether an instruction is one of an NMI's entry that saves registers.
pub(super) fn is_saving_nmi(pc: Addr) -> bool {
    (nmi_save as *const () as usize..kstack_nmi_save_end as *const () as usize).contains(&pc.get())
        || pc.get().wrapping_sub(nmi as *const () as usize) <= LAST_PUSH
}

/// Vector 1. From user mode it continues as any exception; from the kernel the handler runs on the
/// debug stack.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn debug() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "test byte ptr [esp + {CS}], 3",
        "jnz {stub}",
        "push 0",
        frame_above_word!(),
        "push 0",
        frame_above_stub!(),
        "jmp {saved}",
        ".cfi_endproc",
        // The CPU pushed no error code: eip is at SP.
        CS = const offset_of!(SavedRegs, cs) - offset_of!(SavedRegs, eip),
        stub = sym super::entry::stub::<1>,
        saved = sym debug_save,
    )
}

#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn debug_save() {
    saving_entry!(
        [
            "cmp dword ptr fs:[{ACTIVE}], 0",
            "jne 3f",
            "mov dword ptr fs:[{ACTIVE}], 1",
            "mov esp, fs:[{TOP}]",
            "sub esp, 3 * {WORD}",
            "push ebx",
            "call {on_debug}",
            "mov esp, ebx",
            "mov dword ptr fs:[{ACTIVE}], 0",
            // As at the end of an NMI.
            "lea eax, [esp + {RESERVE}]",
            "sub eax, fs:[{THREAD_LINE}]",
            "cmp eax, {WORD}",
            "jbe {restore_at_end}",
            "jmp {restore}",
            "3:",
            "and esp, -16",
            "sub esp, 3 * {WORD}",
            "push ebx",
            "call {on_debug}",
            "mov esp, ebx",
            "jmp {restore}",
        ]
        ACTIVE = const ArchLocal::DEBUG_ACTIVE,
        TOP = const ArchLocal::DEBUG_TOP,
        RESERVE = const RESERVE.get(),
        THREAD_LINE = const CpuLocal::THREAD_LINE,
        restore_at_end = sym super::return_path::restore_at_end,
        on_debug = sym on_debug,
        restore = sym super::return_path::restore_after_debug,
    )
}

extern "C" fn on_nmi(regs: &mut SavedRegs) {
    if !regs.from_user() {
        return (hooks().nmi)(regs);
    }
    // It runs on the thread's stack; what happens there is the NMI's all the same.
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let arch = &unsafe { CpuLocal::this() }.arch;
    arch.set_nmi_from_user(true);
    (hooks().nmi)(regs);
    arch.set_nmi_from_user(false);
}

extern "C" fn on_debug(regs: &mut SavedRegs) {
    let sysenter = sysenter_entry as *const () as u32;
    if regs.eip == sysenter && regs.eflags & TRAP != 0 {
        regs.eflags &= !TRAP;
        return;
    }
    (hooks().debug)(regs);
}

/// Vector 18. Never returns.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn machine_check() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push 0",
        frame_above_word!(),
        "push 0",
        frame_above_stub!(),
        "jmp {saved}",
        ".cfi_endproc",
        saved = sym machine_check_save
    )
}

#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn machine_check_save() {
    saving_entry!(
        [
            "mov esp, fs:[{TOP}]",
            "sub esp, 3 * {WORD}",
            "push ebx",
            "call {on_machine_check}",
            "ud2",
        ]
        TOP = const ArchLocal::MACHINE_CHECK_TOP,
        on_machine_check = sym super::fault::on_machine_check,
    )
}
