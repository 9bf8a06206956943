//! The table of expectations, as every architecture fills it in.

use kstack::kind::StackKind;
use kstack::verdict::Cause;

/// What differs from one architecture to the next in what portable tests find.
pub(in crate::tests) struct Expected {
    /// The size of a thread's stack.
    pub(in crate::tests) stack_kib: usize,
    /// What its lowest address is a multiple of.
    pub(in crate::tests) stack_align_kib: usize,
    /// Bytes of the registers that an entry saves.
    pub(in crate::tests) saved_regs: usize,
    /// Bytes at the low end of a running thread's stack that are not the thread's to write.
    pub(in crate::tests) kept_below: usize,
    /// Entries for system calls, from each of which the handler stands elsewhere below the
    /// registers.
    pub(in crate::tests) syscall_entries: usize,
    /// Bytes of the registers that a switch saves.
    pub(in crate::tests) switch_frame: usize,
    /// The stacks that each CPU has besides its idle stack and its IRQ stack.
    pub(in crate::tests) cpu_stacks: &'static [StackKind],
    /// Which of them, or else the IRQ stack, softirqs run on.
    pub(in crate::tests) softirq_stack: StackKind,
    /// What a frame somewhat larger than the whole stack is called: it runs into the guard where
    /// the compiler has probes, lands in it where the guard is wide, and is found beyond it
    /// elsewhere.
    pub(in crate::tests) giant_frame: Cause,
    /// The row of the table of entries that says where an overflow is handled.
    pub(in crate::tests) overflow_row: &'static str,
    /// Rows of that table that tests of this architecture alone show, besides entries from user
    /// mode.
    pub(in crate::tests) own_rows: &'static [(&'static str, &'static str)],
}
