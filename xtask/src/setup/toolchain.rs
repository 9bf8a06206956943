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

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use super::archive::{Archive, Edition};
use super::cache::{Lock, State};
use super::packages::Packages;
use super::{sysroot, tools};
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
    fn has_source(&self) -> bool {
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

    /// The same, fetched if neither the compiler nor the cache has it; `None`: the compiler has its
    /// own.
    pub(super) fn library_source(&self) -> Result<Option<PathBuf>> {
        if self.has_source() {
            return Ok(None);
        }
        if self.fetched_source()?.is_none() {
            let lock = Lock::take()?;
            // Another command may have fetched it meanwhile.
            if self.fetched_source()?.is_none() {
                eprintln!("This needs the library's source: about 50 MB to download");
                fetch_source(&lock, std::slice::from_ref(self), Arch::Arm64)?;
            }
        }
        self.fetched_source()
    }

    /// The package with the library source of this very release; releases in the making have none.
    fn source_packages(&self, version: Option<&str>) -> Option<Packages> {
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
    fn has_core(&self, arch: Arch) -> bool {
        arch.description().own_core_fits && holds_core(&self.own_sysroot, arch)
    }
}

/// Whether a sysroot has core for the target. The folder alone proves nothing: it can be there
/// empty.
pub(super) fn holds_core(sysroot: &Path, arch: Arch) -> bool {
    let folder = sysroot.join("lib/rustlib").join(arch.target()).join("lib");
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
        if let Some(sysroot) = sysroot::cached(&toolchain, arch)? {
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

/// The compiler for the architecture; its library source is fetched and its sysroot made if it
/// needs them.
pub(super) fn make(lock: &Lock, arch: Arch) -> Result<()> {
    let found = match find(arch)? {
        Found::NeedSource(toolchains) => {
            fetch_source(lock, &toolchains, arch)?;
            find(arch)?
        }
        found => found,
    };
    match found {
        Found::Ready(_) => Ok(()),
        Found::NeedsSysroot(toolchain) => sysroot::make(lock, &toolchain, arch),
        Found::NeedSource(_) => Err(none_builds(arch)),
    }
}

/// Fetches the library source for the first compiler whose release the archive has.
fn fetch_source(lock: &Lock, toolchains: &[Toolchain], arch: Arch) -> Result<()> {
    if toolchains.is_empty() {
        return Err(none_builds(arch));
    }
    let archive = Archive::open(&tools::own_architecture()?, Edition::Pinned)?;
    for toolchain in toolchains {
        let Some(version) = archive.version("rust-src", &toolchain.full_release)? else { continue };
        let Some(packages) = toolchain.source_packages(Some(&version)) else { continue };
        let place =
            toolchain.source_packages(None).context("the release has a package")?.folder()?;
        return packages.make_at(lock, &archive, &place, |root| {
            let source = root.join("usr/src").join(format!("rustc-{}", toolchain.full_release));
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
        let sysroot = env::temp_dir().join(format!("kstack-sysroot-{}", std::process::id()));
        let folder = sysroot.join("lib/rustlib/x86_64-unknown-none/lib");
        fs::create_dir_all(&folder).unwrap();
        assert!(!holds_core(&sysroot, Arch::X86_64));
        fs::write(folder.join("libcore-0123.rlib"), b"").unwrap();
        assert!(holds_core(&sysroot, Arch::X86_64));
        fs::remove_dir_all(&sysroot).unwrap();
    }
}
