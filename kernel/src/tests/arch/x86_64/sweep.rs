//! What the sweep needs to know of this architecture.

use crate::arch::regs::SavedRegs;
use crate::arch::step;
use crate::tests::arch::pc::entry_work::{Work, send_nmi_to_this_cpu};
use core::arch::naked_asm;
use core::sync::atomic::AtomicUsize;

/// In the handler of a breakpoint: the instruction is executed now.
pub fn resume(regs: &mut SavedRegs) {
    regs.rflags |= step::RESUME;
}

extern "C" fn send_first_nmi() {
    send_nmi_to_this_cpu();
}

static DEBUG_SP: AtomicUsize = AtomicUsize::new(0);

/// Sends NMI 1 and waits for it; comes back by [`back_in_the_debug_handler`], with NMIs held back.
#[unsafe(naked)]
pub extern "C" fn until_nmis_are_held_back() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, {word}",
        "mov [rip + {sp}], rsp",
        "call {send}",
        "2:",
        "pause",
        "jmp 2b",
        word = const 8,
        sp = sym DEBUG_SP,
        send = sym send_first_nmi,
    )
}

/// From the handler of NMI 1, whose stack is given up.
#[unsafe(naked)]
pub extern "C" fn back_in_the_debug_handler() -> ! {
    naked_asm!(
        "mov rsp, [rip + {sp}]",
        "add rsp, {word}",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        word = const 8,
        sp = sym DEBUG_SP,
    )
}

/// Whether an NMI that comes in this function is handled at once: the thread's stack is in use, not the body stack.
pub fn handles_another_at_once(function: &str) -> bool {
    function.contains("::nmi_from_user")
}

/// What executes a function's instructions.
pub fn work_for(function: &str) -> &'static [Work] {
    let is = |name: &str| function.contains(name);
    if is("nmi_repeat") {
        &[Work::NmiTwice]
    } else if is("nmi_from_user") {
        &[Work::UserNmi]
    } else if is("nmi_window") {
        // Not the second kind: see the head.
        &[Work::Nmi]
    } else if is("::nmi::") {
        &[Work::Nmi, Work::NmiTwice, Work::UserNmi]
    } else if is("syscall_entry") {
        &[Work::User]
    } else if is("first_return") || is("switch") {
        &[Work::Switch]
    } else if is("call_on_stack") {
        &[Work::Interrupt]
    } else {
        &[Work::User, Work::Interrupt]
    }
}
