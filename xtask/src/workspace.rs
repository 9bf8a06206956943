//! Where things are: the workspace, its build output and its logs. What set-up fetches and makes is
//! elsewhere, in the user's cache (`setup::cache`).
//!
//! ```text
//!   <root>/target/             safe to delete
//!       kstack/<arch>/         build output of an architecture: two can be built at one time
//!         kernel/              the kernel's
//!         kernel-<options>/    the same for a kernel with build options
//!         user/                our user programs'
//!       kstack-logs/           a console and a control log per boot
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo says where the package is when it runs us; the compiled-in value is for a binary that
    // is started by hand.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// The folder with the build output for emulated machines, made if need be.
pub(crate) fn output() -> Result<PathBuf> {
    made(root().join("target").join("kstack"))
}

/// The folder with the build output for the architecture of this name, made if need be.
pub(crate) fn output_for(arch: &str) -> Result<PathBuf> {
    made(output()?.join(arch))
}

/// The folder with one pair of logs per boot, made if need be.
pub(crate) fn logs() -> Result<PathBuf> {
    made(root().join("target").join("kstack-logs"))
}

/// Makes a folder and everything above it.
pub(crate) fn made(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path)
        .with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path)
}

/// A command for the cargo that runs us: the one the user chose for the host.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg(subcommand).current_dir(root());
    command
}

/// A path as the user would write it: relative to the workspace where it lies inside.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Looks a program up on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
