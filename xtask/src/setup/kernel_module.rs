//! What a module for the distribution's kernel is built with, for `cargo xtask bench --against`
//! alone.
//!
//! ```text
//!   headers of the kernel's own release    linux-headers-*-common, and the architecture's
//!   a compiler for every architecture      clang-19, which assembles, too; the linker is everybody's
//!   the kernel's own tools                 linux-kbuild: modpost, and objtool for x86_64's unwinder
//! ```
//!
//! All are packages of the pinned release, unpacked below the cache: no compiler of this machine is
//! asked, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::archive::{self, Archive, Edition};
use super::cache::{self, Lock, State};
use super::linux::Linux;
use super::packages::{Launcher, Packages};
use super::tools;

/// What builds modules for one kernel.
pub(crate) struct ModuleTools {
    /// A C compiler for every architecture.
    pub(crate) clang: PathBuf,
    /// The linker.
    pub(crate) linker: PathBuf,
    /// Writes a module's description, with the versions of the symbols that it takes.
    pub(crate) modpost: PathBuf,
    /// Writes the unwinder's tables of an x86_64 module.
    pub(crate) objtool: PathBuf,
    /// The source that every module has in common.
    pub(crate) common_source: PathBuf,
    /// Headers of all architectures.
    pub(crate) common: PathBuf,
    /// Headers that the kernel's build has made, its configuration and the versions of its symbols.
    pub(crate) own: PathBuf,
}

const CLANG: &str = "clang";
const MODPOST: &str = "modpost";
const OBJTOOL: &str = "objtool";

/// What the packages hold besides, and a module does not need.
const NOT_NEEDED: [&str; 3] = ["usr/include", "usr/lib/gcc", "usr/lib/bfd-plugins"];

/// The headers and tools for a kernel, fetched if need be.
pub(crate) fn module_tools(linux: &Linux) -> Result<ModuleTools> {
    let release = &linux.release;
    let headers = headers(linux);
    fetched(
        linux,
        &headers,
        &format!("the headers of Linux {release}: about 15 MB to download, 75 MB unpacked"),
    )?;
    let programs = programs(release)?;
    fetched(
        linux,
        &programs,
        "a C compiler and Linux's tools for modules: about 95 MB to download, 350 MB unpacked",
    )?;
    let folder = programs.folder()?;
    let program = |name: &str| folder.join(Launcher::place(name));
    let source = headers.folder()?.join("usr/src");
    Ok(ModuleTools {
        clang: program(CLANG),
        linker: tools::linker()?,
        modpost: program(MODPOST),
        objtool: program(OBJTOOL),
        common_source: folder.join(kbuild(release)).join("scripts/module-common.c"),
        common: source.join(format!("linux-headers-{}-common", base(release))),
        own: source.join(format!("linux-headers-{release}")),
    })
}

/// A release without its flavour: what the packages of all flavours have in their names.
fn base(release: &str) -> &str {
    release.split_once('-').map_or(release, |(base, _)| base)
}

fn kbuild(release: &str) -> String {
    format!("usr/lib/linux-kbuild-{}", base(release))
}

fn headers(linux: &Linux) -> Packages {
    let release = &linux.release;
    Packages {
        name: format!("linux-headers-{}", linux.machine),
        edition: Edition::Pinned,
        architecture: linux.machine.description().debian.to_owned(),
        sets: vec![vec![
            format!("linux-headers-{release}"),
            format!("linux-headers-{}-common", base(release)),
        ]],
        with_needs: false,
        programs: Vec::new(),
    }
}

fn programs(release: &str) -> Result<Packages> {
    let kbuild = kbuild(release);
    let launcher = |name: &str, program: String, libraries| Launcher {
        name: name.to_owned(),
        program,
        libraries,
        variables: &[],
        arguments: &[],
    };
    Ok(Packages {
        name: "linux-modules".to_owned(),
        edition: Edition::Pinned,
        architecture: archive::own_architecture()?,
        sets: vec![vec!["clang-19".to_owned(), format!("linux-kbuild-{}", base(release))]],
        with_needs: true,
        programs: vec![
            launcher(CLANG, "usr/lib/llvm-19/bin/clang".to_owned(), &["usr/lib/llvm-19/lib"]),
            // For the architectures that are measured: 64 bits, the lowest byte first.
            launcher(MODPOST, format!("{kbuild}/scripts/mod/modpost.real-lsb-64"), &[]),
            launcher(OBJTOOL, format!("{kbuild}/tools/objtool/objtool.real-x86"), &[]),
        ],
    })
}

fn fetched(linux: &Linux, packages: &Packages, what: &str) -> Result<()> {
    if packages.state()? == State::Whole {
        return Ok(());
    }
    let lock = Lock::take()?;
    let place = packages.folder()?;
    // Another command may have made it meanwhile.
    let state = packages.state()?;
    if state == State::Whole {
        return Ok(());
    }
    cache::say_if_damaged(&place, &state);
    eprintln!("This needs {what}");
    let archive = Archive::open(&packages.architecture, Edition::Pinned)?;
    let named = format!("linux-headers-{}", linux.release);
    if packages.architecture == linux.machine.description().debian {
        ensure!(
            archive.named(&named)?.contains(&named),
            "the archive no longer has {named}: remove {}, and the same command fetches a newer Linux",
            linux.kernel.parent().unwrap_or(&linux.kernel).display()
        );
    }
    packages
        .make_at(&lock, &archive, &place, |root| {
            for folder in NOT_NEEDED {
                let folder = root.join(folder);
                if folder.is_dir() {
                    fs::remove_dir_all(folder)?;
                }
            }
            without_debugging(root)
        })
        .with_context(|| format!("a module for Linux {} cannot be built", linux.release))
}

/// Removes the copy of the kernel for its debugger: 30 MB that a module is not built from.
fn without_debugging(root: &Path) -> Result<()> {
    let Ok(folders) = fs::read_dir(root.join("usr/src")) else { return Ok(()) };
    for folder in folders {
        let kernel = folder?.path().join("vmlinux");
        if kernel.is_file() {
            fs::remove_file(kernel)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    #[test]
    fn headers_are_those_of_the_kernel_s_own_release() {
        let linux = Linux {
            machine: Arch::Arm64,
            console: "ttyAMA0",
            kernel: PathBuf::new(),
            release: "6.12.117+deb13-cloud-arm64".to_owned(),
        };
        let headers = headers(&linux);
        let names =
            ["linux-headers-6.12.117+deb13-cloud-arm64", "linux-headers-6.12.117+deb13-common"];
        assert_eq!(headers.sets, [names.map(str::to_owned).to_vec()]);
        assert_eq!(headers.architecture, "arm64");
        assert_eq!(kbuild(&linux.release), "usr/lib/linux-kbuild-6.12.117+deb13");
    }
}
