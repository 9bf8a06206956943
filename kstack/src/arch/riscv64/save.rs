//! What entries and overflows share: how all registers are saved.

/// Describes SavedRegs that begin `$mark` bytes below what is in a register. The interrupted
/// address takes the column of ra, the only one that debuggers return through: PC has none (RISC-V
/// psABI, "DWARF register numbers"), and `.debug_frame` has one column for all functions of a file.
/// The interrupted ra is not told: after a function that had not saved it yet, a backtrace leaves
/// out its caller.
macro_rules! regs_at {
    ($register:literal, $mark:literal) => {
        concat!(
            ".cfi_def_cfa ",
            $register,
            ", {regs} - ",
            $mark,
            "
        .cfi_offset ra, {epc} - {regs}
        .cfi_offset sp, {sp} - {regs}
        .cfi_offset gp, {gp} - {regs}
        .cfi_offset tp, {tp} - {regs}
        .cfi_offset t0, {t0} - {regs}
        .cfi_offset t1, {t0} + 1 * {word} - {regs}
        .cfi_offset t2, {t0} + 2 * {word} - {regs}
        .cfi_offset s0, {s0} - {regs}
        .cfi_offset s1, {s0} + 1 * {word} - {regs}
        .cfi_offset a0, {a0} - {regs}
        .cfi_offset a1, {a0} + 1 * {word} - {regs}
        .cfi_offset a2, {a0} + 2 * {word} - {regs}
        .cfi_offset a3, {a0} + 3 * {word} - {regs}
        .cfi_offset a4, {a0} + 4 * {word} - {regs}
        .cfi_offset a5, {a0} + 5 * {word} - {regs}
        .cfi_offset a6, {a0} + 6 * {word} - {regs}
        .cfi_offset a7, {a0} + 7 * {word} - {regs}
        .cfi_offset s2, {s2} - {regs}
        .cfi_offset s3, {s2} + 1 * {word} - {regs}
        .cfi_offset s4, {s2} + 2 * {word} - {regs}
        .cfi_offset s5, {s2} + 3 * {word} - {regs}
        .cfi_offset s6, {s2} + 4 * {word} - {regs}
        .cfi_offset s7, {s2} + 5 * {word} - {regs}
        .cfi_offset s8, {s2} + 6 * {word} - {regs}
        .cfi_offset s9, {s2} + 7 * {word} - {regs}
        .cfi_offset s10, {s2} + 8 * {word} - {regs}
        .cfi_offset s11, {s2} + 9 * {word} - {regs}
        .cfi_offset t3, {t3} - {regs}
        .cfi_offset t4, {t3} + 1 * {word} - {regs}
        .cfi_offset t5, {t3} + 2 * {word} - {regs}
        .cfi_offset t6, {t3} + 3 * {word} - {regs}
        "
        )
    };
}

/// Describes code whose SavedRegs are not complete: where it came from is not told.
macro_rules! unsaved {
    () => {
        "
        .cfi_undefined ra
        "
    };
}

/// Stores everything but t0, sp and tp in the SavedRegs at sp; t0 is free after it has been stored.
/// Then s0 marks them.
macro_rules! save_at_sp {
    () => {
        concat!(
            "
        sd ra, {ra}(sp)
        sd gp, {gp}(sp)
        sd t1, {t0} + {word}(sp)
        sd t2, {t0} + 2 * {word}(sp)
        sd s0, {s0}(sp)
        sd s1, {s0} + {word}(sp)
        sd a0, {a0}(sp)
        sd a1, {a0} + {word}(sp)
        sd a2, {a0} + 2 * {word}(sp)
        sd a3, {a0} + 3 * {word}(sp)
        sd a4, {a0} + 4 * {word}(sp)
        sd a5, {a0} + 5 * {word}(sp)
        sd a6, {a0} + 6 * {word}(sp)
        sd a7, {a0} + 7 * {word}(sp)
        sd s2, {s2}(sp)
        sd s3, {s2} + {word}(sp)
        sd s4, {s2} + 2 * {word}(sp)
        sd s5, {s2} + 3 * {word}(sp)
        sd s6, {s2} + 4 * {word}(sp)
        sd s7, {s2} + 5 * {word}(sp)
        sd s8, {s2} + 6 * {word}(sp)
        sd s9, {s2} + 7 * {word}(sp)
        sd s10, {s2} + 8 * {word}(sp)
        sd s11, {s2} + 9 * {word}(sp)
        sd t3, {t3}(sp)
        sd t4, {t3} + {word}(sp)
        sd t5, {t3} + 2 * {word}(sp)
        sd t6, {t3} + 3 * {word}(sp)
        csrr t1, sepc
        csrr t2, sstatus
        sd t1, {epc}(sp)
        sd t2, {status}(sp)
        csrr t1, stval
        csrr t2, scause
        sd t1, {badaddr}(sp)
        sd t2, {cause}(sp)
        sd a0, {orig_a0}(sp)
        addi s0, sp, 1
        ",
            $crate::arch::riscv64::save::regs_at!("s0", "1")
        )
    };
}

/// The same with the offsets that it names.
macro_rules! entry_asm {
    ([$($line:expr),* $(,)?], $($operands:tt)*) => {
        core::arch::naked_asm!(
            $($line,)*
            epc = const core::mem::offset_of!(SavedRegs, epc),
            ra = const core::mem::offset_of!(SavedRegs, ra),
            sp = const core::mem::offset_of!(SavedRegs, sp),
            gp = const core::mem::offset_of!(SavedRegs, gp),
            tp = const core::mem::offset_of!(SavedRegs, tp),
            t0 = const core::mem::offset_of!(SavedRegs, t0),
            s0 = const core::mem::offset_of!(SavedRegs, s0),
            a0 = const core::mem::offset_of!(SavedRegs, a0),
            s2 = const core::mem::offset_of!(SavedRegs, s2),
            t3 = const core::mem::offset_of!(SavedRegs, t3),
            status = const core::mem::offset_of!(SavedRegs, status),
            badaddr = const core::mem::offset_of!(SavedRegs, badaddr),
            cause = const core::mem::offset_of!(SavedRegs, cause),
            orig_a0 = const core::mem::offset_of!(SavedRegs, orig_a0),
            regs = const core::mem::size_of::<SavedRegs>(),
            word = const core::mem::size_of::<u64>(),
            $($operands)*
        )
    };
}
pub(super) use {entry_asm, regs_at, save_at_sp, unsaved};
