//! The package archive: one pinned release, read by a package manager with settings of its own.
//!
//! ```text
//!   host's sources ──> the mirror's address ──┐
//!   host's keyring ──> whose signatures count ├──> <cache>/apt/<arch>/apt.conf ──> apt-get, apt-cache
//!   the pinned release ───────────────────────┘        (lists, downloads, an empty list of what is installed)
//! ```
//!
//! Debian's machines take everything from [`DEBIAN`], whatever release they have themselves, so
//! that all of them get the same emulator. Ubuntu's take it from their own release. A second
//! release ([`Edition::Second`]) has another QEMU, for comparison. The package manager does not
//! read the machine's settings (but for proxies and the like), its lists or what is installed, and
//! writes below the cache only.
//!
//! Invariant: no right is needed, and nothing of the machine's own packages changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::cache;
use crate::workspace::{self, made};
use crate::{jobs, progress};

/// A release that packages are taken from.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Release {
    /// Whose it is.
    origin: &'static str,
    /// The parts of the archive it is in; a package of a later one is taken before that of an
    /// earlier one.
    suites: Vec<String>,
    /// The archive's sections.
    components: &'static str,
    /// Where its keys are; names differ between releases.
    keyrings: &'static [&'static str],
}

/// The release of Debian that everything is taken from: the first whose QEMU (11, from its
/// backports) has arm64's guarded control stacks and riscv64's shadow stacks.
const DEBIAN: [&str; 2] = ["trixie", "trixie-backports"];

/// The release of Debian with a second QEMU: 7.2, the oldest that is still in Debian's support.
const DEBIAN_SECOND: [&str; 1] = ["bookworm"];

/// Ubuntu's releases with a second QEMU (6.2 and 8.2): the first that is not the machine's own.
const UBUNTU_SECOND: [&str; 2] = ["jammy", "noble"];

/// Which release packages are taken from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Edition {
    /// The one that everything is taken from.
    Pinned,
    /// Another one, for its QEMU alone.
    Second,
}

/// Names of releases that a machine's own sources may have; any other is another archive's.
const DEBIAN_NAMES: [&str; 9] = [
    "stable",
    "oldstable",
    "testing",
    "unstable",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
];

/// The variable that names the mirror.
const MIRROR: &str = "KSTACK_MIRROR";

/// The package manager, set up for packages of one architecture.
pub(super) struct Archive {
    folder: PathBuf,
    /// Debian's name of the architecture.
    architecture: String,
}

/// The machine's own architecture, as Debian calls it.
pub(super) fn own_architecture() -> Result<String> {
    let own = progress::quiet(Command::new("dpkg").arg("--print-architecture"));
    Ok(own.context("this machine has no dpkg")?.trim().to_owned())
}

impl Archive {
    /// The archive with the packages of an architecture (by Debian's name), its lists updated once
    /// in a process.
    pub(super) fn open(architecture: &str, edition: Edition) -> Result<Archive> {
        static UPDATED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
        let mut release = Release::of_this_machine(edition)?;
        if own_architecture()? != architecture {
            // Programs for the image are in the release itself; a mirror that is behind with the
            // rest of a rare architecture does no harm.
            release.suites.truncate(1);
        }
        // Which of the machine's own sources are of its archive is told by its own release.
        let mirror = mirror(&Release::of_this_machine(Edition::Pinned)?, architecture)?;
        let folder = cache::folder()?.join("apt").join(match edition {
            Edition::Pinned => architecture.to_owned(),
            Edition::Second => format!("{architecture}-{}", release.suites[0]),
        });
        for part in ["state/lists/partial", "cache/archives/partial", "none"] {
            made(folder.join(part))?;
        }
        let keyring = release.keyrings.iter().find(|path| Path::new(path).is_file());
        let keyring = keyring.with_context(|| {
            format!(
                "the keys of {}'s archive are not here ({})",
                release.origin, release.keyrings[0]
            )
        })?;
        fs::write(folder.join("state/status"), "")?;
        fs::write(folder.join("sources.list"), release.sources(&mirror, architecture, keyring))?;
        fs::write(folder.join("apt.conf"), configuration(&folder, architecture, &release))?;
        let archive = Archive { folder, architecture: architecture.to_owned() };
        let mut updated = jobs::lock(&UPDATED);
        if !updated.contains(&archive.folder) {
            let message = format!(
                "Downloading the lists of {}'s packages for {architecture} (about 10 MB)",
                release.origin
            );
            progress::command(&message, archive.apt("apt-get").arg("update")).with_context(
                || {
                    format!(
                        "the lists of {} are not to be had from {mirror} (no network, or a mirror that is behind: try \
                         later, or name another with {MIRROR})",
                        release.name()
                    )
                },
            )?;
            updated.push(archive.folder.clone());
        }
        Ok(archive)
    }

    /// Whether this machine has a package manager and a release that packages can be taken from.
    pub(super) fn check() -> Result<()> {
        Release::of_this_machine(Edition::Pinned).map(drop)
    }

    /// The version of a package that a release number begins, if the archive has one.
    pub(super) fn version(&self, package: &str, release: &str) -> Result<Option<String>> {
        let listing = progress::quiet(self.apt("apt-cache").args(["madison", package]))?;
        let versions = listing.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim()));
        let fits = |version: &&str| {
            version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['.', '+', '-']))
        };
        Ok(versions.into_iter().find(fits).map(str::to_owned))
    }

    /// The names of all packages that begin so.
    pub(super) fn named(&self, begin: &str) -> Result<Vec<String>> {
        let names = progress::quiet(self.apt("apt-cache").args(["pkgnames", begin]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The names of packages and of all that they need to run.
    pub(super) fn needed(&self, packages: &[String]) -> Result<Vec<String>> {
        let files = self.files_of(packages, true)?;
        Ok(files.iter().filter_map(|(file, _)| Some(file.split_once('_')?.0.to_owned())).collect())
    }

    /// Downloads packages, with or without all that they need to run, and gives their files.
    pub(super) fn download(&self, packages: &[String], with_needs: bool) -> Result<Vec<PathBuf>> {
        let names = self.qualified(packages);
        // What is asked for is looked up first: how much it is, and what the files are called.
        let uris = self.files_of(packages, with_needs)?;
        let into = self.folder.join("cache/archives");
        let total: u64 = uris.iter().map(|(_, size)| size).sum();
        let whole = |(name, size): &&(String, u64)| {
            fs::metadata(into.join(name)).is_ok_and(|file| file.len() == *size)
        };
        if uris.iter().filter(whole).count() < uris.len() {
            let mut command = self.apt("apt-get");
            command.current_dir(&into);
            if with_needs {
                command.args(["install", "--download-only", "-y", "--no-install-recommends"]);
            } else {
                command.arg("download");
            }
            let message = format!(
                "Downloading {} ({}, {})",
                shortened(packages),
                if uris.len() == 1 {
                    "1 package".to_owned()
                } else {
                    format!("{} packages", uris.len())
                },
                progress::megabytes(total)
            );
            let downloaded = progress::watched(&message, command.args(&names), || {
                Some(format!("{} so far", progress::megabytes(bytes_of(&into, &uris))))
            });
            if let Err(error) = downloaded {
                // A line for each package says no more than the last ones.
                bail!(
                    "{message}: apt-get failed\n{}\nThis takes a network once; what has come is kept, so that \
                     the same command continues.",
                    progress::tail(&format!("{error:#}"), 3)
                );
            }
        }
        let files: Vec<PathBuf> = uris.iter().map(|(name, _)| into.join(name)).collect();
        for file in &files {
            anyhow::ensure!(file.is_file(), "apt-get downloaded no {}", file.display());
        }
        Ok(files)
    }

    fn qualified(&self, packages: &[String]) -> Vec<String> {
        packages.iter().map(|name| qualified(name, &self.architecture)).collect()
    }

    /// The names and sizes of the files that a download brings.
    fn files_of(&self, packages: &[String], with_needs: bool) -> Result<Vec<(String, u64)>> {
        // With no downloads in sight, since those of an interrupted try would be left out.
        let mut ask = self.apt("apt-get");
        let nothing = made(self.folder.join("none/partial"))?;
        ask.arg("-o").arg(format!(
            "Dir::Cache::archives={}",
            nothing.parent().unwrap_or(&nothing).display()
        ));
        if with_needs {
            ask.args(["install", "--print-uris", "-qq", "-y", "--no-install-recommends"]);
        } else {
            ask.args(["download", "--print-uris", "-qq"]);
        }
        let uris = progress::quiet(ask.args(self.qualified(packages)))
            .with_context(|| format!("the archive lacks one of {}", packages.join(", ")))?;
        Ok(parse_uris(&uris))
    }

    /// Removes downloads that have been unpacked.
    pub(super) fn forget(&self, files: &[PathBuf]) {
        for file in files {
            // A file that stays is only clutter.
            let _ = fs::remove_file(file);
        }
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

impl Release {
    /// The release for this machine, by its system.
    fn of_this_machine(edition: Edition) -> Result<Release> {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let complete = ["apt-get", "apt-cache", "dpkg-deb"]
            .into_iter()
            .all(|program| workspace::on_path(program).is_some());
        if !complete {
            bail!("this machine has no apt-get and dpkg-deb");
        }
        Release::of(&system, edition)
            .context("this machine's packages are neither Debian's nor Ubuntu's")
    }

    /// The release by the contents of `/etc/os-release`.
    fn of(system: &str, edition: Edition) -> Option<Release> {
        let field = |name: &str| {
            let line = system.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"'))
        };
        let like = field("ID_LIKE").unwrap_or_default();
        let is = |name: &str| field("ID") == Some(name) || like.split(' ').any(|one| one == name);
        if is("ubuntu") {
            let own = field("UBUNTU_CODENAME").or(field("VERSION_CODENAME"))?;
            let name = match edition {
                Edition::Pinned => own,
                Edition::Second => UBUNTU_SECOND.into_iter().find(|&name| name != own)?,
            };
            return Some(Release {
                origin: "Ubuntu",
                suites: vec![name.to_owned(), format!("{name}-updates")],
                components: "main universe",
                keyrings: &["/usr/share/keyrings/ubuntu-archive-keyring.gpg"],
            });
        }
        is("debian").then(|| Release {
            origin: "Debian",
            suites: match edition {
                Edition::Pinned => DEBIAN.map(str::to_owned).to_vec(),
                Edition::Second => DEBIAN_SECOND.map(str::to_owned).to_vec(),
            },
            components: "main",
            keyrings: &[
                "/usr/share/keyrings/debian-archive-keyring.gpg",
                "/usr/share/keyrings/debian-archive-keyring.pgp",
            ],
        })
    }

    /// Its name, for people.
    fn name(&self) -> String {
        format!("{} {}", self.origin, self.suites.join(" and "))
    }

    /// The sources, as the package manager reads them.
    fn sources(&self, mirror: &str, architecture: &str, keyring: &str) -> String {
        let options = format!("arch={architecture} signed-by={keyring}");
        let line = |suite| format!("deb [{options}] {mirror} {suite} {}\n", self.components);
        self.suites.iter().map(line).collect()
    }

    /// Whether a suite in the machine's own sources is of this archive's releases: then the mirror
    /// has the others too.
    fn knows(&self, suite: &str) -> bool {
        if self.origin == "Debian" {
            DEBIAN_NAMES.contains(&suite)
        } else {
            self.suites[0] == suite
        }
    }
}

/// The mirror: the one that the user names, else the one that this machine uses.
fn mirror(release: &Release, architecture: &str) -> Result<String> {
    if let Some(given) = env::var(MIRROR).ok().filter(|given| !given.is_empty()) {
        return Ok(given);
    }
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut parts: Vec<PathBuf> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    parts.sort();
    texts.extend(parts.iter().filter_map(|path| fs::read_to_string(path).ok()));
    let site = texts.iter().find_map(|text| site(text, release)).with_context(|| {
        format!("no source of {}'s packages in /etc/apt; {MIRROR} can name one", release.origin)
    })?;
    Ok(site_for(site, release, architecture))
}

/// The address of an archive in a file of sources, in either format (sources.list(5)).
fn site(text: &str, release: &Release) -> Option<String> {
    let suits = |address: &str, suites: &[&str]| {
        let is_archive = !address.starts_with("cdrom") && !address.contains("security");
        is_archive && suites.iter().any(|suite| release.knows(suite))
    };
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else { continue };
        let rest = rest.trim_start();
        let rest =
            rest.strip_prefix('[').map_or(rest, |rest| rest.split_once(']').unwrap_or_default().1);
        let mut words = rest.split_whitespace();
        if let (Some(address), Some(suite)) = (words.next(), words.next())
            && suits(address, &[suite])
        {
            return Some(address.to_owned());
        }
    }
    // Paragraphs of fields; a line that begins with a space continues a field, one with # is a
    // comment.
    for paragraph in text.split("\n\n") {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut current = String::new();
        for line in paragraph.lines().filter(|line| !line.starts_with('#')) {
            if !line.starts_with([' ', '\t'])
                && let Some((name, value)) = line.split_once(':')
            {
                current = name.to_ascii_lowercase();
                fields.insert(current.clone(), value.to_owned());
            } else if let Some(value) = fields.get_mut(&current) {
                value.push(' ');
                value.push_str(line);
            }
        }
        let words = |name: &str| -> Vec<&str> {
            fields.get(name).map(|value| value.split_whitespace().collect()).unwrap_or_default()
        };
        let enabled = !matches!(words("enabled").first(), Some(&("no" | "false")));
        let address = words("uris").into_iter().find(|address| suits(address, &words("suites")));
        if let (true, true, Some(address)) = (enabled, words("types").contains(&"deb"), address) {
            return Some(address.to_owned());
        }
    }
    None
}

/// The site that has an architecture's packages: Ubuntu keeps those of all but the PCs apart, on a
/// host `ports`.
fn site_for(site: String, release: &Release, architecture: &str) -> String {
    if release.origin == "Ubuntu"
        && !["amd64", "i386"].contains(&architecture)
        && let Some((scheme, host)) = site.split_once("//")
        && let Some(at) = host.find("archive.")
    {
        let domain = host[at + "archive.".len()..].trim_end_matches('/');
        return format!("{scheme}//ports.{domain}-ports/");
    }
    site
}

/// The package manager's settings: none of the machine's, but for how it reaches the archive.
fn configuration(folder: &Path, architecture: &str, release: &Release) -> String {
    let dump = progress::quiet(Command::new("apt-config").args(["dump", "Acquire"]));
    let reach = reaching(&dump.unwrap_or_default());
    let path = folder.display();
    let suite = release.suites.last().map(String::as_str).unwrap_or_default();
    format!(
        "{reach}Dir::State \"{path}/state\";\n\
         Dir::State::status \"{path}/state/status\";\n\
         Dir::Cache \"{path}/cache\";\n\
         Dir::Etc::main \"{path}/none/main\";\n\
         Dir::Etc::parts \"{path}/none\";\n\
         Dir::Etc::sourcelist \"{path}/sources.list\";\n\
         Dir::Etc::sourceparts \"{path}/none\";\n\
         Dir::Etc::preferences \"{path}/none/preferences\";\n\
         Dir::Etc::preferencesparts \"{path}/none\";\n\
         APT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Default-Release \"{suite}\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::GzipIndexes \"true\";\n\
         Acquire::PDiffs \"false\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Debug::NoLocking \"true\";\n"
    )
}

/// The machine's settings of proxies and transports, of all that it has.
fn reaching(dump: &str) -> String {
    let wanted = ["Acquire::http", "Acquire::https", "Acquire::ftp", "Acquire::ForceIPv"];
    let counts = |line: &&str| {
        wanted.iter().any(|prefix| line.starts_with(prefix)) && !line.trim_end().ends_with(" \"\";")
    };
    dump.lines().filter(counts).map(|line| format!("{line}\n")).collect()
}

fn qualified(package: &str, architecture: &str) -> String {
    match package.split_once('=') {
        Some((name, version)) => format!("{name}:{architecture}={version}"),
        None => format!("{package}:{architecture}"),
    }
}

/// File names and sizes from `--print-uris`: `'address' file size hash`.
fn parse_uris(text: &str) -> Vec<(String, u64)> {
    let parsed = text.lines().filter_map(|line| {
        let mut fields = line.strip_prefix('\'')?.split_once("' ")?.1.split(' ');
        Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
    });
    parsed.collect()
}

fn bytes_of(folder: &Path, uris: &[(String, u64)]) -> u64 {
    let size = |path: PathBuf| fs::metadata(path).map(|file| file.len());
    let there = uris.iter().filter_map(|(name, _)| {
        size(folder.join(name)).or_else(|_| size(folder.join("partial").join(name))).ok()
    });
    there.sum()
}

fn shortened(packages: &[String]) -> String {
    match packages {
        [first, _, _, ..] => format!("{first} and {} more", packages.len() - 1),
        few => few.join(" and "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Release {
        Release::of("ID=debian\nVERSION_CODENAME=bookworm\n", Edition::Pinned).unwrap()
    }

    fn ubuntu() -> Release {
        let system = "ID=ubuntu\nVERSION_CODENAME=noble\nID_LIKE=debian\n";
        Release::of(system, Edition::Pinned).unwrap()
    }

    #[test]
    fn the_release_is_pinned_on_debian_and_the_machine_s_own_on_ubuntu() {
        assert_eq!(debian().suites, ["trixie", "trixie-backports"]);
        assert_eq!(ubuntu().suites, ["noble", "noble-updates"]);
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nUBUNTU_CODENAME=noble\n";
        assert_eq!(Release::of(mint, Edition::Pinned).unwrap(), ubuntu());
        for edition in [Edition::Pinned, Edition::Second] {
            assert_eq!(Release::of("ID=fedora\n", edition), None);
            assert_eq!(Release::of("", edition), None);
        }
    }

    #[test]
    fn m2_the_second_release_is_another_than_the_first() {
        let debian = |name| format!("ID=debian\nVERSION_CODENAME={name}\n");
        let ubuntu = |name| format!("ID=ubuntu\nVERSION_CODENAME={name}\n");
        for (system, second) in [
            (debian("bookworm"), "bookworm"),
            (debian("trixie"), "bookworm"),
            (ubuntu("noble"), "jammy"),
            (ubuntu("jammy"), "noble"),
            (ubuntu("plucky"), "jammy"),
        ] {
            let of = |edition| Release::of(&system, edition).unwrap().suites;
            assert_eq!(of(Edition::Second)[0], second);
            assert!(!of(Edition::Pinned).contains(&second.to_owned()), "{system}");
        }
    }

    #[test]
    fn the_mirror_is_found_in_both_formats_and_others_archives_are_not_taken() {
        let lines = "# deb http://old.example/debian bookworm main\n\
            deb cdrom:[Debian]/ bookworm main\n\
            deb https://others.example/apt cloud-sdk main\n\
            deb http://mirror.example/debian-security bookworm-security main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib\n";
        assert_eq!(site(lines, &debian()).as_deref(), Some("http://mirror.example/debian/"));
        let fields = "Types: deb\nURIs: http://s.example/debian-security\nSuites: bookworm-security\n\n\
            Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: bookworm\n\n\
            Types: deb deb-src\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\n";
        assert_eq!(site(fields, &debian()).as_deref(), Some("http://m.example/debian"));
        assert_eq!(site("deb http://u.example/ubuntu jammy main\n", &ubuntu()), None);
        assert_eq!(site("", &debian()), None);
    }

    #[test]
    fn ubuntu_s_other_architectures_are_on_a_host_of_their_own() {
        let site = |architecture| {
            site_for("http://de.archive.ubuntu.example/ubuntu/".to_owned(), &ubuntu(), architecture)
        };
        assert_eq!(site("riscv64"), "http://ports.ubuntu.example/ubuntu-ports/");
        assert_eq!(site("i386"), "http://de.archive.ubuntu.example/ubuntu/");
        let debian = site_for("http://m.example/debian".to_owned(), &debian(), "riscv64");
        assert_eq!(debian, "http://m.example/debian");
    }

    #[test]
    fn sources_name_one_architecture_and_the_keys() {
        assert_eq!(
            debian().sources("http://m.example/debian", "riscv64", "/k.gpg"),
            "deb [arch=riscv64 signed-by=/k.gpg] http://m.example/debian trixie main\n\
             deb [arch=riscv64 signed-by=/k.gpg] http://m.example/debian trixie-backports main\n"
        );
    }

    #[test]
    fn proxies_are_taken_over_and_nothing_that_runs() {
        let dump = "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p.example:3128\";\n\
            Acquire::IndexTargets::deb \"\";\nAcquire::Languages \"de\";\n";
        assert_eq!(reaching(dump), "Acquire::http::Proxy \"http://p.example:3128\";\n");
    }

    #[test]
    fn files_and_sizes_are_read_from_what_is_printed() {
        let text = "'http://m.example/pool/q/q_1%3a11.1_amd64.deb' q_1%3a11.1_amd64.deb 1234 SHA256:ab\nNote: x\n";
        assert_eq!(parse_uris(text), [("q_1%3a11.1_amd64.deb".to_owned(), 1234)]);
    }

    #[test]
    fn a_package_is_named_with_its_architecture() {
        assert_eq!(qualified("lld-19", "amd64"), "lld-19:amd64");
        assert_eq!(qualified("rust-src=1.95.0+x", "amd64"), "rust-src:amd64=1.95.0+x");
    }
}
