//! Set-up: find what the commands need, install what is missing, say both.
//!
//! Three things come from outside the workspace: a compiler with core and alloc for the bare-metal
//! target ([`toolchain`], [`sysroot`], [`linker`]), the emulator, and Debian's static busybox for
//! the image ([`userland`]). Missing packages are collected first and installed in one go by
//! [`apt`]; whoever may not install gets the one command that does it. All of it is made or fetched for
//! one architecture at a time, when a command first asks for that one.
//!
//! Invariants: nothing here calls rustup or changes its settings; nothing is written outside the
//! cache except by the package manager; with all in place no process is started that needs a network.

mod apt;
mod foreign;
mod linker;
mod sysroot;
pub(crate) mod toolchain;
mod userland;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, hash};

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::{progress, workspace};

use apt::Wanted;
pub(crate) use linker::Linker;
pub(crate) use toolchain::Toolchain;

/// What is there once set-up has succeeded.
pub(crate) struct Ready {
    /// The compiler for the kernel.
    pub(crate) toolchain: Toolchain,
    /// The linker for the kernel.
    pub(crate) linker: Linker,
    /// Debian's static busybox for the image.
    pub(crate) busybox: PathBuf,
}

/// `cargo xtask setup`
pub(crate) fn command(archs: &[Arch]) -> Result<ExitCode> {
    for &arch in archs {
        let ready = ensure(arch)?;
        println!("{arch}");
        println!("  compiler  {}", ready.toolchain);
        println!("  linker    {}", ready.linker);
        println!("  emulator  {}", arch.description().qemu);
        println!("  busybox   {}", workspace::shown(&ready.busybox));
    }
    println!("Ready: `cargo xtask run` and `cargo xtask test` work without a network from now on.");
    Ok(ExitCode::SUCCESS)
}

/// Makes everything ready, installing what is missing.
pub(crate) fn ensure(arch: Arch) -> Result<Ready> {
    install_missing(arch)?;
    let toolchain = toolchain::ready(arch)?;
    let linker = linker::find(&toolchain)?;
    fetch_crates(&toolchain)?;
    let busybox = userland::busybox(arch)?;
    Ok(Ready { toolchain, linker, busybox })
}

/// The clippy that belongs to the kernel's compiler, installed if need be; only [`crate::lint`] needs it.
pub(crate) fn clippy(toolchain: &Toolchain) -> Result<PathBuf> {
    let path = toolchain.rustc.with_file_name("cargo-clippy");
    if !path.is_file() {
        let name = apt::clippy_package(toolchain.release)
            .with_context(|| format!("no clippy found for {toolchain}"))?;
        apt::install(&[Wanted::package(&name, "the linter that goes with the kernel's compiler")])?;
    }
    Ok(path)
}

fn install_missing(arch: Arch) -> Result<()> {
    let mut wanted = Vec::new();
    if toolchain::find(arch)?.is_none() {
        wanted.push(Wanted::Toolchain(arch));
    }
    if linker::find_any().is_none() {
        wanted.push(Wanted::package("lld", "the linker for the kernel"));
    }
    let known = arch.description();
    if workspace::on_path(known.qemu).is_none() {
        let owned = |set: &&[&str]| set.iter().map(|&name| name.to_owned()).collect();
        wanted.push(Wanted::Packages {
            sets: known.qemu_packages.iter().map(owned).collect(),
            reason: format!("the emulated {arch} machine that the kernel boots on"),
        });
    }
    if wanted.is_empty() { Ok(()) } else { apt::install(&wanted) }
}

/// Downloads the crates that the lock file names, so that builds work offline; done again only when
/// the lock file has changed.
fn fetch_crates(toolchain: &Toolchain) -> Result<()> {
    let lock = fs::read(workspace::root().join("Cargo.lock")).unwrap_or_default();
    let stamp = workspace::cache()?.join("fetched");
    let key = format!("{:016x}\n", fingerprint(&lock));
    if fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(());
    }
    let mut cargo = toolchain.cargo();
    cargo.arg("fetch");
    progress::command("Downloading the crates named in Cargo.lock", &mut cargo)?;
    fs::write(&stamp, key)?;
    Ok(())
}

/// A stable short hash for cache keys (FNV-1a); not for anything an adversary chooses.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    struct Fnv(u64);
    impl hash::Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hash::Hasher::write(&mut hasher, bytes);
    hash::Hasher::finish(&hasher)
}
