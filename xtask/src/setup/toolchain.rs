//! Which compiler builds the kernel.
//!
//! The first that can, in this order:
//!
//! 1. `KSTACK_RUSTC` (with `KSTACK_SYSROOT`, if core and alloc are to come from there),
//! 2. the `rustc` on PATH,
//! 3. `/usr/bin/rustc` and its versioned siblings, which a rustup installation hides,
//!
//! where "can" means that it is new enough and has core for the target: its own, a sysroot made
//! earlier by [`super::sysroot`], or the matching library source to make one from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::sysroot;
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
    /// The machine it runs on.
    pub(crate) host: String,
    /// Its release.
    pub(crate) release: Release,
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
    /// The compiler's own library source, if installed.
    pub(super) fn source(&self) -> Option<PathBuf> {
        let path = self.own_sysroot.join("lib/rustlib/src/rust/library");
        path.join("core/src/lib.rs").is_file().then_some(path)
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

/// Whether a sysroot has core for the target. The folder alone proves nothing: it can be there empty.
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
    text.lines()
        .find_map(|line| {
            Release::parse(
                line.strip_prefix("rust-version")?
                    .trim()
                    .strip_prefix('=')?
                    .trim()
                    .trim_matches('"'),
            )
        })
        .context("kernel/Cargo.toml states no rust-version")
}

/// The first compiler that can build for the architecture, without making anything yet.
pub(super) fn find(arch: Arch) -> Result<Option<Toolchain>> {
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
    for rustc in candidates {
        let Ok(mut toolchain) = inspect(&rustc) else {
            if given.is_some() {
                bail!("KSTACK_RUSTC={} does not run", rustc.display());
            }
            continue;
        };
        if toolchain.release < needed {
            continue;
        }
        if given_sysroot.is_some() {
            toolchain.sysroot = given_sysroot;
            return Ok(Some(toolchain));
        }
        if toolchain.has_core(arch) {
            return Ok(Some(toolchain));
        }
        if let Some(sysroot) = sysroot::cached(&toolchain, arch)? {
            toolchain.sysroot = Some(sysroot);
            return Ok(Some(toolchain));
        }
        if toolchain.source().is_some() {
            return Ok(Some(toolchain));
        }
    }
    if let Some(rustc) = given {
        bail!(
            "KSTACK_RUSTC={} has neither core for {} nor its source",
            rustc.display(),
            arch.target()
        );
    }
    Ok(None)
}

/// The compiler for the architecture, its sysroot made if it needs one.
pub(super) fn ready(arch: Arch) -> Result<Toolchain> {
    let mut toolchain = find(arch)?
        .with_context(|| format!("no Rust compiler here can build for {}", arch.target()))?;
    if toolchain.sysroot.is_none() && !toolchain.has_core(arch) {
        toolchain.sysroot = Some(sysroot::make(&toolchain, arch)?);
    }
    Ok(toolchain)
}

fn candidates() -> Vec<PathBuf> {
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
fn inspect(rustc: &Path) -> Result<Toolchain> {
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
        host: field("host")?,
        release: Release::parse(&field("release")?).context("unreadable release")?,
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
