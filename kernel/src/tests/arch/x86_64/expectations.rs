//! What portable tests find on x86_64.

use crate::tests::arch::expected::Expected;
use kstack::kind::StackKind;
use kstack::verdict::Cause;

/// See [`Expected`].
pub(in crate::tests) const EXPECTED: Expected = Expected {
    stack_kib: 16,
    stack_align_kib: 16,
    saved_regs: 168,
    kept_below: 0,
    syscall_entries: 1,
    switch_frame: 56,
    cpu_stacks: &[
        StackKind::DoubleFault,
        StackKind::Nmi,
        StackKind::NmiBody,
        StackKind::Debug,
        StackKind::MachineCheck,
    ],
    softirq_stack: StackKind::Irq,
    giant_frame: Cause::GuardHit,
    overflow_row: "double fault",
    own_rows: &[
        ("NMI from kernel", "nmi, then nmi-body"),
        ("NMI from user", "nmi, then thread"),
        ("machine check", "machine-check"),
    ],
};
