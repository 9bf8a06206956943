//! Shadow stacks of programs in 64-bit mode: control-flow enforcement (CET) of Intel and AMD.
//!
//! A call of user mode pushes its return address at SSP too, and a return that finds another one
//! there is a control-protection exception (#CP, vector 21). SSP is a register of the CPU only
//! while user mode runs; otherwise it is in IA32_PL3_SSP (Intel SDM vol. 1, 17.2 and vol. 2,
//! SYSCALL, SYSRET, IRET, INT n):
//!
//! | what happens | SSP, while IA32_U_CET enables user mode's |
//! | --- | --- |
//! | `syscall`, interrupt, exception, NMI from user mode | to IA32_PL3_SSP |
//! | `sysret`, `iret` to user mode | from IA32_PL3_SSP |
//! | any entry, `call`, `ret`, `iret` within the kernel | none: IA32_S_CET is 0 |
//!
//! So no entry and no return path has anything to do, NMIs and double faults included; a kernel
//! that copies frames between stacks (the NMI entry) may do so. What a thread has are two
//! registers:
//!
//! | this CPU runs | IA32_U_CET | IA32_PL3_SSP |
//! | --- | --- | --- |
//! | a thread whose shadow stack is on, in user mode | its mode | of no meaning |
//! | the same, in the kernel | its mode | its pointer |
//! | a thread whose shadow stack is off, or that has none | 0 | of no meaning |
//!
//! The switch away keeps the pointer and writes 0, the switch to it writes both; other threads pay
//! the bit test that ports pay. Linux has them in the state CET_U of `xsaves`. Here the area of a
//! thread is in the standard form, which has no room for it (Intel SDM vol. 1, 13.4.2); and a
//! pointer that waits in an area for the way to user mode would have to be looked for in two places
//! by signals.
//!
//! Invariant: a leaf of a program's tables that is read-only and dirty maps a page of a shadow
//! stack (Intel SDM vol. 3, 5.6.1), and nothing else. What takes the right to write from a page
//! takes its dirty bit: such a page could be switched to and so give a program the words on it. A
//! CPU with shadow stacks never sets the bit where the entry is read-only, also not through an
//! older translation (Intel SDM vol. 3, 5.8).
//!
//! The kernel writes to a shadow stack through its own mapping of the frame, as to any memory of a
//! program, once the area and the page were found to be a shadow stack's; that is what WRUSS would
//! check. IA32_PL3_SSP refuses what is not canonical or aligned with #GP, in the kernel: pointers
//! that a program can choose are checked before (`kstack::shadow`).
//!
//! On i386 Linux has none for programs, and CR4.CET stays clear.

use super::control::{self, read_msr, write_msr};
use super::requirements::{self, Asked};
use crate::arch::regs::SavedRegs;
use core::sync::atomic::{AtomicU8, Ordering};
use kstack::shadow::{Form, mode};

/// What is enabled in user mode: bits of [`mode`], the CPU's own.
const IA32_U_CET: u32 = 0x6a0;
/// The same in the kernel.
const IA32_S_CET: u32 = 0x6a2;
/// SSP of user mode, while the kernel runs.
const IA32_PL3_SSP: u32 = 0x6a7;
const _: () = assert!(mode::ENABLED == 1 << 0 && mode::STORES == 1 << 1);

const PAGE_FAULT: u8 = 14;
/// The bit of a page fault's error code: the access was one to a shadow stack.
const OF_SHADOW_STACK: u32 = 6;

const NOT_KNOWN: u8 = 0;
const THERE: u8 = 1;
const NOT_THERE: u8 = 2;
/// Whether the first CPU has them: so do all, or none is used.
static KNOWN: AtomicU8 = AtomicU8::new(NOT_KNOWN);

/// Whether this CPU has them for the programs of this kernel.
fn this_cpu_has() -> bool {
    const ECX: usize = 2;
    const CET_SS: u32 = 7;
    cfg!(target_arch = "x86_64") && control::has(7, ECX, CET_SS)
}

/// Clears what firmware may have left, on the CPU this runs on. Before CR4.CET is set, from which
/// on it counts.
pub fn reset() {
    if this_cpu_has() {
        // SAFETY: (1) the CPU has these registers; (2) nothing is enabled by zeros.
        unsafe {
            write_msr(IA32_S_CET, 0);
            write_msr(IA32_U_CET, 0);
            write_msr(IA32_PL3_SSP, 0);
        }
    }
}

/// By each CPU, before it runs a program: the first one decides for all.
pub fn look_at_cpu() {
    let has = this_cpu_has();
    let answer = if has { THERE } else { NOT_THERE };
    match KNOWN.compare_exchange(NOT_KNOWN, answer, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) if has => requirements::ask_of_others(Asked::ShadowStacks),
        Ok(_) => {}
        Err(first) => assert!(
            first == NOT_THERE || has,
            "this CPU has no shadow stacks, which the first one has"
        ),
    }
}

/// Whether programs have them.
pub(super) fn is_there() -> bool {
    cfg!(target_arch = "x86_64") && KNOWN.load(Ordering::Relaxed) == THERE
}

/// What shadow stacks look like; `None`: the CPUs have none.
pub fn shadow_form() -> Option<Form> {
    is_there().then_some(Form::X86_64)
}

/// Where the running thread's shadow stack is. Only if it is on.
pub fn shadow_pointer() -> u64 {
    // SAFETY: (1) the register is there, by the caller.
    unsafe { read_msr(IA32_PL3_SSP) }
}

/// What is enabled in the kernel. Only on a CPU that has them.
pub fn mode_of_kernel() -> u64 {
    // SAFETY: (1) the register is there, by the caller.
    unsafe { read_msr(IA32_S_CET) }
}

/// Sets it: an address of the lower half, a multiple of 8. Interrupts off.
pub(super) fn set_pointer(pointer: u64) {
    // SAFETY: (1) the register is there, or no thread would have a shadow stack, and takes such an
    // address; (2) it counts in user mode alone.
    unsafe { write_msr(IA32_PL3_SSP, pointer) };
}

/// Sets what is on in user mode on this CPU. Interrupts off.
pub(super) fn set_mode(mode: u64) {
    // SAFETY: (1) as in `set_pointer`; (2) bits of `mode` are bits that the register has.
    unsafe { write_msr(IA32_U_CET, mode & (mode::ENABLED | mode::STORES)) };
}

/// Whether a page fault is of a call, a return, or an instruction for shadow stacks.
pub fn is_shadow_access(vector: u8, regs: &SavedRegs) -> bool {
    vector == PAGE_FAULT && regs.error_code() >> OF_SHADOW_STACK & 1 != 0
}
