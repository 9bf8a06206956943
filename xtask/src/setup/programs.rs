//! Programs of the package registry that one command alone needs: built from their source, once, into the cache.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::cache::{self, Lock, State};
use crate::progress;
use crate::workspace::cargo;

/// A program, as the package registry has it.
struct Program {
    package: &'static str,
    version: &'static str,
    /// What getting it takes.
    takes: &'static str,
}

/// Another version plants other bugs than the list of accepted ones is about.
const MUTANTS: Program = Program {
    package: "cargo-mutants",
    version: "27.1.0",
    takes: "10 MB to download, built from its source in about 3 minutes",
};

/// It reads what the documentation tool of Rust 1.95 writes.
const SEMVER_CHECKS: Program = Program {
    package: "cargo-semver-checks",
    version: "0.51.0",
    takes: "30 MB to download, built from its source in about 5 minutes",
};

/// The program that plants bugs, installed if need be.
pub(crate) fn mutants() -> Result<PathBuf> {
    MUTANTS.installed()
}

/// The program that compares interfaces, installed if need be.
pub(crate) fn semver_checks() -> Result<PathBuf> {
    SEMVER_CHECKS.installed()
}

impl Program {
    fn installed(&self) -> Result<PathBuf> {
        let Program { package, version, takes } = self;
        let item = cache::folder()?.join("programs").join(format!("{package}-{version}"));
        if cache::state(&item) != State::Whole {
            // Looked at again with the lock: another command may have made it meanwhile.
            let lock = Lock::take()?;
            let state = cache::state(&item);
            if state != State::Whole {
                cache::say_if_damaged(&item, &state);
                eprintln!(
                    "kstack needs what is not there yet. It goes to {}:\n  {package} {version}: {takes}",
                    item.display()
                );
                cache::make(&lock, &item, |root| {
                    let mut install = cargo("install");
                    install
                        .args(["--locked", "--version", version, "--root"])
                        .arg(root)
                        .arg(package)
                        // Seconds of running time do not matter, minutes of building do.
                        .env("CARGO_PROFILE_RELEASE_LTO", "false")
                        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
                    progress::command(&format!("Building {package} {version}"), &mut install)
                        .context(
                            "see above for what is missing; nothing outside of the cache has changed",
                        )?;
                    Ok(())
                })?;
            }
        }
        Ok(item.join("bin").join(package))
    }
}
