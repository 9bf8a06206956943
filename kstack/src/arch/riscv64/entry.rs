//! Interrupts, exceptions and the system call: what the one vector leads to, once there is room.
//!
//! # States
//!
//! | where | tp | `sscratch` | SP | interrupts | what may trap there |
//! | --- | --- | --- | --- | --- | --- |
//! | a program | its own | CpuLocal | its own | on | everything |
//! | the kernel | CpuLocal | 0 | a stack | as it likes | everything |
//! | entry from a program, first instruction done | CpuLocal | the program's tp | the program's | off | nothing |
//! | ... before the first store on the thread stack | CpuLocal | 0 | the program's | off | nothing |
//! | entry from the kernel, first instruction done | 0 | CpuLocal | the interrupted | off | nothing |
//! | ... second exchange done | CpuLocal | 0 | the interrupted, tested | off | nothing |
//! | saving registers | CpuLocal | 0 | below the interrupted, or below the thread's top | off | the stores |
//! | return path to a program, all but tp and sp loaded | CpuLocal | CpuLocal | SavedRegs | off | the last two loads |
//!
//! # Invariants
//!
//! 1. `sscratch` is 0 exactly while tp is the kernel's, except in the rows above where nothing may
//!    trap. So one exchange and one branch tell where an entry comes from, and need no free
//!    register.
//! 2. Before the test of SP has been passed, an entry touches no stack: what it needs it keeps in
//!    the CPU's block. Between the exchange and the last store interrupts are off, so that those
//!    words are not used twice.
//! 3. An entry from the kernel stays where SP is only if SavedRegs and RESERVE bytes below them
//!    ([`crate::room`]) fit on the running thread's stack, or SavedRegs on this CPU's IRQ stack or
//!    on its overflow stack. Until then nothing has changed: an interrupt that finds no room stays
//!    pending. Everything else goes to [`super::overflow`]. This is stricter than one bit of SP,
//!    which is clear in every body: a frame that jumped all guards into another thread's stack is
//!    found, too.
//! 4. tp is never loaded on the return path to the kernel: the thread may have moved to another
//!    CPU.
//! 5. The last loads on the return path to a program come from the thread's top, which the entry
//!    wrote or the kernel made: they cannot fault.

use super::cause::{ECALL, SYSTEM_CALL};
use super::fault::on_trap;
use super::local::ArchLocal;
use super::regs::{INTERRUPTS_ON_NOW, SavedRegs};
use super::return_path::return_path;
use super::save::{entry_asm, save_at_sp, unsaved};
use super::this_cpu::from_tp;
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;

/// From the kernel, on a stack with room. In: every register but tp as it was.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn from_kernel() {
    entry_asm!(
        [interrupted!(),
        unsaved!(),
        "addi sp, sp, -{regs}",
        "sd t0, {t0}(sp)",
        "addi t0, sp, {regs}",
        "sd t0, {sp}(sp)",
        "sd tp, {tp}(sp)",
        save_at_sp!(),
        "mv a0, sp",
        "call {on_trap}",
        "j {return_path}",
        ".cfi_endproc"],
        on_trap = sym on_trap,
        return_path = sym return_path
    )
}

/// From user mode. In: every register but tp as it was; tp = CpuLocal, `sscratch` = the program's
/// tp.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn from_user() {
    entry_asm!(
        [interrupted!(),
        unsaved!(),
        "sd sp, {user_sp}(tp)",
        "sd t0, {kept_t0}(tp)",
        // From here on this is the kernel; only then may a stack be touched.
        "csrrw t0, sscratch, zero",
        "ld sp, {thread_top}(tp)",
        "addi sp, sp, -{regs}",
        "sd t0, {tp}(sp)",
        "ld t0, {user_sp}(tp)",
        "sd t0, {sp}(sp)",
        "ld t0, {kept_t0}(tp)",
        "sd t0, {t0}(sp)",
        save_at_sp!(),
        "mv a0, sp",
        "ld t0, {cause}(sp)",
        "li t1, {system_call}",
        "beq t0, t1, 2f",
        "call {on_trap}",
        "j {return_path}",
        "2:",
        // The program continues past the instruction.
        "ld t0, {epc}(sp)",
        "addi t0, t0, {ecall}",
        "sd t0, {epc}(sp)",
        // Everything that belongs to the user is saved: interrupts may come.
        "csrsi sstatus, {interrupts_on}",
        "call {on_syscall}",
        "j {return_path}",
        ".cfi_endproc"],
        user_sp = const from_tp(CpuLocal::SCRATCH),
        kept_t0 = const ArchLocal::T0,
        thread_top = const from_tp(CpuLocal::THREAD_TOP),
        system_call = const SYSTEM_CALL,
        ecall = const ECALL,
        interrupts_on = const INTERRUPTS_ON_NOW,
        on_trap = sym on_trap,
        on_syscall = sym crate::hooks::on_syscall,
        return_path = sym return_path
    )
}
