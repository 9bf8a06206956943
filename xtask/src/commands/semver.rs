//! `cargo xtask semver`: whether the published crates' interfaces still fit their version.
//!
//! ```text
//!   xtask/baseline/*.crate ─ unpacked, one workspace ─▶ rustdoc's JSON ┐
//!                                                                      ├─▶ cargo-semver-checks, each crate
//!   this tree ────────────────────────────────────────▶ rustdoc's JSON ┘
//! ```
//!
//! The baseline is the packages of the version that was cut last, as they are published: they need no network, no history of the
//! repository and no tag, and the registry will have the same files. `--cut` replaces them: after the version in Cargo.toml and the
//! CHANGELOG have a new section, or while a version is not published yet. Interfaces are read as on the host; that the architectures' trees
//! have the same items is `parallel`'s matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::commands::msrv::PUBLISHED;
use crate::workspace::cargo;
use crate::{progress, setup, workspace};

/// What to compare.
#[derive(Args)]
pub(crate) struct Options {
    /// Make the packages of this tree the ones that later trees are compared with.
    #[arg(long)]
    cut: bool,
}

/// Where the packages are kept.
const BASELINE: &str = "xtask/baseline";

/// `cargo xtask semver`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    if options.cut {
        cut()?;
    }
    let program = setup::semver_checks()?;
    let output = workspace::made(workspace::root().join("target/semver"))?;
    let before = unpack(&output.join("baseline"))?;
    let mut failed = 0;
    for package in PUBLISHED {
        let old = interface(&before, &output.join("before"), package)?;
        let new = interface(&workspace::root(), &output.join("now"), package)?;
        let mut compare = Command::new(&program);
        compare.arg("semver-checks").arg("--baseline-rustdoc").arg(old);
        compare.arg("--current-rustdoc").arg(new);
        match progress::quiet(&mut compare) {
            Ok(_) => println!("ok      {package}: fits its version"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {package}: {error:#}");
            }
        }
    }
    if failed > 0 {
        println!("Keep the old interface beside the new one, or cut a new version (`--cut`).");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Packs this tree's crates into the baseline.
fn cut() -> Result<()> {
    let output = workspace::output()?;
    let mut pack = cargo("package");
    pack.args(PUBLISHED.iter().flat_map(|package| ["-p", package]));
    pack.args(["--no-verify", "--allow-dirty", "--offline", "--target-dir"]).arg(&output);
    progress::command("Packing the published crates", &mut pack)?;
    let folder = workspace::made(workspace::root().join(BASELINE))?;
    for old in packages(&folder)? {
        fs::remove_file(old)?;
    }
    for package in PUBLISHED {
        let name = format!("{package}-{}.crate", env!("CARGO_PKG_VERSION"));
        fs::copy(output.join("package").join(&name), folder.join(&name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

/// The packages in a folder.
fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| workspace::shown(folder))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "crate"));
    found.sort();
    Ok(found)
}

/// The package in the baseline of one of the crates.
fn package_of(package: &str, found: &[PathBuf]) -> Result<PathBuf> {
    let is = |path: &&PathBuf| {
        let version = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix(package));
        version
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    };
    let mut fitting = found.iter().filter(is);
    let first = fitting.next().with_context(|| format!("{BASELINE} has no {package}"))?;
    ensure!(fitting.next().is_none(), "{BASELINE} has two versions of {package}");
    Ok(first.clone())
}

/// Unpacks the baseline as a workspace of its own, in which the crates find each other.
fn unpack(into: &Path) -> Result<PathBuf> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    let found = packages(&workspace::root().join(BASELINE))?;
    for package in PUBLISHED {
        let folder = workspace::made(into.join(package))?;
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(package_of(package, &found)?).arg("-C").arg(&folder);
        progress::quiet(tar.args(["--strip-components", "1"]))?;
    }
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = {PUBLISHED:?}\n\n[patch.crates-io]\nkstack-core = {{ path = \"kstack-core\" }}\n"
    );
    fs::write(into.join("Cargo.toml"), manifest)?;
    fs::copy(workspace::root().join("Cargo.lock"), into.join("Cargo.lock"))?;
    Ok(into.to_path_buf())
}

/// A crate's interface, as the documentation tool writes it for programs.
fn interface(root: &Path, target: &Path, package: &str) -> Result<PathBuf> {
    let mut rustdoc = cargo("rustdoc");
    rustdoc.current_dir(root).args(["--package", package, "--lib", "--quiet", "--offline"]);
    rustdoc.arg("--target-dir").arg(target).args(["--", "-Zunstable-options"]);
    rustdoc.args(["--output-format=json", "--document-private-items", "--document-hidden-items"]);
    // The form is unstable; cargo-semver-checks asks for it in the same way.
    rustdoc.arg("--cap-lints=allow").env("RUSTC_BOOTSTRAP", "1");
    progress::command(&format!("Reading the interface of {package}"), &mut rustdoc)?;
    Ok(target.join("doc").join(package.replace('-', "_")).with_extension("json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        let paths = ["a/kstack-0.1.0.crate", "a/kstack-core-0.1.0.crate"].map(PathBuf::from);
        assert_eq!(package_of("kstack", &paths).unwrap(), paths[0]);
        assert_eq!(package_of("kstack-core", &paths).unwrap(), paths[1]);
        assert!(package_of("kstack-hosted", &paths).is_err());
        let two = ["a/kstack-0.1.0.crate", "a/kstack-0.2.0.crate"].map(PathBuf::from);
        assert!(package_of("kstack", &two).is_err());
    }

    /// The version that was cut last has a section in the CHANGELOG, and each crate is in the baseline.
    #[test]
    fn the_baseline_is_the_newest_section_of_the_changelog() {
        let root = workspace::root();
        let changelog = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
        let newest = changelog
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .find(|title| title.starts_with(|first: char| first.is_ascii_digit()))
            .and_then(|title| title.split(' ').next())
            .expect("a section of a version");
        let found = packages(&root.join(BASELINE)).unwrap();
        for package in PUBLISHED {
            let path = package_of(package, &found).unwrap();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            assert_eq!(name, format!("{package}-{newest}.crate"));
        }
    }
}
