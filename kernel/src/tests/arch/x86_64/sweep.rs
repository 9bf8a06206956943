//! What the sweep needs to know of this architecture.

use crate::tests::Outcome;
use crate::tests::arch::pc::work::{Work, send_nmi_to_this_cpu};
use core::arch::{asm, naked_asm};
use core::sync::atomic::AtomicUsize;
use machine::arch::cpu::without_interrupts;
use machine::arch::regs::SavedRegs;
use machine::arch::step;

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

/// Whether an NMI that comes in this function is handled at once: the thread's stack is in use, not
/// the body stack.
pub fn handles_another_at_once(function: &str) -> bool {
    function.contains("::nmi_from_user")
}

/// Whether all of a function runs with SP on the NMI stack: nothing of it can be swept, also what
/// no work executes.
pub fn is_on_nmi_stack(function: &str) -> bool {
    function.ends_with("::nmi::nmi")
}

/// The handler of NMIs, entered where an NMI could hit: in the kernel, with the GS base of a
/// program.
pub fn nmi_with_user_gs() -> Outcome {
    // SAFETY: (1) interrupts are off while GS is not the kernel's; what can come then looks at the
    // base itself; (2) the gate of vector 2 is the kernel's to use.
    without_interrupts(|| unsafe { asm!("swapgs", "int 2", "swapgs") });
    Ok(())
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
    } else if is("nmi_body") {
        &[Work::Nmi, Work::NmiTwice, Work::UserNmi, Work::NmiWithUserGs]
    } else if is("::nmi::") {
        &[Work::Nmi, Work::NmiTwice, Work::UserNmi]
    } else if is("syscall_entry") {
        &[Work::User]
    } else if is("first_return") {
        // Of a kernel thread, whose function does not return, and of a program.
        &[Work::Switch, Work::User]
    } else if is("switch") {
        &[Work::Switch]
    } else if is("call_on_stack") {
        &[Work::Interrupt]
    } else if is("entry::common") {
        &[Work::User, Work::Interrupt, Work::NoRoom]
    } else {
        &[Work::User, Work::Interrupt]
    }
}
