//! Tests on this machine: `cargo test` of every crate that can run here (the workspace's default
//! members: not the kernel, not its user programs), documentation tests included.
//!
//! Then the models of the core's lock-free protocols: the same code over atomics that explore what
//! C11 allows, in a build of its own.
//!
//! And, where arm64 is among the architectures, the tests of `kstack-hosted` once more for that.
//!
//! The test harness's text is read line by line, since its structured output is not stable:
//!
//! ```text
//!   test cache::tests::t4_a_hit_needs_no_lock ... ok
//!   test src/lib.rs - Arena (line 12) - should panic ... FAILED
//! ```

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::catalogue;
use crate::progress;
use crate::proof::emulated::Verdict;
use crate::setup::{self, Ready};
use crate::workspace::{self, cargo};

/// Lines of output shown when tests fail.
const SHOWN_LINES: usize = 80;

/// Runs the host tests whose name contains the filter.
pub(crate) fn run(filter: Option<&str>) -> Result<Vec<Verdict>> {
    eprintln!("Host tests");
    let mut command = cargo("test");
    command.args(["--no-fail-fast", "--color", "never"]).arg("--").args(filter);
    let mut verdicts = verdicts_of(command, "host_tests_end_in_order")?;
    eprintln!("Models of the lock-free protocols");
    let mut models = verdicts_of(models(), "models_end_in_order")?;
    if models.is_empty() {
        models.push(Verdict::failed("models_run", "there is no model"));
    }
    let chosen = |verdict: &Verdict| filter.is_none_or(|filter| verdict.name.contains(filter));
    verdicts.extend(models.into_iter().filter(chosen));
    eprintln!("What must not compile, by its error");
    let mut refused = verdicts_of(refusals(), "refusals_end_in_order")?;
    if refused.is_empty() {
        refused.push(Verdict::failed("refusals_run", "there is none"));
    }
    // These say more than the same ones above, which take any error for the right one.
    verdicts.retain(|verdict| refused.iter().all(|other| other.name != verdict.name));
    verdicts.extend(refused.into_iter().filter(chosen));
    Ok(verdicts)
}

/// Whether some of the tests that ran are `kstack-hosted`'s.
pub(crate) fn hosted_among(verdicts: &[Verdict]) -> bool {
    verdicts.iter().any(|verdict| catalogue::ids_of(&verdict.name).iter().any(|id| id == "N5"))
}

/// The tests of `kstack-hosted` for arm64, in an emulator of programs: the same ones as for this
/// machine, whose names they bear with `arm64::` before them. What keeps them from being run is a
/// failure, as it is of a kernel that does not build.
pub(crate) fn run_on_arm64(ready: &Ready, filter: Option<&str>) -> Result<Vec<Verdict>> {
    eprintln!("Tests of kstack-hosted for arm64 (its standard library is made first, once)");
    let mut command = match setup::hosted_on_arm64(ready) {
        Ok(command) => command,
        Err(error) => {
            println!("FAILED  kstack-hosted for arm64: {error:#}");
            return Ok(vec![Verdict::failed("arm64::tests_are_built", format!("{error:#}"))]);
        }
    };
    command.args(["--no-fail-fast", "--color", "never"]).arg("--").args(filter);
    let mut verdicts = verdicts_of(command, "tests_end_in_order")?;
    for verdict in &mut verdicts {
        verdict.name.insert_str(0, "arm64::");
    }
    Ok(verdicts)
}

/// The models: `kstack-core` with `--cfg loom`, optimised, since each explores thousands of
/// interleavings. All tests of that build that are no models would fail in it, so that the filter
/// applies to what was run: it takes two seconds.
fn models() -> Command {
    let mut command = cargo("test");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command
        .args(["--release", "--no-fail-fast", "--color", "never", "-p", "kstack-core", "--lib"])
        .arg("--target-dir")
        .arg(workspace::root().join("target/loom"))
        .env("RUSTFLAGS", format!("{flags} --cfg loom").trim_start())
        .args(["--", "models::"]);
    command
}

/// What the libraries' types refuse, each for the error that it names: a stable rustdoc does not
/// compare errors, so that what does not compile for want of a semicolon would pass.
fn refusals() -> Command {
    let mut command = cargo("test");
    command
        .args(["--doc", "--no-fail-fast", "--color", "never"])
        .args(["-p", "kstack-core", "-p", "kstack", "-p", "kstack-hosted"])
        .arg("--target-dir")
        .arg(workspace::root().join("target/refusals"))
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["--", "misuse::"]);
    command
}

/// Runs `cargo test` and reads the verdicts from its output; a failure that no test accounts for is
/// one of its own, called `otherwise`.
fn verdicts_of(mut command: Command, otherwise: &str) -> Result<Vec<Verdict>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let mut verdicts = Vec::new();
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            verdicts.extend(verdict(&line));
            output.push_str(&line);
            output.push('\n');
        }
    }
    let status = child.wait()?;
    let failed = verdicts.iter().any(|verdict| verdict.failure.is_some());
    if !status.success() {
        println!("{}", progress::tail(&output, SHOWN_LINES));
        if !failed {
            // It does not compile, or a test took its whole process down.
            verdicts.push(Verdict::failed(otherwise, format!("cargo test: {status}")));
        }
    }
    Ok(verdicts)
}

/// The verdict on a line of the harness's output, if it is one. An ignored test has none: it did
/// not run.
fn verdict(line: &str) -> Option<Verdict> {
    let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = ["should panic", "compile fail", "compile"].iter().fold(name, |name, note| {
        name.strip_suffix(note).map_or(name, |rest| rest.trim_end_matches([' ', '-']))
    });
    match result.split_whitespace().next()? {
        "ok" => Some(Verdict { name: name.to_owned(), failure: None }),
        "FAILED" => Some(Verdict::failed(name, "see its output above")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_from_the_harness() {
        let passed = |name: &str| Some(Verdict { name: name.to_owned(), failure: None });
        assert_eq!(verdict("test a::tests::t4_x ... ok"), passed("a::tests::t4_x"));
        assert_eq!(verdict("test a::t4_x - should panic ... ok"), passed("a::t4_x"));
        assert_eq!(
            verdict("test kstack/src/lib.rs - arena::Arena (line 12) - compile fail ... ok"),
            passed("kstack/src/lib.rs - arena::Arena (line 12)")
        );
        assert!(verdict("test a::t5_y ... FAILED").unwrap().failure.is_some());
    }

    #[test]
    fn other_lines_and_ignored_tests_are_no_verdicts() {
        for line in [
            "test result: ok. 3 passed; 0 failed; 0 ignored",
            "running 3 tests",
            "test a ... ignored",
            "test a ... ignored, needs a network",
            "---- a stdout ----",
            "",
        ] {
            assert_eq!(verdict(line), None, "{line}");
        }
    }
}
