//! A compiler of exactly one release, for `cargo xtask msrv` alone: one that is here, or the
//! archive's, unpacked into the cache.
//!
//! ```text
//!   rustc on PATH, /usr/bin/rustc*, toolchains that rustup has unpacked     none of this release?
//!   └─▶ the pinned release's package rustc of that release, with its standard library    none either? an error that says so
//! ```

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use super::archive::{self, Archive, Edition};
use super::cache::{self, Lock, State};
use super::packages::{Launcher, Packages};
use super::toolchain::{self, Release, Toolchain};

const RUSTC: &str = "rustc";
/// What a compiler that links nothing does not need: another compiler, for C, and its tools.
const NOT_NEEDED: [&str; 5] =
    ["usr/lib/gcc", "usr/libexec", "usr/include", "usr/lib/bfd-plugins", "usr/share"];

/// A compiler of this release, fetched if it is not here.
pub(crate) fn of_release(release: Release) -> Result<Toolchain> {
    let mut here = toolchain::candidates();
    here.extend(unpacked_by_rustup());
    let fits = |rustc: &PathBuf| {
        toolchain::inspect(rustc).ok().filter(|toolchain| toolchain.release == release)
    };
    if let Some(toolchain) = here.iter().find_map(fits) {
        return Ok(toolchain);
    }
    let place = packages(release, None)?.folder()?;
    if cache::state(&place) != State::Whole {
        // Looked at again with the lock: another command may have made it meanwhile.
        let lock = Lock::take()?;
        let state = cache::state(&place);
        if state != State::Whole {
            cache::say_if_damaged(&place, &state);
            fetch(&lock, release, &place)?;
        }
    }
    toolchain::inspect(&place.join(Launcher::place(RUSTC)))
}

/// The compilers in rustup's folder. Its own programs, which may start a download, are not called.
fn unpacked_by_rustup() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let folders = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok());
    let mut found: Vec<PathBuf> = folders
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(RUSTC)))
        .filter(|rustc| rustc.is_file())
        .collect();
    found.sort();
    found
}

/// The compiler and its standard library; all of one version, if it is known.
fn packages(release: Release, version: Option<&str>) -> Result<Packages> {
    let names = [RUSTC.to_owned(), "libstd-rust-dev".to_owned(), format!("libstd-rust-{release}")];
    let pinned = |name: String| version.map_or(name.clone(), |version| format!("{name}={version}"));
    Ok(Packages {
        name: format!("{RUSTC}-{release}"),
        architecture: archive::own_architecture()?,
        sets: vec![names.map(pinned).to_vec()],
        with_needs: true,
        edition: Edition::Pinned,
        programs: vec![Launcher {
            name: RUSTC.to_owned(),
            program: "usr/bin/rustc".to_owned(),
            libraries: &[],
            variables: &[],
            arguments: &[],
        }],
    })
}

fn fetch(lock: &Lock, release: Release, place: &Path) -> Result<()> {
    let archive = Archive::open(&archive::own_architecture()?, Edition::Pinned)?;
    let version = archive.version(RUSTC, &release.to_string())?.with_context(|| {
        format!("no compiler of Rust {release} is here, and the archive has none either")
    })?;
    eprintln!("This needs Rust {release}: about 160 MB to download, 350 MB unpacked");
    packages(release, Some(&version))?.make_at(lock, &archive, place, |root| {
        for folder in NOT_NEEDED {
            let folder = root.join(folder);
            if folder.is_dir() {
                fs::remove_dir_all(folder)?;
            }
        }
        let found = toolchain::inspect(&root.join(Launcher::place(RUSTC)))?.release;
        ensure!(found == release, "the package's compiler says that it is {found}");
        Ok(())
    })
}
