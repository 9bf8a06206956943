//! An answer as it is given: lines for people, and the same as records on the control channel, from
//! which `cargo xtask tour` draws a picture.
//!
//! ```text
//!   stack   0xffffc90000013000 to 0xffffc90000017000   16 K  thread stack of thread 12
//!    1  0xffffc90000016f10  thread stack of thread 12, 0xf0 below its top: the handler's SP
//! ```
//!
//! Invariant: whatever an experiment expects goes through [`Answer::must`]; what did not hold is
//! printed and kept, so that the answer cannot pass as right.

use crate::console::println;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};
use kstack::stacks::StackId;
use machine::cpus;
use threads::report::overflow::Escaped;
use threads::sched;

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// To people.
    Console,
    /// To people, and to the host that draws.
    Tour,
    /// To nowhere: a test looks at what did not hold.
    Nowhere,
}

/// Memory with a name, in which places lie.
struct Lane {
    name: String,
    lowest: usize,
    top: usize,
}

/// An answer that is being given.
pub(super) struct Answer {
    to: To,
    lanes: Vec<Lane>,
    steps: usize,
    wrong: Vec<String>,
}

impl Answer {
    pub(super) const fn new(to: To) -> Self {
        Self { to, lanes: Vec::new(), steps: 0, wrong: Vec::new() }
    }

    /// The end; what did not hold.
    pub(super) fn end(self) -> Vec<String> {
        self.record("done", &[("wrong", &self.wrong.len())]);
        self.wrong
    }

    fn line(&self, text: &str) {
        if self.to != To::Nowhere {
            println!("{text}");
        }
        self.record("line", &[("text", &text)]);
    }

    /// A record for the host.
    pub(super) fn record(&self, what: &str, fields: &[(&str, &dyn Display)]) {
        if self.to != To::Tour {
            return;
        }
        let mut text = String::new();
        for (key, value) in fields {
            text += &format!(" {key}={}", Escaped(&value.to_string()));
        }
        control!("ask {what}{text}");
    }

    /// A sentence.
    pub(super) fn say(&mut self, text: impl Display) {
        for line in text.to_string().lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// Memory in which places lie: a stack, a page.
    pub(super) fn memory(&mut self, name: &str, lowest: usize, top: usize) {
        if self.lanes.iter().any(|lane| lane.lowest == lowest && lane.top == top) {
            return;
        }
        self.line(&format!("  memory  {lowest:#x} to {top:#x}, {}: {name}", Size(top - lowest)));
        self.record("memory", &[("lowest", &lowest), ("top", &top), ("name", &name)]);
        self.lanes.push(Lane { name: name.into(), lowest, top });
    }

    /// A part of memory that was named before, once more, so large that its places can be told
    /// apart.
    pub(super) fn enlarged(&mut self, name: &str, lowest: usize, top: usize) {
        self.record("part", &[("lowest", &lowest), ("top", &top), ("name", &name)]);
    }

    /// A stack of the kernel, by what it is for and whose it is.
    pub(super) fn stack(&mut self, stack: &StackId) {
        let name = name_of(stack);
        self.memory(&name, stack.range.lowest.get(), stack.range.top.get());
    }

    /// The place of an address, in words.
    fn place(&self, at: usize) -> String {
        // An empty stack has SP at its top, where another's memory may begin.
        let inside = self.lanes.iter().find(|lane| (lane.lowest..lane.top).contains(&at));
        match inside.or_else(|| self.lanes.iter().find(|lane| lane.top == at)) {
            Some(lane) => format!("{}, {:#x} below its top", lane.name, lane.top - at),
            None => "elsewhere".into(),
        }
    }

    /// The next place in order: pictures have an arrow to it from the one before.
    pub(super) fn step(&mut self, at: usize, what: &str) {
        self.steps += 1;
        self.line(&format!("  {:>2}  {at:#x}  {}: {what}", self.steps, self.place(at)));
        self.record("step", &[("at", &at), ("text", &what)]);
    }

    /// A place without an order.
    pub(super) fn mark(&mut self, at: usize, what: &str) {
        self.line(&format!("   -  {at:#x}  {}: {what}", self.place(at)));
        self.record("mark", &[("at", &at), ("text", &what)]);
    }

    /// A figure, drawn as a bar.
    pub(super) fn bar(&mut self, name: &str, value: u64, unit: &str) {
        self.line(&format!("  {name}: {value} {unit}"));
        self.record("bar", &[("name", &name), ("value", &value), ("unit", &unit)]);
    }

    /// Something that was read, with what it was.
    pub(super) fn fact(&mut self, name: &str, value: impl Display) {
        self.line(&format!("  {name}: {value}"));
        self.record("fact", &[("name", &name), ("value", &value)]);
    }

    /// What the answer rests on. Otherwise it is wrong.
    pub(super) fn must(&mut self, holds: bool, what: impl Display) {
        if !holds {
            self.line(&format!("  NOT AS EXPECTED: {what}"));
            self.wrong.push(what.to_string());
        }
    }

    /// The answer in a sentence, made of what was observed.
    pub(super) fn answer(&mut self, text: impl Display) {
        let mut text = text.to_string();
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        self.line(&format!("  => {text}"));
        self.record("answer", &[("text", &text)]);
    }
}

/// What a stack is for and whose it is.
pub(super) fn name_of(stack: &StackId) -> String {
    match stack.cpu.filter(|_| stack.kind.belongs_to_cpu()) {
        Some(cpu) => format!("{} stack of CPU {cpu}", stack.kind),
        None => format!("{} stack of thread {}", stack.kind, stack.owner),
    }
}

/// The running thread's stack.
pub(super) fn own_stack() -> Result<StackId, String> {
    crate::tests::support::stack_at(machine::arch::cpu::stack_pointer())
        .filter(|stack| stack.range == sched::current().stack_range())
        .ok_or_else(|| "this thread is not on its stack".into())
}

/// The IRQ stack of the CPU whose block has this top.
pub(super) fn irq_stack_with(top: usize) -> Result<StackId, String> {
    let cpu = cpus::online().find(|cpu| cpu.local.irq_top().get() == top);
    crate::tests::support::stack_of_cpu(
        kstack::kind::StackKind::Irq,
        cpu.ok_or("no CPU has this IRQ stack")?,
    )
}

/// Bytes, for people.
struct Size(usize);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 20) == 0 => write!(f, "{} M", bytes >> 20),
            bytes if bytes % 1024 == 0 => write!(f, "{} K", bytes / 1024),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}
