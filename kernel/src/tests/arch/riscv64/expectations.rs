//! What portable tests find on riscv64.

use crate::tests::arch::expected::Expected;
use kstack::kind::StackKind;
use kstack::verdict::Cause;

/// See [`Expected`].
pub(in crate::tests) const EXPECTED: Expected = Expected {
    stack_kib: 16,
    stack_align_kib: 16,
    saved_regs: 288,
    kept_below: 0,
    syscall_entries: 1,
    switch_frame: 112,
    cpu_stacks: &[StackKind::Overflow],
    softirq_stack: StackKind::Irq,
    giant_frame: Cause::GuardHit,
    overflow_row: "no room for the registers",
    own_rows: &[("fault on the overflow stack", "overflow, further down")],
};
