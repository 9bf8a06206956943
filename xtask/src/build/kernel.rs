//! Building the reference kernel with the compiler that set-up found.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::progress::{self, Activity};
use crate::rules::{frames, instructions, unwinding};
use crate::setup::{self, OTHER_TARGET, Ready};
use crate::variant::Variant;
use crate::workspace;

/// `cargo xtask build`
pub(crate) fn command(archs: &[Arch], variant: Variant) -> Result<ExitCode> {
    for &arch in archs {
        let mut ready = setup::ensure(arch)?;
        setup::add_variant(&mut ready, arch, variant)?;
        let kernel = build(arch, arch.board().features, variant, &ready)?;
        println!("{}", workspace::shown(&kernel));
    }
    Ok(ExitCode::SUCCESS)
}

/// The flags for everything compiled for the kernel's target.
pub(crate) fn flags(arch: Arch, ready: &Ready) -> Vec<String> {
    flags_of(arch, Variant::Usual, ready)
}

/// The same for a variant of it.
fn flags_of(arch: Arch, variant: Variant, ready: &Ready) -> Vec<String> {
    let known = arch.description();
    let script =
        workspace::root().join("kernel/machine/src/arch").join(arch.name()).join("kernel.ld");
    let mut flags: Vec<String> = Vec::new();
    flags.extend(
        ready.sysroot_of(variant).iter().map(|path| format!("--sysroot={}", path.display())),
    );
    flags.extend(ready.linker.flags());
    flags.extend(known.kernel_flags.iter().chain(known.codegen_flags).map(|&flag| flag.to_owned()));
    flags.extend(variant.flags().iter().map(|&flag| flag.to_owned()));
    flags.push(format!("-Clink-arg=-T{}", script.display()));
    flags
}

/// Makes a cargo command one for the kernel's target, with its flags and its own build folder.
pub(crate) fn target(
    cargo: Command,
    arch: Arch,
    features: &[&str],
    ready: &Ready,
    subcommand: &str,
) -> Result<Command> {
    target_of(cargo, arch, features, Variant::Usual, ready, subcommand)
}

/// The same for a variant of the kernel.
fn target_of(
    mut cargo: Command,
    arch: Arch,
    features: &[&str],
    variant: Variant,
    ready: &Ready,
    subcommand: &str,
) -> Result<Command> {
    let mut target = arch.target().to_owned();
    cargo.arg(subcommand);
    if variant != Variant::Usual {
        let sysroot =
            ready.sysroot_of(variant).context("set-up has not made the variant's core")?;
        cargo.env("RUSTC_BOOTSTRAP", "1");
        if arch.target_of(variant).is_some() {
            target = setup::target_description(sysroot, arch, variant).display().to_string();
            cargo.arg(OTHER_TARGET);
        }
    }
    let features: Vec<&str> = features.iter().copied().chain(variant.feature()).collect();
    cargo
        .args(["-p", "kernel", "--release", "--target", &target])
        .args(["--features", &features.join(",")])
        .arg("--target-dir")
        .arg(folder(&features)?)
        // Encoded, because a path in a flag may contain spaces.
        .env("CARGO_ENCODED_RUSTFLAGS", flags_of(arch, variant, ready).join("\u{1f}"));
    Ok(cargo)
}

/// `cargo check` of the library alone, with some of its layers, for the kernel's target.
pub(crate) fn layers(mut cargo: Command, arch: Arch, layers: &str, ready: &Ready) -> Command {
    let mut flags = flags(arch, ready);
    flags.retain(|flag| !flag.starts_with("-Clink"));
    flags.push("-Dwarnings".to_owned());
    cargo
        .args(["check", "-p", "kstack", "--quiet", "--target", arch.target()])
        .args(["--no-default-features", "--features", layers])
        .arg("--target-dir")
        .arg(workspace::root().join("target/layers"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    cargo
}

/// Builds the kernel and gives the path of its ELF image.
pub(crate) fn build(
    arch: Arch,
    features: &[&str],
    variant: Variant,
    ready: &Ready,
) -> Result<PathBuf> {
    let mut cargo = target_of(ready.toolchain.cargo(), arch, features, variant, ready, "build")?;
    let features: Vec<&str> = features.iter().copied().chain(variant.feature()).collect();
    let with = if features.is_empty() { "" } else { " with " };
    let name = format!("Building the kernel for {arch}{with}{}", features.join(", "));
    let activity = Activity::start(name);
    // The compiler's messages are the best there are: let them through.
    let status = cargo
        .arg("--quiet")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    activity.done();
    ensure!(status.success(), "the kernel does not build");
    let path = folder(&features)?.join(arch.target_name(variant)).join("release/kernel");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    instructions::check(&path)?;
    unwinding::check(&path)?;
    // Large frames that are aligned besides, as those with red zones are, are probed by a loop that
    // the check does not read.
    if variant != Variant::Sanitizer {
        let checked = frames::check(&path)?;
        progress::detail(|| checked.to_string());
    }
    Ok(path)
}

/// A build folder for each set of options: in a common one, each would undo the other's work.
fn folder(features: &[&str]) -> Result<PathBuf> {
    let name = ["kernel"].iter().chain(features).copied().collect::<Vec<_>>().join("-");
    Ok(workspace::output()?.join(name))
}
