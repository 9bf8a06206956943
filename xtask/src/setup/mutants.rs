//! The program that plants bugs, for `cargo xtask mutants` alone: built from its source, once, into the cache.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::cache::{self, Lock, State};
use crate::progress;
use crate::workspace::cargo;

/// The program, as the package registry has it.
const PACKAGE: &str = "cargo-mutants";
/// The version whose mutants the list of accepted ones is about: another makes others.
const VERSION: &str = "27.1.0";

/// The program, installed if need be.
pub(crate) fn mutants() -> Result<PathBuf> {
    let item = cache::folder()?.join("programs").join(format!("{PACKAGE}-{VERSION}"));
    if cache::state(&item) != State::Whole {
        // Looked at again with the lock: another command may have made it meanwhile.
        let lock = Lock::take()?;
        let state = cache::state(&item);
        if state != State::Whole {
            cache::say_if_damaged(&item, &state);
            eprintln!("kstack needs what is not there yet. It goes to {}:", item.display());
            eprintln!(
                "  {PACKAGE} {VERSION}: 10 MB to download, built from its source in about 3 minutes"
            );
            cache::make(&lock, &item, |root| {
                let mut install = cargo("install");
                install.args(["--locked", "--version", VERSION, "--root"]).arg(root).arg(PACKAGE);
                progress::command(&format!("Building {PACKAGE} {VERSION}"), &mut install).context(
                    "see above for what is missing; nothing outside of the cache has changed",
                )?;
                Ok(())
            })?;
        }
    }
    Ok(item.join("bin").join(PACKAGE))
}
