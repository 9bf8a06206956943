//! When the registers do not fit: the overflow stack, and the last stack.
//!
//! ```text
//!   overflow stack, one per CPU, between guards of its own
//!   | SavedRegs                   |   sp in it is the broken SP
//!   | frames of `on_no_room`      |
//!   | aborts of the handler       |   pass the entry's test like on any stack, further down
//!
//!   last stack, one per CPU, in the page of the CPU's tables: the same, for an overflow of the overflow stack
//! ```
//!
//! | overflows under way | an entry without room | is |
//! | --- | --- | --- |
//! | 0 | goes to the top of the overflow stack | judged: by the address of an abort, or by where the registers would have gone |
//! | 1 | goes to the last stack: what runs on the overflow stack has overflowed it | reported as the overflow of the overflow stack; the system stops |
//! | 2 and more | parks the CPU | not reported: there is nothing left to stand on |
//!
//! Invariants:
//!
//! 1. The broken stack is neither read nor written, from the first instruction of the entry to the
//!    end of the thread.
//! 2. IRQ and FIQ are masked while anything is on the overflow stack, and overflows are counted:
//!    there is no loop.
//! 3. The count is 0 again when the overflow stack is left for the thread's own.

use super::RESERVE;
use super::cause::{FIQ, FIQ_RESERVE, complete};
use super::local::{ArchLocal, BODY_SHIFT, THREAD_INFO_ON_STACK};
use super::regs::{IRQ_MODE, MODE, SavedRegs};
use super::save::{regs_at, unsaved};
use super::tables::ModeWords;
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::report::{self, Suspicion};
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::ByteSize;
use kstack_core::verdict::Delivery;

/// The current stack has no room for SavedRegs: to the overflow stack, or to the last one.
///
/// In: r0 = words with r0, PC, CPSR, LR and r1 in them; r1 = vector; SP = where SavedRegs would
/// have gone; FIQ masked. Writes nothing on the current stack.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn no_room() {
    naked_asm!(
        interrupted!(),
        unsaved!(),
        "add sp, sp, #{size}",
        "str sp, [r0, #{word_sp}]",
        "mrc p15, 0, lr, c13, c0, 4",
        "ldr sp, [lr, #{depth}]",
        "add sp, sp, #1",
        "str sp, [lr, #{depth}]",
        "cmp sp, #2",
        "ldrlo sp, [lr, #{overflow_top}]",
        "ldreq sp, [lr, #{last_top}]",
        // The last one is in use: there is nothing left to stand on.
        "bhi 3f",
        "cmp sp, #0",
        "beq 3f",
        ".if {on_stack}",
        "str r2, [sp, #-{word}]",
        "ldr lr, [lr, #{thread}]",
        "sub r2, sp, #{word}",
        "lsr r2, r2, #{body_shift}",
        "lsl r2, r2, #{body_shift}",
        "str lr, [r2]",
        "ldr r2, [sp, #-{word}]",
        ".endif",
        "sub sp, sp, #{size}",
        "stm sp, {{r0-r12}}",
        "mov r10, r1",
        "ldr r1, [r0, #{word_r1}]",
        "ldr r4, [r0, #{word_sp}]",
        "ldr r5, [r0, #{word_lr}]",
        "ldr r6, [r0, #{word_pc}]",
        "ldr r7, [r0, #{word_cpsr}]",
        "mvn r8, #0",
        "add r9, sp, #{sp_at}",
        "stm r9, {{r4-r8}}",
        "ldr r0, [r0, #{word_r0}]",
        "stm sp, {{r0, r1}}",
        "add r11, sp, #1",
        "mov r0, r10",
        "mov r1, sp",
        regs_at!("sp"),
        "bl {on_no_room}",
        "3:",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "wfi",
        "b 3b",
        ".cfi_endproc",
        size = const size_of::<SavedRegs>(),
        pc = const offset_of!(SavedRegs, pc),
        sp_at = const offset_of!(SavedRegs, sp),
        word_r0 = const ModeWords::R0,
        word_pc = const ModeWords::PC,
        word_cpsr = const ModeWords::CPSR,
        word_sp = const ModeWords::SP,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        depth = const ArchLocal::OVERFLOW_DEPTH,
        overflow_top = const ArchLocal::OVERFLOW_TOP,
        last_top = const ArchLocal::LAST_TOP,
        thread = const CpuLocal::THREAD,
        on_stack = const THREAD_INFO_ON_STACK as usize,
        body_shift = const BODY_SHIFT,
        word = const size_of::<u32>(),
        on_no_room = sym on_no_room,
    )
}

/// The interrupted stack had no room for the saved registers. On the overflow stack, or on the
/// last; IRQ masked.
extern "C" fn on_no_room(vector: u32, regs: &mut SavedRegs) -> ! {
    let vector = vector as u8;
    let address = complete(vector, regs);
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let arch = &unsafe { CpuLocal::this() }.arch;
    // A FIQ asks for less.
    let reserve = if vector == FIQ { FIQ_RESERVE } else { RESERVE.get() };
    let no_room = regs.sp().wrapping_sub(ByteSize::new(size_of::<SavedRegs>() + reserve));
    // A FIQ can come where the CPU has just taken an IRQ.
    let was_on = regs.interrupts_are_on() || (vector == FIQ && is_irq_on_its_way_in(arch, regs));
    let suspicion =
        Suspicion { interrupts_off: !was_on, can_end_thread: arch.overflow_depth() == 1 };
    // An abort may have been about something else entirely: that the stack is full is reported
    // first.
    let attempted = [address, no_room].map(|address| Some((Delivery::AnotherStack, address)));
    report::carry_out(attempted, regs, &suspicion);
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(vector, address, regs);
    unreachable!("a kernel returned from an exception without a stack")
}

/// Whether these registers are those of an IRQ's entry that has not found out yet whether there is
/// room. Interrupts are masked there by the CPU, but were on in the code that the IRQ had hit, or
/// it would not have come; and nothing of that code has changed but the mode's own words.
fn is_irq_on_its_way_in(arch: &ArchLocal, regs: &SavedRegs) -> bool {
    regs.cpsr & MODE == IRQ_MODE || arch.irq_before_test().contains(&regs.pc().get())
}
