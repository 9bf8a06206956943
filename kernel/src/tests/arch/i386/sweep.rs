//! What the sweep needs to know of this architecture.

use crate::tests::Outcome;
use crate::tests::arch::pc::work::{Work, send_nmi_to_this_cpu};
use core::arch::naked_asm;
use core::sync::atomic::AtomicUsize;
use machine::arch::regs::SavedRegs;
use machine::arch::step;
use machine::cpus;

/// In the handler of a breakpoint: the instruction is executed now.
pub fn resume(regs: &mut SavedRegs) {
    regs.eflags |= step::RESUME;
}

extern "C" fn send_first_nmi() {
    send_nmi_to_this_cpu();
}

static DEBUG_SP: AtomicUsize = AtomicUsize::new(0);

/// Sends NMI 1 and waits for it; comes back by [`back_in_the_debug_handler`], with NMIs held back.
#[unsafe(naked)]
pub extern "C" fn until_nmis_are_held_back() {
    naked_asm!(
        "push ebp",
        "mov ebp, esp",
        "push ebx",
        "push esi",
        "push edi",
        "sub esp, {word} * 2",
        "mov [{sp}], esp",
        "call {send}",
        "2:",
        "pause",
        "jmp 2b",
        word = const size_of::<usize>(),
        sp = sym DEBUG_SP,
        send = sym send_first_nmi,
    )
}

/// From the handler of NMI 1, whose stack is given up.
#[unsafe(naked)]
pub extern "C" fn back_in_the_debug_handler() -> ! {
    naked_asm!(
        "mov esp, [{sp}]",
        "add esp, {word} * 2",
        "pop edi",
        "pop esi",
        "pop ebx",
        "pop ebp",
        "ret",
        word = const size_of::<usize>(),
        sp = sym DEBUG_SP,
    )
}

/// Whether an NMI that comes in this function is handled at once: no NMI is on the body stack.
pub fn handles_another_at_once(function: &str) -> bool {
    function.contains("::nmi::") && !cpus::this().local.arch.nmi_is_active()
}

/// A system call by `sysenter`.
pub fn sysenter() -> Outcome {
    super::sysenter::x2_p8_sysenter_starts_at_the_top_of_the_thread_stack_and_keeps_registers()
}

/// Whether all of a function runs with SP on a stack where nothing can be swept: there is none.
pub fn is_on_nmi_stack(_: &str) -> bool {
    false
}

/// What executes a function's instructions.
pub fn work_for(function: &str) -> &'static [Work] {
    let is = |name: &str| function.contains(name);
    if is("::nmi::") {
        &[Work::Nmi, Work::NmiTwice, Work::UserNmi]
    } else if is("sysenter_entry") {
        &[Work::Sysenter]
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
