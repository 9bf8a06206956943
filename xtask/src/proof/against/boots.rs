//! One boot of either kernel, and the figures that it gives.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::boot::control::{self, Message};
use crate::boot::linux;
use crate::boot::qemu::{self, Console, End};
use crate::build::initramfs::{self, Prepared, Program};
use crate::build::module;
use crate::progress::Activity;
use crate::setup::{self, Linux};

/// The module and the first program of the machine with Linux.
const MODULE: &str = include_str!("module.c");
const RUNNER: &str = include_str!("runner.sh");
const RUNNER_S_PLACE: &str = "kstack/against/run";

/// Memory of the machines.
pub(super) const MEMORY: &str = "512M";
/// How long Linux may be silent where this kernel may be for a second: it says nothing while it
/// starts, and little while it measures.
const SLOWER: u32 = 4;
/// Lines of the console shown when a machine was lost.
const SHOWN_LINES: usize = 40;

/// A kernel that is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kernel {
    Ours,
    Linux,
}

/// What one architecture's machines are given.
pub(super) struct Ready {
    pub(super) arch: Arch,
    pub(super) linux: Linux,
    pub(super) prepared: Prepared,
}

/// A machine to be booted.
pub(super) struct Boot<'a> {
    pub(super) ready: &'a Ready,
    pub(super) kernel: Kernel,
    pub(super) cpus: u32,
    pub(super) memory: &'static str,
    /// Kernel threads that sleep meanwhile.
    pub(super) sleepers: u32,
    /// Whether this kernel measures from further down on stacks, too; Linux's module always does.
    pub(super) depths: bool,
    /// The end of its logs' names.
    pub(super) name: String,
    /// How many seconds it may be silent.
    pub(super) timeout: u64,
}

/// Fetches and builds what the machines of an architecture are given: Linux finds so many sleepers
/// to measure with, and perhaps a number of them to measure.
pub(super) fn ready(arch: Arch, sleepers: u32, threads: Option<u32>) -> Result<Ready> {
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

pub(super) type Figures = Vec<(String, f64)>;

impl Boot<'_> {
    /// The figures of one boot.
    pub(super) fn run(&self) -> Result<Figures> {
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
}
