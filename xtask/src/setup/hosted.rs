//! What `kstack-hosted`'s tests for arm64 need on a machine of another kind: fetched by the command
//! `setup`, or when the tests are first run.
//!
//! | part | where it is from |
//! |---|---|
//! | the standard library | made by cargo's build-std from the compiler's own source, in the tests' target folder |
//! | the C library and the start files | packages of the pinned release, for arm64 |
//! | an emulator of arm64 programs | the pinned release's `qemu-user` |
//! | the linker | the kernel's |
//!
//! No compiler for C is needed. The linker is called directly, so what such a compiler would add to
//! its arguments is written out here.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::archive::{Edition, own_architecture};
use super::packages::Packages;
use super::ready::Ready;
use super::{choice, tools};
use crate::progress;
use crate::workspace;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The emulator's place in its package. It is linked statically.
const EMULATOR: &str = "usr/bin/qemu-aarch64";

/// Where the C library lies in its packages.
const LIBRARY: &str = "usr/lib/aarch64-linux-gnu";
/// Where the compiler's support library lies.
const SUPPORT: &str = "usr/lib/gcc/aarch64-linux-gnu/14";

fn libraries() -> Packages {
    let set = ["libc6", "libc6-dev", "libgcc-s1", "libgcc-14-dev"];
    Packages {
        name: "libc-arm64".to_owned(),
        edition: Edition::Pinned,
        architecture: "arm64".to_owned(),
        sets: vec![set.map(str::to_owned).to_vec()],
        with_needs: false,
        programs: Vec::new(),
    }
}

fn emulator() -> Result<Packages> {
    Ok(Packages {
        name: "qemu-user".to_owned(),
        edition: Edition::Pinned,
        architecture: own_architecture()?,
        sets: vec![vec!["qemu-user".to_owned()]],
        with_needs: false,
        programs: Vec::new(),
    })
}

/// Fetches what is missing, and returns the command that builds the tests and runs them in the
/// emulator; `ready` is arm64's.
pub(crate) fn hosted_on_arm64(ready: &Ready) -> Result<Command> {
    let source = choice::library_source(&ready.toolchain)?;
    let libraries = libraries();
    libraries.fetched(
        "the C library for arm64: about 12 MB to download, 60 MB unpacked",
        |root| {
            // Its linker script and the programs look for it below /lib.
            symlink("usr/lib", root.join("lib"))?;
            for file in start_files(root).iter().flatten() {
                ensure!(file.is_file(), "the packages have no {}", file.display());
            }
            Ok(())
        },
    )?;
    let emulator = emulator()?;
    emulator.fetched("an emulator of arm64 programs: about 60 MB to download", |root| {
        // The package has one for each of thirty processors.
        let emulator = root.join(EMULATOR);
        for entry in fs::read_dir(root.join("usr/bin"))? {
            let path = entry?.path();
            if path != emulator {
                fs::remove_file(path)?;
            }
        }
        let said = tools::version(&emulator)?;
        progress::detail(|| said);
        Ok(())
    })?;
    let root = libraries.folder()?;
    let runner = format!("{} -L {}", emulator.folder()?.join(EMULATOR).display(), root.display());
    let mut cargo = ready.toolchain.cargo();
    cargo
        .args(["test", "-p", "kstack-hosted", "--tests", "--target", TARGET])
        .arg("-Zbuild-std=std,panic_unwind,test")
        .arg("--target-dir")
        .arg(workspace::root().join("target/hosted-arm64"))
        .env("RUSTC_BOOTSTRAP", "1")
        // Backtraces need lines; types would take the emulator seconds to read.
        .env("CARGO_PROFILE_TEST_DEBUG", "line-tables-only")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", &runner)
        // For the tests that start themselves.
        .env("KSTACK_HOSTED_RUNNER", &runner)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&root, ready).join("\u{1f}"));
    if let Some(source) = source {
        // Cargo's own variable for its tests: where the library is, in place of the compiler's
        // folder.
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", source.join("library"));
    }
    Ok(cargo)
}

/// Builds the tests, so that nothing is left to fetch for them.
pub(super) fn build(ready: &Ready) -> Result<()> {
    let mut cargo = hosted_on_arm64(ready)?;
    cargo.args(["--no-run", "--quiet"]);
    progress::command("Building kstack-hosted's tests for arm64", &mut cargo)?;
    Ok(())
}

/// What stands before and behind everything else in a program that the C library starts.
fn start_files(root: &Path) -> [Vec<PathBuf>; 2] {
    let (library, support) = (root.join(LIBRARY), root.join(SUPPORT));
    [
        vec![library.join("Scrt1.o"), library.join("crti.o"), support.join("crtbeginS.o")],
        vec![support.join("crtendS.o"), library.join("crtn.o")],
    ]
}

fn flags(root: &Path, ready: &Ready) -> Vec<String> {
    let mut flags = ready.linker.flags().to_vec();
    flags.extend(["-Clink-self-contained=no", "-Zunstable-options"].map(str::to_owned));
    let [first, last] = start_files(root);
    let shown = |files: Vec<PathBuf>| files.into_iter().map(|file| file.display().to_string());
    let arguments = [format!("--sysroot={}", root.display())]
        .into_iter()
        .chain(shown(first))
        .chain([LIBRARY, SUPPORT].map(|folder| format!("-L{}", root.join(folder).display())))
        .chain(["-dynamic-linker", "/lib/ld-linux-aarch64.so.1"].map(str::to_owned))
        .chain(["--eh-frame-hdr", "-lgcc", "-lc"].map(str::to_owned))
        .chain(shown(last));
    flags.extend(arguments.map(|argument| format!("-Clink-arg={argument}")));
    flags
}
