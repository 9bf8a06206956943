//! Packages from Debian's or Ubuntu's archive: which ones, why, and who may install them.
//!
//! As root, or where `sudo` asks no password, missing packages are installed with one `apt-get`
//! call, after saying what and why. Otherwise the one command that does it is printed and set-up
//! ends with an error. `--no-remove` keeps the package manager from trading away anything the user has.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::foreign;
use super::toolchain::{self, Release};
use crate::arch::Arch;
use crate::{progress, workspace};

/// Something that set-up misses.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// A compiler for an architecture's bare-metal target, with the source of core and alloc.
    Toolchain(Arch),
    /// Packages that go together: the first of these sets that the archive has.
    Packages {
        /// The sets, best first.
        sets: Vec<Vec<String>>,
        /// What it is for.
        reason: String,
    },
}

impl Wanted {
    /// One package.
    pub(crate) fn package(name: &str, reason: &str) -> Wanted {
        Wanted::Packages { sets: vec![vec![name.to_owned()]], reason: reason.to_owned() }
    }
}

/// What the archive can do about it.
#[derive(Default)]
struct Plan {
    /// Packages to install together, and the reason.
    available: Vec<(Vec<String>, String)>,
    /// What must come from elsewhere.
    absent: Vec<Wanted>,
}

/// Installs all that is wanted, or says how.
pub(crate) fn install(wanted: &[Wanted]) -> Result<()> {
    if workspace::on_path("apt-get").is_none() {
        bail!("this machine has no apt-get; please install by hand:\n\n{}", by_hand(wanted));
    }
    let needed = toolchain::minimum()?;
    let rights = Rights::here();
    let mut plan = plan(wanted, needed);
    if let (Some(rights), false) = (rights, plan.absent.is_empty()) {
        // A fresh machine or container has no package lists yet.
        update(rights)?;
        plan = self::plan(wanted, needed);
    }
    eprintln!("kstack needs what is not installed yet:");
    for (packages, reason) in &plan.available {
        eprintln!("  {:<36} {reason}", packages.join(" "));
    }
    let packages: Vec<&str> =
        plan.available.iter().flat_map(|(packages, _)| packages).map(String::as_str).collect();
    match rights {
        Some(rights) if !packages.is_empty() => install_packages(rights, &packages)?,
        _ => {}
    }
    let mut commands = Vec::new();
    if rights.is_none() && !packages.is_empty() {
        commands.push(format!("sudo apt-get install -y --no-remove {}", packages.join(" ")));
    }
    if !plan.absent.is_empty() {
        commands.push(by_hand(&plan.absent));
    }
    if commands.is_empty() {
        return Ok(());
    }
    bail!(
        "this cannot be installed from here{}. Please run this, then try again:\n\n    {}\n",
        if rights.is_none() { " without the right to" } else { ": the package archive lacks it" },
        commands.join(" && ")
    )
}

fn install_packages(rights: Rights, packages: &[&str]) -> Result<()> {
    let install = |message: &str| {
        let mut command = rights.command("apt-get");
        command
            .args(["install", "-y", "--no-remove", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        progress::command(message, &mut command)
    };
    let message = format!("Installing {}", packages.join(" "));
    if install(&message).is_err() {
        // Lists that are too old name package versions which the archive no longer has.
        update(rights)?;
        install(&message)?;
    }
    Ok(())
}

/// Downloads a package without installing it and unpacks it into a folder; needs no rights.
pub(super) fn unpack(package: &str, arch: Arch, into: &std::path::Path) -> Result<()> {
    let download = workspace::made(into.join("download"))?;
    if foreign::is_foreign(arch) {
        foreign::download(package, arch, &download)?;
    } else {
        download_own(package, &download)?;
    }
    let archive = std::fs::read_dir(&download)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get downloaded no archive for {package}"))?;
    let mut command = Command::new("dpkg");
    command.arg("-x").arg(&archive).arg(into);
    progress::quiet(&mut command)?;
    std::fs::remove_dir_all(&download)?;
    Ok(())
}

/// Downloads a package of this machine's own architecture.
fn download_own(package: &str, into: &std::path::Path) -> Result<()> {
    let fetch = || {
        let mut command = Command::new("apt-get");
        command.args(["download", package]).current_dir(into);
        progress::command(&format!("Downloading {package}"), &mut command)
    };
    if let Err(error) = fetch() {
        let Some(rights) = Rights::here() else {
            return Err(error.context("try `sudo apt-get update` first"));
        };
        update(rights)?;
        fetch()?;
    }
    Ok(())
}

fn update(rights: Rights) -> Result<()> {
    let mut command = rights.command("apt-get");
    progress::command("Updating the package lists", command.arg("update"))?;
    Ok(())
}

/// The commands for what apt-get cannot do here.
fn by_hand(wanted: &[Wanted]) -> String {
    let commands: Vec<String> = wanted
        .iter()
        .map(|one| match one {
            Wanted::Toolchain(arch) if arch.description().own_core_fits => {
                format!("rustup update stable && rustup target add {}", arch.target())
            }
            Wanted::Toolchain(_) => {
                "rustup update stable && rustup component add rust-src".to_owned()
            }
            Wanted::Packages { sets, .. } => {
                format!("install {}", sets.first().map(|set| set.join(" ")).unwrap_or_default())
            }
        })
        .collect();
    commands.join(" && ")
}

/// The packages for each wish, with its reason, as far as the archive has them.
fn plan(wanted: &[Wanted], needed: Release) -> Plan {
    let mut plan = Plan::default();
    for one in wanted {
        let found = match one {
            Wanted::Toolchain(arch) => compiler_packages()
                .into_iter()
                .find(|set| candidate(&set[0]).is_some_and(|release| release >= needed))
                .map(|set| {
                    let what =
                        "a Rust compiler with the source of core and alloc, to make them for";
                    (set.to_vec(), format!("{what} {}", arch.target()))
                }),
            Wanted::Packages { sets, reason } => sets
                .iter()
                .find(|set| set.iter().all(|name| candidate_text(name).is_some()))
                .map(|set| (set.clone(), reason.clone())),
        };
        match found {
            Some(packages) => plan.available.push(packages),
            None => plan.absent.push(one.clone()),
        }
    }
    plan
}

/// Sets of compiler, cargo and library source, best first: the plain ones, the ones that Debian
/// keeps current for web browsers, then Ubuntu's versioned ones.
fn compiler_packages() -> Vec<[String; 3]> {
    let mut sets = vec![
        ["rustc", "cargo", "rust-src"].map(str::to_owned),
        ["rustc-web", "cargo-web", "rust-web-src"].map(str::to_owned),
    ];
    sets.extend((88..=110).rev().map(|minor| {
        [format!("rustc-1.{minor}"), format!("cargo-1.{minor}"), format!("rust-1.{minor}-src")]
    }));
    sets
}

/// The package with clippy for a compiler of the same archive.
pub(crate) fn clippy_package(release: Release) -> Option<String> {
    ["rust-clippy".to_owned(), "rust-web-clippy".to_owned(), format!("rust-{release}-clippy")]
        .into_iter()
        .find(|package| candidate(package) == Some(release))
}

/// The release of a compiler package that the archive would install.
fn candidate(package: &str) -> Option<Release> {
    Release::parse(&candidate_text(package)?)
}

/// The version that the archive would install, if it has the package.
fn candidate_text(package: &str) -> Option<String> {
    let mut command = Command::new("apt-cache");
    command.args(["policy", package]).env("LC_ALL", "C").stderr(Stdio::null());
    parse_candidate(&progress::quiet(&mut command).ok()?)
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then(|| version.to_owned())
}

/// How packages may be installed here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    fn here() -> Option<Rights> {
        let uid = progress::quiet(Command::new("id").arg("-u")).ok()?;
        if uid.trim() == "0" {
            return Some(Rights::Root);
        }
        let sudo = progress::quiet(Command::new("sudo").args(["-n", "true"]));
        sudo.is_ok().then_some(Rights::Sudo)
    }

    fn command(self, program: &str) -> Command {
        match self {
            Rights::Root => Command::new(program),
            Rights::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", program]);
                command
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_the_policy() {
        let policy =
            "qemu-system-x86:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("1:7.2+dfsg-7"));
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn what_the_archive_lacks_is_not_lost() {
        let wanted = [Wanted::package("kstack-no-such-package", "a test")];
        let plan = plan(&wanted, toolchain::minimum().unwrap());
        assert!(plan.available.is_empty());
        assert_eq!(plan.absent.len(), 1);
    }

    #[test]
    fn what_to_do_by_hand_names_every_wish() {
        let text = by_hand(&[
            Wanted::Toolchain(Arch::X86_64),
            Wanted::package("lld", "the linker"),
            Wanted::Toolchain(Arch::I386),
        ]);
        for part in ["target add x86_64-unknown-none", "install lld", "component add rust-src"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
