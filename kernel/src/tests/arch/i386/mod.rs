//! i386: tests of what only it has, and what portable tests need.

pub(in crate::tests) mod registers;
pub(in crate::tests) mod tss;
pub(in crate::tests) mod user_code;

use super::Expected;
use crate::tests::table;
use kstack_core::kind::StackKind;

/// See [`Expected`].
pub(in crate::tests) const EXPECTED: Expected = Expected {
    stack_kib: 8,
    stack_align_kib: 8,
    saved_regs: 68,
    kept_below: 0,
    switch_frame: 24,
    cpu_stacks: &[StackKind::Softirq, StackKind::DoubleFault, StackKind::NmiBody, StackKind::Debug],
    softirq_stack: StackKind::Softirq,
    overflow_row: "double fault",
    own_rows: &[
        ("sysenter", "entry stack, then thread"),
        ("NMI from kernel", "current, then nmi-body"),
        ("NMI from user", "thread"),
        ("machine check", "current"),
    ],
};

table! {
    HERE,
    shared: [
        tss::x1_the_loaded_task_state_segments_have_every_field_in_its_place,
        tss::x1_s1_the_stack_for_entries_from_user_mode_follows_the_running_thread,
        tss::x2_the_sysenter_register_is_written_only_when_the_cached_selector_changes,
        tss::x4_the_task_state_segment_has_a_page_between_guards_that_user_mode_cannot_reach,
        tss::x4_user_mode_that_reads_the_task_state_segment_faults,
    ],
    own: []
}
