//! `cargo xtask test`: host tests, emulated tests, the conformance matrix and the closing line.
//!
//! The closing line `N passed, N failed` is the last one of standard output. The command fails if any
//! test failed or none ran: a filter that matches nothing has shown nothing.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::arch::Arch;
use crate::emulated::{self, Machine, Verdict};
use crate::matrix::{self, Column, HOST};
use crate::{catalogue, host_tests, initramfs, setup};

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate.
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// Run only tests whose name contains this.
    #[arg(long)]
    filter: Option<String>,
    /// Write the matrix to this file, as an array of objects (id, arch, status, tests).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run host tests only.
    #[arg(long, conflicts_with = "no_host")]
    host_only: bool,
    /// Run emulated tests only.
    #[arg(long)]
    no_host: bool,
    /// End a machine that has been silent for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// `cargo xtask test`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let filter = options.filter.as_deref();
    let mut columns = Vec::new();
    let host = if options.no_host { Vec::new() } else { host_tests::run(filter)? };
    columns.push(Column { name: HOST, verdicts: host });
    let emulated = if options.host_only { Vec::new() } else { emulated_tests(options)? };
    columns.push(Column { name: options.arch.name(), verdicts: emulated });

    for column in &mut columns {
        let unknown: Vec<Verdict> = column
            .verdicts
            .iter()
            .filter(|verdict| !catalogue::unknown_ids_of(&verdict.name).is_empty())
            .map(|verdict| Verdict::failed(format!("known_ids_in {}", verdict.name), "unknown id"))
            .collect();
        column.verdicts.extend(unknown);
    }

    println!("\n{}", matrix::text(&columns));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&matrix::cells(&columns))?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let passes = |verdict: &&Verdict| verdict.failure.is_none();
    let all = || columns.iter().flat_map(|column| &column.verdicts);
    let passed = all().filter(passes).count();
    let failed = all().count() - passed;
    for column in &columns {
        for verdict in column.verdicts.iter().filter(|verdict| verdict.failure.is_some()) {
            println!("failed on {}: {}", column.name, verdict.name);
        }
    }
    if passed + failed == 0 {
        println!("no test ran");
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds and boots; a kernel that does not build, or does not list its tests, is a failed test, so
/// that the matrix and the closing line appear all the same.
fn emulated_tests(options: &Options) -> Result<Vec<Verdict>> {
    let ready = setup::ensure(options.arch)?;
    let run = || -> Result<Vec<Verdict>> {
        let prepared = initramfs::prepare(options.arch, &ready, None, "test")?;
        let machine = Machine {
            arch: options.arch,
            kernel: &prepared.kernel,
            initramfs: &prepared.image,
            timeout: Duration::from_secs(options.timeout),
        };
        emulated::run(&machine, options.filter.as_deref())
    };
    Ok(run().unwrap_or_else(|error| {
        println!("FAILED  {:<8} the kernel: {error:#}", options.arch);
        vec![Verdict::failed("kernel_builds_and_lists_its_tests", format!("{error:#}"))]
    }))
}
