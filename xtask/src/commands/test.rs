//! `cargo xtask test`: host tests, emulated tests, the conformance matrix and the closing line.
//!
//! ```text
//!                                 ┌─> host tests ─┐
//!   set-up of each architecture ──┤               ├─> boots, side by side ─> matrix
//!                                 └─> builds ─────┘
//! ```
//!
//! The closing line `N passed, N failed` is the last one of standard output. The command fails if
//! any test failed or none ran: a filter that matches nothing has shown nothing.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use crate::arch::{Arch, Board};
use crate::build::initramfs::{self, Prepared};
use crate::proof::emulated::{self, Machine, Verdict};
use crate::proof::matrix::{self, Column, HOST};
use crate::proof::{boards, examples, host_tests, pages, programs, terminals};
use crate::rules::unwinding;
use crate::setup::{self, Ready};
use crate::variant::Variant;
use crate::{catalogue, jobs};

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate; all of them, side by side, without this.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
    arch: Option<Arch>,
    /// Run only tests whose name contains this, or one of these, separated by commas.
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
    /// After a run of everything in which nothing failed, write the matrix into docs/matrix.md.
    #[arg(long, conflicts_with_all = ["arch", "filter", "host_only", "no_host", "boards"])]
    page: bool,
    /// Instead of all that, boot every board, CPU model, memory size and number of CPUs that the
    /// kernel is tried on, and write down in CAVEATS.md what each does.
    #[arg(long, conflicts_with_all = ["host_only", "no_host"])]
    boards: bool,
    /// Test this variant of the kernel alone, on the machine that it has, with all emulated tests.
    #[arg(long, value_name = "NAME", value_parser = Variant::parse, conflicts_with = "boards")]
    variant: Option<Variant>,
    /// End a machine that has been silent for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// `cargo xtask test`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let filter = options.filter.as_deref();
    let archs = Arch::chosen(options.arch);
    // First, so that what is missing is told before anything takes its time.
    let mut ready: Vec<Ready> =
        if options.host_only { Vec::new() } else { setup::ensure_all(&archs)? };
    for (&arch, ready) in archs.iter().zip(&mut ready) {
        for board in boards_of(options, arch) {
            // A compiler that has other unstable options fails the tests of the variant alone: its
            // kernel does not build.
            if let Err(error) = setup::add_variant(ready, arch, board.variant) {
                println!("FAILED  {arch:<8} core for {}: {error:#}", board.variant.name());
            }
        }
    }
    if let Some(variant) = options.variant {
        ensure!(
            archs.iter().any(|&arch| boards_of(options, arch).next().is_some()),
            "no machine has the variant {}",
            variant.name()
        );
    }
    // Side by side: neither keeps both CPUs of a small machine busy all the time.
    let (host, built) = thread::scope(|scope| {
        let host = scope.spawn(|| host_tests(options, &archs, &ready));
        let built = jobs::each(archs.iter().zip(&ready).collect(), |(&arch, ready)| {
            build(options, arch, ready)
        });
        (host.join(), built)
    });
    let host = host.map_err(|_| anyhow!("the tests on this machine have panicked"))??;
    let mut columns = vec![Column { name: HOST, verdicts: host }];
    columns.extend(archs.iter().map(|arch| Column { name: arch.name(), verdicts: Vec::new() }));
    for (arch, verdicts) in emulated_tests(options, &archs, &ready, built)? {
        let column = columns.iter_mut().find(|column| column.name == arch.name());
        column.into_iter().for_each(|column| column.verdicts.extend_from_slice(&verdicts));
    }
    if !options.boards && options.variant.is_none() {
        let verdicts = jobs::each(archs.iter().zip(&ready).collect(), |(&arch, ready)| {
            examples::test(examples::Place::Emulated(arch), Some(ready), filter)
        });
        for (arch, verdicts) in archs.iter().zip(verdicts) {
            let column = columns.iter_mut().find(|column| column.name == arch.name());
            column.into_iter().for_each(|column| column.verdicts.extend_from_slice(&verdicts));
        }
    }

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
    if options.page && failed == 0 {
        pages::write_matrix(&columns)?;
    }
    if passed + failed == 0 {
        println!("no test ran");
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What runs on this machine itself.
fn host_tests(options: &Options, archs: &[Arch], ready: &[Ready]) -> Result<Vec<Verdict>> {
    if options.no_host || options.boards || options.variant.is_some() {
        return Ok(Vec::new());
    }
    let filter = options.filter.as_deref();
    let mut verdicts = host_tests::run(filter)?;
    // The same tests, so that a filter which chooses none of them here chooses none there.
    let chosen = host_tests::hosted_among(&verdicts);
    verdicts.extend(examples::test(examples::Place::Host, None, filter));
    let arm64 = archs.iter().zip(ready).find(|(arch, _)| **arch == Arch::Arm64);
    if let Some((_, ready)) = arm64
        && chosen
    {
        verdicts.extend(host_tests::run_on_arm64(ready, filter)?);
    }
    Ok(verdicts)
}

/// Boots the kernels, side by side; one that did not build is a failed test, so that the others,
/// the matrix and the closing line appear all the same.
fn emulated_tests(
    options: &Options,
    archs: &[Arch],
    ready: &[Ready],
    built: Vec<Kernels>,
) -> Result<Vec<(Arch, Vec<Verdict>)>> {
    let archs: Vec<(Arch, &Ready)> = archs.iter().copied().zip(ready).collect();
    let mut machines: Vec<Machine> = Vec::new();
    let mut results = Vec::new();
    for (&(arch, _), Kernels { machines: more, failure }) in archs.iter().zip(built) {
        machines.extend(more);
        results.extend(failure.map(|verdict| (arch, vec![verdict])));
    }
    let first = machines.iter().filter(|machine| std::ptr::eq(machine.board, machine.arch.board()));
    let built: Vec<boards::Built<'_>> = first
        .filter_map(|machine| {
            let (kernel, image) = (machine.kernel.clone(), machine.initramfs.clone());
            let &(arch, ready) = archs.iter().find(|(arch, _)| *arch == machine.arch)?;
            Some(boards::Built { arch, prepared: Prepared { kernel, image }, ready })
        })
        .collect();
    let (filter, timeout) = (options.filter.as_deref(), Duration::from_secs(options.timeout));
    let of_boards = if options.boards {
        boards::run_all(&built, filter, timeout)?
    } else {
        let verdicts =
            if machines.is_empty() { Vec::new() } else { emulated::run(&machines, filter) };
        results.extend(machines.iter().map(|machine| machine.arch).zip(verdicts));
        if options.variant.is_some() {
            return Ok(results);
        }
        let names: Vec<Arch> = archs.iter().map(|&(arch, _)| arch).collect();
        let foreign = programs::test(&archs, filter).into_iter();
        let more = foreign.chain(terminals::test(&names, filter));
        results.extend(more.map(|(arch, verdict)| (arch, vec![verdict])));
        boards::run(&built, boards::Which::Short, filter, timeout)
    };
    results.extend(of_boards.into_iter().map(|(arch, verdict)| (arch, vec![verdict])));
    Ok(results)
}

/// What an architecture's machines boot.
#[derive(Default)]
struct Kernels {
    machines: Vec<Machine>,
    /// Of the first kernel that did not build.
    failure: Option<Verdict>,
}

/// Builds an architecture's kernels, one after another.
fn build(options: &Options, arch: Arch, ready: &Ready) -> Kernels {
    let mut kernels = Kernels::default();
    for board in boards_of(options, arch) {
        let built = kernels
            .machines
            .iter()
            .find(|other| is_same_kernel(other, board))
            .map(|other| (other.kernel.clone(), other.initramfs.clone()));
        let prepared = match built {
            Some((kernel, image)) => Ok(Prepared { kernel, image }),
            None => initramfs::prepare(arch, board, ready, None, None, &image_name(board))
                .and_then(|prepared| {
                    // The ELF image, beside what is booted.
                    unwinding::check_reading(&prepared.kernel.with_extension(""))?;
                    Ok(prepared)
                }),
        };
        match prepared {
            Ok(Prepared { kernel, image }) => kernels.machines.push(Machine {
                arch,
                board,
                kernel,
                initramfs: image,
                timeout: Duration::from_secs(options.timeout),
                all: options.variant.is_some(),
            }),
            Err(error) => {
                println!("FAILED  {arch:<8} the kernel for {}: {error:#}", board.name);
                kernels.failure = Some(Verdict::failed("kernel_builds", format!("{error:#}")));
                // The other machines' kernel is the same one, or differs in little.
                break;
            }
        }
    }
    kernels
}

/// The machines that an architecture's kernels are booted on.
fn boards_of(options: &Options, arch: Arch) -> impl Iterator<Item = &'static Board> {
    let (variant, short) = (options.variant, options.boards);
    let first = arch.board();
    arch.description().boards.iter().filter(move |board| match variant {
        Some(variant) => board.variant == variant,
        None if short => board.features == first.features && board.variant == first.variant,
        None => !board.is_extra,
    })
}

/// Whether a machine that there is has the kernel that this one wants.
fn is_same_kernel(other: &Machine, board: &Board) -> bool {
    other.board.features == board.features && other.board.variant == board.variant
}

/// A name for the image with a kernel's symbols: one for each set of build options.
fn image_name(board: &Board) -> String {
    ["test"]
        .iter()
        .chain(board.features)
        .copied()
        .chain(board.variant.feature())
        .collect::<Vec<_>>()
        .join("-")
}
