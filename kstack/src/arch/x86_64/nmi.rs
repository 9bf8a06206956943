//! Entries that can interrupt any instruction: NMI, debug, machine check; the double fault is in
//! `double_fault`.
//!
//! Each lands on a stack of its own through the IST, whatever SP was. The GS base may still be the
//! user's even though CS says kernel, so it is looked at, not inferred.
//!
//! # NMI nesting
//!
//! The CPU holds further NMIs back until the next `iretq`, *any* `iretq`: a breakpoint or page
//! fault inside the handler lets the next NMI in, and that one lands at the same top of the NMI
//! stack. So the handler's body runs elsewhere, on the NMI body stack, and the NMI stack holds a
//! frame only for the few instructions in which no `iretq` can happen.
//!
//! ```text
//!   NMI stack                        NMI body stack
//!   top -> | ExceptionHead       |   top -> | NmiWords: latched, active |
//!          | CPU's frame         |          | copy of the first NMI's frame |
//!                                           | SavedRegs, handler ...        |
//! ```
//!
//! | arriving NMI finds | does |
//! | --- | --- |
//! | RIP and SP of an NMI that has not left the NMI stack | tells the kernel that the first one's frame is lost |
//! | CS of user mode | leaves the NMI stack for the (empty) thread stack, plain handling |
//! | RIP in the exit window | active = 1, rewrites its own return address to the repeat label, `iretq`: the outer one runs once more |
//! | active = 1 | sets latched = 1, `iretq` |
//! | otherwise | active = 1, copies its frame, moves to the body stack, runs the handler |
//!
//! The exit window is the four instructions from the test of `latched` to the final `iretq`. All
//! registers but SP and RIP are restored before it, and it uses none, so starting over from inside
//! it is harmless. The protocol is explored exhaustively in `kstack_core::nmi`.
//!
//! System management mode is the one thing that lets an NMI in without an `iretq`: the state "NMIs
//! are held back" is not saved when it interrupts an NMI's entry, so that one may be delivered when
//! it ends (Intel SDM vol. 3, 33.8). In the handler's body that is a nested NMI like any other. In
//! the instructions that still run on the NMI stack it pushes over the frame of the first, and what
//! the first had interrupted is lost: by RIP and SP that is seen, and the kernel is told
//! ([`Hooks::kernel_exception`] with vector 2).
//!
//! # Debug exceptions nest
//!
//! The handler may hit a breakpoint itself, or an NMI's handler may that hit the debug handler. All
//! of them land at the same top of the debug stack; so the frame is moved away from there at once:
//!
//! | SP of what was interrupted | can a debug handler be under way below it? | the handler runs |
//! | --- | --- | --- |
//! | on the debug stack | it is | where SP was |
//! | on the NMI stack or the NMI body stack | the NMI may have hit it | where SP was |
//! | anywhere else, a program's at `syscall` too | no: it runs with interrupts off, and only an NMI can hit it | on the debug stack, below the landing |
//!
//! A program may point SP at the debug stack and execute `syscall`: there RIP decides. If the NMI
//! hit the landing itself, the frame there is lost as above, and the kernel is told with vector 1.
//! Stacks are told apart by the aligned block of a body's size that they lie in: each exception
//! stack has one of its own ([`CpuTables::check`](super::tables::CpuTables::check)).
//!
//! [`Hooks::kernel_exception`]: crate::hooks::Hooks::kernel_exception

use super::cause;
use super::regs::SavedRegs;
use super::save::{NO_FLAGS, give_gs_back, look_at_gs, restore_to_rdi, save_below_rdi};
use super::save::{frame_above_rax, frame_above_word, frame_at_sp};
use super::tables::{ExceptionHead, NmiWords};
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::kind::StackKind;

/// Bytes of the CPU's own frame: rip, cs, rflags, rsp, ss.
const FRAME: usize = size_of::<SavedRegs>() - offset_of!(SavedRegs, rip);
/// The words of the frame, from where rip is.
const CS: usize = offset_of!(SavedRegs, cs) - offset_of!(SavedRegs, rip);
const RFLAGS: usize = offset_of!(SavedRegs, rflags) - offset_of!(SavedRegs, rip);
const RSP: usize = offset_of!(SavedRegs, rsp) - offset_of!(SavedRegs, rip);
const SS: usize = offset_of!(SavedRegs, ss) - offset_of!(SavedRegs, rip);
const WORD: usize = size_of::<u64>();
/// The words of the head above the CPU's frame, from where rip is.
const NMI_WORDS: usize = FRAME + offset_of!(ExceptionHead, nmi_words);
const NMI_STACK: usize = FRAME + offset_of!(ExceptionHead, nmi_stack);
/// Two addresses with the same bits from here on lie in the same aligned block, which at most one
/// stack is in.
const BLOCK_SHIFT: u32 = super::GEOMETRY.body().get().trailing_zeros();
/// Bytes at the top of the debug stack for the CPU's frame and two words, until the frame has been
/// moved.
const DEBUG_LANDING: usize = 128;
const _: () = assert!(DEBUG_LANDING >= FRAME + 2 * WORD && DEBUG_LANDING.is_multiple_of(16));

/// Copies the CPU's frame and rax (pushed below it) to the stack whose top is in rax, and moves
/// there. rax comes back.
macro_rules! move_frame_to_rax {
    () => {
        "
        push qword ptr [rsp + {WORD} + {SS}]
        .cfi_adjust_cfa_offset 8
        pop qword ptr [rax - {FRAME} + {SS}]
        .cfi_adjust_cfa_offset -8
        push qword ptr [rsp + {WORD} + {RSP}]
        .cfi_adjust_cfa_offset 8
        pop qword ptr [rax - {FRAME} + {RSP}]
        .cfi_adjust_cfa_offset -8
        push qword ptr [rsp + {WORD} + {RFLAGS}]
        .cfi_adjust_cfa_offset 8
        pop qword ptr [rax - {FRAME} + {RFLAGS}]
        .cfi_adjust_cfa_offset -8
        push qword ptr [rsp + {WORD} + {CS}]
        .cfi_adjust_cfa_offset 8
        pop qword ptr [rax - {FRAME} + {CS}]
        .cfi_adjust_cfa_offset -8
        push qword ptr [rsp + {WORD}]
        .cfi_adjust_cfa_offset 8
        pop qword ptr [rax - {FRAME}]
        .cfi_adjust_cfa_offset -8
        push qword ptr [rsp]
        .cfi_adjust_cfa_offset 8
        pop qword ptr [rax - {FRAME} - {WORD}]
        .cfi_adjust_cfa_offset -8
        lea rsp, [rax - {FRAME} - {WORD}]
        pop rax
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rax
        "
    };
}

/// Vector 2. In: the CPU's frame at the top of the NMI stack, NMIs held back.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn nmi() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "test byte ptr [rsp + {CS}], 3",
        "jnz 6f",
        "push rax",
        frame_above_rax!(),
        // Did it interrupt one that has just landed?
        "lea rax, [rip + {nmi}]",
        "cmp [rsp + {WORD}], rax",
        "jb {landed}",
        "lea rax, [rip + {landing_end}]",
        "cmp [rsp + {WORD}], rax",
        "jb {in_landing}",
        ".globl {landed}",
        "{landed}:",
        // Did it interrupt the exit window of an NMI that is just ending?
        "lea rax, [rip + {window}]",
        "cmp [rsp + {WORD}], rax",
        "jb 2f",
        "lea rax, [rip + {window_end}]",
        "cmp [rsp + {WORD}], rax",
        "jae 2f",
        // The window may have cleared `active`. It is set here, where no other NMI can come yet:
        // from the `iretq` on one can, and must find the body stack in use.
        "mov rax, [rsp + {WORD} + {NMI_WORDS}]",
        "mov dword ptr [rax + {ACTIVE}], 1",
        "lea rax, [rip + {repeat}]",
        "mov [rsp + {WORD}], rax",
        "pop rax",
        frame_at_sp!(),
        "iretq",
        "2:",
        frame_above_rax!(),
        // The head above the frame tells where the body stack's words are; GS cannot be trusted
        // here.
        "mov rax, [rsp + {WORD} + {NMI_WORDS}]",
        "cmp dword ptr [rax + {ACTIVE}], 0",
        "jne 3f",
        "mov dword ptr [rax + {ACTIVE}], 1",
        move_frame_to_rax!(),
        "jmp {body}",
        "3:",
        frame_above_rax!(),
        "mov dword ptr [rax + {LATCHED}], 1",
        "pop rax",
        frame_at_sp!(),
        "iretq",
        // From user mode: the thread stack is empty.
        "6:",
        frame_at_sp!(),
        "swapgs",
        "push rax",
        frame_above_rax!(),
        "mov rax, gs:[{thread_top}]",
        move_frame_to_rax!(),
        "jmp {from_user}",
        ".cfi_endproc",
        ".globl {landing_end}",
        "{landing_end}:",
        CS = const CS, SS = const SS, RSP = const RSP, RFLAGS = const RFLAGS,
        WORD = const WORD, FRAME = const FRAME, NMI_WORDS = const NMI_WORDS,
        ACTIVE = const offset_of!(NmiWords, active),
        LATCHED = const offset_of!(NmiWords, latched),
        thread_top = const CpuLocal::THREAD_TOP,
        nmi = sym nmi,
        landed = sym kstack_nmi_landed,
        landing_end = sym kstack_nmi_landing_end,
        in_landing = sym nmi_in_landing,
        from_user = sym nmi_from_user,
        window = sym nmi_window,
        window_end = sym kstack_nmi_window_end,
        repeat = sym nmi_repeat,
        body = sym nmi_body,
    )
}

unsafe extern "C" {
    fn kstack_nmi_landed();
    fn kstack_nmi_landing_end();
}

/// An NMI that hit the instructions of another that come first. In: rax pushed below the CPU's
/// frame. Has the other left the NMI stack?
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn nmi_in_landing() {
    naked_asm!(
        interrupted!(),
        frame_above_rax!(),
        "mov rax, [rsp + {WORD} + {RSP}]",
        "dec rax",
        "xor rax, rsp",
        "shr rax, {BLOCK_SHIFT}",
        "jnz {landed}",
        // It has not: its frame was where this one's is.
        "mov rax, [rsp + {WORD} + {NMI_WORDS}]",
        move_frame_to_rax!(),
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        "mov edi, {NMI}",
        "xchg rdi, [rsp]",
        ".cfi_same_value rdi",
        "jmp {lost}",
        ".cfi_endproc",
        SS = const SS, RSP = const RSP, RFLAGS = const RFLAGS, CS = const CS,
        WORD = const WORD, FRAME = const FRAME, NMI_WORDS = const NMI_WORDS,
        BLOCK_SHIFT = const BLOCK_SHIFT,
        NMI = const cause::NMI,
        landed = sym kstack_nmi_landed,
        lost = sym frame_is_lost,
    )
}

/// The frame of an entry was overwritten by that of another, so there is no return. In: the
/// vector below the frame of the other, which has been moved to a stack that is the machine's last.
/// Never returns.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn frame_is_lost() {
    naked_asm!(
        interrupted!(),
        frame_above_word!(),
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        "push {NO_FLAGS}",
        "popfq",
        look_at_gs!(),
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_lost_frame}",
        "ud2",
        ".cfi_endproc",
        NO_FLAGS = const NO_FLAGS,
        on_lost_frame = sym super::fault::on_lost_frame,
    )
}

/// The handler's body. SP: at the copied frame on the body stack, the words right above it.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn nmi_body() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push 0",
        ".cfi_adjust_cfa_offset 8",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        // No direction flag, which compiled code wants clear, and no alignment check (`entry`,
        // invariant 6).
        "push {NO_FLAGS}",
        "popfq",
        look_at_gs!(),
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_nmi}",
        "add rsp, 8",
        give_gs_back!(),
        restore_to_rdi!(),
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "jmp {window}",
        ".cfi_endproc",
        NO_FLAGS = const NO_FLAGS,
        on_nmi = sym on_nmi,
        window = sym nmi_window,
    )
}

/// The exit window: from its first byte to [`kstack_nmi_window_end`]. SP: at the copied frame.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn nmi_window() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "cmp dword ptr [rsp + {FRAME} + {LATCHED}], 0",
        "jne {repeat}",
        "mov dword ptr [rsp + {FRAME} + {ACTIVE}], 0",
        "iretq",
        ".cfi_endproc",
        // The end is the next byte; a symbol of its own would need a section that is laid out right
        // behind.
        ".globl {end}",
        "{end}:",
        end = sym kstack_nmi_window_end,
        FRAME = const FRAME,
        ACTIVE = const offset_of!(NmiWords, active),
        LATCHED = const offset_of!(NmiWords, latched),
        repeat = sym nmi_repeat,
    )
}

unsafe extern "C" {
    fn kstack_nmi_window_end();
}

/// Once more: another NMI came while the first was being handled. `active` is 1. SP: at the copied
/// frame.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn nmi_repeat() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "mov dword ptr [rsp + {FRAME} + {LATCHED}], 0",
        "jmp {body}",
        ".cfi_endproc",
        FRAME = const FRAME,
        LATCHED = const offset_of!(NmiWords, latched),
        body = sym nmi_body,
    )
}

/// An NMI that interrupted user mode. SP: at the frame, copied to the thread stack, which is empty
/// else. GS base is the kernel's.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn nmi_from_user() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push 0",
        ".cfi_adjust_cfa_offset 8",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        "push {NO_FLAGS}",
        "popfq",
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_nmi}",
        "add rsp, 8",
        // No pending work here: a thread switch would leave NMIs held back for as long as the next
        // thread stays in the kernel.
        "swapgs",
        restore_to_rdi!(),
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "iretq",
        ".cfi_endproc",
        NO_FLAGS = const NO_FLAGS,
        on_nmi = sym on_nmi,
    )
}

/// Vector 1. From user mode it continues as any exception, on the thread stack; from the kernel it
/// stays on its own, or where SP was: see the module's head.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn debug() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "test byte ptr [rsp + {CS}], 3",
        "jnz 4f",
        "push rax",
        frame_above_rax!(),
        // On the NMI body stack?
        "mov rax, [rsp + {WORD} + {RSP}]",
        "dec rax",
        "xor rax, [rsp + {WORD} + {NMI_WORDS}]",
        "shr rax, {BLOCK_SHIFT}",
        "jz {in_nmi}",
        // On this one, or on the NMI stack?
        "mov rax, [rsp + {WORD} + {RSP}]",
        "dec rax",
        "xor rax, rsp",
        "shr rax, {BLOCK_SHIFT}",
        "jz 2f",
        "mov rax, [rsp + {WORD} + {RSP}]",
        "dec rax",
        "xor rax, [rsp + {WORD} + {NMI_STACK}]",
        "shr rax, {BLOCK_SHIFT}",
        "jnz 3f",
        "2:",
        // SP may be there because a program wants it so.
        "lea rax, [rip + {syscall_entry}]",
        "cmp [rsp + {WORD}], rax",
        "jb 5f",
        "lea rax, [rip + {syscall_end}]",
        "cmp [rsp + {WORD}], rax",
        "jb 3f",
        "5:",
        "mov rax, [rsp + {WORD} + {RSP}]",
        "and rax, -16",
        "jmp 6f",
        "3:",
        "lea rax, [rsp + {WORD} + {FRAME} - {DEBUG_LANDING}]",
        "6:",
        move_frame_to_rax!(),
        "jmp {from_kernel}",
        "4:",
        frame_at_sp!(),
        "swapgs",
        "push rax",
        frame_above_rax!(),
        "mov rax, gs:[{thread_top}]",
        move_frame_to_rax!(),
        "swapgs",
        "jmp {stub}",
        ".cfi_endproc",
        CS = const CS, SS = const SS, RSP = const RSP, RFLAGS = const RFLAGS,
        WORD = const WORD, FRAME = const FRAME,
        NMI_WORDS = const NMI_WORDS, NMI_STACK = const NMI_STACK,
        BLOCK_SHIFT = const BLOCK_SHIFT, DEBUG_LANDING = const DEBUG_LANDING,
        thread_top = const CpuLocal::THREAD_TOP,
        syscall_entry = sym super::syscall::syscall_entry,
        syscall_end = sym super::syscall::kstack_syscall_entry_end,
        in_nmi = sym debug_in_nmi,
        from_kernel = sym debug_from_kernel,
        stub = sym super::entry::stub::<1>,
    )
}

/// A debug exception of an NMI's handler. In: rax pushed below the CPU's frame. Had the NMI hit
/// another debug exception before that one had left the landing? The frame of the NMI says so.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn debug_in_nmi() {
    naked_asm!(
        interrupted!(),
        frame_above_rax!(),
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "mov rax, [rsp + 2 * {WORD} + {NMI_WORDS}]",
        // How far below the top of the landing the NMI found SP.
        "lea rbx, [rsp + 2 * {WORD} + {FRAME}]",
        "sub rbx, [rax - {FRAME} + {RSP}]",
        "cmp rbx, {DEBUG_LANDING}",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbx",
        "jb 2f",
        "mov rax, [rsp + {WORD} + {RSP}]",
        "and rax, -16",
        move_frame_to_rax!(),
        "jmp {from_kernel}",
        "2:",
        frame_above_rax!(),
        "mov rax, [rsp + {WORD} + {RSP}]",
        "and rax, -16",
        move_frame_to_rax!(),
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        "mov edi, {DEBUG}",
        "xchg rdi, [rsp]",
        ".cfi_same_value rdi",
        "jmp {lost}",
        ".cfi_endproc",
        CS = const CS, SS = const SS, RSP = const RSP, RFLAGS = const RFLAGS,
        WORD = const WORD, FRAME = const FRAME, NMI_WORDS = const NMI_WORDS,
        DEBUG_LANDING = const DEBUG_LANDING,
        DEBUG = const cause::DEBUG,
        from_kernel = sym debug_from_kernel,
        lost = sym frame_is_lost,
    )
}

/// A debug exception in the kernel. SP: at the frame, where it stays.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn debug_from_kernel() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push 0",
        ".cfi_adjust_cfa_offset 8",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        "push {NO_FLAGS}",
        "popfq",
        look_at_gs!(),
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_debug}",
        "add rsp, 8",
        give_gs_back!(),
        restore_to_rdi!(),
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "iretq",
        ".cfi_endproc",
        NO_FLAGS = const NO_FLAGS,
        on_debug = sym on_debug,
    )
}

extern "C" fn on_nmi(regs: &mut SavedRegs) {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    if !regs.from_user() {
        let outer = local.enter_own_stack(StackKind::NmiBody);
        (hooks().nmi)(regs);
        return local.leave_own_stack(outer);
    }
    // It runs on the thread's stack; what happens there is the NMI's all the same.
    let arch = &local.arch;
    arch.set_nmi_from_user(true);
    (hooks().nmi)(regs);
    arch.set_nmi_from_user(false);
}

extern "C" fn on_debug(regs: &mut SavedRegs) {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    let outer = local.enter_own_stack(StackKind::Debug);
    (hooks().debug)(regs);
    local.leave_own_stack(outer);
}

/// Vector 18. Never returns.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn machine_check() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push 0",
        ".cfi_adjust_cfa_offset 8",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        "push {NO_FLAGS}",
        "popfq",
        look_at_gs!(),
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_machine_check}",
        "ud2",
        ".cfi_endproc",
        NO_FLAGS = const NO_FLAGS,
        on_machine_check = sym super::fault::on_machine_check,
    )
}
