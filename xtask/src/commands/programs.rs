//! `cargo xtask programs`: the distribution's programs in this kernel, beside what Linux answers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::arch::Arch;
use crate::proof::programs::{self, Kernel, Outcome};
use crate::setup;

/// Which programs, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate; all of them, one after another, without this.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
    arch: Option<Arch>,
    /// Take only programs whose name contains this, or one of these, separated by commas.
    #[arg(long)]
    filter: Option<String>,
    /// Boot the distribution's Linux instead, with the same image in the same emulator (its kernel
    /// is fetched, 15 to 90 MB an architecture), and tell where it answers otherwise than the list
    /// says.
    #[arg(long)]
    linux: bool,
    /// Write what Linux answers into the list. Without --arch on x86_64, so that --linux on the
    /// others shows that they answer the same.
    #[arg(long, requires = "linux")]
    record: bool,
    /// After a run of everything, write the results into docs/programs.md.
    #[arg(long, conflicts_with_all = ["arch", "filter", "linux"])]
    page: bool,
    /// Run a corpus of foreign programs from outside of this tree instead: a folder with a `run.sh`
    /// that knows this checkout, and writes a table. The table goes into docs/programs.md.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["arch", "filter", "linux", "page"])]
    corpus: Option<PathBuf>,
    /// Stages of the corpus, instead of all: those before are done already.
    #[arg(long, value_name = "STAGE,…", value_delimiter = ',', requires = "corpus")]
    stages: Vec<String>,
}

/// `cargo xtask programs`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    if let Some(folder) = &options.corpus {
        let (all, others) = programs::corpus::command(folder, &options.stages)?;
        println!("{} as in Linux, {others} not", all - others);
        return Ok(if others == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let list = programs::list()?;
    let filter = options.filter.as_deref();
    let archs = match (options.record, options.arch) {
        (true, None) => vec![Arch::USUAL],
        (_, arch) => Arch::chosen(arch),
    };
    let kernel = if options.linux { Kernel::Linux } else { Kernel::Ours };
    let mut results: Vec<(Arch, Vec<Outcome>)> = Vec::new();
    for arch in archs {
        let mut entries = programs::chosen(&list, arch, filter);
        if options.record {
            // What it answered before is no measure.
            entries.iter_mut().for_each(|entry| entry.linux = None);
        }
        if entries.is_empty() {
            continue;
        }
        let ready = setup::ensure(arch)?;
        results.push((arch, programs::run(arch, kernel, Some(&ready), entries)));
    }
    let all = || results.iter().flat_map(|(_, outcomes)| outcomes);
    ensure!(all().count() > 0, "no program of the list was chosen");
    if options.record {
        programs::record(list, &results)?;
    }
    if options.page {
        programs::write_page(&results)?;
    }
    let wrong = |outcome: &&Outcome| match options.record {
        true => outcome.answer.is_err(),
        false => outcome.failure().is_some(),
    };
    let failed = all().filter(wrong).count();
    println!("{} as in Linux, {failed} not", all().count() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
