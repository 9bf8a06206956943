//! `cargo xtask tour`: the kernel's questions about stacks, asked on this machine, as one page.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::arch::Arch;
use crate::proof::tour;

/// Where to ask.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse, default_value = Arch::USUAL.name())]
    arch: Arch,
    /// Write docs/tour.html and the answers and pictures of the book's pages in docs/book, instead
    /// of a page below target/kstack-tour.
    #[arg(long)]
    page: bool,
    /// End a machine that has been silent for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// `cargo xtask tour`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let page = tour::run(options.arch, Duration::from_secs(options.timeout), options.page)?;
    println!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}
