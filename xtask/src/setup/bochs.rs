//! Bochs, the second emulator of PCs: fetched when a command needs it, as every run of x86_64's
//! tests does.
//!
//! It finds its devices and screens as plug-ins in a folder that was chosen when it was built; the
//! launcher names the unpacked one. Without that it takes the machine's own, or aborts. The screen
//! is the one without libraries of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{Edition, own_architecture};
use super::cache::State;
use super::packages::{Launcher, Packages};
use crate::progress;

const NAME: &str = "bochs";

fn packages() -> Result<Packages> {
    let set = ["bochs", "bochs-term", "bochsbios", "vgabios"].map(str::to_owned);
    Ok(Packages {
        name: NAME.to_owned(),
        edition: Edition::Pinned,
        architecture: own_architecture()?,
        sets: vec![set.to_vec()],
        with_needs: true,
        programs: vec![Launcher {
            name: NAME.to_owned(),
            program: "usr/bin/bochs-bin".to_owned(),
            libraries: &[],
            variables: &[
                ("LTDL_LIBRARY_PATH", "@lib/bochs/plugins"),
                ("BXSHARE", "usr/share/bochs"),
            ],
            arguments: &[],
        }],
    })
}

/// The program, fetched if it is not there.
pub(crate) fn bochs() -> Result<PathBuf> {
    let packages = packages()?;
    packages.fetched("Bochs: about 55 MB to download, 200 MB unpacked", check)?;
    Ok(packages.folder()?.join(Launcher::place(NAME)))
}

/// Whether it is there.
pub(super) fn state() -> Result<State> {
    packages()?.state()
}

/// Its release, such as `3.0`.
pub(crate) fn bochs_release() -> Result<String> {
    let said = said(&bochs()?)?;
    let release =
        said.split("Bochs x86 Emulator ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(release.context("Bochs does not say which one it is")?.to_owned())
}

/// What it says of itself and of its models.
fn said(program: &Path) -> Result<String> {
    let output = Command::new(program).args(["--help", "cpu"]).output();
    let output = output.with_context(|| format!("{} does not start", program.display()))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Whether it starts, with its plug-ins, and has the models that are used.
fn check(root: &Path) -> Result<()> {
    let said = said(&root.join(Launcher::place(NAME)))?;
    for part in ["Bochs x86 Emulator", "ryzen", "corei7_skylake_x"] {
        ensure!(said.contains(part), "Bochs does not say \"{part}\" but:\n{said}");
    }
    progress::detail(|| {
        said.lines().find(|line| line.contains("Emulator")).unwrap_or_default().trim().to_owned()
    });
    Ok(())
}
