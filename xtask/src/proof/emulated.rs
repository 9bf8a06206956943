//! Tests inside the emulated machines: which boots, and what each one's control lines amount to.
//!
//! ```text
//!   for each machine
//!   mode=list ──> names ──┬─ boot=shared: one boot for all; if one takes the machine down, it has
//!                         │               failed, and the rest continues in a new boot
//!                         ├─ boot=own:    a boot each
//!                         └─ boot=counted: the same, with one CPU and time that counts instructions
//! ```
//!
//! The boots of all machines go through one list of [`jobs`]: as many at a time as there are CPUs
//! here. A death that was reported as announced is tried a second time on an architecture's first
//! machine: what it says must not depend on luck.
//!
//! Invariant: every test that was asked for gets exactly one verdict for each machine, whatever
//! that does. A machine that ends in a way that no test accounts for is a failure of its own.

mod judge;
mod verdict;

use std::fs;
use std::mem;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::arch::{Arch, Board, START_OF_TEXT};
use crate::boot::control::{self, Message};
use crate::boot::qemu::{self, Console, End, Finished};
use crate::jobs::{self, Further, lock};
use crate::progress::{self, Activity};
use judge::{Judged, Record, judge};
use verdict::Tests;
pub(crate) use verdict::Verdict;

/// Lines of the console shown with a failure.
const SHOWN_LINES: usize = 40;
/// The firmware of a PC gives the kernel at most 4096 bytes of command line; names get the larger
/// part.
const NAMES_BYTES: usize = 3500;
/// In a counted boot an instruction takes two to this power of nanoseconds: a few ticks of the
/// coarsest clock (riscv64's, 100 ns), so that the kernel can have its timer interrupt at each
/// instruction.
const COUNTED_SHIFT: u32 = 9;

/// A machine that tests run on.
pub(crate) struct Machine {
    /// The architecture.
    pub(crate) arch: Arch,
    /// The machine in the narrower sense.
    pub(crate) board: &'static Board,
    /// The kernel, in the form that the machine wants.
    pub(crate) kernel: PathBuf,
    /// The cpio archive.
    pub(crate) initramfs: PathBuf,
    /// How long a machine may be silent.
    pub(crate) timeout: Duration,
    /// Run all tests, whatever the board is there for.
    pub(crate) all: bool,
}

impl Machine {
    /// A test's name on this machine: as it is on the architecture's first one, with a mark on
    /// others.
    fn name_of(&self, test: &str) -> String {
        if self.is_first() { test.to_owned() } else { format!("{test} [{}]", self.board.name) }
    }

    /// What the names of its logs begin with.
    fn log(&self) -> String {
        if self.is_first() { "test".to_owned() } else { format!("test-{}", self.board.name) }
    }

    fn is_first(&self) -> bool {
        std::ptr::eq(self.board, self.arch.board())
    }

    /// Tells a verdict, with the end of a failed machine's log.
    fn tell(&self, activity: &Activity, verdict: &Verdict, log: &str) {
        activity.line(&match &verdict.failure {
            None => format!("ok      {:<8} {}", self.arch, verdict.name),
            Some(message) => {
                format!("FAILED  {:<8} {}\n    {message}\n{log}", self.arch, verdict.name)
                    .trim_end()
                    .to_owned()
            }
        });
    }
}

/// Something to be done with a machine.
struct Job {
    /// Which one.
    machine: usize,
    what: What,
}

enum What {
    /// Ask it for its tests.
    List,
    /// Boot it for some of them.
    Tests(Tests),
}

/// Runs all tests whose name contains the filter, on all machines; the verdicts are in the
/// machines' order.
pub(crate) fn run(machines: &[Machine], filter: Option<&str>) -> Vec<Vec<Verdict>> {
    let names: Vec<String> = machines.iter().map(|one| one.name_of(one.arch.name())).collect();
    let activity = Activity::start(format!("Emulated tests on {}", names.join(", ")));
    let verdicts: Vec<Mutex<Vec<Verdict>>> = machines.iter().map(|_| Mutex::default()).collect();
    let boots = AtomicU32::new(0);

    let jobs = (0..machines.len()).map(|machine| Job { machine, what: What::List }).collect();
    jobs::run(jobs, jobs::workers(), |Job { machine: index, what }| {
        let machine = &machines[index];
        let job = |tests| Job { machine: index, what: What::Tests(tests) };
        let failed = |names: Vec<String>, error: anyhow::Error| {
            for name in names {
                let verdict = Verdict::failed(machine.name_of(&name), format!("{error:#}"));
                machine.tell(&activity, &verdict, "");
                lock(&verdicts[index]).push(verdict);
            }
            Further::default()
        };
        match what {
            What::List => match list(machine).and_then(|tests| {
                let whole = filter.is_none() && (machine.all || machine.board.only.is_empty());
                divided(tests, filter, whole)
            }) {
                Ok((shared, own)) => Further {
                    first: shared.into_iter().map(job).collect(),
                    last: own.into_iter().map(job).collect(),
                },
                Err(error) => failed(vec!["kernel_lists_its_tests".to_owned()], error),
            },
            What::Tests(tests) => {
                let boot = boots.fetch_add(1, Ordering::Relaxed);
                match machine_of(machine, &tests, boot, &activity) {
                    Ok((judged, rest)) => {
                        lock(&verdicts[index]).extend(judged);
                        let first = chunks(rest).into_iter().map(job).collect();
                        Further { first, last: Vec::new() }
                    }
                    Err(error) => failed(tests.names, error),
                }
            }
        }
    });
    activity.done();
    let inner = |one: Mutex<_>| one.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    verdicts.into_iter().map(inner).collect()
}

/// The boots for the tests whose name contains the filter: the shared ones, and the others.
/// `whole`: these are all that the kernel has.
fn divided(
    tests: Vec<(String, control::Boot)>,
    filter: Option<&str>,
    whole: bool,
) -> Result<(Vec<Tests>, Vec<Tests>)> {
    ensure!(filter.is_some() || !tests.is_empty(), "the kernel has no tests: nothing is shown");
    let (shared, own): (Vec<_>, Vec<_>) = tests
        .into_iter()
        .filter(|(name, _)| {
            filter.is_none_or(|filter| filter.split(',').any(|part| name.contains(part)))
        })
        .partition(|(_, boot)| *boot == control::Boot::Shared);
    let shared: Vec<String> = shared.into_iter().map(|(name, _)| name).collect();
    let shared = if whole && !shared.is_empty() {
        vec![Tests { names: shared, all: true, counted: false }]
    } else {
        chunks(shared)
    };
    let own = own.into_iter().map(|(name, boot)| Tests {
        names: vec![name],
        all: false,
        counted: boot == control::Boot::Counted,
    });
    let own = own.collect();
    Ok((shared, own))
}

/// Splits tests so that the names of each part fit the kernel's command line.
fn chunks(tests: Vec<String>) -> Vec<Tests> {
    let mut jobs: Vec<Tests> = Vec::new();
    let mut size = 0;
    for name in tests {
        size += name.len() + 1;
        match jobs.last_mut() {
            Some(job) if size <= NAMES_BYTES => job.names.push(name),
            _ => {
                size = name.len() + 1;
                jobs.push(Tests { names: vec![name], all: false, counted: false });
            }
        }
    }
    jobs
}

/// Asks the kernel which tests it has.
fn list(machine: &Machine) -> Result<Vec<(String, control::Boot)>> {
    let mut tests = Vec::new();
    let mut ended = false;
    let mut wrong = None;
    let finished =
        boot(
            machine,
            "list",
            "mode=list".to_owned(),
            false,
            &mut |line| match control::parse(line) {
                Ok(None) => {}
                Ok(Some(Message::List { name, boot })) if !ended => tests.push((name, boot)),
                Ok(Some(Message::End)) if !ended => ended = true,
                Ok(Some(other)) => wrong = Some(format!("out of place: {other:?}")),
                Err(error) => wrong = Some(error.to_string()),
            },
        )?;
    if let Some(error) = wrong {
        bail!("listing the tests: {error}");
    }
    if !ended || finished.end != End::Orderly {
        bail!(
            "the kernel did not list its tests: {}\n{}",
            finished.end,
            finished.tail(SHOWN_LINES)
        );
    }
    // Without it, `cargo xtask run` would pass on nothing of what a program says, and nothing to
    // it.
    let begun = fs::read(&finished.console)?.contains(&START_OF_TEXT);
    ensure!(begun, "the kernel does not say on the console where its own words begin");
    let mut names: Vec<&String> = tests.iter().map(|(name, _)| name).collect();
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    ensure!(twice.is_none(), "two tests have the name {}", twice.map_or("", |pair| pair[0]));
    let only = machine.board.only;
    if !machine.all && !only.is_empty() {
        tests.retain(|(name, _)| only.iter().any(|beginning| name.starts_with(beginning)));
    }
    if machine.board.first_cpu.is_some() {
        // With one CPU no other could be first: the machine would be one that is tested already.
        tests.retain(|(_, boot)| *boot != control::Boot::Counted);
    }
    Ok(tests)
}

fn boot(
    machine: &Machine,
    name: &str,
    command_line: String,
    counted: bool,
    on_line: &mut dyn FnMut(&str),
) -> Result<Finished> {
    qemu::Boot {
        arch: machine.arch,
        board: machine.board,
        kernel: &machine.kernel,
        initramfs: &machine.initramfs,
        command_line,
        cpus: if counted { 1 } else { 4 },
        memory: "512M",
        counting: counted.then_some(COUNTED_SHIFT),
        console: Console::Log,
        terminal: None,
        name: format!("{}-{name}", machine.log()),
        timeout: Some(machine.timeout),
    }
    .run(on_line)
}

/// Runs one job; gives verdicts, and the tests that must be tried in another boot.
fn machine_of(
    machine: &Machine,
    job: &Tests,
    number: u32,
    activity: &Activity,
) -> Result<(Vec<Verdict>, Vec<String>)> {
    let names = if job.all { "all".to_owned() } else { job.names.join(",") };
    let log = match job.names.as_slice() {
        [one] if !job.all => one.clone(),
        _ => format!("shared-{number}"),
    };
    let once = || -> Result<(Judged, Finished)> {
        let mut record = Record::default();
        let mut since = Instant::now();
        let mut running: Option<String> = None;
        let finished =
            boot(machine, &log, format!("mode=test tests={names}"), job.counted, &mut |line| {
                record.hear(line);
                if record.running() != running.as_deref() {
                    let before = mem::replace(&mut running, record.running().map(str::to_owned));
                    if let Some(name) = before {
                        let name = machine.name_of(&name);
                        progress::took(since.elapsed(), || format!("{:<8} {name}", machine.arch));
                    }
                    since = Instant::now();
                }
                if let Some(name) = record.running() {
                    activity.at(&machine.name_of(name));
                }
            })?;
        Ok((judge(record, &finished.end, job), finished))
    };
    let (mut judged, mut finished) = once()?;
    if judged.died && machine.is_first() {
        (judged, finished) = once()?;
    }
    for verdict in &mut judged.verdicts {
        verdict.name = machine.name_of(&verdict.name);
        machine.tell(activity, verdict, &finished.tail(SHOWN_LINES));
    }
    Ok((judged.verdicts, judged.rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_to_fit_the_command_line_and_none_is_lost() {
        let names: Vec<String> = (0..200).map(|n| format!("t{n}_{}", "x".repeat(60))).collect();
        let jobs = chunks(names.clone());
        assert!(jobs.len() > 1);
        assert!(jobs.iter().all(|job| job.names.join(",").len() <= NAMES_BYTES && !job.all));
        assert_eq!(jobs.into_iter().flat_map(|job| job.names).collect::<Vec<_>>(), names);
        assert!(chunks(Vec::new()).is_empty());
    }
}
