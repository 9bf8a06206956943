//! What portable tests find on arm32.

use crate::tests::arch::expected::Expected;
use kstack::arch::current::local::THREAD_INFO_ON_STACK;
use kstack::kind::StackKind;
use kstack::verdict::Cause;

/// See [`Expected`]. Above the saved registers 8 bytes are free.
pub(in crate::tests) const EXPECTED: Expected = Expected {
    stack_kib: 8,
    stack_align_kib: 16,
    saved_regs: 80,
    kept_below: if THREAD_INFO_ON_STACK { 8 } else { 0 },
    syscall_entries: 1,
    switch_frame: 48,
    cpu_stacks: &[StackKind::Overflow],
    softirq_stack: StackKind::Irq,
    giant_frame: Cause::FrameBeyondGuard,
    overflow_row: "no room on the stack",
    own_rows: &[
        ("FIQ from kernel", "current"),
        ("FIQ from user", "thread"),
        ("overflow twice", "last, then stop"),
    ],
};
