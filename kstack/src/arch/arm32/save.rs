//! What entries from all modes share: how registers get from the mode's words, and from everywhere else, to SavedRegs.

/// From user mode. In: r0 = the mode's words; SP_svc at the top of the thread stack; nothing in LR_svc. Afterwards SP = r4 =
/// SavedRegs, and the thread pointer is the kernel's.
macro_rules! save_from_user {
    () => {
        "
        sub sp, sp, #{size}
        stmib sp, {{r1-r12}}
        ldm r0, {{r1-r3}}
        str r1, [sp]
        str r2, [sp, #{pc}]
        str r3, [sp, #{cpsr}]
        mvn r4, #0
        str r4, [sp, #{orig_r0}]
        add r4, sp, #{sp_at}
        stm r4, {{sp, lr}}^
        mrc p15, 0, r5, c13, c0, 4
        ldr r5, [r5, #{thread}]
        mcr p15, 0, r5, c13, c0, 3
        mov r4, sp
        "
    };
}

/// From the kernel. In: r0 = the mode's words; SP = `reserve` bytes below where SavedRegs go; room has been found. Afterwards
/// SP = r4 = SavedRegs.
macro_rules! save_from_kernel {
    () => {
        "
        add sp, sp, #{reserve}
        stmib sp, {{r1-r12}}
        ldm r0, {{r1-r3}}
        str r1, [sp]
        add r4, sp, #{size}
        mov r5, lr
        mov r6, r2
        mov r7, r3
        mvn r8, #0
        add r9, sp, #{sp_at}
        stm r9, {{r4-r8}}
        mov r4, sp
        "
    };
}

pub(super) use {save_from_kernel, save_from_user};
