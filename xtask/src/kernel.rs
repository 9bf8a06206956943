//! Building the reference kernel with the compiler that set-up found.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::frames;
use crate::setup::{self, Ready};
use crate::workspace;

/// `cargo xtask build`
pub(crate) fn command(arch: Arch) -> Result<ExitCode> {
    let ready = setup::ensure(arch)?;
    let kernel = build(arch, &ready)?;
    println!("{}", workspace::shown(&kernel));
    Ok(ExitCode::SUCCESS)
}

/// The flags for everything compiled for the kernel's target.
pub(crate) fn flags(arch: Arch, ready: &Ready) -> Vec<String> {
    let script = workspace::root().join("kernel/src/arch").join(arch.name()).join("kernel.ld");
    let mut flags: Vec<String> = Vec::new();
    flags
        .extend(ready.toolchain.sysroot.iter().map(|path| format!("--sysroot={}", path.display())));
    flags.extend(ready.linker.flags());
    flags.extend(
        arch.kernel_flags().iter().chain(arch.codegen_flags()).map(|&flag| flag.to_owned()),
    );
    flags.push(format!("-Clink-arg=-T{}", script.display()));
    flags
}

/// Makes a cargo command one for the kernel's target, with its flags and its own build folder.
pub(crate) fn target(
    mut cargo: Command,
    arch: Arch,
    ready: &Ready,
    subcommand: &str,
) -> Result<Command> {
    cargo
        .args([subcommand, "-p", "kernel", "--release", "--target", arch.target()])
        .arg("--target-dir")
        .arg(workspace::cache()?.join("target"))
        // Encoded, because a path in a flag may contain spaces.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(arch, ready).join("\u{1f}"));
    Ok(cargo)
}

/// Builds the kernel and gives the path of its ELF image.
pub(crate) fn build(arch: Arch, ready: &Ready) -> Result<PathBuf> {
    let mut cargo = target(ready.toolchain.cargo(), arch, ready, "build")?;
    eprintln!("Building the kernel for {arch}");
    // Cargo's own progress and the compiler's messages are the best there are: let them through.
    let status = cargo
        .arg("--quiet")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the kernel does not build");
    let path = workspace::cache()?.join("target").join(arch.target()).join("release/kernel");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    let widest = frames::check(&path)?;
    eprintln!("The widest frame has {} bytes: {}", widest.bytes, widest.function);
    Ok(path)
}
