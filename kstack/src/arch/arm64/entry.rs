//! Vectors, the system-call entry and the way back.
//!
//! # An exception, step by step
//!
//! ```text
//!   CPU       masks everything, sets SPSel = 1: SP is the top of the overflow stack; pc and pstate to ELR_EL1 and SPSR_EL1
//!   slot      x0 and x1, and PSTATE if from the kernel, to the 32 bytes below SP; x0 = where SavedRegs will lie: below SP_EL0, or below thread_top from user
//!             mode. One bit of what is RESERVE bytes lower set: there is no room, on to `overflow`
//!   entry     saves SavedRegs through x0; then SPSel = 0, SP = x0, x29 = x0 + 1; debug exceptions and SErrors on, but after a
//!             synchronous exception not before it is known to be no debug exception; calls Rust
//!   way back  interrupts off; to user mode: pending work; everything masked; SPSel = 1; registers; eret
//! ```
//!
//! # State, line by line
//!
//! | place | SPSel, SP | SP_EL0 | masked | if an exception comes |
//! | --- | --- | --- | --- | --- |
//! | a program | 0, its own | its own | F | EL0 vectors |
//! | the kernel | 0, a stack of the arena | same | I as it likes; F | EL1t vectors |
//! | slot and saving | 1, overflow top | the interrupted SP | D A I F | only a store through a wild x0 can fault: EL1h, told by SP = top |
//! | after saving | 0, SavedRegs | same | I F | EL1t vectors |
//! | loading registers | 1, overflow top | the SP to come | D A I F | none can: SavedRegs were mapped |
//! | overflow handler | 1, overflow stack | the broken SP | D A I F | EL1h vectors: second fault |
//!
//! # Invariants
//!
//! 1. Outside the overflow handler SP_EL1 is the overflow stack's top, whenever a program or the kernel runs. Nothing here moves it.
//! 2. ELR_EL1, SPSR_EL1, ESR_EL1 and FAR_EL1 are valid only while everything is masked; they are read before that ends, and
//!    written after it begins.
//! 3. Until the last of x2 to x30 is saved, x1 is the interrupted pc and x0 the place: if a store faults, both can be told from
//!    the registers of that fault, and PSTATE from what the slot kept.
//! 4. Rust code is called with SP 16-aligned: SavedRegs is a multiple of 16, and so are the tops of stacks.
//! 5. TPIDR_EL1 is the CPU's block from boot on; programs cannot change it, so there is nothing to exchange on the way in.
//! 6. From the kernel Rust code is called only with RESERVE bytes left ([`crate::room`]). Until then nothing has changed, and the
//!    interrupt controller has not been asked: an interrupt that finds no room comes again.
//! 7. TPIDRRO_EL0 is the running thread whenever Rust code runs, and zero whenever a program does.

use crate::arch::current::overflow;
use crate::arch::current::regs::SavedRegs;
use crate::arch::current::{GEOMETRY, RESERVE};
use crate::local::CpuLocal;
use core::arch::{global_asm, naked_asm};
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// Bytes below SP_EL1 in which slots keep x0 and x1, at the lowest, until SavedRegs have room for them, and PSTATE.
pub(super) const SLOT_SCRATCH: usize = 4 * size_of::<u64>();
/// How far below SP_EL1 the slots of exceptions from the kernel keep the interrupted PSTATE.
pub(super) const KEPT_PSTATE: usize = size_of::<u64>();

/// The number of the address bit that is set right below every stack.
pub(super) const OVERFLOW_BIT: u32 = GEOMETRY.body().get().trailing_zeros();

const _: () = assert!(
    GEOMETRY.align().get() == 2 * GEOMETRY.body().get(),
    "the bit test wants stacks aligned to twice their size"
);

/// What an interrupt from the controller is called on its way to the kernel, which alone knows how to ask the controller for its
/// number. Software interrupts (`svc` in the kernel) carry their own number.
pub const FROM_CONTROLLER: u8 = 0xff;

/// Exception classes (Arm ARM, ESR_EL1): a system call, or in the kernel a software interrupt.
const SVC: u64 = 0x15;

global_asm!(
    ".section .text.kstack_entry, \"ax\"",
    // VBAR_EL1 has eleven low bits that are zero; each slot is 32 instructions long.
    ".balign {vectors}",
    ".globl kstack_vectors",
    "kstack_vectors:",
    // From the kernel on SP_EL0: synchronous, IRQ, FIQ, SError.
    ".macro from_kernel entry, no_room",
    ".balign {slot}",
    "stp x0, x1, [sp, #-{scratch}]",
    // Lost otherwise if a store through a wild SP faults: whether interrupts were on decides who may be ended.
    "mrs x0, spsr_el1",
    "str x0, [sp, #-{kept_pstate}]",
    "mrs x0, sp_el0",
    // Room for SavedRegs, and RESERVE below them.
    "sub x0, x0, #{regs} + {reserve}",
    "tbnz x0, #{bit}, \\no_room",
    "add x0, x0, #{reserve}",
    "b \\entry",
    ".endm",
    "from_kernel {kernel_sync}, {no_room_sync}",
    "from_kernel {kernel_irq}, {no_room_other}",
    "from_kernel {kernel_sync}, {no_room_other}",
    "from_kernel {kernel_sync}, {no_room_sync}",
    // From the kernel on SP_EL1: it is the overflow handler, or a store of ours through a wild address.
    ".rept 4",
    ".balign {slot}",
    "b {second_fault}",
    ".endr",
    // From user mode, 64-bit, then 32-bit: this kernel starts no such program, so it cannot come.
    ".macro from_user entry",
    ".balign {slot}",
    "stp x0, x1, [sp, #-{scratch}]",
    "mrs x1, tpidr_el1",
    "ldr x0, [x1, #{thread_top}]",
    "sub x0, x0, #{regs}",
    "b \\entry",
    ".endm",
    ".rept 2",
    "from_user {user_sync}",
    "from_user {user_irq}",
    "from_user {user_sync}",
    "from_user {user_sync}",
    ".endr",
    ".balign {slot}",
    ".purgem from_kernel",
    ".purgem from_user",
    ".text",
    vectors = const 2048,
    slot = const 128,
    scratch = const SLOT_SCRATCH,
    kept_pstate = const KEPT_PSTATE,
    regs = const size_of::<SavedRegs>(),
    reserve = const RESERVE.get(),
    bit = const OVERFLOW_BIT,
    thread_top = const CpuLocal::THREAD_TOP,
    kernel_sync = sym kernel_sync,
    kernel_irq = sym kernel_irq,
    user_sync = sym user_sync,
    user_irq = sym user_irq,
    no_room_sync = sym overflow::no_room_sync,
    no_room_other = sym overflow::no_room_other,
    second_fault = sym overflow::second_fault,
);

unsafe extern "C" {
    static kstack_vectors: u8;
    // The bytes behind the entries that save registers.
    fn kstack_kernel_sync_end();
    fn kstack_kernel_irq_end();
    fn kstack_user_sync_end();
    fn kstack_user_irq_end();
}

/// What VBAR_EL1 is set to.
pub fn vectors() -> Addr {
    Addr::new(&raw const kstack_vectors as usize)
}

/// Whether this is an instruction of an entry that saves registers through x0.
pub(super) fn is_saving_entry(pc: Addr) -> bool {
    let entries: [(extern "C" fn(), unsafe extern "C" fn()); 4] = [
        (kernel_sync, kstack_kernel_sync_end),
        (kernel_irq, kstack_kernel_irq_end),
        (user_sync, kstack_user_sync_end),
        (user_irq, kstack_user_irq_end),
    ];
    entries.iter().any(|&(first, end)| (first as usize..end as usize).contains(&pc.get()))
}

/// Saves everything but `esr` at x0; see the slot for what is where. Uses x1 to x3. Afterwards x2 is the interrupted x0.
macro_rules! save_at_x0 {
    () => {
        "
        mrs x1, elr_el1
        stp x2, x3, [x0, #{x} + 2 * {word}]
        stp x4, x5, [x0, #{x} + 4 * {word}]
        stp x6, x7, [x0, #{x} + 6 * {word}]
        stp x8, x9, [x0, #{x} + 8 * {word}]
        stp x10, x11, [x0, #{x} + 10 * {word}]
        stp x12, x13, [x0, #{x} + 12 * {word}]
        stp x14, x15, [x0, #{x} + 14 * {word}]
        stp x16, x17, [x0, #{x} + 16 * {word}]
        stp x18, x19, [x0, #{x} + 18 * {word}]
        stp x20, x21, [x0, #{x} + 20 * {word}]
        stp x22, x23, [x0, #{x} + 22 * {word}]
        stp x24, x25, [x0, #{x} + 24 * {word}]
        stp x26, x27, [x0, #{x} + 26 * {word}]
        stp x28, x29, [x0, #{x} + 28 * {word}]
        mrs x3, sp_el0
        stp x30, x3, [x0, #{x} + 30 * {word}]
        mrs x3, spsr_el1
        stp x1, x3, [x0, #{pc}]
        ldp x2, x3, [sp, #-{scratch}]
        stp x2, x3, [x0, #{x}]
        "
    };
}

/// Loads SavedRegs at SP and goes there. Everything is masked meanwhile.
macro_rules! load_and_return {
    () => {
        "
        msr daifset, #0xf
        mov x0, sp
        msr spsel, #1
        ldp x30, x1, [x0, #{x} + 30 * {word}]
        ldp x2, x3, [x0, #{pc}]
        msr sp_el0, x1
        msr elr_el1, x2
        msr spsr_el1, x3
        ldp x2, x3, [x0, #{x} + 2 * {word}]
        ldp x4, x5, [x0, #{x} + 4 * {word}]
        ldp x6, x7, [x0, #{x} + 6 * {word}]
        ldp x8, x9, [x0, #{x} + 8 * {word}]
        ldp x10, x11, [x0, #{x} + 10 * {word}]
        ldp x12, x13, [x0, #{x} + 12 * {word}]
        ldp x14, x15, [x0, #{x} + 14 * {word}]
        ldp x16, x17, [x0, #{x} + 16 * {word}]
        ldp x18, x19, [x0, #{x} + 18 * {word}]
        ldp x20, x21, [x0, #{x} + 20 * {word}]
        ldp x22, x23, [x0, #{x} + 22 * {word}]
        ldp x24, x25, [x0, #{x} + 24 * {word}]
        ldp x26, x27, [x0, #{x} + 26 * {word}]
        ldp x28, x29, [x0, #{x} + 28 * {word}]
        ldp x0, x1, [x0, #{x}]
        eret
        "
    };
}
pub(super) use save_at_x0;

const _: () = assert!(
    offset_of!(SavedRegs, sp) == offset_of!(SavedRegs, x) + 31 * size_of::<u64>()
        && offset_of!(SavedRegs, pstate) == offset_of!(SavedRegs, pc) + size_of::<u64>()
        && offset_of!(SavedRegs, esr) == offset_of!(SavedRegs, orig_x0) + size_of::<u64>(),
    "pairs that are stored and loaded together"
);

/// A synchronous exception, an FIQ or an SError from the kernel. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn kernel_sync() {
    naked_asm!(
        save_at_x0!(),
        "mrs x1, esr_el1",
        "stp x2, x1, [x0, #{orig_x0}]",
        "lsr x2, x1, #{class_shift}",
        // The stack is sound and the registers are on it: from here on it is the stack.
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        "cmp x2, #{svc}",
        "b.eq 2f",
        "mrs x1, far_el1",
        "bl {on_exception}",
        "b 3f",
        // A software interrupt: the shortest way, since it is what costs are compared by. pc is behind the instruction already.
        "2:",
        "msr daifclr, #{debug_and_serror}",
        "bl {on_software_interrupt}",
        "3:",
        load_and_return!(),
        ".globl {end}",
        "{end}:",
        end = sym kstack_kernel_sync_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        class_shift = const super::fault::CLASS_SHIFT,
        svc = const SVC,
        debug_and_serror = const DEBUG_AND_SERROR,
        on_software_interrupt = sym on_software_interrupt,
        on_exception = sym super::fault::on_exception,
    )
}

/// In DAIF, as `daifset` and `daifclr` count: debug exceptions and SErrors.
pub(super) const DEBUG_AND_SERROR: u32 = 0b1100;
/// Interrupts, in the same count.
const INTERRUPTS: u32 = 0b0010;

/// An interrupt in the kernel. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn kernel_irq() {
    naked_asm!(
        save_at_x0!(),
        "stp x2, xzr, [x0, #{orig_x0}]",
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        "msr daifclr, #{debug_and_serror}",
        "bl {on_irq}",
        load_and_return!(),
        ".globl {end}",
        "{end}:",
        end = sym kstack_kernel_irq_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        scratch = const SLOT_SCRATCH,
        debug_and_serror = const DEBUG_AND_SERROR,
        on_irq = sym on_irq,
    )
}

/// A system call, or any other exception in user mode. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn user_sync() {
    naked_asm!(
        save_at_x0!(),
        "mrs x1, esr_el1",
        "stp x2, x1, [x0, #{orig_x0}]",
        "lsr x2, x1, #{class_shift}",
        // The running thread, for `current`.
        "mrs x3, tpidr_el1",
        "ldr x3, [x3, #{thread}]",
        "msr tpidrro_el0, x3",
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        "cmp x2, #{svc}",
        "b.ne 2f",
        // Everything that belongs to the program is saved: interrupts may come.
        "msr daifclr, #{all_but_fiq}",
        "bl {on_syscall}",
        "b {way_back_to_user}",
        "2:",
        "mrs x1, far_el1",
        "bl {on_exception}",
        "b {way_back_to_user}",
        ".globl {end}",
        "{end}:",
        end = sym kstack_user_sync_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        thread = const CpuLocal::THREAD,
        scratch = const SLOT_SCRATCH,
        class_shift = const super::fault::CLASS_SHIFT,
        svc = const SVC,
        all_but_fiq = const DEBUG_AND_SERROR | INTERRUPTS,
        on_syscall = sym crate::hooks::on_syscall,
        on_exception = sym super::fault::on_exception,
        way_back_to_user = sym way_back_to_user,
    )
}

/// An interrupt in user mode. In: as the slot left it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn user_irq() {
    naked_asm!(
        save_at_x0!(),
        "stp x2, xzr, [x0, #{orig_x0}]",
        // The running thread, for `current`.
        "mrs x3, tpidr_el1",
        "ldr x3, [x3, #{thread}]",
        "msr tpidrro_el0, x3",
        "msr spsel, #0",
        "mov sp, x0",
        "add x29, x0, #1",
        "msr daifclr, #{debug_and_serror}",
        "bl {on_irq}",
        "b {way_back_to_user}",
        ".globl {end}",
        "{end}:",
        end = sym kstack_user_irq_end,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        orig_x0 = const offset_of!(SavedRegs, orig_x0),
        thread = const CpuLocal::THREAD,
        scratch = const SLOT_SCRATCH,
        debug_and_serror = const DEBUG_AND_SERROR,
        on_irq = sym on_irq,
        way_back_to_user = sym way_back_to_user,
    )
}

/// Back to the program whose SavedRegs are at SP. SP: at SavedRegs, the highest of the stack.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn way_back_to_user() {
    naked_asm!(
        // No interrupt may find work after the look and before user mode.
        "msr daifset, #{interrupts}",
        "mov x0, sp",
        "bl {before_user}",
        // From here on nothing comes in. The program does not learn where its thread lies.
        "msr daifset, #0xf",
        "msr tpidrro_el0, xzr",
        load_and_return!(),
        interrupts = const INTERRUPTS,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        before_user = sym crate::hooks::before_user,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: x0 = the switch's message, x19 = function or 0, x20 = its argument, x29 = outermost marker. Interrupts off. SP: at
/// SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        "bl {after_switch}",
        "cbz x19, 2f",
        "msr daifclr, #{all_but_fiq}",
        "mov x0, x20",
        "blr x19",
        "mov x0, sp",
        "bl {after_function}",
        "2:",
        "b {way_back_to_user}",
        all_but_fiq = const DEBUG_AND_SERROR | INTERRUPTS,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        way_back_to_user = sym way_back_to_user,
    )
}

/// All interrupts of the controller arrive here.
extern "C" fn on_irq(regs: &mut SavedRegs) {
    crate::irq::on_interrupt(FROM_CONTROLLER, regs);
}

/// `svc` in the kernel: an interrupt whose number is in the instruction.
extern "C" fn on_software_interrupt(regs: &mut SavedRegs) {
    crate::irq::on_interrupt(regs.esr as u8, regs);
}
