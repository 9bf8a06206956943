//! How deep the handler of overflows goes, read from the image: it must not overflow its own stack.
//!
//! ```text
//!   the stack on which overflows are handled, from its top down
//!   | saved registers                      |
//!   | frames of the handler, the deepest   |  `handler`: the verdict, the backtrace, the whole text
//!   |   way that its calls can take        |
//!   | what a failure in there adds         |  `failure`: the registers again, and the shorter text
//!   | the rest                             |
//! ```
//!
//! Every function that can be called is followed, with its frame at each call. Calls through
//! pointers lead where [`listed`] says, and nowhere else. A way that leads back to itself is an
//! error: it has no bound. A panic ends a way, as an exception may at any instruction; both lead to
//! the report that is being told, which is told again in less words, a bounded number of times
//! (`threads::report::overflow::stop`). What does not fit then overflows that stack, into its
//! guard, and is counted and reported as such.

mod graph;
mod image;
mod listed;
mod step;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use graph::{Graph, Way};
use image::Image;

use super::unwinding::saved_bytes;

/// How deep one way onto a stack can lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The entry.
    pub(crate) entry: String,
    /// The stack.
    pub(crate) stack: String,
    /// Its bytes.
    pub(crate) size: u64,
    /// Bytes from its top to the deepest place, if nothing fails.
    pub(crate) handler: u64,
    /// Bytes that a failure adds, at most.
    pub(crate) failure: u64,
    /// The deepest way: functions, and how far down each begins.
    pub(crate) way: Vec<(u64, String)>,
}

impl Bound {
    /// Bytes that are left with one failure.
    fn left(&self) -> Option<u64> {
        self.size.checked_sub(self.handler + self.failure)
    }

    /// Whether it fits, with room to spare.
    fn hold(&self) -> Result<()> {
        let Self { entry, stack, size, handler, failure, .. } = self;
        let wanted = size / MARGIN;
        ensure!(
            self.left().is_some_and(|left| left >= wanted),
            "{entry} goes {handler} bytes deep on its stack ({stack}), and {failure} more if that fails: of {size} bytes \
             less than {wanted} are left\n{self}"
        );
        Ok(())
    }
}

/// What must be left of a stack is one part of so many.
const MARGIN: u64 = 16;

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, stack, size, handler, failure, way } = self;
        writeln!(
            f,
            "{entry}, {stack} stack of {size} bytes: {handler} at most, {failure} more for a failure"
        )?;
        way.iter().try_for_each(|(at, function)| writeln!(f, "  {at:>6}  {function}"))
    }
}

/// The bounds of a kernel's ELF image; an error if one cannot be known or does not fit.
pub(crate) fn check(kernel: &Path) -> Result<Vec<Bound>> {
    let bounds = bounds(kernel)?;
    bounds.iter().try_for_each(Bound::hold)?;
    Ok(bounds)
}

/// The bounds, whether they fit or not.
pub(crate) fn bounds(kernel: &Path) -> Result<Vec<Bound>> {
    let image = Image::read(kernel)?;
    let listed = listed::listed(image.architecture).context("a kernel for an unknown machine")?;
    let saved = saved_bytes(image.architecture)?;
    let mut graph = Graph::new(&image);
    let mut failure = 0;
    for way in listed.failures {
        let bytes = chain(&mut graph, &image, way.chain)
            .with_context(|| format!("what {} in the handler leads to", way.what))?;
        failure = failure.max(bytes + if way.saves { saved } else { 0 });
    }
    let mut bounds = Vec::new();
    for entry in listed.entries {
        let handler = image.named(entry.handler)?;
        let mut callers = image.all_named(entry.entry);
        let calls = callers.any(|caller| calls(&image, caller, handler));
        ensure!(calls, "{} does not call {}", entry.entry, entry.handler);
        let (bytes, way) = graph.deepest(handler)?;
        bounds.push(Bound {
            entry: entry.entry.to_owned(),
            stack: entry.stack.to_owned(),
            size: listed::stack_bytes(image.architecture, entry.stack)?,
            handler: saved + bytes,
            failure,
            way: named(&image, &way, saved),
        });
    }
    graph.hold()?;
    Ok(bounds)
}

fn named(image: &Image, way: &Way, saved: u64) -> Vec<(u64, String)> {
    way.iter().map(|&(at, f)| (saved + at, image.functions[f].name.clone())).collect()
}

/// Whether an entry's code has a call of its handler.
fn calls(image: &Image, entry: usize, handler: usize) -> bool {
    let at = image.functions[handler].at;
    image.functions[entry].steps.iter().any(|step| image::is_direct(step.next) == Some(at))
}

/// How deep it goes through functions that call each other, and from the last one on. One that the
/// compiler has put into its caller is passed over.
fn chain(graph: &mut Graph<'_>, image: &Image, names: &[&str]) -> Result<u64> {
    let mut bytes = 0;
    let mut at: Option<usize> = None;
    for name in names {
        let Some(function) = image.all_named(name).next() else { continue };
        if let Some(caller) = at {
            let Some(below) = graph.call_of(caller, function)? else { continue };
            bytes += below;
        }
        at = Some(function);
    }
    let last = at.with_context(|| format!("none of {} is there", names.join(", ")))?;
    let (from, to) = (&image.functions[last].name, names.last().unwrap_or(&""));
    ensure!(from == to, "{from} does not call {to}");
    Ok(bytes + graph.deepest(last)?.0)
}

#[cfg(test)]
mod tests;
