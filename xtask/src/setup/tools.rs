//! The emulators, their firmware and the linker: one set of packages for all architectures.
//!
//! `KSTACK_QEMU` names a folder with emulators to use in their place, and `KSTACK_LINKER` a linker.
//! Nothing of the machine's own is used without being named so: figures and verdicts would differ
//! between machines.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{Edition, own_architecture};
use super::cache::{self, Lock, State};
use super::packages::{Launcher, Packages};
use crate::arch::Arch;
use crate::progress;

/// The variable that names a folder with emulators.
pub(super) const QEMU: &str = "KSTACK_QEMU";
/// The variable that names a linker.
pub(super) const LINKER: &str = "KSTACK_LINKER";
/// The linker's name: LLVM's, which links for all targets and takes what the compiler passes.
const LLD: &str = "ld.lld";

/// The emulator that verdicts and figures are from.
const QEMU_MAJOR: u32 = 11;

/// What the packages are, without what they need.
fn packages() -> Result<Packages> {
    let mut programs = emulators();
    programs.push(Launcher {
        name: LLD.to_owned(),
        program: "usr/lib/llvm-19/bin/ld.lld".to_owned(),
        libraries: &["usr/lib/llvm-19/lib"],
        variables: &[],
        arguments: &[],
    });
    Ok(Packages {
        name: "tools".to_owned(),
        edition: Edition::Pinned,
        architecture: own_architecture()?,
        sets: qemu_sets(&["lld-19"]),
        with_needs: true,
        programs,
    })
}

/// The packages of QEMU and further ones: releases differ in how they cut it.
pub(super) fn qemu_sets(further: &[&str]) -> Vec<Vec<String>> {
    let set = |of_riscv: &str| {
        let names =
            [&["qemu-system-x86", "qemu-system-arm", "seabios"], further, &[of_riscv, "opensbi"]];
        names.concat().into_iter().map(str::to_owned).collect()
    };
    ["qemu-system-riscv", "qemu-system-misc"].into_iter().map(set).collect()
}

/// An emulator for each architecture, run from unpacked packages.
pub(super) fn emulators() -> Vec<Launcher> {
    let mut programs: Vec<Launcher> = Vec::new();
    for arch in Arch::supported() {
        let name = arch.description().qemu;
        if programs.iter().all(|known| known.name != name) {
            programs.push(Launcher {
                name: name.to_owned(),
                program: arch.description().qemu_program.to_owned(),
                libraries: &[],
                // Its modules would be looked for among the machine's own.
                variables: &[("QEMU_MODULE_DIR", "@lib/qemu")],
                arguments: &["-L", "@/usr/share/qemu", "-L", "@/usr/share/seabios"],
            });
        }
    }
    programs
}

/// Whether emulators and a linker are there: named by the user, or in the cache.
pub(super) fn state() -> Result<State> {
    if given(QEMU).is_some() && given(LINKER).is_some() {
        return Ok(State::Whole);
    }
    packages()?.state()
}

/// Fetches them.
pub(super) fn make(lock: &Lock) -> Result<()> {
    let packages = packages()?;
    cache::say_if_damaged(&packages.folder()?, &packages.state()?);
    packages.make(lock, |root| {
        for launcher in &packages.programs {
            let said = version(&root.join(Launcher::place(&launcher.name)))?;
            if launcher.name != LLD && major(&said).is_none_or(|major| major < QEMU_MAJOR) {
                eprintln!("{said} is older than {QEMU_MAJOR}: some rows cannot be shown, and figures may differ");
            }
            progress::detail(|| format!("{}: {said}", launcher.name));
        }
        Ok(())
    })
}

/// The emulator of an architecture. Set-up has made sure that it is there.
pub(crate) fn emulator(arch: Arch) -> Result<PathBuf> {
    let name = arch.description().qemu;
    let Some(folder) = given(QEMU) else {
        return Ok(packages()?.folder()?.join(Launcher::place(name)));
    };
    let path = folder.join(name);
    ensure!(path.is_file(), "{QEMU}={} has no {name}", folder.display());
    Ok(path)
}

/// The linker.
pub(super) fn linker() -> Result<PathBuf> {
    match given(LINKER) {
        Some(path) => {
            ensure!(path.is_file(), "{LINKER}={} is not a file", path.display());
            Ok(path)
        }
        None => Ok(packages()?.folder()?.join(Launcher::place(LLD))),
    }
}

/// What a program says of its version, in its first line.
pub(super) fn version(program: &Path) -> Result<String> {
    let said = progress::quiet(Command::new(program).arg("--version"))
        .with_context(|| format!("{} does not run", program.display()))?;
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

/// The first number of a version, such as 11 in `QEMU emulator version 11.1.3 (Debian …)`.
fn major(said: &str) -> Option<u32> {
    said.split("version ").nth(1)?.split('.').next()?.parse().ok()
}

/// The value of a variable that names a place, from where the user stands.
pub(super) fn given(variable: &str) -> Option<PathBuf> {
    let value = env::var_os(variable).filter(|value| !value.is_empty())?;
    std::path::absolute(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulator_s_version_is_read() {
        assert_eq!(major("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)"), Some(11));
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn one_set_of_packages_has_every_emulator_and_the_linker() {
        let Ok(packages) = packages() else {
            // Without dpkg, set-up says what to install and which variables name it.
            return;
        };
        for arch in Arch::supported() {
            let name = arch.description().qemu;
            assert_eq!(
                packages.programs.iter().filter(|one| one.name == name).count(),
                1,
                "{name}"
            );
        }
        assert!(packages.programs.iter().any(|one| one.name == LLD));
        assert!(packages.sets.iter().all(|set| set.len() == 6));
    }
}
