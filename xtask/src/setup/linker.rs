//! Which linker links the kernel, and whether it can: it is tried on each target before anything is
//! built with it.
//!
//! It is the pinned release's LLVM linker ([`super::tools`]), or the one that `KSTACK_LINKER`
//! names. GNU's must be told apart, since the compiler passes options to LLVM's that it rejects.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::cache::{self, fingerprint};
use super::toolchain::Toolchain;
use super::tools;
use crate::arch::Arch;
use crate::workspace::made;
use crate::{progress, workspace};

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

/// The smallest program there is; it is linked, never run.
const PROGRAM: &str = "#![no_std]\n#![no_main]\n\
    #[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n\
    #[unsafe(no_mangle)]\nextern \"C\" fn _start() -> ! { loop {} }\n";

/// The linker for an architecture, tried once for each compiler, linker and target.
pub(super) fn ready(toolchain: &Toolchain, arch: Arch) -> Result<Linker> {
    let path = tools::linker()?;
    let metadata = fs::metadata(&path).with_context(|| format!("no linker {}", path.display()))?;
    let key = format!(
        "{} {} {} {:?}",
        toolchain.commit,
        arch.target(),
        path.display(),
        metadata.modified().ok()
    );
    let stamp =
        made(cache::folder()?.join("tried"))?.join(format!("{:016x}", fingerprint(key.as_bytes())));
    // The flavour that was found to work stands in the stamp.
    let flavors = ["ld.lld", "ld"];
    if let Ok(known) = fs::read_to_string(&stamp)
        && let Some(flavor) = flavors.into_iter().find(|&flavor| flavor == known)
    {
        return Ok(Linker { path, flavor });
    }
    let mut refusal = None;
    for flavor in flavors {
        let linker = Linker { path: path.clone(), flavor };
        match try_on(toolchain, &linker, arch) {
            Ok(()) => {
                fs::write(&stamp, flavor)?;
                return Ok(linker);
            }
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let refusal = refusal.context("no flavour was tried")?;
    Err(refusal.context(format!(
        "{} does not link for {}; {} can name another linker (LLVM's ld.lld links for all)",
        path.display(),
        arch.target(),
        tools::LINKER
    )))
}

fn try_on(toolchain: &Toolchain, linker: &Linker, arch: Arch) -> Result<()> {
    let folder = made(workspace::output()?.join(format!("link-{arch}-{}", std::process::id())))?;
    let source = folder.join("try.rs");
    fs::write(&source, PROGRAM)?;
    let mut rustc = toolchain.compiler();
    rustc
        .current_dir(&folder)
        .args(["--edition", "2024", "--crate-type", "bin", "-Cpanic=abort", "-Awarnings"])
        .args(["--target", arch.target()])
        .args(toolchain.sysroot.iter().map(|path| format!("--sysroot={}", path.display())))
        .args(linker.flags())
        .args(arch.description().kernel_flags)
        .args(arch.description().codegen_flags)
        .arg("-Clink-arg=-nostdlib")
        .args(["-o", "tried"])
        .arg(&source);
    let tried = progress::quiet(&mut rustc);
    // Only clutter if this fails.
    let _ = fs::remove_dir_all(&folder);
    tried.map(drop)
}
