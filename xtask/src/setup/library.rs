//! The library as it would be published, for those who adopt it: the examples, each a workspace of
//! its own.
//!
//! ```text
//!   cargo package ─> target/kstack/package/*.crate ─> unpacked: target/kstack/packages/{kstack,kstack-core}
//!                                                            ↑ [patch.crates-io] of each example
//! ```

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::{jobs, progress, workspace};

/// Every example's folder, by name.
pub(crate) fn examples() -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("examples");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// Removes what cargo keeps of packages of ours that an earlier check has unpacked and compiled. It
/// takes a package for unchanged as long as its version is, so a check would build on a dependency
/// as it was before. Only the registries that such a check makes, which have no host in their name,
/// are looked through, and in them our packages. Returns a folder for the check to build in.
pub(crate) fn forget_packages() -> Result<PathBuf> {
    // What was compiled from them goes, too.
    let fresh = workspace::root().join("target/verify");
    if fresh.is_dir() {
        fs::remove_dir_all(&fresh)?;
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))) else {
        return Ok(fresh);
    };
    for kind in ["cache", "src"] {
        let Ok(registries) = fs::read_dir(home.join("registry").join(kind)) else { continue };
        for registry in registries {
            let registry = registry?;
            if !registry.file_name().to_string_lossy().starts_with('-') {
                continue;
            }
            for package in fs::read_dir(registry.path())? {
                let package = package?;
                if !package.file_name().to_string_lossy().starts_with("kstack") {
                    continue;
                }
                if package.file_type()?.is_dir() {
                    fs::remove_dir_all(package.path())?;
                } else {
                    fs::remove_file(package.path())?;
                }
            }
        }
    }
    Ok(fresh)
}

/// Packs the library as it would be published, and unpacks it where the examples look for it.
pub(crate) fn pack() -> Result<()> {
    static IS_PACKED: Mutex<bool> = Mutex::new(false);
    // Examples of several architectures are built at one time, each from the packages.
    let mut is_packed = jobs::lock(&IS_PACKED);
    if *is_packed {
        return Ok(());
    }
    let output = workspace::output()?;
    let mut cargo = workspace::cargo("package");
    cargo
        .args(["-p", "kstack-core", "-p", "kstack", "--no-verify", "--allow-dirty", "--offline"])
        .arg("--target-dir")
        .arg(&output);
    progress::command("Packing kstack and kstack-core", &mut cargo)?;
    for name in ["kstack", "kstack-core"] {
        let packed =
            output.join("package").join(format!("{name}-{}.crate", env!("CARGO_PKG_VERSION")));
        let fresh = workspace::made(output.join("packages").join(format!("{name}.new")))?;
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(&packed).arg("-C").arg(&fresh).args(["--strip-components", "1", "-m"]);
        progress::quiet(&mut tar)?;
        let place = output.join("packages").join(name);
        // An unchanged package keeps its place and its times, so that nothing is built again for
        // it.
        if place.is_dir()
            && progress::quiet(Command::new("diff").arg("-r").args([&place, &fresh])).is_ok()
        {
            fs::remove_dir_all(&fresh)?;
            continue;
        }
        if place.is_dir() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(&fresh, &place)?;
    }
    *is_packed = true;
    Ok(())
}
