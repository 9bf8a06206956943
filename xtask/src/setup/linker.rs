//! Which linker links the kernel, and how the compiler must speak to it.
//!
//! Any ELF linker will do: the one in a rustup toolchain (which is not on PATH), LLVM's, or GNU's.
//! GNU's must be told apart, since the compiler passes options to LLVM's that it rejects.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::toolchain::Toolchain;
use crate::workspace;

/// A linker and the dialect it understands.
#[derive(Clone, Debug)]
pub(crate) struct Linker {
    path: PathBuf,
    flavor: &'static str,
}

impl Linker {
    /// The compiler's flags that select this linker.
    pub(crate) fn flags(&self) -> [String; 2] {
        [format!("-Clinker={}", self.path.display()), format!("-Clinker-flavor={}", self.flavor)]
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (as {})", self.path.display(), self.flavor)
    }
}

/// The linker for a toolchain: its own if it has one, else one on PATH.
pub(super) fn find(toolchain: &Toolchain) -> Result<Linker> {
    let own = toolchain.own_sysroot.join("lib/rustlib").join(&toolchain.host).join("bin/rust-lld");
    if own.is_file() {
        return Ok(Linker { path: own, flavor: "ld.lld" });
    }
    find_any().context("no linker found (ld.lld or ld)")
}

/// A linker on PATH.
pub(super) fn find_any() -> Option<Linker> {
    let lld = (14..=30).rev().map(|version| format!("ld.lld-{version}"));
    std::iter::once("ld.lld".to_owned())
        .chain(lld)
        .find_map(|name| workspace::on_path(&name))
        .map(|path| Linker { path, flavor: "ld.lld" })
        .or_else(|| workspace::on_path("ld").map(|path| Linker { path, flavor: "ld" }))
}
