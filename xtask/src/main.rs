//! `cargo xtask`: the door of the workspace. Set-up, build, run, test, tour, fuzz, bench,
//! mutants and lint.
//!
//! ```text
//!   commands/   what each command does, in its order of steps          cargo xtask run|test|programs|tour|fuzz|bench|…
//!       │
//!   proof/      what a run shows: tests, deaths, boards, examples, the conformance matrix, figures
//!       │
//!   boot/       one machine from start to end: emulator, console, control channel read line by line
//!       │
//!   build/      what a machine is given: kernel, its image, user programs, the files as a cpio archive
//!       │
//!   rules/      what must hold of sources and of built kernels, and what a machine can check of it
//!       │
//!   setup/      what is missing is found, fetched or made (toolchain, QEMU, linker, busybox, the library's packages)
//!       │
//!   arch, catalogue, cpio, jobs, progress, variant, workspace: the tables and tools that all of them use
//! ```
//!
//! A wing imports from those below it only ([`rules::floors`] holds that), so each can be read, and
//! changed, without those above.
//!
//! Every command starts by calling set-up, which takes well under a second once all is there, and
//! needs no network from then on.

mod arch;
mod boot;
mod build;
mod catalogue;
mod commands;
mod cpio;
mod jobs;
mod progress;
mod proof;
mod rules;
mod setup;
mod variant;
mod workspace;

/// A module of the kernel that needs nothing of it: its tests run on the host.
#[cfg(test)]
#[path = "../../kernel/linux/src/abi/stack_image.rs"]
#[expect(dead_code, reason = "the kernel uses what the tests do not")]
mod exec_image;

/// Another one.
#[cfg(test)]
#[path = "../../kernel/linux/src/exec/script.rs"]
mod exec_script;

/// Another one.
#[cfg(test)]
#[path = "../../kernel/linux/src/abi/vdso.rs"]
mod exec_vdso;

/// Another one.
#[cfg(test)]
#[path = "../../kernel/linux/src/sorted.rs"]
mod sorted;

#[cfg(test)]
extern crate alloc;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use arch::Arch;
use build::kernel;
use commands::{bench, depth, fuzz, lint, msrv, mutants, programs, run, semver, test, tour};
use variant::Variant;

/// Set-up, run, test and measure kstack and its reference kernel.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Tell everything: builds and checks that succeed, and what set-up finds.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch and prepare what the other commands need (they call this themselves).
    ///
    /// It goes to the user's cache (KSTACK_CACHE, or kstack below XDG_CACHE_HOME or ~/.cache),
    /// shared by all checkouts; nothing else changes and no rights are needed. It can be
    /// interrupted and run again.
    Setup {
        /// The architecture to prepare for; all of them without this.
        #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
        arch: Option<Arch>,
        /// Prepare everything, for all architectures, so that no command needs a network
        /// afterwards; it says whether that includes what `test --boards` takes besides.
        #[arg(long, conflicts_with = "arch")]
        offline: bool,
        /// Fetch the second release of QEMU too, which `test --boards` alone takes, and Bochs.
        #[arg(long)]
        boards: bool,
    },
    /// Build the reference kernel.
    Build {
        /// The architecture to build for; all of them without this.
        #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
        arch: Option<Arch>,
        /// Build this variant of it.
        #[arg(long, value_name = "NAME", value_parser = Variant::parse)]
        variant: Option<Variant>,
    },
    /// Boot the kernel's console on this terminal, or run a static Linux program in the kernel.
    Run(run::Options),
    /// Pack the library's crates as they would be published, and unpack them where the examples
    /// look for them.
    Package,
    /// Run host and emulated tests and print the conformance matrix.
    Test(test::Options),
    /// Run the distribution's programs in the kernel, beside what Linux answers.
    ///
    /// The list is xtask/src/proof/programs/list.txt: each program's packages, its script, and what
    /// Linux answered. `test` runs them, too.
    Programs(programs::Options),
    /// Ask the kernel every question about stacks, and make a page with pictures of its answers.
    Tour(tour::Options),
    /// Make system calls with arguments drawn from a seed, for as long as you like.
    Fuzz(fuzz::Options),
    /// Count instructions in the emulator's deterministic mode, beside Linux's figures.
    Bench(bench::Options),
    /// Say how much of its stack the handler of overflows takes, at most, by the kernel's code.
    Depth(depth::Options),
    /// Plant small bugs in what the host can test, one at a time: each must be noticed, or accepted
    /// with a reason.
    ///
    /// Takes an hour or more. It builds cargo-mutants in the user's cache, once, and says so first.
    /// Logs: target/kstack-mutants/.
    Mutants(mutants::Options),
    /// Build each published crate with a real compiler of the release that its manifest states.
    Msrv,
    /// Compare the published crates' interfaces with those of the version that was cut last.
    ///
    /// It builds cargo-semver-checks in the user's cache, once, and says so first.
    Semver(semver::Options),
    /// Check formatting, lints, documentation and the rules that a machine can hold.
    Lint {
        /// The architecture whose kernel to check; all of them without this.
        #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
        arch: Option<Arch>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.verbose {
        progress::set_verbose();
    }
    let result = match cli.command {
        // Without an architecture everything is prepared anyway; `--offline` says it.
        Command::Setup { arch, offline: _, boards } => {
            setup::command(&Arch::chosen(arch), boards, proof::programs::fetch)
        }
        Command::Build { arch, variant } => {
            kernel::command(&Arch::chosen(arch), variant.unwrap_or(Variant::Usual))
        }
        Command::Run(options) => run::command(&options),
        Command::Package => setup::library::pack().map(|()| ExitCode::SUCCESS),
        Command::Test(options) => test::command(&options),
        Command::Programs(options) => programs::command(&options),
        Command::Tour(options) => tour::command(&options),
        Command::Fuzz(options) => fuzz::command(&options),
        Command::Bench(options) => bench::command(&options),
        Command::Depth(options) => depth::command(&options),
        Command::Mutants(options) => mutants::command(&options),
        Command::Msrv => msrv::command(),
        Command::Semver(options) => semver::command(&options),
        Command::Lint { arch } => lint::command(&Arch::chosen(arch)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
