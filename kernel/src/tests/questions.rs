//! The console's questions, asked: an answer that contradicts what this machine does fails the test
//! of the same name. Every question has one.

use super::{Outcome, check};
use crate::console::ask;

/// Makes a test of each question, and the list of those that have one.
macro_rules! questions {
    ($($test:ident: $name:literal, $red:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(
            #[doc = $red]
            pub fn $test() -> Outcome {
                ask::check($name)
            }
        )*
    };
}

questions! {
    i2_i10_ask_whether_an_interrupt_from_user_mode_switches_twice:
        "irq-from-user", "Red if the entry moves to the IRQ stack, or marks it.";
    i1_i10_ask_how_the_irq_stack_is_found:
        "irq-stack", "Red if a CPU's block leads to another CPU's stack.";
    i3_i4_i5_ask_where_softirqs_run:
        "softirqs", "Red if a thread's softirq runs on the thread's stack.";
    b2_ask_what_a_backtrace_tells_of_an_interrupt:
        "backtrace", "Red if a seam is left out of a backtrace, or a boundary.";
    p8_i7_i2_o1_ask_where_entries_stand:
        "addresses", "Red if the overflow is handled where it happened.";
    i2_i6_ask_whose_irq_stack_a_device_uses_that_moves:
        "affinity", "Red if the interrupt is routed to one CPU always.";
    t14_ask_whether_the_task_structure_is_on_the_stack:
        "task-struct", "Red if one lies on a stack.";
    t4_ask_what_a_stack_costs:
        "cost", "Red if a stack from the cache costs as much as one that is mapped.";
    s1_s4_ask_what_happens_when_the_stack_is_switched:
        "switching", "Red if the switch saves nothing, or comes back elsewhere.";
    d3_d4_ask_why_a_device_gets_no_stack:
        "dma", "Red if the device finds every byte, or is lent the buffer.";
    h2_ask_how_well_places_of_calls_are_foreseen:
        "offset", "Red if an offset has less entropy than bits, or the option does nothing.";
    h3_t13_ask_what_a_call_finds_of_the_one_before:
        "erasing", "Red if a word stays, or the depth of what was erased is forgotten.";
    p1_ask_where_argc_argv_and_the_environment_are:
        "argv", "Red if a part lies elsewhere, or in another order.";
    p3_ask_who_makes_and_grows_a_programs_stack:
        "user-stack", "Red if the stack has its whole size from the beginning.";
    p3_ask_whether_a_stacks_pages_are_given_back:
        "user-pages", "Red if pages go when calls return.";
    p4_ask_how_maps_knows_the_stack:
        "maps", "Red if every area of the stack has the name.";
    p6_ask_on_which_stack_a_handler_runs:
        "signal-stack", "Red if a handler that did not ask runs on the alternate stack.";
    p5_ask_what_a_smashed_return_address_meets:
        "smash", "Red if the stack can be executed, or lies at the same place always.";
    p7_ask_whether_there_are_shadow_stacks:
        "shadow-stacks", "Red if the kernel offers what the CPU does not have.";
}

/// Red if a question is added without a test.
pub fn i10_every_question_of_the_console_has_a_test() -> Outcome {
    let untested = ask::names().find(|name| !TESTED.contains(name));
    check!(untested.is_none(), "{untested:?} has no test");
    check!(ask::names().count() == TESTED.len(), "{} tests", TESTED.len());
    Ok(())
}
