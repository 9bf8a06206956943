//! `cargo xtask mutants`: plants small bugs, one at a time, and asks whether a host test notices.
//!
//! ```text
//!   AREAS: files and the tests that judge them
//!     │  for each: every mutant of the files, with the tests that take a second or two
//!     │            those that none of these noticed, with all tests of the area       (another build and run of cargo-mutants)
//!     ▼
//!   survivors ── in `accepted`, with a reason ─▶ counted
//!             └─ not there ──────────────────▶ shown, and the command fails
//!   `accepted` ── no survivor any more ──────▶ shown, and the command fails
//! ```
//!
//! A mutant that makes the tests run without an end is caught by that. What needs a privilege cannot run here; the tests in the
//! emulated machines judge it.

mod accepted;
mod outcome;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::progress::{self, Activity};
use crate::{setup, workspace};
use accepted::Compared;
use outcome::{Ended, Outcome, Sources, Summary};

/// Which bugs to plant.
#[derive(Args)]
pub(crate) struct Options {
    /// Parts of paths, such as kstack-core/src/life/pool or judge.rs: only files that have one of them; all files without this.
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// One of N parts of the work, such as 0/4 to 3/4, to spread it over machines.
    #[arg(long, value_name = "K/N", value_parser = part)]
    shard: Option<String>,
    /// How many mutants to try at the same time; each has a build folder of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    /// Only say which mutants there are.
    #[arg(long)]
    list: bool,
}

/// One of several parts, as the user names it.
fn part(text: &str) -> std::result::Result<String, String> {
    let parts = text
        .split_once('/')
        .and_then(|(part, of)| Some((part.parse::<u32>().ok()?, of.parse::<u32>().ok()?)));
    match parts {
        Some((part, of)) if part < of => Ok(text.to_owned()),
        _ => Err("a part is written K/N, with K from 0 to N-1".to_owned()),
    }
}

/// Files, and the tests that judge them.
struct Area {
    name: &'static str,
    package: &'static str,
    /// Files, or folders with all files below them.
    files: &'static [&'static str],
    /// Files of these that are another area's, or tests.
    except: &'static [&'static str],
    /// What of the package to build and run.
    targets: &'static [&'static str],
    /// Names of tests, or parts of them; none: all.
    tests: &'static [&'static str],
    /// Tests to leave out at first: they take long, and others notice most of it faster.
    slow: &'static [&'static str],
}

const AREAS: [Area; 4] = [
    Area {
        name: "core",
        package: "kstack-core",
        files: &["kstack-core/src"],
        except: &[
            "kstack-core/src/entry/nmi.rs",
            "kstack-core/src/models.rs",
            "kstack-core/src/misuse.rs",
        ],
        targets: &["--lib", "--tests"],
        tests: &[],
        slow: &[
            "nmi::",
            "t8_real_threads_that_borrow_at_random",
            "t4_t5_two_cpus_taking_and_giving_back",
            "t4_shrinking_beside_a_flush",
            "t4_t5_t8_real_threads_creating",
        ],
    },
    Area {
        name: "nmi",
        package: "kstack-core",
        files: &["kstack-core/src/entry/nmi.rs"],
        except: &[],
        targets: &["--lib"],
        tests: &["nmi::"],
        // These two plant bugs themselves.
        slow: &["i8_no_instruction_of_the_protocol", "i8_every_protocol_that_is_one_line_away"],
    },
    Area {
        name: "library",
        package: "kstack",
        files: &[
            "kstack/src/first_frame.rs",
            "kstack/src/local.rs",
            "kstack/src/registry.rs",
            "kstack/src/arch/x86_64/regs.rs",
            "kstack/src/arch/x86_64/switch.rs",
            "kstack/src/arch/x86_64/tables.rs",
        ],
        except: &[],
        targets: &["--lib", "--tests"],
        tests: &[],
        slow: &[],
    },
    Area {
        name: "judge",
        package: "xtask",
        files: &[
            "xtask/src/boot/control.rs",
            "xtask/src/proof/expectation.rs",
            "xtask/src/proof/emulated/judge.rs",
        ],
        except: &[],
        targets: &["--bin", "xtask"],
        tests: &["control::", "expectation::", "emulated::"],
        slow: &[],
    },
];

/// How long the tests that take a second or two may take: a mutant that is slower hangs.
const QUICK: &str = "60";
/// The same for all tests.
const WHOLE: &str = "900";

/// How often a run is looked at.
const POLL: Duration = Duration::from_millis(500);
/// Lines of a failed run's output that are shown.
const SHOWN_LINES: usize = 40;

/// `cargo xtask mutants`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let mut work = Vec::new();
    for area in &AREAS {
        let files = area.chosen(&options.files)?;
        if !files.is_empty() {
            work.push((area, files));
        }
    }
    ensure!(
        !work.is_empty(),
        "none of the files is meant: `cargo xtask mutants --list` names them"
    );
    let program = setup::mutants()?;
    let mut total = Summary::default();
    let mut told = Compared::default();
    for (area, files) in &work {
        if options.list {
            let part = options.shard.iter().flat_map(|part| ["--shard", part]);
            let mut list = area.command(&program, files, ["--list"].into_iter().chain(part), &[]);
            print!("{}", progress::quiet(&mut list)?);
            continue;
        }
        let outcomes = area.judge(&program, files, options)?;
        // In a part of the work, what is not there may be in another part.
        let whole = if options.shard.is_none() { &files[..] } else { &[] };
        let found = accepted::compare(&outcomes, whole);
        let summary = Summary::of(&outcomes, found.accepted);
        println!("{:8} {summary}", area.name);
        total.add(&summary);
        told.unexplained.extend(found.unexplained);
        told.idle.extend(found.idle);
    }
    if options.list {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:8} {total}", "all");
    for survivor in &told.unexplained {
        println!("\nnot noticed, without a reason: {survivor}");
    }
    for entry in &told.idle {
        println!("\naccepted, and no survivor: {entry}");
    }
    if told.unexplained.is_empty() && told.idle.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nWrite the test that is missing, or the reason why there can be none, into {}.",
        accepted::WHERE
    );
    Ok(ExitCode::FAILURE)
}

impl Area {
    /// The area's files that the user means, relative to the workspace.
    fn chosen(&self, words: &[String]) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for file in self.files {
            walk(&workspace::root(), Path::new(file), &mut files)?;
        }
        files.retain(|file| {
            let is_tests = file.contains("/tests/") || file.ends_with("/tests.rs");
            let is_meant =
                words.is_empty() || words.iter().any(|word| file.contains(word.as_str()));
            is_meant && !is_tests && !self.except.contains(&file.as_str())
        });
        files.sort();
        Ok(files)
    }

    /// A command that plants bugs in these files, and runs the area's tests but those left out.
    fn command<'a>(
        &self,
        program: &Path,
        files: &[String],
        options: impl IntoIterator<Item = &'a str>,
        left_out: &[&str],
    ) -> Command {
        let mut command = Command::new(program);
        command.current_dir(workspace::root());
        // What a debugger needs is only slow to make.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        // Each copy of the workspace is built for itself.
        command.env_remove("CARGO_TARGET_DIR");
        command.args(["mutants", "--no-config", "--colors", "never", "--cap-lints", "true"]);
        command
            .args(["--package", self.package])
            .args(files.iter().flat_map(|file| ["--file", file]));
        command.args(options);
        command.arg("--").args(self.targets).arg("--").args(self.tests);
        command.args(left_out.iter().flat_map(|test| ["--skip", test]));
        command
    }

    /// Every mutant of the files, with what the tests said.
    fn judge(&self, program: &Path, files: &[String], options: &Options) -> Result<Vec<Outcome>> {
        let mut sources = Sources::new();
        for file in files {
            sources.insert(file.clone(), fs::read_to_string(workspace::root().join(file))?);
        }
        let jobs = options.jobs.to_string();
        let mut arguments = vec!["--jobs", &jobs, "--timeout", QUICK];
        arguments.extend(options.shard.iter().flat_map(|part| ["--shard", part]));
        let quick = self.command(program, files, arguments, self.slow);
        let mut outcomes = run(quick, self.name, &sources)?;
        let mut expressions = Vec::new();
        if !self.slow.is_empty() {
            let is_open =
                |outcome: &&Outcome| outcome.end == Ended::Missed && !accepted::has(outcome);
            expressions
                .extend(outcomes.iter().filter(is_open).map(|open| outcome::exactly(&open.name)));
        }
        if expressions.is_empty() {
            return Ok(outcomes);
        }
        let mut arguments = vec!["--jobs", &jobs, "--timeout", WHOLE];
        arguments.extend(expressions.iter().flat_map(|one| ["--re", one]));
        let whole = self.command(program, files, arguments, &[]);
        for outcome in run(whole, &format!("{}, all tests", self.name), &sources)? {
            if let Some(first) = outcomes.iter_mut().find(|first| first.name == outcome.name) {
                *first = outcome;
            }
        }
        Ok(outcomes)
    }
}

/// Runs cargo-mutants to its end, telling how far it is.
fn run(mut command: Command, name: &str, sources: &Sources) -> Result<Vec<Outcome>> {
    let output = workspace::root()
        .join("target/kstack-mutants")
        .join(name.replace(", ", "-").replace(' ', "-"));
    let output = workspace::made(output)?;
    let results = output.join("mutants.out");
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    let log = output.join("log");
    let text = File::create(&log)?;
    // Named before what is for the tests.
    command.env("CARGO_MUTANTS_OUTPUT", &output);
    command.stdin(Stdio::null()).stdout(text.try_clone()?).stderr(text);
    let activity = Activity::start(format!("Planting bugs ({name})"));
    let mut child = command.spawn().context("cannot start cargo-mutants")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Some(far) = outcome::how_far(&results) {
            activity.at(&far);
        }
        thread::sleep(POLL);
    };
    activity.done();
    // 2: some were missed; 3: some ran without an end. Anything else is about the run.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        let said = fs::read_to_string(&log).unwrap_or_default();
        bail!("cargo-mutants: {status}\n{}", progress::tail(&said, SHOWN_LINES));
    }
    outcome::read(&results, sources)
}

/// The Rust files at or below a path, relative to the root.
fn walk(root: &Path, path: &Path, files: &mut Vec<String>) -> Result<()> {
    let full = root.join(path);
    if full.is_file() {
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.display().to_string());
        }
        return Ok(());
    }
    let entries =
        fs::read_dir(&full).with_context(|| format!("{} is not there", path.display()))?;
    for entry in entries {
        walk(root, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_has_its_files_and_no_file_has_two() {
        let mut all: Vec<String> = Vec::new();
        for area in &AREAS {
            let files = area.chosen(&[]).unwrap();
            assert!(!files.is_empty(), "{}", area.name);
            for file in &files {
                assert!(!all.contains(file), "{file} is judged twice");
                assert!(!file.contains("tests"), "{file} is a test");
            }
            for except in area.except {
                assert!(
                    workspace::root().join(except).is_file(),
                    "{except} is left out and not there"
                );
            }
            all.extend(files);
        }
        for file in [
            "kstack-core/src/life/pool/pages.rs",
            "kstack-core/src/entry/nmi.rs",
            "xtask/src/proof/emulated/judge.rs",
        ] {
            assert!(all.iter().any(|one| one == file), "{file}");
        }
    }

    #[test]
    fn a_part_of_the_work_is_named_from_zero() {
        assert_eq!(part("0/1"), Ok("0/1".to_owned()));
        assert_eq!(part("3/4"), Ok("3/4".to_owned()));
        for wrong in ["4/4", "1", "a/b", "1/", "/2", "-1/2", "0/0"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
