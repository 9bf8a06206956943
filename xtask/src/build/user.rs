//! Building our own user programs, for the image: static Linux executables of the package `user`.
//!
//! Each is one file in `user/src/bin`. The compiler is the kernel's, the target too, since that
//! needs nothing but core; the flags differ: user code lies low, where the linker puts it without a
//! script of ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::setup::Ready;
use crate::{progress, workspace};

/// A program for the image.
pub(crate) struct Built {
    /// Its name in the image's `/kstack/bin`.
    pub(crate) name: String,
    /// Its file on this machine.
    pub(crate) path: PathBuf,
}

/// The flags for everything in user mode.
pub(crate) fn flags(arch: Arch, ready: &Ready) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    flags
        .extend(ready.toolchain.sysroot.iter().map(|path| format!("--sysroot={}", path.display())));
    flags.extend(ready.linker.flags());
    flags.extend(arch.description().user_flags.iter().map(|&flag| flag.to_owned()));
    flags
}

/// Makes a cargo command one for user programs.
pub(crate) fn target(
    mut cargo: Command,
    arch: Arch,
    ready: &Ready,
    subcommand: &str,
) -> Result<Command> {
    cargo
        .args([subcommand, "-p", "user", "--release", "--target", arch.target()])
        .arg("--target-dir")
        .arg(folder(arch)?)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(arch, ready).join("\u{1f}"));
    Ok(cargo)
}

/// Builds all of them.
pub(crate) fn build(arch: Arch, ready: &Ready) -> Result<Vec<Built>> {
    let mut cargo = target(ready.toolchain.cargo(), arch, ready, "build")?;
    progress::command(&format!("Building the user programs for {arch}"), cargo.arg("--quiet"))?;
    let built = folder(arch)?.join(arch.target()).join("release");
    let mut programs = Vec::new();
    for name in names()? {
        let path = built.join(&name);
        ensure!(path.is_file(), "cargo built no {}", path.display());
        programs.push(Built { name, path });
    }
    Ok(programs)
}

/// Their names, in order.
pub(crate) fn names() -> Result<Vec<String>> {
    let sources =
        fs::read_dir(workspace::root().join("user/src/bin")).context("no user programs")?;
    let paths = sources.filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<String> =
        paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// A build folder of their own: in the kernel's, each would undo the other's work, since their
/// flags differ.
fn folder(arch: Arch) -> Result<PathBuf> {
    Ok(workspace::output_for(arch.name())?.join("user"))
}
