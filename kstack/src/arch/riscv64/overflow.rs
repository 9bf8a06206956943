//! When the registers do not fit: the overflow stack.
//!
//! ```text
//!   overflow stack, one per CPU, between guards of its own
//!   | SavedRegs                   |   sp in it is the broken SP
//!   | frames of `on_no_room`      |
//!   | traps of the handler itself |   pass the entry's test like on any stack, further down
//! ```
//!
//! | overflows under way | an entry without room | is |
//! | --- | --- | --- |
//! | 0 | goes to the top of the overflow stack | judged: the thread is ended, the system stops, or SP was sound after all |
//! | 1, 2 | goes to its top again: what runs there has overflowed it | reported as the overflow of the overflow stack; the system stops |
//! | 3 and more | parks the CPU | not reported: reporting is what does not work |
//!
//! Invariants:
//!
//! 1. The broken stack is neither read nor written, from the first instruction of the entry to the
//!    end of the thread.
//! 2. Interrupts are off while anything is on the overflow stack, so only its own faults can nest,
//!    and they are counted: there is no loop.
//! 3. The count is 0 again whenever the stack is left: towards the thread's own top, or back to a
//!    stack that turned out sound.

use super::RESERVE;
use super::cause::accessed;
use super::fault::on_trap;
use super::local::ArchLocal;
use super::regs::SavedRegs;
use super::return_path::return_path;
use super::save::{save_at_sp, unsaved};
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::registry;
use crate::report::{self, Suspicion};
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::stacks::StackLookup;
use kstack_core::verdict::Delivery;

/// Overflows inside one another from which on a CPU says nothing more.
const MAX_OVERFLOWS: usize = 3;

/// SavedRegs do not fit where SP is. In: t0 in the CPU's block, tp = CpuLocal, everything else as
/// it was; interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn no_room() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "sd sp, {broken_sp}(tp)",
        // A bounded number of times.
        "ld t0, {overflows}(tp)",
        "addi t0, t0, 1",
        "sd t0, {overflows}(tp)",
        "addi t0, t0, -{most} - 1",
        "bgez t0, 3f",
        "ld sp, {overflow_top}(tp)",
        "addi sp, sp, -{regs}",
        "ld t0, {broken_sp}(tp)",
        "sd t0, {sp}(sp)",
        "sd tp, {tp}(sp)",
        "ld t0, {kept_t0}(tp)",
        "sd t0, {t0}(sp)",
        save_at_sp!(),
        "mv a0, sp",
        "call {on_no_room}",
        // It returns where the registers can lie after all: on a sound stack that the entry did not
        // know.
        "mv sp, a0",
        "addi s0, sp, 1",
        "call {on_trap}",
        "j {return_path}",
        "3:",
        ".cfi_undefined ra",
        "wfi",
        "j 3b",
        ".cfi_endproc",
        broken_sp = const ArchLocal::BROKEN_SP,
        overflows = const ArchLocal::OVERFLOWS,
        overflow_top = const ArchLocal::OVERFLOW_TOP,
        kept_t0 = const ArchLocal::T0,
        most = const MAX_OVERFLOWS,
        epc = const offset_of!(SavedRegs, epc),
        ra = const offset_of!(SavedRegs, ra),
        sp = const offset_of!(SavedRegs, sp),
        gp = const offset_of!(SavedRegs, gp),
        tp = const offset_of!(SavedRegs, tp),
        t0 = const offset_of!(SavedRegs, t0),
        s0 = const offset_of!(SavedRegs, s0),
        a0 = const offset_of!(SavedRegs, a0),
        s2 = const offset_of!(SavedRegs, s2),
        t3 = const offset_of!(SavedRegs, t3),
        status = const offset_of!(SavedRegs, status),
        badaddr = const offset_of!(SavedRegs, badaddr),
        cause = const offset_of!(SavedRegs, cause),
        orig_a0 = const offset_of!(SavedRegs, orig_a0),
        regs = const size_of::<SavedRegs>(),
        word = const size_of::<u64>(),
        on_no_room = sym on_no_room,
        on_trap = sym on_trap,
        return_path = sym return_path,
    )
}

/// Where the entry would put the registers.
fn place(regs: &SavedRegs) -> Addr {
    regs.sp().wrapping_sub(ByteSize::new(size_of::<SavedRegs>()))
}

/// On the overflow stack, interrupts off. Returns where the registers lie after all, if SP is on a
/// sound stack.
extern "C" fn on_no_room(regs: &mut SavedRegs) -> *mut SavedRegs {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    if local.arch.overflows() == 1 && is_sound(local, regs) {
        let place = place(regs).get() as *mut SavedRegs;
        // SAFETY: (1) `is_sound`: a live stack that this CPU may use, mapped there, and free below
        // SP.
        unsafe { place.write(*regs) };
        local.arch.leave_overflow_stack();
        return place;
    }
    // Where the access went that failed; and down to where the entry wanted room.
    let attempted = [accessed(regs), Some(place(regs).wrapping_sub(RESERVE))]
        .map(|address| address.map(|address| (Delivery::AnotherStack, address)));
    let suspicion = Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
    report::carry_out(attempted, regs, &suspicion);
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(regs.cause as u8, Addr::new(regs.badaddr as usize), regs);
    unreachable!("a kernel returned from an overflow that nothing explains")
}

/// Whether SP is on a stack that the entry's test does not know and that is good all the same: one
/// that this CPU has for something else, one that the running thread has borrowed, or that of a
/// thread that this CPU is leaving: the next one is `running` before SP has moved. There interrupts
/// are off, and no thread is ended for what happens.
fn is_sound(local: &CpuLocal, regs: &SavedRegs) -> bool {
    let Some(registry) = registry::get() else { return false };
    let lowest = place(regs);
    registry.stack_at(lowest).is_some_and(|stack| {
        let mine = match stack.cpu {
            Some(cpu) => cpu == local.cpu(),
            // The entry's test knows the running thread's own stack, and found no room there.
            None if stack.range.lowest == local.thread_lowest() => false,
            None => !regs.interrupts_are_on() || stack.owner == (hooks().context)().thread,
        };
        mine && stack.range.contains_span(lowest, ByteSize::new(size_of::<SavedRegs>()))
    })
}
