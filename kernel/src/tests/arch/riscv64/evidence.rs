//! What riscv64's own registers say, read as the CPU reads them: for tests and for the console's
//! questions.

use alloc::string::String;

/// The CPU takes no stack from memory at an entry from user mode: the entry code loads it.
pub(in crate::tests) const fn stack_for_user_entries() -> Option<(&'static str, usize)> {
    None
}

/// What this CPU itself says of shadow stacks.
pub(in crate::tests) fn shadow_evidence() -> String {
    "RISC-V has them as Zicfiss, which the firmware turns on; this kernel asks for none".into()
}
