//! arm64: tests of what only it has, and what portable tests need.

pub(in crate::tests) mod overflow_stack;
pub(in crate::tests) mod registers;
pub(in crate::tests) mod user_code;

use super::Expected;
use crate::tests::table;

/// See [`Expected`].
pub(in crate::tests) const EXPECTED: Expected =
    Expected { stack_kib: 16, stack_align_kib: 32, saved_regs: 288, switch_frame: 96 };

table! {
    HERE,
    shared: [
        overflow_stack::i9_every_cpu_has_an_overflow_stack_between_guards_and_sp_el1_at_its_top,
        overflow_stack::o1_o5_a_stack_pointer_that_leads_nowhere_ends_the_thread_or_stops_the_machine,
    ],
    own: []
}
