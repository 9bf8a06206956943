//! When the registers do not fit: the overflow stack.
//!
//! ```text
//!   overflow stack, one per CPU, between guards of its own
//!   | 32 bytes of the slot: x0 x1 |   <- SP_EL1
//!   | SavedRegs                   |   sp in it is the broken SP
//!   | frames of `on_no_room`      |
//! ```
//!
//! Invariants:
//!
//! 1. While the handler runs, SPSel is 1 and everything is masked. Any exception is synchronous
//!    then, and arrives through the EL1h vectors at [`second_fault`], which continues *below* what
//!    is there, and at the top only if there is no room.
//! 2. Second faults are counted. The first is reported, the second is reported from the top of the
//!    stack, the third parks the CPU: there is no loop.
//! 3. The handler ends in one of three ways: the thread continues at the top of its own stack and
//!    ends there, with SP_EL1 back at the top; the system stops; the kernel gives up.

use super::RESERVE;
use super::cause::{class_of, is_data_abort};
use super::entry;
use super::local::ArchLocal;
use super::regs::SavedRegs;
use super::save::{KEPT_PSTATE, OVERFLOW_BIT, SLOT_SCRATCH, regs_at, save_at_x0, unsaved};
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::report::{self, Suspicion};
use core::arch::{asm, naked_asm};
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::verdict::Delivery;

/// A synchronous exception whose registers do not fit on the stack it interrupted. In: as the slot
/// left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn no_room_sync() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "mov x0, sp",
        "sub x0, x0, #{regs} + {scratch}",
        save_at_x0!(),
        "mrs x1, esr_el1",
        "stp x2, x1, [x0, #{orig_x0}]",
        "mrs x1, far_el1",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "bl {on_no_room}",
        ".cfi_endproc",
        regs = const size_of::<SavedRegs>(),
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        on_no_room = sym on_no_room,
    )
}

/// The same for an interrupt: there is no fault to tell of. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn no_room_other() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "mov x0, sp",
        "sub x0, x0, #{regs} + {scratch}",
        save_at_x0!(),
        "stp x2, xzr, [x0, #{orig_x0}]",
        "mov x1, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "bl {on_no_room}",
        ".cfi_endproc",
        regs = const size_of::<SavedRegs>(),
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        on_no_room = sym on_no_room,
    )
}

/// Second faults after which a CPU says nothing more.
const MAX_SECOND_FAULTS: usize = 2;

/// An exception while SPSel is 1. In: nothing saved, nothing known but TPIDR_EL1; SP somewhere in
/// the overflow stack, or below it.
///
/// TPIDRRO_EL0 serves as scratch: what it holds, the running thread, is in the CPU's block too.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn second_fault() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "msr tpidrro_el0, x0",
        // Below SP, leaving alone what a slot has put there.
        "mov x0, sp",
        "sub x0, x0, #{regs} + {scratch}",
        "tbz x0, #{bit}, 2f",
        // The overflow stack has overflowed: what is at its top is worth less than a word about
        // that.
        "mrs x0, tpidr_el1",
        "ldr x0, [x0, #{overflow_top}]",
        "sub x0, x0, #{regs} + {scratch}",
        "2:",
        "stp x1, x2, [x0, #{x} + {word}]",
        "stp x3, x4, [x0, #{x} + 3 * {word}]",
        "stp x5, x6, [x0, #{x} + 5 * {word}]",
        "stp x7, x8, [x0, #{x} + 7 * {word}]",
        "stp x9, x10, [x0, #{x} + 9 * {word}]",
        "stp x11, x12, [x0, #{x} + 11 * {word}]",
        "stp x13, x14, [x0, #{x} + 13 * {word}]",
        "stp x15, x16, [x0, #{x} + 15 * {word}]",
        "stp x17, x18, [x0, #{x} + 17 * {word}]",
        "stp x19, x20, [x0, #{x} + 19 * {word}]",
        "stp x21, x22, [x0, #{x} + 21 * {word}]",
        "stp x23, x24, [x0, #{x} + 23 * {word}]",
        "stp x25, x26, [x0, #{x} + 25 * {word}]",
        "stp x27, x28, [x0, #{x} + 27 * {word}]",
        "stp x29, x30, [x0, #{x} + 29 * {word}]",
        "mrs x1, tpidrro_el0",
        "str x1, [x0, #{x}]",
        "mov x1, sp",
        "mrs x2, elr_el1",
        "mrs x3, spsr_el1",
        "stp x1, x2, [x0, #{sp}]",
        "str x3, [x0, #{pstate}]",
        "mrs x1, esr_el1",
        "stp xzr, x1, [x0, #{orig_x0}]",
        regs_at!("x0", "0"),
        // A bounded number of times.
        "mrs x1, tpidr_el1",
        "ldr x2, [x1, #{thread}]",
        "msr tpidrro_el0, x2",
        "ldr x2, [x1, #{second_faults}]",
        "add x2, x2, #1",
        "str x2, [x1, #{second_faults}]",
        "cmp x2, #{most}",
        "b.hi 3f",
        "mrs x1, far_el1",
        "mov sp, x0",
        "add x29, x0, #1",
        ".cfi_def_cfa x29, 36 * {word} - 1",
        "bl {on_second_fault}",
        "3:",
        ".cfi_undefined 32",
        ".cfi_undefined x30",
        "wfi",
        "b 3b",
        ".cfi_endproc",
        regs = const size_of::<SavedRegs>(),
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        sp = const offset_of!(SavedRegs, sp),
        pc = const offset_of!(SavedRegs, pc),
        pstate = const offset_of!(SavedRegs, pstate),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        bit = const OVERFLOW_BIT,
        overflow_top = const ArchLocal::OVERFLOW_TOP,
        thread = const CpuLocal::THREAD,
        second_faults = const ArchLocal::SECOND_FAULTS,
        most = const MAX_SECOND_FAULTS,
        on_second_fault = sym on_second_fault,
    )
}

/// The registers did not fit. On the overflow stack, everything masked.
extern "C" fn on_no_room(regs: &mut SavedRegs, fault: Addr) -> ! {
    give_verdict(regs, fault);
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(class_of(regs), fault, regs);
    unreachable!("a kernel returned from an overflow that nothing explains")
}

/// Reports and carries out the verdict; returns if no stack explains the fault.
fn give_verdict(regs: &SavedRegs, fault: Addr) {
    // Where the access went that failed; and where the entry wanted to put the registers.
    let place = regs.sp().wrapping_sub(ByteSize::new(size_of::<SavedRegs>() + RESERVE.get()));
    let suspicion = Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
    let attempted = [is_data_abort(regs).then_some(fault), Some(place)]
        .map(|address| address.map(|address| (Delivery::AnotherStack, address)));
    report::carry_out(attempted, regs, &suspicion);
}

/// A fault while SPSel was 1. On the overflow stack, everything masked.
extern "C" fn on_second_fault(regs: &mut SavedRegs, fault: Addr) -> ! {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let top = unsafe { CpuLocal::this() }.arch.overflow_top();
    if regs.sp() == top && entry::is_saving_entry(regs.pc()) {
        // An entry could not save its registers: SP_EL0 leads nowhere, although its bit is 0. What
        // was interrupted can be told (invariant 3 of the entry), but for x0, x1 and PSTATE, which
        // are where the slot put them. No second fault, then.
        // SAFETY: (1) entry code: the CPU has loaded its block.
        let local = unsafe { CpuLocal::this() };
        local.arch.forget_second_faults();
        let mut wild = *regs;
        let sp: u64;
        // SAFETY: (1) reading the register has no effect; (2) the slot has stored x0, x1 and PSTATE
        // below the top.
        unsafe {
            asm!("mrs {}, sp_el0", out(reg) sp, options(nomem, nostack, preserves_flags));
            let kept = (top.get() - SLOT_SCRATCH) as *const [u64; 2];
            [wild.x[0], wild.x[1]] = kept.read();
            wild.pstate = ((top.get() - KEPT_PSTATE) as *const u64).read();
        }
        wild.sp = sp;
        wild.pc = regs.x[1];
        give_verdict(&wild, fault);
        (hooks().kernel_exception)(class_of(regs), fault, &mut wild);
    }
    // The handler itself; if it has overflowed its stack, there is a verdict on that.
    give_verdict(regs, fault);
    (hooks().kernel_exception)(class_of(regs), fault, regs);
    unreachable!("a kernel returned from a fault on its overflow stack")
}
