//! Building our own user programs, for the image: static Linux executables of the package `user`.
//!
//! Each is one file in `user/src/bin`. The compiler is the kernel's, the target too, since that needs
//! nothing but core; the flags differ: user code lies low, where the linker puts it without a script of ours.

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
        .arg(folder()?)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(arch, ready).join("\u{1f}"));
    Ok(cargo)
}

/// Builds all of them.
pub(crate) fn build(arch: Arch, ready: &Ready) -> Result<Vec<Built>> {
    let mut cargo = target(ready.toolchain.cargo(), arch, ready, "build")?;
    progress::quiet(cargo.arg("--quiet")).context("the user programs do not build")?;
    let built = folder()?.join(arch.target()).join("release");
    let sources = workspace::root().join("user/src/bin");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&sources).context("no user programs")? {
        let source = entry?.path();
        let Some(name) = source.file_stem().and_then(|name| name.to_str()) else { continue };
        let path = built.join(name);
        ensure!(path.is_file(), "cargo built no {}", path.display());
        programs.push(Built { name: name.to_owned(), path });
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

/// A build folder of their own: in the kernel's, each would undo the other's work, since their
/// flags differ.
fn folder() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("target-user"))
}
