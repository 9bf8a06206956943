//! The return path of every entry, and where a stack that never ran starts.

use super::regs::{FROM_KERNEL, INTERRUPTS_ON_NOW, SavedRegs};
use super::save::regs_at;
use crate::arch::cfi::{called, interrupted};
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};

const _: () =
    assert!(offset_of!(SavedRegs, epc) == 0, "`sc` has no offset: it stores where SP points");

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn return_path() {
    naked_asm!(
        interrupted!(),
        regs_at!("sp", "0"),
        ".option push",
        ".option arch, +a",
        // The handler may have run with interrupts on. From here to sret they stay off.
        "csrci sstatus, {interrupts_on}",
        "ld t0, {status}(sp)",
        "andi t1, t0, {from_kernel}",
        "bnez t1, 2f",
        "mv a0, sp",
        "call {before_user}",
        "ld t0, {status}(sp)",
        "2:",
        "csrw sstatus, t0",
        "ld t1, {epc}(sp)",
        // A reservation belongs to the hart, not to the thread: an `lr` of what ran here last could
        // let an `sc` of what runs next succeed. This one takes it away, whether it stores or not:
        // what it would store is there (unprivileged manual, "A" extension,
        // load-reserved/store-conditional).
        "sc.d zero, t1, (sp)",
        "csrw sepc, t1",
        "andi t0, t0, {from_kernel}",
        "ld ra, {ra}(sp)",
        "ld t1, {t0} + {word}(sp)",
        "ld t2, {t0} + 2 * {word}(sp)",
        "ld s0, {s0}(sp)",
        "ld s1, {s0} + {word}(sp)",
        "ld a0, {a0}(sp)",
        "ld a1, {a0} + {word}(sp)",
        "ld a2, {a0} + 2 * {word}(sp)",
        "ld a3, {a0} + 3 * {word}(sp)",
        "ld a4, {a0} + 4 * {word}(sp)",
        "ld a5, {a0} + 5 * {word}(sp)",
        "ld a6, {a0} + 6 * {word}(sp)",
        "ld a7, {a0} + 7 * {word}(sp)",
        "ld s2, {s2}(sp)",
        "ld s3, {s2} + {word}(sp)",
        "ld s4, {s2} + 2 * {word}(sp)",
        "ld s5, {s2} + 3 * {word}(sp)",
        "ld s6, {s2} + 4 * {word}(sp)",
        "ld s7, {s2} + 5 * {word}(sp)",
        "ld s8, {s2} + 6 * {word}(sp)",
        "ld s9, {s2} + 7 * {word}(sp)",
        "ld s10, {s2} + 8 * {word}(sp)",
        "ld s11, {s2} + 9 * {word}(sp)",
        "ld t3, {t3}(sp)",
        "ld t4, {t3} + {word}(sp)",
        "ld t5, {t3} + 2 * {word}(sp)",
        "ld t6, {t3} + 3 * {word}(sp)",
        "bnez t0, 3f",
        // To user mode: the block's address waits where the next entry looks for it.
        "csrw sscratch, tp",
        "ld gp, {gp}(sp)",
        "ld tp, {tp}(sp)",
        "3:",
        "ld t0, {t0}(sp)",
        "ld sp, {sp}(sp)",
        ".cfi_undefined ra",
        "sret",
        ".cfi_endproc",
        ".option pop",
        interrupts_on = const INTERRUPTS_ON_NOW,
        from_kernel = const FROM_KERNEL,
        regs = const size_of::<SavedRegs>(),
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
        word = const size_of::<u64>(),
        before_user = sym crate::hooks::before_user,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: a0 = the switch's message, s1 = function or 0, s2 = its argument, s0 = outermost marker.
/// Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        called!(),
        ".cfi_undefined ra",
        "call {after_switch}",
        "beqz s1, 2f",
        "csrsi sstatus, {interrupts_on}",
        "mv a0, s2",
        "jalr s1",
        "mv a0, sp",
        "call {after_function}",
        "2:",
        "j {return_path}",
        ".cfi_endproc",
        interrupts_on = const INTERRUPTS_ON_NOW,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        return_path = sym return_path,
    )
}
