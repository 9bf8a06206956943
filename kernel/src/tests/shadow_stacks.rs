//! Shadow stacks of programs, on processors that have them; on all others, how the kernel refuses.

use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use linux::run_captured;
use machine::arch::extras;
use machine::options;

/// The command line says whether the machine has them: otherwise a kernel that refuses them passes.
pub(super) fn program(name: &str, part: &str) -> Outcome {
    let there = extras::shadow_form().is_some();
    if let Some(said) = options::get("has-shadow-stacks") {
        check!((said == "1") == there, "has-shadow-stacks={said}, and programs have them: {there}");
    }
    let argv: [&[u8]; 2] = [name.as_bytes(), part.as_bytes()];
    let (status, output) =
        run_captured(&format!("/kstack/bin/{name}"), &argv).map_err(|error| format!("{error}"))?;
    check!(status == 0, "{part}: status {status}, {}", String::from_utf8_lossy(&output).trim_end());
    Ok(())
}

/// Two thousand calls deep and back; a return elsewhere is a SIGSEGV with its own code; a store, of
/// the program or of the kernel for it, is refused; what is locked stays. Red if a page of a shadow
/// stack is ordinary memory.
pub fn p7_only_calls_and_returns_write_a_shadow_stack_and_a_return_elsewhere_is_told() -> Outcome {
    program("shadow-stacks", "calls")
}

/// Handlers, nested too, come back to where the pointer was; a frame that names another place, or a
/// word that the program changed, ends in SIGSEGV, also where a used word of a handler was.
pub fn p7_a_handler_returns_by_the_kernels_word_and_by_no_other() -> Outcome {
    program("shadow-words", "signals")
}

/// Threads have one each, which goes with them; children return on a copy, or on what they borrow;
/// another program has none; processes without take turns with processes that have one.
pub fn p7_threads_children_and_new_programs_have_the_shadow_stack_of_linux() -> Outcome {
    program("shadow-stacks", "threads")
}

/// map_shadow_stack: its errors, its word, a switch there and back; a switch to where no word is is
/// a violation, and one to ordinary memory, which a fork made read-only, a fault.
pub fn p7_a_program_switches_to_a_shadow_stack_that_it_mapped() -> Outcome {
    program("shadow-stacks", "switches")
}

/// A page below each that nothing is placed in, whether it or what is below comes first; one that
/// is full ends in a SIGSEGV.
pub fn p7_a_page_below_a_shadow_stack_is_left_free_and_ends_what_overflows() -> Outcome {
    program("shadow-words", "gaps")
}
