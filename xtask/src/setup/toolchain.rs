//! A compiler, and what goes with it: its cargo, its release, its library and the source of that.
//! Which of them builds the kernel: [`super::choice`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, Result};

use super::archive::Edition;
use super::cache::State;
use super::packages::Packages;
use crate::arch::Arch;
use crate::{progress, workspace};

/// A compiler's release, as far as it matters for a minimum.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Release {
    major: u32,
    minor: u32,
}

impl Release {
    /// Reads the first two numbers of a version such as `1.96.0` or `1.96.0+dfsg1-1`.
    pub(crate) fn parse(text: &str) -> Option<Release> {
        let mut numbers = text.trim().trim_matches('"').split(|c: char| !c.is_ascii_digit());
        Some(Release { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A compiler, its cargo, and where core for the target comes from.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// The cargo that goes with it.
    pub(crate) cargo: PathBuf,
    /// A sysroot of ours to use in place of the compiler's own.
    pub(crate) sysroot: Option<PathBuf>,
    /// The compiler's own sysroot.
    pub(crate) own_sysroot: PathBuf,
    /// The commit it was built from: what decides whether libraries fit.
    pub(crate) commit: String,
    /// Its release.
    pub(crate) release: Release,
    /// Its release in full, such as `1.95.0`: what library source must be of.
    full_release: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.rustc.display(), self.release)?;
        match &self.sysroot {
            Some(path) => write!(f, ", core from {}", workspace::shown(path)),
            None => write!(f, ", with its own core"),
        }
    }
}

impl Toolchain {
    /// Whether the compiler's own library source is installed.
    pub(super) fn has_source(&self) -> bool {
        self.own_sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
    }

    /// The library source that belongs to the compiler and is not its own: the root of Rust's tree,
    /// if it was fetched.
    pub(super) fn fetched_source(&self) -> Result<Option<PathBuf>> {
        let Some(packages) = self.source_packages(None) else { return Ok(None) };
        if packages.state()? != State::Whole {
            return Ok(None);
        }
        Ok(Some(packages.folder()?.join("usr/src").join(format!("rustc-{}", self.full_release))))
    }

    /// The package with the library source of this very release; releases in the making have none.
    pub(super) fn source_packages(&self, version: Option<&str>) -> Option<Packages> {
        let is_release = self.full_release.chars().all(|c| c.is_ascii_digit() || c == '.');
        let name = version.map_or("rust-src".to_owned(), |version| format!("rust-src={version}"));
        is_release.then(|| Packages {
            name: format!("rust-src-{}", self.full_release),
            edition: Edition::Pinned,
            architecture: "all".to_owned(),
            sets: vec![vec![name]],
            with_needs: false,
            programs: Vec::new(),
        })
    }

    /// The compiler itself, free of what the cargo that started us left in the environment.
    pub(super) fn compiler(&self) -> Command {
        compiler(&self.rustc)
    }

    /// Its release in full, such as `1.95.0`.
    pub(crate) fn full_release(&self) -> &str {
        &self.full_release
    }

    /// A command that runs this toolchain's cargo in the workspace, free of what the cargo that
    /// started us left in the environment.
    pub(crate) fn cargo(&self) -> Command {
        self.tool(&self.cargo)
    }

    /// The same for another program that acts as this toolchain's cargo.
    pub(crate) fn tool(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("CARGO", &self.cargo).current_dir(workspace::root()).env("RUSTC", &self.rustc);
        // The library path of the cargo that runs us belongs to another compiler.
        command
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR");
        command
    }

    /// Whether the compiler comes with a core for the target that will do.
    pub(super) fn has_core(&self, arch: Arch) -> bool {
        arch.description().own_core_fits && holds_core(&self.own_sysroot, arch)
    }
}

/// Whether a sysroot has core for the target. The folder alone proves nothing: it can be there
/// empty.
pub(super) fn holds_core(sysroot: &Path, arch: Arch) -> bool {
    holds_core_for(sysroot, arch.target())
}

/// The same for a target of this name.
pub(super) fn holds_core_for(sysroot: &Path, target: &str) -> bool {
    let folder = sysroot.join("lib/rustlib").join(target).join("lib");
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        })
    })
}

/// The oldest release that builds the kernel: what its manifest says.
pub(crate) fn minimum() -> Result<Release> {
    let manifest = workspace::root().join("kernel/Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", workspace::shown(&manifest)))?;
    stated(&text).context("kernel/Cargo.toml states no rust-version")
}

/// The oldest release that a manifest says it takes.
pub(crate) fn stated(manifest: &str) -> Option<Release> {
    manifest.lines().find_map(|line| {
        let version = line.strip_prefix("rust-version")?.trim().strip_prefix('=')?;
        Release::parse(version.trim().trim_matches('"'))
    })
}

/// The compilers of this machine that are looked at, first come first served.
pub(super) fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = workspace::on_path("rustc").into_iter().collect();
    let system = Path::new("/usr/bin");
    found.push(system.join("rustc"));
    let mut versioned: Vec<PathBuf> = fs::read_dir(system)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str()?.strip_prefix("rustc-"))
                .is_some_and(|version| Release::parse(version).is_some())
        })
        .collect();
    versioned.sort();
    found.extend(versioned.into_iter().rev());
    found.retain(|path| path.is_file());
    found.dedup();
    found
}

/// Asks a compiler who it is.
pub(super) fn inspect(rustc: &Path) -> Result<Toolchain> {
    let version = progress::quiet(compiler(rustc).args(["--version", "--verbose"]))?;
    let field = |name: &str| {
        version
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .map(str::to_owned)
            .with_context(|| format!("{} says no {name}", rustc.display()))
    };
    let own_sysroot = progress::quiet(compiler(rustc).args(["--print", "sysroot"]))?;
    let name = rustc.file_name().and_then(|name| name.to_str()).unwrap_or("rustc");
    let sibling = rustc.with_file_name(name.replacen("rustc", "cargo", 1));
    let cargo = if sibling.is_file() { sibling } else { PathBuf::from("cargo") };
    Ok(Toolchain {
        rustc: rustc.to_path_buf(),
        cargo,
        sysroot: None,
        own_sysroot: PathBuf::from(own_sysroot.trim()),
        commit: field("commit-hash")?,
        release: Release::parse(&field("release")?).context("unreadable release")?,
        full_release: field("release")?,
    })
}

fn compiler(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    command.env_remove("LD_LIBRARY_PATH").current_dir(workspace::root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_ordered_by_number() {
        let parse = |text| Release::parse(text).unwrap();
        assert!(parse("1.100.0") > parse("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(parse("1.95.0-nightly"), parse("1.95.3"));
        assert_eq!(Release::parse("unknown"), None);
    }

    #[test]
    fn the_kernel_states_the_compiler_it_needs() {
        assert!(minimum().unwrap() >= Release { major: 1, minor: 85 });
    }

    #[test]
    fn an_empty_library_folder_is_not_core() {
        let sysroot = std::env::temp_dir().join(format!("kstack-sysroot-{}", std::process::id()));
        let folder = sysroot.join("lib/rustlib/x86_64-unknown-none/lib");
        fs::create_dir_all(&folder).unwrap();
        assert!(!holds_core(&sysroot, Arch::X86_64));
        fs::write(folder.join("libcore-0123.rlib"), b"").unwrap();
        assert!(holds_core(&sysroot, Arch::X86_64));
        fs::remove_dir_all(&sysroot).unwrap();
    }
}
