//! A local sysroot: core and alloc for a bare-metal target, made once from the compiler's own
//! source.
//!
//! ```text
//!   <cache>/sysroot/<commit>-<flags>/lib/rustlib/<target>/lib/lib{core,alloc,compiler_builtins}-*.rlib
//! ```
//!
//! Only this one-time build uses cargo's unstable build-std (and the variable that lets a stable
//! compiler do it); the kernel itself is then built by the plain stable compiler with `--sysroot`.
//! A sysroot fits exactly one compiler commit, and must agree with the kernel's code generation
//! flags where the frame layout matters, so both are in its key.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cache::{self, Lock, State, fingerprint};
use super::toolchain::{Toolchain, holds_core_for};
use crate::arch::Arch;
use crate::progress;
use crate::variant::{Target, Variant};
use crate::workspace::made;

/// The kernel is linked with thin link-time optimisation, which reads bitcode from the libraries.
const BITCODE: &str = "-Cembed-bitcode=yes";

/// By which cargo takes a target that is described in a file.
pub(crate) const OTHER_TARGET: &str = "-Zjson-target-spec";

const MANIFEST: &str = r#"[package]
name = "kstack-sysroot"
version = "0.0.0"
edition = "2021"

[lib]
path = "lib.rs"

[workspace]

[profile.release]
debug = "line-tables-only"
panic = "abort"
"#;

/// A sysroot made earlier for this compiler and architecture.
pub(super) fn cached(
    toolchain: &Toolchain,
    arch: Arch,
    variant: Variant,
) -> Result<Option<PathBuf>> {
    let path = folder(toolchain, arch, variant)?;
    let state = cache::state(&path);
    if matches!(state, State::Damaged(_)) {
        cache::say_if_damaged(&path, &state);
    }
    Ok((state == State::Whole && holds_core_for(&path, &arch.target_name(variant))).then_some(path))
}

/// Makes the sysroot.
pub(super) fn make(lock: &Lock, toolchain: &Toolchain, arch: Arch, variant: Variant) -> Result<()> {
    let folder = folder(toolchain, arch, variant)?;
    cache::make(lock, &folder, |into| fill(toolchain, arch, variant, into))
}

/// Where a variant's target is described, in its sysroot.
pub(crate) fn description(sysroot: &Path, arch: Arch, variant: Variant) -> PathBuf {
    sysroot.join(format!("{}.json", arch.target_name(variant)))
}

/// Describes a variant's target: as the compiler describes the usual one, with LLVM's name for
/// another in it.
fn describe(toolchain: &Toolchain, arch: Arch, target: Target) -> Result<String> {
    let mut rustc = toolchain.compiler();
    rustc
        .args(["-Zunstable-options", "--print", "target-spec-json", "--target", arch.target()])
        .env("RUSTC_BOOTSTRAP", "1");
    let usual = progress::quiet(&mut rustc)?;
    let mut told: serde_json::Map<String, Value> = serde_json::from_str(&usual)?;
    told.remove("metadata");
    told.insert("llvm-target".to_owned(), target.llvm.into());
    if !target.features.is_empty() {
        let usual = told.get("features").and_then(Value::as_str).unwrap_or_default();
        let both = [usual, target.features].join(",");
        told.insert("features".to_owned(), both.trim_start_matches(',').into());
    }
    Ok(serde_json::to_string_pretty(&told)?)
}

fn fill(toolchain: &Toolchain, arch: Arch, variant: Variant, into: &Path) -> Result<()> {
    let name = arch.target_name(variant);
    let mut target = name.clone();
    // Beside the item, on the same disk; what an interrupted try has left is in the way of none.
    let work = into.with_extension("work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let package = made(work.join("package"))?;
    fs::write(package.join("Cargo.toml"), MANIFEST)?;
    fs::write(package.join("lib.rs"), "#![no_std]\nextern crate alloc;\n")?;

    let mut cargo = toolchain.cargo();
    let mut taken = Vec::new();
    if let Some(other) = arch.target_of(variant) {
        let file = description(into, arch, variant);
        fs::write(&file, describe(toolchain, arch, other)?)?;
        target = file.display().to_string();
        taken.push(OTHER_TARGET);
    }
    cargo
        .current_dir(&package)
        .args(["build", "--release", "--target", &target])
        .args(taken)
        .args(["-Zbuild-std=core,alloc,compiler_builtins"])
        .args(["-Zbuild-std-features=compiler-builtins-mem"])
        .arg("--target-dir")
        .arg(work.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(arch, variant).join("\u{1f}"));
    if let Some(source) = toolchain.fetched_source()? {
        // Cargo's own variable for its tests: where the library is, in place of the compiler's
        // folder.
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", source.join("library"));
    }
    progress::command(
        &format!("Making core and alloc for {name} (once per compiler, about a minute)"),
        &mut cargo,
    )?;

    let library = made(into.join("lib/rustlib").join(&name).join("lib"))?;
    let built = work.join("target").join(&name).join("release/deps");
    let mut copied = 0;
    for entry in fs::read_dir(&built).with_context(|| format!("no {}", built.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = ["libcore-", "liballoc-", "libcompiler_builtins-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if wanted && name.ends_with(".rlib") {
            fs::copy(entry.path(), library.join(&name))?;
            copied += 1;
        }
    }
    ensure!(copied == 3, "expected core, alloc and compiler_builtins, but {copied} were built");
    fs::remove_dir_all(&work)?;
    Ok(())
}

fn flags(arch: Arch, variant: Variant) -> Vec<&'static str> {
    let mut flags = arch.description().codegen_flags.to_vec();
    flags.extend(variant.flags());
    flags.push(BITCODE);
    flags
}

fn folder(toolchain: &Toolchain, arch: Arch, variant: Variant) -> Result<PathBuf> {
    let mut key = format!("{} {}", arch.target(), flags(arch, variant).join(" "));
    if let Some(target) = arch.target_of(variant) {
        key.push_str(&format!(" {target:?}"));
    }
    let key = fingerprint(key.as_bytes());
    let commit = toolchain.commit.get(..12).unwrap_or(&toolchain.commit);
    Ok(cache::folder()?.join("sysroot").join(format!("{commit}-{key:016x}")))
}
