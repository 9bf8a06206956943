//! Building the reference kernel with the compiler that set-up found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::progress::{self, Activity};
use crate::rules::depth::{self, Bound};
use crate::rules::frames::{self, Checked};
use crate::rules::{instructions, unwinding};
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
    // Which instruction and which word names what: [`crate::rules::depth`] reads it where an
    // address is made of several instructions. The others' relocations have their addends in the
    // image, where readers of debug information would add them again.
    if matches!(arch, Arch::Arm64 | Arch::Riscv64) {
        flags.push("-Clink-arg=--emit-relocs".to_owned());
    }
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
        .arg(folder(arch, &features)?)
        // Encoded, because a path in a flag may contain spaces.
        .env("CARGO_ENCODED_RUSTFLAGS", flags_of(arch, variant, ready).join("\u{1f}"));
    Ok(cargo)
}

/// `cargo check` of the library alone, with some of its layers, for the kernel's target.
pub(crate) fn layers(
    mut cargo: Command,
    arch: Arch,
    layers: &str,
    ready: &Ready,
) -> Result<Command> {
    let mut flags = flags(arch, ready);
    flags.retain(|flag| !flag.starts_with("-Clink"));
    flags.push("-Dwarnings".to_owned());
    cargo
        .args(["check", "-p", "kstack", "--quiet", "--target", arch.target()])
        .args(["--no-default-features", "--features", layers])
        .arg("--target-dir")
        .arg(workspace::output_for(arch.name())?.join("layers"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    Ok(cargo)
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
    let path = folder(arch, &features)?.join(arch.target_name(variant)).join("release/kernel");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    instructions::check(&path)?;
    unwinding::check(&path)?;
    // Large frames that are aligned besides, as those with red zones are, are probed by a loop that
    // the check does not read. And where each function may find its frame smashed, the handler of
    // overflows may go as deep again from anywhere.
    let frames = match variant {
        Variant::Sanitizer => None,
        Variant::Usual | Variant::Protector => Some(frames::check(&path)?),
    };
    frames.iter().for_each(|frames| progress::detail(|| frames.to_string()));
    let bounds = if variant == Variant::Usual { depth::check(&path)? } else { Vec::new() };
    bounds.iter().for_each(|bound| progress::detail(|| bound.to_string()));
    let checked = frames.map_or_else(String::new, |frames| told(&frames, &bounds));
    fs::write(found(&path), checked)
        .with_context(|| format!("cannot write {}", found(&path).display()))?;
    Ok(path)
}

/// Where the checks of a kernel's image write what they have found.
fn found(kernel: &Path) -> PathBuf {
    kernel.with_extension("checked")
}

/// What the checks of a kernel's image have found, as the kernel's tests read it:
///
/// ```text
///   guard BYTES                    below each stack
///   frame BYTES FUNCTION           each that is wider than a page
///   stack BYTES HANDLER FAILURE KIND   how deep the handler of overflows goes there, and with a failure
/// ```
pub(crate) fn checked(kernel: &Path) -> Result<String> {
    let path = found(kernel);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn told(frames: &Checked, bounds: &[Bound]) -> String {
    let guard = format!("guard {}\n", frames.guard);
    let wide = frames.wide.iter();
    let wide = wide.map(|frame| format!("frame {} {}\n", frame.bytes, frame.function));
    let bounds = bounds.iter().map(|Bound { size, handler, failure, stack, .. }| {
        format!("stack {size} {handler} {failure} {stack}\n")
    });
    std::iter::once(guard).chain(wide).chain(bounds).collect()
}

/// A build folder for each set of options: in a common one, each would undo the other's work.
fn folder(arch: Arch, features: &[&str]) -> Result<PathBuf> {
    let name = ["kernel"].iter().chain(features).copied().collect::<Vec<_>>().join("-");
    Ok(workspace::output_for(arch.name())?.join(name))
}
