//! `cargo xtask msrv`: builds each published crate with a real compiler of the release that its manifest states.
//!
//! A lint that knows since when a function is stable does not know since when the language takes an expression. So the stated
//! release itself compiles: one that is here, or the one that the pinned Debian release has. A crate states a release that can be had.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::setup::{self, Release};
use crate::{progress, workspace};

/// The crates that are published.
pub(crate) const PUBLISHED: [&str; 3] = ["kstack-core", "kstack", "kstack-hosted"];

/// `cargo xtask msrv`
pub(crate) fn command() -> Result<ExitCode> {
    let mut failed = 0;
    for package in PUBLISHED {
        let began = Instant::now();
        match build(package) {
            Ok(compiler) => println!(
                "ok      {package} with {compiler} ({:.0} s)",
                began.elapsed().as_secs_f32()
            ),
            Err(error) => {
                failed += 1;
                println!("FAILED  {package}: {error:#}");
            }
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds a crate with all that is on by default; says with what.
fn build(package: &str) -> Result<String> {
    let release = stated(package)?;
    let toolchain = setup::compiler_of(release)?;
    let mut cargo = toolchain.cargo();
    cargo
        .args(["check", "--package", package, "--lib", "--locked", "--quiet", "--target-dir"])
        .arg(workspace::root().join("target/msrv").join(release.to_string()))
        .env("CARGO_BUILD_WARNINGS", "allow");
    progress::command(&format!("Building {package} with Rust {release}"), &mut cargo)?;
    Ok(format!("Rust {}", toolchain.full_release()))
}

/// The release that a crate's manifest states.
fn stated(package: &str) -> Result<Release> {
    let manifest = workspace::root().join(package).join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", workspace::shown(&manifest)))?;
    setup::stated_release(&text).with_context(|| format!("{package} states no rust-version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that names a release names the one that is built.
    #[test]
    fn each_published_crate_states_a_release_and_its_readme_says_the_same() {
        for package in PUBLISHED {
            let release = stated(package).expect(package);
            let readme = workspace::root().join(package).join("README.md");
            let text = fs::read_to_string(readme).expect(package);
            assert!(text.contains(&format!("Rust {release} or newer")), "{package}: {release}");
        }
    }
}
