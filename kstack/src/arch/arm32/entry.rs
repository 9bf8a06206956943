//! Vectors, the system-call entry and the way back.
//!
//! # An interrupt or exception, step by step
//!
//! ```text
//!   CPU       changes to IRQ, abort, undefined or FIQ mode: LR = where it was (about), SPSR = CPSR as it was, SP = the
//!             mode's words
//!   stub      writes r0, PC and CPSR to the mode's words, r0 = their address, changes to SVC mode
//!   common    from user: SP_svc stands at the top of the thread stack; room for SavedRegs; the user's SP and LR
//!             from the kernel: room for SavedRegs; the bit test; no_room if it fails
//!             the rest of SavedRegs; r11 = their address + 1; calls Rust with SP 8-aligned
//!   way back  interrupts off; to user mode: pending work, thread pointer; registers; one instruction loads PC and CPSR
//! ```
//!
//! A system call (`svc`) arrives in SVC mode at once: no words, no other mode.
//!
//! # FIQ
//!
//! It is masked by itself alone, so it hits code that runs with IRQ masked: entries and ways back too. From the kernel it
//! therefore keeps what those have in registers that only they use (SPSR_svc, a program's TPIDRURO), and goes back by one load of PC
//! and CPSR from the stack, which touches neither. What it does not keep is what an abort or an undefined instruction
//! writes, so its handler must not cause one.
//!
//! ```text
//!   SVC mode: svc_entry has SPSR_svc in its hands         ldm loads the program's r0-r12, SPSR_svc waits for movs pc, lr
//!        |                                                     |
//!        FIQ --> r5 = SPSR_svc, r6 = TPIDRURO --> handler --> both back, rfe
//! ```
//!
//! # States of SP_svc
//!
//! | state | SP_svc | left by |
//! | --- | --- | --- |
//! | user mode runs | 8 below the top of the running thread's stack | an exception: room for SavedRegs is taken |
//! | on a thread stack, sound | in its body, bit 13 clear | a call on the IRQ stack; the switch; the way back |
//! | an exception found no room | in a guard, bit 13 set | `no_room`: SP = overflow stack, depth 1 |
//! | on the overflow stack | in its body, bit 13 clear | `end_on_own_stack` (depth 0), or the system stops |
//! | the overflow stack found no room | in a guard, bit 13 set | `no_room`: SP = last stack, depth 2; the system stops |
//! | the last stack found no room | anywhere | `no_room`: the CPU is parked, depth 3; nothing is written any more |
//!
//! # Invariants
//!
//! 1. An entry from the kernel tests SP before it writes anything on the stack that SP points to. The test needs no register:
//!    stacks are aligned to twice their size, so one bit tells. Everything up to then is in the mode's words. There must be room
//!    for SavedRegs, and RESERVE below them ([`crate::room`]): the controller has not been asked yet, so an interrupt that finds
//!    no room comes again. A FIQ, which comes with interrupts off too, lives on that reserve: it asks for
//!    [`FIQ_RESERVE`] only.
//! 2. From the first instruction of an entry to the call of Rust code, and from the last one to the return, IRQ is masked. FIQ
//!    is masked in its own handler, and from a failed bit test on until the overflow stack is left: only there does SP point
//!    nowhere for a moment.
//! 3. Rust code is called with SP 8-aligned, as the procedure call standard wants it; what was interrupted need not have it so.
//! 4. TPIDRURO is the running thread's from before the first Rust code to after the last; the program's outside.
//! 5. In user mode SP_svc is where the saved user registers end: the way back leaves it there.

use super::RESERVE;
use super::local::{ArchLocal, BODY_SHIFT};
use super::overflow;
use super::regs::{IRQ_MODE, MODE, SVC_MODE, SavedRegs, USER_MODE};
use super::tables::ModeWords;
use crate::local::CpuLocal;
use core::arch::{global_asm, naked_asm};
use core::mem::{offset_of, size_of};

/// Undefined instruction, as exceptions are numbered here: by their place in the vector table.
pub const UNDEFINED: u8 = 1;
/// Prefetch abort.
pub const PREFETCH_ABORT: u8 = 3;
/// Data abort.
pub const DATA_ABORT: u8 = 4;
/// FIQ.
pub(super) const FIQ: u8 = 7;
/// What must be left below SavedRegs for FIQ's handler, in bytes. It comes with interrupts off too, and then lives on what RESERVE
/// has for it: whatever runs with interrupts off may use the rest. That and SavedRegs together are a number that an instruction
/// can hold.
pub(super) const FIQ_RESERVE: usize = 312;
/// The interrupt vector for "the interrupt controller has something": the kernel asks it what.
pub const LINE: u8 = 0xfe;
/// The interrupt vector of `svc` in the kernel.
pub const SOFTWARE: u8 = 0xf6;

global_asm!(
    ".section .text.kstack_entry, \"ax\"",
    ".arm",
    ".balign 32",
    ".globl kstack_vectors",
    "kstack_vectors:",
    // Reset and the hypervisor's entry: never taken here.
    "b .",
    "b {undefined}",
    "b {svc}",
    "b {prefetch}",
    "b {data}",
    "b .",
    "b {irq}",
    "b {fiq}",
    ".text",
    // The return address is past an undefined instruction by 2 or 4, which on_exception takes into account.
    undefined = sym stub::<UNDEFINED, 0>,
    svc = sym svc_entry,
    prefetch = sym stub::<PREFETCH_ABORT, 4>,
    data = sym stub::<DATA_ABORT, 8>,
    irq = sym stub::<LINE, 4>,
    fiq = sym fiq_entry,
);

/// Where the vectors are.
pub(super) fn vectors_address() -> usize {
    unsafe extern "C" {
        safe static kstack_vectors: u8;
    }
    &raw const kstack_vectors as usize
}

/// One exception's entry, from any mode but its own, up to the call of [`on_trap`].
///
/// In: LR = PC of the interrupted instruction + `BACK`; SPSR; SP = the mode's words. Out: SavedRegs, on the thread stack (from
/// user) or the current one; SVC mode.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn stub<const VECTOR: u8, const BACK: usize>() {
    naked_asm!(
        "sub lr, lr, #{back}",
        "stm sp, {{r0, lr}}",
        "mrs lr, spsr",
        "str lr, [sp, #{word_cpsr}]",
        "tst lr, #{not_user}",
        "mov r0, sp",
        "cps #{svc_mode}",
        "bne 2f",

        // From user mode. SP_svc is at the top; LR_svc is nobody's.
        "sub sp, sp, #{size}",
        "stmib sp, {{r1-r12}}",
        "ldm r0, {{r1-r3}}",
        "str r1, [sp]",
        "str r2, [sp, #{pc}]",
        "str r3, [sp, #{cpsr}]",
        "mvn r4, #0",
        "str r4, [sp, #{orig_r0}]",
        "add r4, sp, #{sp_at}",
        "stm r4, {{sp, lr}}^",
        // The thread pointer is the kernel's from here on.
        "mrc p15, 0, r5, c13, c0, 4",
        "ldr r5, [r5, #{thread}]",
        "mcr p15, 0, r5, c13, c0, 3",
        "mov r4, sp",
        "b 3f",

        // From the kernel. Nothing is written on this stack before the test.
        "2:",
        "sub sp, sp, #{size} + {reserve}",
        "tst sp, #{outside}",
        "bne 4f",
        "add sp, sp, #{reserve}",
        "stmib sp, {{r1-r12}}",
        "ldm r0, {{r1-r3}}",
        "str r1, [sp]",
        "add r4, sp, #{size}",
        "mov r5, lr",
        "mov r6, r2",
        "mov r7, r3",
        "mvn r8, #0",
        "add r9, sp, #{sp_at}",
        "stm r9, {{r4-r8}}",
        "mov r4, sp",

        "3:",
        "add r11, r4, #1",
        "bic sp, sp, #{misaligned}",
        "mov r0, #{vector}",
        "mov r1, r4",
        "bl {on_trap}",
        "mov sp, r4",
        "b {way_back}",

        // No room.
        "4:",
        "cpsid f",
        "add sp, sp, #{reserve}",
        "str lr, [r0, #{word_lr}]",
        "str r1, [r0, #{word_r1}]",
        "mov r1, #{vector}",
        "b {no_room}",
        back = const BACK,
        vector = const VECTOR,
        size = const size_of::<SavedRegs>(),
        reserve = const RESERVE.get(),
        sp_at = const offset_of!(SavedRegs, sp),
        pc = const offset_of!(SavedRegs, pc),
        cpsr = const offset_of!(SavedRegs, cpsr),
        orig_r0 = const offset_of!(SavedRegs, orig_r0),
        word_cpsr = const ModeWords::CPSR,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        // Of all modes, only user mode's number ends in zeros.
        not_user = const !USER_MODE & 0xf,
        svc_mode = const SVC_MODE,
        outside = const 1 << BODY_SHIFT,
        misaligned = const 7,
        thread = const CpuLocal::THREAD,
        on_trap = sym on_trap,
        way_back = sym way_back,
        no_room = sym overflow::no_room,
    )
}

/// Instructions of a [`stub`] up to the branch that says that there is no room, this one included.
const STUB_BEFORE_TEST: usize = 26;

/// Whether these registers are those of an IRQ's entry that has not found out yet whether there is room. Interrupts are masked there by the
/// CPU, but were on in the code that the IRQ had hit, or it would not have come; and nothing of that code has changed but the
/// mode's own words.
pub(super) fn is_irq_on_its_way_in(regs: &SavedRegs) -> bool {
    let stub = stub::<LINE, 4> as *const () as usize;
    let before_test = stub..stub + STUB_BEFORE_TEST * size_of::<u32>();
    regs.cpsr & MODE == IRQ_MODE || before_test.contains(&regs.pc().get())
}

/// FIQ's entry. It can hit the kernel at any instruction; see the module's head.
///
/// In: LR = PC of the interrupted instruction + 4; SPSR; SP = the mode's words; FIQ and IRQ masked by the CPU. SavedRegs goes on
/// the thread stack (from user) or the current one; SVC mode.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn fiq_entry() {
    naked_asm!(
        "sub lr, lr, #4",
        "stm sp, {{r0, lr}}",
        "mrs lr, spsr",
        "str lr, [sp, #{word_cpsr}]",
        "tst lr, #{not_user}",
        "mov r0, sp",
        "cps #{svc_mode}",
        "bne 2f",

        // From user mode, as any entry. The way back leaves out what is pending: a switch to another thread would take the mask
        // along.
        "sub sp, sp, #{size}",
        "stmib sp, {{r1-r12}}",
        "ldm r0, {{r1-r3}}",
        "str r1, [sp]",
        "str r2, [sp, #{pc}]",
        "str r3, [sp, #{cpsr}]",
        "mvn r4, #0",
        "str r4, [sp, #{orig_r0}]",
        "add r4, sp, #{sp_at}",
        "stm r4, {{sp, lr}}^",
        "mrc p15, 0, r5, c13, c0, 4",
        "ldr r5, [r5, #{thread}]",
        "mcr p15, 0, r5, c13, c0, 3",
        "mov r4, sp",
        "add r11, sp, #1",
        "bic sp, sp, #{misaligned}",
        "mov r0, r4",
        "bl {on_fiq}",
        "mov sp, r4",
        "b {to_user}",

        // From the kernel.
        "2:",
        "sub sp, sp, #{size} + {reserve}",
        "tst sp, #{outside}",
        "bne 4f",
        "add sp, sp, #{reserve}",
        "stmib sp, {{r1-r12}}",
        "ldm r0, {{r1-r3}}",
        "str r1, [sp]",
        "add r4, sp, #{size}",
        "mov r5, lr",
        "mov r6, r2",
        "mov r7, r3",
        "mvn r8, #0",
        "add r9, sp, #{sp_at}",
        "stm r9, {{r4-r8}}",
        "mov r4, sp",
        // What an entry or a way back may have in its hands.
        "mrs r5, spsr",
        "mrc p15, 0, r6, c13, c0, 3",
        "mrc p15, 0, r7, c13, c0, 4",
        "ldr r7, [r7, #{thread}]",
        "mcr p15, 0, r7, c13, c0, 3",
        "add r11, sp, #1",
        "bic sp, sp, #{misaligned}",
        "mov r0, r4",
        "bl {on_fiq}",
        "mov sp, r4",
        "mcr p15, 0, r6, c13, c0, 3",
        "msr spsr_cxsf, r5",
        // PC and CPSR move up by a word, to right below where SP was: there rfe takes them from, and leaves SP behind them.
        "ldr r0, [sp, #{pc}]",
        "ldr r1, [sp, #{cpsr}]",
        "str r0, [sp, #{return_at}]",
        "str r1, [sp, #{return_at} + {word}]",
        "clrex",
        "ldr lr, [sp, #{lr_at}]",
        "ldm sp, {{r0-r12}}",
        "add sp, sp, #{return_at}",
        "rfeia sp!",

        // No room. The controller has not been asked: it comes again.
        "4:",
        "add sp, sp, #{reserve}",
        "str lr, [r0, #{word_lr}]",
        "str r1, [r0, #{word_r1}]",
        "mov r1, #{vector}",
        "b {no_room}",
        vector = const FIQ as usize,
        size = const size_of::<SavedRegs>(),
        reserve = const FIQ_RESERVE,
        sp_at = const offset_of!(SavedRegs, sp),
        lr_at = const offset_of!(SavedRegs, lr),
        pc = const offset_of!(SavedRegs, pc),
        cpsr = const offset_of!(SavedRegs, cpsr),
        orig_r0 = const offset_of!(SavedRegs, orig_r0),
        return_at = const size_of::<SavedRegs>() - 2 * size_of::<u32>(),
        word = const size_of::<u32>(),
        word_cpsr = const ModeWords::CPSR,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        not_user = const !USER_MODE & 0xf,
        svc_mode = const SVC_MODE,
        outside = const 1 << BODY_SHIFT,
        misaligned = const 7,
        thread = const CpuLocal::THREAD,
        on_fiq = sym super::fault::on_fiq,
        to_user = sym to_user,
        no_room = sym overflow::no_room,
    )
}

/// The `svc` instruction. From user mode: a system call, number in r7, arguments in r0 to r6. From the kernel: a software
/// interrupt.
///
/// In: LR_svc = return address, SPSR; everything else as it was. IRQ masked by the CPU.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn svc_entry() {
    naked_asm!(
        "sub sp, sp, #{size} + {reserve}",
        // From user mode it cannot fail.
        "tst sp, #{outside}",
        "bne 4f",
        "add sp, sp, #{reserve}",
        "stm sp, {{r0-r12}}",
        "mov r6, lr",
        "mrs r5, spsr",
        "str r6, [sp, #{pc}]",
        "str r5, [sp, #{cpsr}]",
        "str r0, [sp, #{orig_r0}]",
        "mov r4, sp",
        "add r11, sp, #1",
        "tst r5, #{not_user}",
        "bne 2f",
        "add r0, sp, #{sp_at}",
        "stm r0, {{sp, lr}}^",
        "mrc p15, 0, r5, c13, c0, 4",
        "ldr r5, [r5, #{thread}]",
        "mcr p15, 0, r5, c13, c0, 3",
        // Everything that belongs to the user is saved: interrupts may come.
        "cpsie i",
        "mov r0, sp",
        "bl {on_syscall}",
        "b {way_back}",

        // From the kernel. LR was the caller's to lose.
        "2:",
        "add r5, sp, #{size}",
        "add r0, sp, #{sp_at}",
        "stm r0, {{r5, r6}}",
        "bic sp, sp, #{misaligned}",
        "mov r0, #{software}",
        "mov r1, r4",
        "bl {on_trap}",
        "mov sp, r4",
        "b {way_back}",

        // No room. Without a mode's words, r0 goes through the thread pointer, which the block has a copy of.
        "4:",
        "cpsid f",
        "add sp, sp, #{reserve}",
        "mcr p15, 0, r0, c13, c0, 3",
        "mrc p15, 0, r0, c13, c0, 4",
        "add r0, r0, #{svc_words}",
        "str r1, [r0, #{word_r1}]",
        "mrc p15, 0, r1, c13, c0, 3",
        "str r1, [r0, #{word_r0}]",
        "str lr, [r0, #{word_pc}]",
        "str lr, [r0, #{word_lr}]",
        "mrs r1, spsr",
        "str r1, [r0, #{word_cpsr}]",
        "mrc p15, 0, r1, c13, c0, 4",
        "ldr r1, [r1, #{thread}]",
        "mcr p15, 0, r1, c13, c0, 3",
        "mov r1, #{software}",
        "b {no_room}",
        size = const size_of::<SavedRegs>(),
        reserve = const RESERVE.get(),
        sp_at = const offset_of!(SavedRegs, sp),
        pc = const offset_of!(SavedRegs, pc),
        cpsr = const offset_of!(SavedRegs, cpsr),
        orig_r0 = const offset_of!(SavedRegs, orig_r0),
        word_r0 = const ModeWords::R0,
        word_pc = const ModeWords::PC,
        word_cpsr = const ModeWords::CPSR,
        word_lr = const ModeWords::LR,
        word_r1 = const ModeWords::R1,
        svc_words = const ArchLocal::SVC_WORDS,
        outside = const 1 << BODY_SHIFT,
        misaligned = const 7,
        not_user = const !USER_MODE & 0xf,
        software = const SOFTWARE,
        thread = const CpuLocal::THREAD,
        on_syscall = sym crate::hooks::on_syscall,
        on_trap = sym on_trap,
        way_back = sym way_back,
        no_room = sym overflow::no_room,
    )
}

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn way_back() {
    naked_asm!(
        // The handler may have run with interrupts on. From here to the return they stay off (invariant 2).
        "cpsid i",
        "ldr r1, [sp, #{cpsr}]",
        "tst r1, #{not_user}",
        "bne 2f",

        "mov r0, sp",
        "bl {before_user}",
        "b {to_user}",

        "2:",
        "msr spsr_cxsf, r1",
        // A store that somebody began to do exclusively must not succeed now.
        "clrex",
        // All of them at once, SP, PC and CPSR too: there is no moment with half of the interrupted context.
        "ldm sp, {{r0-r12, sp, lr, pc}}^",
        cpsr = const offset_of!(SavedRegs, cpsr),
        not_user = const !USER_MODE & 0xf,
        before_user = sym crate::hooks::before_user,
        to_user = sym to_user,
    )
}

/// To user mode, with nothing left to do. SP: at SavedRegs. IRQ masked.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn to_user() {
    naked_asm!(
        "mrc p15, 0, r2, c13, c0, 4",
        "ldr r2, [r2, #{user_tls}]",
        "mcr p15, 0, r2, c13, c0, 3",
        "ldr r1, [sp, #{cpsr}]",
        "ldr lr, [sp, #{pc}]",
        "msr spsr_cxsf, r1",
        "clrex",
        "add r0, sp, #{sp_at}",
        "ldm r0, {{sp, lr}}^",
        // No banked register right after a load of user registers.
        "nop",
        "ldm sp, {{r0-r12}}",
        "add sp, sp, #{size}",
        "movs pc, lr",
        cpsr = const offset_of!(SavedRegs, cpsr),
        pc = const offset_of!(SavedRegs, pc),
        sp_at = const offset_of!(SavedRegs, sp),
        size = const size_of::<SavedRegs>(),
        user_tls = const ArchLocal::USER_TLS,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: r0 = the switch's message, r4 = argument, r5 = function or 0, r11 = outermost marker; SP at SavedRegs. Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        "bl {after_switch}",
        "cmp r5, #0",
        "beq 2f",
        "cpsie i",
        "mov r0, r4",
        "blx r5",
        "mov r0, sp",
        "bl {after_function}",
        "2:",
        "b {way_back}",
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        way_back = sym way_back,
    )
}

/// All interrupts and exceptions arrive here, in SVC mode, but those that found no room.
extern "C" fn on_trap(vector: u32, regs: &mut SavedRegs) {
    match vector as u8 {
        vector @ (LINE | SOFTWARE) => crate::irq::on_interrupt(vector, regs),
        vector => super::fault::on_exception(vector, regs),
    }
}
