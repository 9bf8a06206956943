//! What portable tests find on i386.

use crate::tests::arch::expected::Expected;
use kstack::kind::StackKind;
use kstack::verdict::Cause;

/// See [`Expected`].
pub(in crate::tests) const EXPECTED: Expected = Expected {
    stack_kib: 8,
    stack_align_kib: 8,
    saved_regs: 68,
    kept_below: 0,
    syscall_entries: 2,
    switch_frame: 24,
    cpu_stacks: &[
        StackKind::Softirq,
        StackKind::DoubleFault,
        StackKind::NmiBody,
        StackKind::Debug,
        StackKind::MachineCheck,
    ],
    softirq_stack: StackKind::Softirq,
    giant_frame: Cause::GuardHit,
    overflow_row: "double fault",
    own_rows: &[
        ("sysenter", "entry stack, then thread"),
        ("NMI from kernel", "current, then nmi-body"),
        ("NMI from user", "thread"),
        ("machine check", "current, then machine-check"),
    ],
};
