//! Shadow stacks of programs, on processors that have them; on all others, how the kernel refuses.

use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use linux::run_captured;

fn program(part: &str) -> Outcome {
    let argv: [&[u8]; 2] = [b"shadow-stacks", part.as_bytes()];
    let (status, output) =
        run_captured("/kstack/bin/shadow-stacks", &argv).map_err(|error| format!("{error}"))?;
    check!(status == 0, "{part}: status {status}, {}", String::from_utf8_lossy(&output).trim_end());
    Ok(())
}

/// Two thousand calls deep and back; a return elsewhere is a SIGSEGV with its own code; a store, of
/// the program or of the kernel for it, is refused; what is locked stays. Red if a page of a shadow
/// stack is ordinary memory.
pub fn p7_only_calls_and_returns_write_a_shadow_stack_and_a_return_elsewhere_is_told() -> Outcome {
    program("calls")
}

/// Handlers, nested too, come back to where the pointer was; a frame that names another place ends
/// in SIGSEGV, also where a handler's word was that has been used.
pub fn p7_a_handler_returns_by_the_kernels_word_and_by_no_other() -> Outcome {
    program("signals")
}

/// Threads have one each, which goes with them; children return on a copy; another program has
/// none.
pub fn p7_threads_children_and_new_programs_have_the_shadow_stack_of_linux() -> Outcome {
    program("threads")
}

/// map_shadow_stack: its errors, its word, a switch there and back; a switch to where no word is is
/// a violation.
pub fn p7_a_program_switches_to_a_shadow_stack_that_it_mapped() -> Outcome {
    program("switches")
}
