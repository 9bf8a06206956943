//! Beside Linux: the same work in this kernel and in the distribution's, in the same emulator with
//! the same CPU model, counted in executed instructions.
//!
//! ```text
//!   module.c ──clang──> against.ko ──┐            ┌─ Linux ─ runner.sh: the module, program-bench ──┐
//!   user/src/bin/program-bench.rs ───┴─ one image ┤                                                ├─ figures of each boot
//!                                                 └─ this kernel ─ mode=bench, program-bench ──────┘        │
//!                             linux.tsv, the table and the chart  <── medians, lowest, highest  <───────────┘
//! ```
//!
//! What programs do is measured by the same program in both. What a kernel does within is measured
//! here by `kernel/src/bench`, and there by a module of ours, which calls the kernel's own code.
//!
//! Invariant: a figure stands in a table only if every boot gave it once.

mod chart;
mod measured;
mod page;
mod scale;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::boot::control::{self, Message};
use crate::boot::linux;
use crate::boot::qemu::{self, Console, End};
use crate::build::initramfs::{self, Prepared, Program};
use crate::build::module;
use crate::jobs::{self, Further, lock};
use crate::progress::Activity;
use crate::proof::baseline::WANTED;
use crate::setup::{self, Linux};
pub(crate) use measured::{Machine, Measured, Spread};
#[cfg(test)]
pub(crate) use page::FIGURES_OF_BOTH;
pub(crate) use page::{table, write as write_page};
pub(crate) use scale::{Axis, grown};

/// The architectures that both kernels are measured on.
pub(crate) const ARCHS: [Arch; 2] = [Arch::X86_64, Arch::Arm64];

/// The module and the first program of the machine with Linux.
const MODULE: &str = include_str!("module.c");
const RUNNER: &str = include_str!("runner.sh");
const RUNNER_S_PLACE: &str = "kstack/against/run";

/// Memory of the machines.
const MEMORY: &str = "512M";
/// How many kernel threads sleep in Linux while their memory is counted.
const SLEEPERS: u32 = 10_000;
/// How long Linux may be silent where this kernel may be for a second: it says nothing while it
/// starts, and little while it measures.
const SLOWER: u32 = 4;
/// Lines of the console shown when a machine was lost.
const SHOWN_LINES: usize = 40;

/// A kernel that is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kernel {
    Ours,
    Linux,
}

/// What one architecture's machines are given.
struct Ready {
    arch: Arch,
    linux: Linux,
    prepared: Prepared,
}

/// A machine to be booted.
struct Boot<'a> {
    ready: &'a Ready,
    kernel: Kernel,
    cpus: u32,
    memory: &'static str,
    /// Kernel threads that sleep meanwhile.
    sleepers: u32,
    /// Whether this kernel measures from further down on stacks, too; Linux's module always does.
    depths: bool,
    /// The end of its logs' names.
    name: String,
    /// How many seconds it may be silent.
    timeout: u64,
}

/// What a run has measured.
pub(crate) struct Both {
    /// This kernel's figures.
    ours: BTreeMap<(&'static str, String), Spread>,
    /// What is known of Linux, this run's included.
    pub(crate) linux: Measured,
    /// The architectures that were measured.
    pub(crate) archs: Vec<Arch>,
}

impl Both {
    /// What this kernel took.
    pub(crate) fn ours(&self, arch: Arch, name: &str) -> Option<Spread> {
        self.ours.get(&(arch.name(), name.to_owned())).copied()
    }

    /// How many times as much Linux takes.
    pub(crate) fn ratio(&self, arch: Arch, name: &str) -> Option<f64> {
        ratio(self.ours(arch, name)?.median, self.linux.median(arch, name)?)
    }
}

/// How many times as much the second is.
fn ratio(ours: f64, linux: f64) -> Option<f64> {
    (ours > 0.0).then(|| linux / ours)
}

/// A ratio in as many digits as say something.
fn times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0}×"),
        1.0.. => format!("{ratio:.1}×"),
        _ => format!("{ratio:.2}×"),
    }
}

/// Fetches, builds and boots everything, so many times.
pub(crate) fn measure(archs: &[Arch], repeats: usize, timeout: u64) -> Result<Both> {
    let machines = archs.iter().map(|&arch| ready(arch, 0, Some(SLEEPERS)));
    let machines: Vec<Ready> = machines.collect::<Result<_>>()?;
    let mut boots = Vec::new();
    for repeat in 0..repeats {
        for machine in &machines {
            boots.extend([Kernel::Linux, Kernel::Ours].map(|kernel| Boot {
                ready: machine,
                kernel,
                cpus: 1,
                memory: MEMORY,
                sleepers: 0,
                depths: false,
                name: format!("against-{repeat}"),
                timeout,
            }));
        }
    }
    let total = boots.len();
    let activity = Activity::start(format!("Counting instructions in {total} boots"));
    let (done, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    jobs::run(boots, jobs::workers(), |boot| {
        let (kernel, arch) = (boot.kernel, boot.ready.arch);
        match boot.run().and_then(|figures| complete(figures, kernel)) {
            Ok(figures) => lock(&done).push((kernel, arch, figures)),
            Err(error) => lock(&failures).push(format!("{kernel:?} on {arch}: {error:#}")),
        }
        activity.at(&format!("{} of {total}", lock(&done).len()));
        Further::default()
    });
    activity.done();
    let failures = lock(&failures);
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    let mut values: BTreeMap<(Kernel, &str, String), Vec<f64>> = BTreeMap::new();
    for (kernel, arch, figures) in lock(&done).drain(..) {
        for (name, value) in figures {
            values.entry((kernel, arch.name(), name)).or_default().push(value);
        }
    }
    let mut spread = |kernel, arch: Arch, name: &str| -> Result<Spread> {
        let values = values.remove(&(kernel, arch.name(), name.to_owned())).unwrap_or_default();
        Spread::of(values).with_context(|| format!("no boot gave {name}"))
    };
    let mut both = Both { ours: BTreeMap::new(), linux: Measured::read()?, archs: archs.to_vec() };
    for ready in &machines {
        let arch = &ready.arch;
        let mut of_linux = Vec::new();
        for name in WANTED.iter().map(|wanted| wanted.name) {
            both.ours.insert((arch.name(), name.to_owned()), spread(Kernel::Ours, *arch, name)?);
            of_linux.push((name.to_owned(), spread(Kernel::Linux, *arch, name)?));
        }
        both.linux.replace(machine(ready, repeats)?, of_linux);
    }
    Ok(both)
}

/// What is told of the machine that Linux was measured in.
fn machine(ready: &Ready, boots: usize) -> Result<Machine> {
    let Ready { arch, linux, prepared } = ready;
    let arch = *arch;
    let emulator = setup::emulator(arch)?;
    let arguments = qemu::machine(arch.board(), &emulator, &prepared.image, Some(0))?;
    let at = arguments.iter().position(|argument| argument == "-cpu");
    let model = at.and_then(|at| arguments.get(at + 1)).context("a machine has a CPU model")?;
    Ok(Machine {
        arch,
        release: linux.release.clone(),
        emulator: format!("QEMU {}", setup::qemu_release(&emulator)?),
        model: model.clone(),
        boots,
    })
}

/// Fetches and builds what the machines of an architecture are given: Linux finds so many sleepers
/// to measure with, and perhaps a number of them to measure.
fn ready(arch: Arch, sleepers: u32, threads: Option<u32>) -> Result<Ready> {
    let ready = setup::ensure(arch)?;
    let linux = setup::linux(arch)?;
    let tools = setup::module_tools(&linux)?;
    let activity = Activity::start(format!("Building a module for Linux {}", linux.release));
    let module = fs::read(module::build(arch, &tools, "against", MODULE)?)?;
    activity.done();
    let threads = threads.map_or_else(String::new, |threads| format!("{threads}\n"));
    let program = Program::of_files(vec![
        (RUNNER_S_PLACE.to_owned(), true, RUNNER.as_bytes().to_vec()),
        ("kstack/against/against.ko".to_owned(), false, module),
        ("kstack/against/sleepers".to_owned(), false, format!("{sleepers}\n").into_bytes()),
        ("kstack/against/threads".to_owned(), false, threads.into_bytes()),
    ]);
    let name = format!("against-{sleepers}");
    let prepared = initramfs::prepare(arch, arch.board(), &ready, Some(&program), None, &name)?;
    Ok(Ready { arch, linux, prepared })
}

type Figures = Vec<(String, f64)>;

impl Boot<'_> {
    /// The figures of one boot.
    fn run(&self) -> Result<Figures> {
        match self.kernel {
            Kernel::Ours => self.in_ours(),
            Kernel::Linux => self.in_linux(),
        }
    }

    fn in_ours(&self) -> Result<Figures> {
        let Ready { arch, prepared, .. } = self.ready;
        let (mut figures, mut wrong) = (Vec::new(), None);
        let finished = qemu::Boot {
            arch: *arch,
            board: arch.board(),
            kernel: &prepared.kernel,
            initramfs: &prepared.image,
            command_line: format!(
                "mode=bench sleepers={}{}",
                self.sleepers,
                if self.depths { " depths" } else { "" }
            ),
            cpus: self.cpus,
            memory: self.memory,
            counting: Some(0),
            console: Console::Log,
            terminal: None,
            name: self.name.clone(),
            timeout: Some(Duration::from_secs(self.timeout)),
        }
        .run(&mut |line| match control::parse(line) {
            Ok(Some(Message::Bench { name, value, .. })) => figures.push((name, value)),
            Ok(None | Some(Message::End)) => {}
            Ok(Some(other)) => wrong = Some(format!("out of place: {other:?}")),
            Err(error) => wrong = Some(error.to_string()),
        })?;
        if let Some(error) = wrong {
            bail!("measuring: {error}");
        }
        ensure!(
            finished.end == End::Orderly,
            "the benches did not end: {}\n{}",
            finished.end,
            finished.tail(SHOWN_LINES)
        );
        Ok(figures)
    }

    fn in_linux(&self) -> Result<Figures> {
        let Ready { arch, linux, prepared } = self.ready;
        let (mut figures, mut wrong, mut release) = (Vec::new(), Vec::new(), None);
        let mut ended = false;
        let finished = linux::Boot {
            linux,
            image: &prepared.image,
            first: &format!("/{RUNNER_S_PLACE}"),
            cpus: self.cpus,
            memory: self.memory,
            counting: Some(0),
            name: format!("{arch}-linux-{}", self.name),
            timeout: Duration::from_secs(self.timeout) * SLOWER,
        }
        .run(&mut |line| match said(line) {
            Ok(Said::Release(booted)) => release = Some(booted),
            Ok(Said::Figure(name, value)) => figures.push((name, value)),
            Ok(Said::Failed(what)) => wrong.push(what),
            Ok(Said::End) => ended = true,
            Ok(Said::Other) => {}
            Err(error) => wrong.push(error.to_string()),
        })?;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        ensure!(
            ended,
            "the measuring did not end: {}\n{}",
            finished.end,
            finished.tail(SHOWN_LINES)
        );
        ensure!(
            release.as_deref() == Some(linux.release.as_str()),
            "it is Linux {}, and not {}",
            release.unwrap_or_default(),
            linux.release
        );
        Ok(figures)
    }
}

/// What the runner says in a line of the console.
#[derive(Debug, PartialEq)]
enum Said {
    Release(String),
    Figure(String, f64),
    Failed(String),
    End,
    Other,
}

/// Reads a line. The kernel may have written one of its own before it, without an end.
fn said(line: &str) -> Result<Said> {
    let Some((_, message)) = line.split_once('@') else { return Ok(Said::Other) };
    Ok(match message.split_once(' ').unwrap_or((message, "")) {
        ("kernel", release) => Said::Release(release.to_owned()),
        ("figure", figure) => {
            let (name, value) =
                figure.split_once(' ').with_context(|| format!("no figure: {line:?}"))?;
            let value = value.parse().with_context(|| format!("no number: {line:?}"))?;
            Said::Figure(name.to_owned(), value)
        }
        ("failed", what) => Said::Failed(what.to_owned()),
        ("end", "") => Said::End,
        _ => Said::Other,
    })
}

/// The figures, if each that is wanted is there once.
fn complete(figures: Figures, kernel: Kernel) -> Result<Figures> {
    let wanted = WANTED.iter().map(|wanted| wanted.name);
    let missing: Vec<&str> = wanted
        .filter(|&name| figures.iter().filter(|figure| figure.0 == name).count() != 1)
        .collect();
    ensure!(missing.is_empty(), "{kernel:?} gave not one figure for {}", missing.join(", "));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_s_lines_are_told_from_the_kernel_s() {
        let of = |line| said(line).unwrap();
        assert_eq!(of("@kernel 6.12-x"), Said::Release("6.12-x".to_owned()));
        assert_eq!(of("@figure switch_bare 218"), Said::Figure("switch_bare".to_owned(), 218.0));
        assert_eq!(of("[    1.5] late@end"), Said::End);
        assert_eq!(of("@failed no symbol x"), Said::Failed("no symbol x".to_owned()));
        assert_eq!(of("Linux version 6.12"), Said::Other);
        assert!(said("@figure switch_bare many").is_err());
        assert!(said("@figure switch_bare").is_err());
    }

    #[test]
    fn a_boot_counts_only_if_it_gave_every_figure_once() {
        let mut figures: Figures =
            WANTED.iter().map(|wanted| (wanted.name.to_owned(), 1.0)).collect();
        assert!(complete(figures.clone(), Kernel::Linux).is_ok());
        figures.push(("page_fault".to_owned(), 2.0));
        figures.retain(|figure| figure.0 != "switch_bare");
        let error = complete(figures, Kernel::Linux).unwrap_err().to_string();
        assert!(error.contains("switch_bare, page_fault"), "{error}");
    }

    #[test]
    fn a_ratio_says_how_many_times_as_much_linux_takes() {
        assert_eq!(ratio(50.0, 200.0), Some(4.0));
        assert_eq!(ratio(0.0, 200.0), None);
    }
}
