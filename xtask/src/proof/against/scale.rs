//! How each figure grows, in both kernels: with the CPUs of the machine, with the threads that
//! sleep in it, and with how far down on a stack the work is.
//!
//! One CPU works and the other ones are idle: what a figure grows by is what their presence costs.
//! The counting mode has one time for all CPUs, so that what another one executes meanwhile is in
//! the figure, too.

use std::fmt::Write;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::boots::{Boot, Figures, Kernel, MEMORY, Ready, ready};
use crate::arch::Arch;
use crate::jobs::{self, Further, lock};
use crate::progress::Activity;
use crate::proof::baseline::WANTED;
use crate::proof::figures::optional;

/// What grows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Axis {
    /// The CPUs of the machine: 1, 2, 4, 8, 16
    Cpus,
    /// Kernel threads that sleep: 10 to 100,000
    Threads,
    /// What was dirtied of a stack from the cache, and the frames of a backtrace
    Depth,
}

impl Axis {
    fn steps(self) -> &'static [u32] {
        match self {
            Axis::Cpus => &[1, 2, 4, 8, 16],
            Axis::Threads => &[10, 100, 1_000, 10_000, 100_000],
            // One machine measures all.
            Axis::Depth => &[1],
        }
    }

    /// CPUs, memory and sleepers of the machine at a step.
    fn machine(self, step: u32) -> (u32, &'static str, u32) {
        match self {
            Axis::Cpus => (step, MEMORY, 0),
            Axis::Threads => (1, "4G", step),
            Axis::Depth => (1, MEMORY, 0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Axis::Cpus => "CPUs",
            Axis::Threads => "threads",
            Axis::Depth => "depth",
        }
    }

    /// The rows of its table.
    fn rows(self) -> Vec<&'static str> {
        let all = WANTED.iter().map(|wanted| wanted.name);
        match self {
            Axis::Cpus => all.collect(),
            Axis::Threads => all.chain(OF_SLEEPERS).collect(),
            Axis::Depth => OF_DEPTH.to_vec(),
        }
    }
}

/// What Linux says besides of threads that sleep: instructions of creating one, and bytes by its
/// own accounts.
const OF_SLEEPERS: [&str; 3] = ["create_one_of_them", "kernel_stack_of_each", "slab_of_each"];

/// What is measured from further and further down. Linux clears a stack whole.
const OF_DEPTH: [&str; 9] = [
    "stack_dirtied_1k",
    "stack_dirtied_2k",
    "stack_dirtied_4k",
    "stack_dirtied_8k",
    "stack_dirtied_16k",
    "backtrace_8",
    "backtrace_16",
    "backtrace_32",
    "backtrace_64",
];

/// One machine's figures, or why there are none.
type Column = (Kernel, u32, Result<Figures, String>);

/// Boots both kernels at each step of an axis, and gives tables.
pub(crate) fn grown(archs: &[Arch], axis: Axis, timeout: u64) -> Result<()> {
    let mut text = String::new();
    let mut without = Vec::new();
    for &arch in archs {
        let mut machines = Vec::new();
        for &step in axis.steps() {
            machines.push((step, ready(arch, axis.machine(step).2, None)?));
        }
        let columns = measured(&machines, axis, timeout);
        let failed = columns.iter().filter_map(|(kernel, step, figures)| {
            let why = figures.as_ref().err()?;
            Some(format!("{kernel:?} on {arch} with {step} {}: {why}", axis.name()))
        });
        without.extend(failed);
        text.push_str(&table(arch, axis, &columns));
    }
    print!("{text}");
    ensure!(without.is_empty(), "{}", without.join("\n"));
    Ok(())
}

fn measured(machines: &[(u32, Ready)], axis: Axis, timeout: u64) -> Vec<Column> {
    let mut boots = Vec::new();
    for (step, ready) in machines {
        let (cpus, memory, sleepers) = axis.machine(*step);
        for kernel in [Kernel::Ours, Kernel::Linux] {
            let name = format!("{}-{step}", axis.name());
            let depths = axis == Axis::Depth;
            let boot = Boot { ready, kernel, cpus, memory, sleepers, depths, name, timeout };
            boots.push((*step, boot));
        }
    }
    let total = boots.len();
    let activity = Activity::start(format!("Counting instructions in {total} machines"));
    let columns = Mutex::new(Vec::new());
    jobs::run(boots, jobs::workers(), |(step, boot)| {
        let figures = boot.run().map_err(|error| format!("{error:#}"));
        lock(&columns).push((boot.kernel, step, figures));
        activity.at(&format!("{} of {total}", lock(&columns).len()));
        Further::default()
    });
    activity.done();
    columns.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A row for each bench: this kernel's figures at each step, and Linux's.
fn table(arch: Arch, axis: Axis, columns: &[Column]) -> String {
    let mut text = format!("{:<26}", format!("{arch}, by {}", axis.name()));
    let both = || {
        [Kernel::Ours, Kernel::Linux]
            .into_iter()
            .flat_map(|kernel| axis.steps().iter().map(move |&step| (kernel, step)))
    };
    for (kernel, step) in both() {
        let head = match (kernel, axis) {
            (Kernel::Ours, Axis::Depth) => "kstack".to_owned(),
            (Kernel::Linux, Axis::Depth) => "Linux".to_owned(),
            (Kernel::Linux, _) if step == axis.steps()[0] => format!("Linux {step}"),
            _ => step.to_string(),
        };
        let _ = write!(text, " {head:>9}");
    }
    text.push('\n');
    for name in axis.rows() {
        let _ = write!(text, "{name:<26}");
        for wanted_column in both() {
            let column = columns.iter().find(|column| (column.0, column.1) == wanted_column);
            let figures = column.and_then(|column| column.2.as_ref().ok());
            let figure = figures
                .and_then(|figures| figures.iter().find(|figure| figure.0 == name))
                .map(|&(_, value)| value);
            let _ = write!(text, " {:>9}", optional(figure));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_for_each_step_of_each_kernel() {
        let figures = |value| Ok(vec![("switch_bare".to_owned(), value)]);
        let columns: Vec<Column> = vec![
            (Kernel::Linux, 16, figures(220.0)),
            (Kernel::Ours, 1, figures(46.0)),
            (Kernel::Linux, 8, Err("lost".to_owned())),
        ];
        let text = table(Arch::X86_64, Axis::Cpus, &columns);
        let line = text.lines().find(|line| line.starts_with("switch_bare")).expect("a row");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1..], ["46", "-", "-", "-", "-", "-", "-", "-", "-", "220"]);
        assert_eq!(Axis::Threads.machine(100_000), (1, "4G", 100_000));
        assert_eq!(Axis::Cpus.machine(16).0, 16);
    }
}
