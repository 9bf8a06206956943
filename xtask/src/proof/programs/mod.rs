//! Programs that were not written here, as the distribution has them: each must do in this kernel
//! what it does in Linux.
//!
//! ```text
//!   list.txt ──> packages ──> one image ──┬─ this kernel ──> console ──┐
//!      ↑         scripts                  └─ Linux ────────> console ──┼─> an answer for each program
//!      └────────────── --record ──────────────────────────────────────┘    (status, output)
//! ```
//!
//! One machine runs all of them ([`RUNNER`] is its first program). If it is lost, the program that
//! ran then has failed, and the rest continues in a new one.
//!
//! Invariant: every program that was asked for has one answer or one reason why it has none.

mod console;
pub(crate) mod corpus;
mod list;
mod outcome;
mod page;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::boot::linux;
use crate::boot::qemu::{Boot, Console, Finished};
use crate::build::initramfs::{self, Program};
use crate::jobs::{self, Further, lock};
use crate::progress::{self, Activity};
use crate::proof::emulated::Verdict;
use crate::setup::{self, Ready, System};
use crate::workspace;
use console::Heard;
pub(crate) use list::{Answer, Entry};
pub(crate) use outcome::Outcome;
pub(crate) use page::write as write_page;

/// Where the list is.
const LIST: &str = "xtask/src/proof/programs/list.txt";
/// Where the sources of programs that this machine builds are.
const SOURCES: &str = "xtask/src/proof/programs";
/// The first program of the machine.
const RUNNER: &str = include_str!("runner.sh");
/// Memory of the machine, and its CPUs.
const MEMORY: &str = "1G";
const CPUS: u32 = 2;
/// Packages that others name, for graphics that no machine here has: most of what they would bring.
const LEFT_OUT: [&str; 5] = ["libllvm", "libz3-", "mesa-", "libx11-data", "libicu"];
/// How long a machine may take to start.
const START: Duration = Duration::from_secs(120);
/// How many times a program's time is given where the emulator takes longer than on x86_64.
const SLOW: u64 = 3;
/// Lines of the log shown when a machine was lost.
const SHOWN_LINES: usize = 20;

/// A kernel that programs run in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kernel {
    /// This one.
    Ours,
    /// The distribution's.
    Linux,
}

/// The list as it is now.
pub(crate) fn list() -> Result<Vec<Entry>> {
    let path = workspace::root().join(LIST);
    list::parse(&fs::read_to_string(&path).with_context(|| format!("cannot read {LIST}"))?)
}

/// The programs of the list for an architecture whose name contains the filter, or one of its
/// parts. One that this machine would have to build for another is not among them.
pub(crate) fn chosen(list: &[Entry], arch: Arch, filter: Option<&str>) -> Vec<Entry> {
    let fits = |entry: &&Entry| {
        entry.archs.contains(&arch)
            && (entry.host_rust.is_none() || std::env::consts::ARCH == arch.name())
            && filter.is_none_or(|filter| filter.split(',').any(|part| entry.name.contains(part)))
    };
    list.iter().filter(fits).cloned().collect()
}

/// Writes what Linux has answered into the list.
pub(crate) fn record(mut list: Vec<Entry>, results: &[(Arch, Vec<Outcome>)]) -> Result<()> {
    for outcome in results.iter().flat_map(|(_, outcomes)| outcomes) {
        if let Ok(answer) = &outcome.answer
            && let Some(entry) = list.iter_mut().find(|entry| entry.name == outcome.entry.name)
        {
            entry.linux = Some(answer.clone());
        }
    }
    fs::write(workspace::root().join(LIST), list::text(&list)?)
        .with_context(|| format!("cannot write {LIST}"))
}

/// The programs as tests of all architectures, in one machine each, side by side.
pub(crate) fn test(archs: &[(Arch, &Ready)], filter: Option<&str>) -> Vec<(Arch, Verdict)> {
    let verdicts = Mutex::new(Vec::new());
    let entries = match list() {
        Ok(entries) => entries,
        Err(error) => {
            println!("FAILED  the list of programs: {error:#}");
            let verdict = Verdict::failed("programs_are_listed", format!("{error:#}"));
            return archs.iter().map(|&(arch, _)| (arch, verdict.clone())).collect();
        }
    };
    let jobs = archs
        .iter()
        .map(|&(arch, ready)| (arch, ready, chosen(&entries, arch, filter)))
        .filter(|(.., entries)| !entries.is_empty())
        .collect();
    jobs::run(jobs, jobs::workers(), |(arch, ready, entries)| {
        for outcome in run(arch, Kernel::Ours, Some(ready), entries) {
            let failure = outcome.failure();
            lock(&verdicts).push((arch, Verdict { name: outcome.entry.name, failure }));
        }
        Further::default()
    });
    verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs programs in a kernel, and tells each as it ends.
pub(crate) fn run(
    arch: Arch,
    kernel: Kernel,
    ready: Option<&Ready>,
    entries: Vec<Entry>,
) -> Vec<Outcome> {
    let name = match kernel {
        Kernel::Ours => format!("Programs on {arch}"),
        Kernel::Linux => format!("Programs on {arch}, in Linux"),
    };
    let activity = Activity::start(name);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut left = entries;
    while !left.is_empty() {
        let before = left.len();
        let answers = boot(arch, kernel, ready, &left, &activity);
        let (heard, lost) = match answers {
            Ok(heard) => heard,
            Err(error) => {
                // The rest would meet the same.
                let why = format!("{error:#}");
                for entry in left.drain(..) {
                    tell(&activity, arch, kernel, outcome(entry, Err(why.clone())), &mut outcomes);
                }
                break;
            }
        };
        let Heard { answers, running } = heard;
        for (name, answer) in answers {
            let Some(at) = left.iter().position(|entry| entry.name == name) else { continue };
            let entry = left.remove(at);
            // The runner ends a program that is not ready in time as a shell tells it.
            let timed_out = answer.status == 128 + 9
                && entry.linux.as_ref().is_none_or(|linux| linux.status != answer.status);
            let answer = if timed_out {
                Err(format!("was ended: not ready in {} s, or killed", seconds(arch, &entry)))
            } else {
                Ok(answer)
            };
            tell(&activity, arch, kernel, outcome(entry, answer), &mut outcomes);
        }
        let at = running.and_then(|name| left.iter().position(|entry| entry.name == name));
        match (lost, at) {
            (Some(lost), Some(at)) => {
                let entry = left.remove(at);
                tell(&activity, arch, kernel, outcome(entry, Err(lost)), &mut outcomes);
            }
            // A machine that brought none of its programs to an end is not tried again: neither
            // would the next one.
            (lost, _) if left.len() == before => {
                let why = lost.unwrap_or_else(|| "was not run".to_owned());
                for entry in left.drain(..) {
                    tell(&activity, arch, kernel, outcome(entry, Err(why.clone())), &mut outcomes);
                }
            }
            _ => {}
        }
    }
    activity.done();
    outcomes
}

fn outcome(entry: Entry, answer: Result<Answer, String>) -> Outcome {
    Outcome { entry, answer }
}

fn tell(
    activity: &Activity,
    arch: Arch,
    kernel: Kernel,
    outcome: Outcome,
    into: &mut Vec<Outcome>,
) {
    let name = &outcome.entry.name;
    let failure = if kernel == Kernel::Linux && outcome.entry.linux.is_none() {
        // Being recorded.
        outcome.answer.as_ref().err().cloned()
    } else {
        outcome.failure()
    };
    activity.line(&match failure {
        None => format!("ok      {:<8} {name}", arch.name()),
        Some(why) => format!("FAILED  {:<8} {name}\n    {why}", arch.name()),
    });
    into.push(outcome);
}

/// How long a program may take on an architecture.
fn seconds(arch: Arch, entry: &Entry) -> u64 {
    if arch == Arch::X86_64 { entry.seconds } else { entry.seconds * SLOW }
}

/// Boots one machine for some programs: what was heard, and how the machine was lost, if it was.
fn boot(
    arch: Arch,
    kernel: Kernel,
    ready: Option<&Ready>,
    entries: &[Entry],
    activity: &Activity,
) -> Result<(Heard, Option<String>)> {
    let system = system(arch)?;
    let first = Program::of_files(files(arch, entries)?);
    let longest = entries.iter().map(|entry| seconds(arch, entry)).max().unwrap_or(0);
    let timeout = START + Duration::from_secs(longest);
    let log = format!("programs-{}", std::process::id());
    let made;
    let ready = match ready {
        Some(ready) => ready,
        None => {
            made = setup::ensure(arch)?;
            &made
        }
    };
    let prepared =
        initramfs::prepare(arch, arch.board(), ready, Some(&first), system.as_ref(), &log)?;
    let image = Removed(prepared.image);
    let finished = match kernel {
        Kernel::Linux => linux::Boot {
            linux: &setup::linux(arch)?,
            image: &image.0,
            first: "/kstack/programs/run",
            cpus: CPUS,
            memory: MEMORY,
            counting: None,
            name: format!("{arch}-linux-{}", std::process::id()),
            timeout,
        }
        .run(&mut |_| {})?,
        Kernel::Ours => Boot {
            arch,
            board: arch.board(),
            kernel: &prepared.kernel,
            initramfs: &image.0,
            command_line: "mode=run".to_owned(),
            cpus: CPUS,
            memory: MEMORY,
            counting: None,
            console: Console::Watched,
            terminal: None,
            name: log,
            timeout: Some(timeout),
        }
        .run(&mut |_| {})?,
    };
    activity.at("judging");
    let text = fs::read(&finished.console)?;
    let heard = console::read(&String::from_utf8_lossy(&text))?;
    let lost = (!heard.1).then(|| lost(&finished));
    Ok((heard.0, lost))
}

fn lost(finished: &Finished) -> String {
    format!("lost the machine: {}\n{}", finished.end, finished.tail(SHOWN_LINES))
}

/// Fetches what the programs of an architecture are of.
pub(crate) fn fetch(arch: Arch) -> Result<()> {
    system(arch).map(drop)
}

/// The packages of all programs of the list for an architecture: the same ones whichever are
/// chosen, so that they are fetched once.
fn system(arch: Arch) -> Result<Option<System>> {
    let all = list()?;
    let here = all.iter().filter(|entry| entry.archs.contains(&arch));
    let mut names: Vec<String> = here.flat_map(|entry| entry.packages.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(None);
    }
    setup::system_without(arch, &names, &LEFT_OUT).map(Some)
}

/// The runner, its list, and each program's script.
fn files(arch: Arch, entries: &[Entry]) -> Result<Vec<(String, bool, Vec<u8>)>> {
    let mut list = String::new();
    for entry in entries {
        list.push_str(&format!("{} {}\n", entry.name, seconds(arch, entry)));
    }
    let mut files = vec![
        ("kstack/programs/run".to_owned(), true, RUNNER.as_bytes().to_vec()),
        ("kstack/programs/list".to_owned(), false, list.into_bytes()),
    ];
    for entry in entries {
        files.push((
            format!("kstack/programs/{}", entry.name),
            false,
            entry.script.clone().into_bytes(),
        ));
        if let Some(source) = &entry.host_rust {
            let name = source.trim_end_matches(".rs");
            files.push((format!("kstack/programs/bin/{name}"), true, built(source)?));
        }
    }
    Ok(files)
}

/// A program that this machine's compiler builds for this machine, with its C library: the one that
/// builds this.
fn built(source: &str) -> Result<Vec<u8>> {
    let folder = workspace::made(workspace::root().join("target/kstack/programs"))?;
    let program = folder.join(source.trim_end_matches(".rs"));
    let compiler = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    let mut command = Command::new(compiler);
    command
        .args(["--edition", "2024", "-O", "-o"])
        .arg(&program)
        .arg(workspace::root().join(SOURCES).join(source));
    progress::quiet(&mut command)?;
    let file = fs::read(&program)?;
    ensure!(file.starts_with(b"\x7fELF"), "{} is no ELF file", program.display());
    Ok(file)
}

/// A file that goes away again.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It is only clutter if this fails.
        let _ = fs::remove_file(&self.0);
    }
}
