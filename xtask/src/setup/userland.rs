//! Programs for the image: the pinned release's unmodified static busybox, for the emulated machine.
//!
//! `KSTACK_BUSYBOX` names a folder with other ones, called `busybox-ARCH`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::archive::Edition;
use super::cache::{self, Lock, State};
use super::packages::Packages;
use super::tools;
use crate::arch::Arch;

/// The variable that names a folder with busyboxes.
pub(super) const BUSYBOX: &str = "KSTACK_BUSYBOX";

fn packages(arch: Arch) -> Packages {
    Packages {
        name: format!("busybox-{arch}"),
        edition: Edition::Pinned,
        architecture: arch.description().debian.to_owned(),
        sets: vec![vec!["busybox-static".to_owned()]],
        with_needs: false,
        programs: Vec::new(),
    }
}

/// Whether it is there: named by the user, or in the cache.
pub(super) fn state(arch: Arch) -> Result<State> {
    if tools::given(BUSYBOX).is_some() {
        return Ok(State::Whole);
    }
    packages(arch).state()
}

/// Fetches it.
pub(super) fn make(lock: &Lock, arch: Arch) -> Result<()> {
    let packages = packages(arch);
    cache::say_if_damaged(&packages.folder()?, &packages.state()?);
    packages.make(lock, |root| program_in(root).map(drop))
}

/// The static busybox for an architecture.
pub(super) fn busybox(arch: Arch) -> Result<PathBuf> {
    if let Some(folder) = tools::given(BUSYBOX) {
        let path = folder.join(format!("busybox-{arch}"));
        ensure!(is_program(&path), "{BUSYBOX}={} has no program busybox-{arch}", folder.display());
        return Ok(path);
    }
    program_in(&packages(arch).folder()?)
}

fn program_in(root: &Path) -> Result<PathBuf> {
    // It is in /bin or in /usr/bin, as the release has it.
    let mut places = ["usr/bin/busybox", "bin/busybox"].into_iter().map(|place| root.join(place));
    places.find(|path| is_program(path)).context("the package busybox-static holds no busybox")
}

fn is_program(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"))
}
