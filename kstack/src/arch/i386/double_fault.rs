//! The double fault: a push of the CPU's or of an entry's that found no room.
//!
//! A task gate: the CPU stores every register in the current TSS and loads all of them, SP
//! included, from another one. Nothing is pushed on the broken stack. The task never returns.
//!
//! | double faults under way | this one is |
//! | --- | --- |
//! | 0 | judged: the thread is ended, or the system stops |
//! | 1, 2 | what runs on the double-fault stack has overflowed it; judged at its top, and the system stops |
//! | 3 and more | not reported, reporting is what does not work: the CPU is parked |

use super::cause::{DOUBLE_FAULT, fault_address};
use super::regs::SavedRegs;
use super::tables::CpuTables;
use super::{entry, nmi};
use crate::arch::cfi::called;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::report::{self, Suspicion};
use core::arch::{asm, naked_asm};
use kstack_core::addr::Addr;
use kstack_core::verdict::Delivery;

/// Double faults inside one another from which on a CPU says nothing more.
const MAX_DOUBLE_FAULTS: usize = 3;

/// In the flags: an `iret` goes back to another task. Set by a task gate.
const NESTED_TASK: u32 = 1 << 14;

/// Where the double-fault task starts. SP: the top of its stack, less the error code. Interrupts
/// off, FS the kernel's. Never returns: the thread whose stack overflowed is ended, or the system
/// stops.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn double_fault() {
    naked_asm!(
        called!(),
        ".cfi_undefined 8",
        // A task switch sets CR0.TS, so that the next floating-point instruction faults: whose it
        // is has not changed.
        "clts",
        "pushfd",
        "and dword ptr [esp], ~{NESTED_TASK}",
        "popfd",
        "xor ebp, ebp",
        "and esp, -16",
        "call {on_task}",
        "ud2",
        ".cfi_endproc",
        NESTED_TASK = const NESTED_TASK,
        on_task = sym on_double_fault_task,
    )
}

/// Whether an instruction is one of an entry that has begun nothing yet.
fn is_on_way_in(pc: Addr) -> bool {
    entry::is_on_way_in(pc) || nmi::is_saving_nmi(pc)
}

/// The double-fault task, on its own stack, interrupts off. What was interrupted is in the other
/// task state segment.
extern "C" fn on_double_fault_task() -> ! {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let tables = unsafe { CpuLocal::this() }.arch.tables();
    // SAFETY: (1) the tables this CPU has loaded, or there would be no such task.
    let tss = unsafe { CpuTables::read_tss(tables) };
    // SAFETY: (1) this is that task. From here on it is an ordinary piece of the interrupted one,
    // on another stack.
    unsafe { CpuTables::leave_double_fault_task(tables) };
    let regs = SavedRegs {
        ebx: tss.ebx,
        ecx: tss.ecx,
        edx: tss.edx,
        esi: tss.esi,
        edi: tss.edi,
        ebp: tss.ebp,
        eax: tss.eax,
        ds: tss.ds,
        es: tss.es,
        fs: tss.fs,
        gs: tss.gs,
        // The error code, always 0.
        orig_eax: 0,
        eip: tss.eip,
        cs: tss.cs,
        eflags: tss.eflags,
        esp: tss.esp,
        ss: tss.ss,
    };
    on_double_fault(regs)
}

/// A double fault, registers gathered.
fn on_double_fault(mut regs: SavedRegs) -> ! {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    if local.arch.begin_double_fault() > MAX_DOUBLE_FAULTS {
        park()
    }
    // An entry runs with interrupts off; what it interrupted did not.
    let interrupts_off = !regs.interrupts_are_on() && !is_on_way_in(regs.pc());
    let suspicion = Suspicion { interrupts_off, can_end_thread: true };
    report::carry_out([Some((Delivery::AnotherStack, fault_address()))], &regs, &suspicion);
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(DOUBLE_FAULT, fault_address(), &mut regs);
    unreachable!("a kernel returned from a double fault that nothing explains")
}

/// There is nothing left to try.
fn park() -> ! {
    loop {
        // SAFETY: (1) entry code; nothing on this CPU is waited for any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
