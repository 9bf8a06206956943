//! How deep the handler of overflows goes, beside what the analysis of the image says.

use super::reports::handlers_stack;
use super::{Outcome, check, frames};
use crate::provoke::{self, How};
use kstack::kind::StackKind;
use threads::stacks::depths;

/// The bound of the image's analysis for a stack of this kind: the stack's bytes, how deep the
/// handler goes if nothing fails, and how much deeper if it fails.
fn bound_of(kind: StackKind) -> Result<[usize; 3], alloc::string::String> {
    let mut bound = [0; 3];
    for line in frames::checked()? {
        let Some(line) = line.strip_prefix("stack ") else { continue };
        let (numbers, name) = frames::numbers::<3>(line).ok_or("no numbers")?;
        if name == kind.name() {
            bound = core::array::from_fn(|at| bound[at].max(numbers[at]));
        }
    }
    check!(bound[0] > 0, "the analysis knows no {kind} stack");
    Ok(bound)
}

/// After thread overflows of both sorts, and their reports: how far the stack was used on which
/// overflows are handled. Red if it was used further than the analysis of the image says is
/// possible, if that is more than there is, or if the stack is not the one that was analysed.
pub fn o4_n10_the_handler_of_overflows_stays_within_its_bound() -> Outcome {
    for how in [How::Recursion, How::GiantFrame] {
        provoke::in_thread(how);
    }
    let kind = handlers_stack();
    let [analysed, handler, failure] = bound_of(kind)?;
    check!(handler + failure < analysed, "{handler} and {failure} of {analysed} bytes");
    let mut deepest = 0;
    for (stack, left) in depths::of_cpus().filter(|(stack, _)| stack.kind == kind) {
        let size = stack.range.size().get();
        check!(size == analysed, "{stack}: {size} bytes, {analysed} were analysed");
        deepest = deepest.max(size - left.get());
    }
    log!("  {kind}: {deepest} bytes used, {handler} at most by the analysis, of {analysed}");
    check!(deepest > 512, "no stack of that kind was used: {deepest} bytes");
    check!(deepest <= handler, "{deepest} bytes were used, {handler} at most by the analysis");
    Ok(())
}
