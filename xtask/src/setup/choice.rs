//! Which compiler builds the kernel.
//!
//! The first that can, in this order:
//!
//! 1. `KSTACK_RUSTC` (with `KSTACK_SYSROOT`, if core and alloc are to come from there),
//! 2. the `rustc` on PATH,
//! 3. `/usr/bin/rustc` and its versioned siblings, which a rustup installation hides,
//!
//! where "can" means that it is new enough and has core for the target: its own, a sysroot made
//! earlier by [`super::sysroot`], or the matching library source to make one from, which may come
//! from the pinned release's package `rust-src`.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use super::archive::{Archive, Edition, own_architecture};
use super::cache::Lock;
use super::sysroot;
use super::toolchain::{Toolchain, candidates, holds_core, inspect, minimum};
use crate::arch::Arch;
use crate::progress;
use crate::variant::Variant;

/// What the compilers here can do for an architecture, without making anything yet.
pub(super) enum Found {
    /// This one builds for it.
    Ready(Toolchain),
    /// This one does once core and alloc are made from the source that is there.
    NeedsSysroot(Toolchain),
    /// These are new enough, but have neither core for the target nor its source.
    NeedSource(Vec<Toolchain>),
}

/// The first compiler that can build for the architecture, or those that could.
pub(super) fn find(arch: Arch) -> Result<Found> {
    let needed = minimum()?;
    let given = env::var_os("KSTACK_RUSTC").map(PathBuf::from);
    let given_sysroot = env::var_os("KSTACK_SYSROOT").map(PathBuf::from);
    if let Some(sysroot) = &given_sysroot
        && !holds_core(sysroot, arch)
    {
        bail!("KSTACK_SYSROOT={} has no core for {}", sysroot.display(), arch.target());
    }
    let candidates = match &given {
        Some(rustc) => vec![rustc.clone()],
        None => candidates(),
    };
    let mut without = Vec::new();
    let mut making = None;
    for rustc in candidates {
        let Ok(mut toolchain) = inspect(&rustc) else {
            if given.is_some() {
                bail!("KSTACK_RUSTC={} does not run", rustc.display());
            }
            continue;
        };
        if toolchain.release < needed {
            progress::detail(|| format!("{toolchain} is too old: {needed} is needed"));
            continue;
        }
        if given_sysroot.is_some() {
            toolchain.sysroot = given_sysroot;
            return Ok(Found::Ready(toolchain));
        }
        if toolchain.has_core(arch) {
            return Ok(Found::Ready(toolchain));
        }
        if let Some(sysroot) = sysroot::cached(&toolchain, arch, Variant::Usual)? {
            toolchain.sysroot = Some(sysroot);
            return Ok(Found::Ready(toolchain));
        }
        if toolchain.has_source() || toolchain.fetched_source()?.is_some() {
            making = making.or(Some(toolchain));
        } else {
            without.push(toolchain);
        }
    }
    Ok(making.map_or(Found::NeedSource(without), Found::NeedsSysroot))
}

/// Fetches the library source for the architecture's compiler, if it needs that.
pub(super) fn fetch(lock: &Lock, arch: Arch) -> Result<()> {
    match find(arch)? {
        Found::NeedSource(toolchains) => fetch_source(lock, &toolchains, arch),
        Found::Ready(_) | Found::NeedsSysroot(_) => Ok(()),
    }
}

/// The compiler for the architecture, whose library source is there; its sysroot is made if it
/// needs one.
pub(super) fn make(lock: &Lock, arch: Arch) -> Result<()> {
    match find(arch)? {
        Found::Ready(_) => Ok(()),
        Found::NeedsSysroot(toolchain) => sysroot::make(lock, &toolchain, arch, Variant::Usual),
        Found::NeedSource(_) => Err(none_builds(arch)),
    }
}

/// Fetches the library source for the first compiler whose release the archive has.
fn fetch_source(lock: &Lock, toolchains: &[Toolchain], arch: Arch) -> Result<()> {
    if toolchains.is_empty() {
        return Err(none_builds(arch));
    }
    let archive = Archive::open(&own_architecture()?, Edition::Pinned)?;
    for toolchain in toolchains {
        let Some(version) = archive.version("rust-src", toolchain.full_release())? else {
            continue;
        };
        let Some(packages) = toolchain.source_packages(Some(&version)) else { continue };
        let place =
            toolchain.source_packages(None).context("the release has a package")?.folder()?;
        return packages.make_at(lock, &archive, &place, |root| {
            let source = root.join("usr/src").join(format!("rustc-{}", toolchain.full_release()));
            let library = source.join("library/core/src/lib.rs");
            ensure!(library.is_file(), "the package rust-src has no {}", library.display());
            // The rest of it is the compiler's own source: 90 % of the whole.
            for entry in fs::read_dir(&source)? {
                let path = entry?.path();
                if path.is_dir() && !path.ends_with("library") {
                    fs::remove_dir_all(path)?;
                }
            }
            Ok(())
        });
    }
    Err(none_builds(arch))
}

/// What the user can do where nothing here builds for the architecture.
pub(super) fn by_hand(arch: Arch) -> Result<String> {
    let add = if arch.description().own_core_fits {
        format!("rustup target add {}", arch.target())
    } else {
        "rustup component add rust-src".to_owned()
    };
    Ok(format!(
        "core for {}: `rustup update stable && {add}` brings it (Rust {} or newer; KSTACK_RUSTC can name another \
         compiler)",
        arch.target(),
        minimum()?,
    ))
}

/// The error where nothing here builds for an architecture, and the archive has nothing to help.
fn none_builds(arch: Arch) -> anyhow::Error {
    match by_hand(arch) {
        Ok(help) => anyhow::anyhow!(
            "no Rust compiler here builds for {arch}, and the archive has no library source of their releases; \
             missing is {help}"
        ),
        Err(error) => error,
    }
}

/// The library source that belongs to a compiler and is not its own, fetched if neither it nor the
/// cache has it; `None`: the compiler has its own.
pub(super) fn library_source(toolchain: &Toolchain) -> Result<Option<PathBuf>> {
    if toolchain.has_source() {
        return Ok(None);
    }
    if toolchain.fetched_source()?.is_none() {
        let lock = Lock::take()?;
        // Another command may have fetched it meanwhile.
        if toolchain.fetched_source()?.is_none() {
            eprintln!("This needs the library's source: about 50 MB to download");
            fetch_source(&lock, std::slice::from_ref(toolchain), Arch::Arm64)?;
        }
    }
    toolchain.fetched_source()
}
