//! A second release of QEMU, for the table of boards alone: fetched only when a command needs it.
//!
//! It is of another release of the system than everything else ([`Edition::Second`]), and runs
//! through that release's own loader and libraries. `KSTACK_SECOND_QEMU` names a folder with
//! emulators to use in its place.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::archive::{Edition, own_architecture};
use super::cache::State;
use super::packages::{Launcher, Packages};
use super::tools::{self, emulators, given, qemu_sets};
use crate::arch::Arch;
use crate::progress;

/// The variable that names a folder with emulators.
const SECOND_QEMU: &str = "KSTACK_SECOND_QEMU";

fn packages() -> Result<Packages> {
    Ok(Packages {
        name: "second-qemu".to_owned(),
        edition: Edition::Second,
        architecture: own_architecture()?,
        sets: qemu_sets(&[]),
        with_needs: true,
        programs: emulators(),
    })
}

/// The emulator of an architecture, fetched if it is not there.
pub(crate) fn second_emulator(arch: Arch) -> Result<PathBuf> {
    let name = arch.description().qemu;
    if let Some(folder) = given(SECOND_QEMU) {
        let path = folder.join(name);
        ensure!(path.is_file(), "{SECOND_QEMU}={} has no {name}", folder.display());
        return Ok(path);
    }
    let packages = packages()?;
    packages
        .fetched("a second release of QEMU: about 110 MB to download, 380 MB unpacked", check)?;
    Ok(packages.folder()?.join(Launcher::place(name)))
}

/// Whether it is there.
pub(super) fn state() -> Result<State> {
    if given(SECOND_QEMU).is_some() { Ok(State::Whole) } else { packages()?.state() }
}

/// The release of an emulator, such as `7.2.22`.
pub(crate) fn qemu_release(emulator: &Path) -> Result<String> {
    Ok(release(&tools::version(emulator)?))
}

fn release(said: &str) -> String {
    let release = said.split("version ").nth(1).and_then(|rest| rest.split([' ', '(']).next());
    release.unwrap_or(said).to_owned()
}

fn check(root: &Path) -> Result<()> {
    for launcher in emulators() {
        let said = tools::version(&root.join(Launcher::place(&launcher.name)))?;
        progress::detail(|| format!("{}: {said}", launcher.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_what_stands_behind_version() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
        assert_eq!(release(said), "7.2.22");
        assert_eq!(release("QEMU emulator version 6.2.0"), "6.2.0");
        assert_eq!(release("something else"), "something else");
    }
}
