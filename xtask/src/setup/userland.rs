//! Programs for the image: Debian's unmodified static busybox, fetched once into the cache.
//!
//! The package is downloaded and unpacked, not installed: it is for the emulated machine.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::apt;
use crate::arch::Arch;
use crate::workspace;

/// The static busybox for an architecture.
pub(super) fn busybox(arch: Arch) -> Result<PathBuf> {
    let folder = workspace::cache()?.join("userland").join(arch.name());
    // Debian moved the program from /bin to /usr/bin between releases.
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| folder.join(place));
    let there = || places.iter().find(|path| path.is_file()).cloned();
    if let Some(path) = there() {
        return Ok(path);
    }
    workspace::made(folder.clone())?;
    apt::unpack("busybox-static", arch, &folder)?;
    let path = there();
    ensure!(path.is_some(), "Debian's package busybox-static holds no busybox");
    let path = path.unwrap_or_default();
    ensure!(fs::read(&path)?.starts_with(b"\x7fELF"), "{} is not a program", path.display());
    Ok(path)
}
