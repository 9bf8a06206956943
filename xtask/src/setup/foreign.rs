//! Packages of another architecture, downloaded without making this machine a multi-architecture one.
//!
//! The package manager is run with a configuration of its own: package lists and sources in a folder below the cache,
//! which goes away again. The archive is the one that this machine uses, its signatures are checked as
//! usual, and nothing of the machine's own configuration changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::{progress, workspace};

/// Where Debian's keys are; the name's ending differs between releases.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Whether an architecture's packages are another machine's.
pub(super) fn is_foreign(arch: Arch) -> bool {
    progress::quiet(Command::new("dpkg").arg("--print-architecture"))
        .is_ok_and(|own| own.trim() != arch.description().debian)
}

/// Downloads a package of an architecture into a folder.
pub(super) fn download(package: &str, arch: Arch, into: &Path) -> Result<()> {
    let known = arch.description();
    let archives = archives()?;
    ensure!(
        !archives.is_empty(),
        "{package} for {arch} is Debian's, and this machine has no source of Debian's packages"
    );
    let folder = Removed(workspace::cache()?.join("apt").join(arch.name()));
    for part in ["lists/partial", "cache/archives/partial"] {
        workspace::made(folder.0.join(part))?;
    }
    let keyring = KEYRINGS.into_iter().find(|path| Path::new(path).is_file());
    fs::write(folder.0.join("sources.list"), sources(&archives, arch, keyring))?;
    let configuration = folder.0.join("apt.conf");
    fs::write(&configuration, configured(&folder.0, known.debian))?;

    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).current_dir(into).env("APT_CONFIG", &configuration);
        command
    };
    progress::command(
        &format!("Downloading Debian's list of packages for {}", known.debian),
        &mut apt(&["update"]),
    )?;
    let package = format!("{package}:{}", known.debian);
    progress::command(&format!("Downloading {package}"), &mut apt(&["download", &package]))?;
    Ok(())
}

/// A place that this machine gets Debian's packages from.
#[derive(Debug, Eq, PartialEq)]
struct Archive {
    site: String,
    release: String,
}

fn archives() -> Result<Vec<Archive>> {
    let format = "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)";
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let targets = progress::quiet(&mut command).context("asking for the package sources")?;
    Ok(parse_archives(&targets))
}

/// The archives in the package manager's list: of Debian's main part, releases only, not their updates.
fn parse_archives(targets: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    for line in targets.lines() {
        let mut words = line.split(' ');
        let (Some("Debian"), Some("main"), Some(release), Some(site)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let archive = Archive { site: site.to_owned(), release: release.to_owned() };
        let suits = !release.contains('-') && !site.contains("security");
        if suits && !archives.contains(&archive) {
            archives.push(archive);
        }
    }
    archives
}

/// The sources: this machine's release, and the first one that has the architecture.
fn sources(archives: &[Archive], arch: Arch, keyring: Option<&str>) -> String {
    let known = arch.description();
    let signed = keyring.map(|path| format!(" signed-by={path}")).unwrap_or_default();
    let mut text = String::new();
    for Archive { site, release } in archives {
        for release in [Some(release.as_str()), known.debian_since].into_iter().flatten() {
            let line = format!("deb [arch={}{signed}] {site} {release} main\n", known.debian);
            if !text.contains(&line) {
                text.push_str(&line);
            }
        }
    }
    text
}

fn configured(folder: &Path, architecture: &str) -> String {
    let folder = folder.display();
    format!(
        "Dir::State::lists \"{folder}/lists\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"-\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         Acquire::Languages \"none\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         Debug::NoLocking \"1\";\n"
    )
}

/// A folder that goes away again.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It is only clutter if this fails.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "Debian main bookworm http://mirror.example/debian/\n\
        Debian main bookworm-updates http://mirror.example/debian/\n\
        Debian main bookworm-security http://mirror.example/debian-security/\n\
        Debian main bookworm http://mirror.example/debian/\n\
        Others main bookworm http://others.example/\n\
        Debian contrib bookworm http://mirror.example/debian/\n\n";

    fn archive(release: &str) -> Archive {
        Archive { site: "http://mirror.example/debian/".to_owned(), release: release.to_owned() }
    }

    #[test]
    fn only_debian_s_main_archive_counts_and_only_once() {
        assert_eq!(parse_archives(TARGETS), [archive("bookworm")]);
        assert_eq!(parse_archives(""), []);
    }

    #[test]
    fn an_architecture_newer_than_the_machine_s_release_is_looked_for_in_its_own() {
        let text = sources(&[archive("bookworm")], Arch::Riscv64, Some("/k.gpg"));
        let line = |release| {
            format!(
                "deb [arch=riscv64 signed-by=/k.gpg] http://mirror.example/debian/ {release} main\n"
            )
        };
        assert_eq!(text, line("bookworm") + &line("trixie"));
        assert_eq!(sources(&[archive("trixie")], Arch::Riscv64, None).lines().count(), 1);
        assert_eq!(
            sources(&[archive("bookworm")], Arch::Arm32, None),
            "deb [arch=armhf] http://mirror.example/debian/ bookworm main\n"
        );
    }
}
