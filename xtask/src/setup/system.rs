//! The distribution's own packages for the image: with all that they need to run, unpacked as on an
//! installed machine, and written as one archive.
//!
//! ```text
//!   <cache>/packages/system-<arch>-<key>/image.cpio    what the packages hold, `/bin` and `/lib*` in `/usr`
//!                                        programs      a line for each program of a folder in PATH
//! ```
//!
//! Nothing of a package is run: what its scripts would set up is not there, but for the names that
//! one of several programs takes ([`alternatives`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::archive::Edition;
use super::cache::{self, Lock, State};
use super::packages::Packages;
use crate::arch::Arch;
use crate::cpio::{Archive, LINK};
use crate::progress;

/// The folders that hold programs, in the order in which a shell looks.
const PATH: [&str; 6] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// Folders that are links into `/usr` on an installed machine.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// How packages are packed: another number when what is made of the same packages changes.
const MADE: u32 = 2;

/// Names that one of several programs takes on an installed machine (`update-alternatives`): the
/// first of these that is there, and that has no program of its own. What follows a rule is not
/// here: see [`alternatives`].
const ALTERNATIVES: [(&str, &[&str]); 10] = [
    ("awk", &["gawk", "mawk", "original-awk"]),
    ("editor", &["nano", "vim.basic", "vim.tiny", "nvi", "ed"]),
    ("ex", &["vim.basic", "vim.tiny", "nex"]),
    ("nawk", &["gawk", "mawk", "original-awk"]),
    ("nc", &["nc.openbsd", "nc.traditional"]),
    ("pager", &["less", "more"]),
    ("vi", &["vim.basic", "vim.tiny", "nvi"]),
    ("view", &["vim.basic", "vim.tiny", "nview"]),
    ("vim", &["vim.basic", "vim.tiny"]),
    ("which", &["which.debianutils", "which.gnu"]),
];

/// Packages for the image.
#[derive(Debug)]
pub(crate) struct System {
    /// The archive with all that they hold.
    pub(crate) archive: PathBuf,
    /// The places of their programs, without the leading slash.
    programs: Vec<String>,
}

impl System {
    /// The place of a program that is called by a bare name, or by an absolute path.
    pub(crate) fn program(&self, name: &str) -> Option<String> {
        let here = |place: &str| self.programs.iter().any(|one| one == place);
        if let Some(place) = name.strip_prefix('/') {
            let place = merged(place);
            return here(&place).then(|| format!("/{place}"));
        }
        let places = PATH.iter().map(|folder| merged(&format!("{folder}/{name}")));
        places.into_iter().find(|place| here(place)).map(|place| format!("/{place}"))
    }

    /// The names of its programs.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.programs.iter().filter_map(|place| Some(place.rsplit_once('/')?.1)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A place in the image by its place in a package: older packages know a `/lib` beside `/usr/lib`.
fn merged(place: &str) -> String {
    let first = place.split('/').next().unwrap_or(place);
    if MERGED.contains(&first) && place.len() > first.len() {
        format!("usr/{place}")
    } else {
        place.to_owned()
    }
}

/// The packages of these names, fetched if need be.
pub(crate) fn system(arch: Arch, names: &[String]) -> Result<System> {
    system_without(arch, names, &[])
}

/// The same without needed packages whose names begin in these ways.
pub(crate) fn system_without(arch: Arch, names: &[String], without: &[&str]) -> Result<System> {
    let mut names: Vec<String> = names.to_vec();
    names.sort();
    names.dedup();
    for name in &names {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        ensure!(
            name.bytes().next().is_some_and(fits)
                && name.bytes().all(|byte| fits(byte) || b"+-.".contains(&byte)),
            "\"{name}\" is not a package's name: small letters, digits, + - and ."
        );
    }
    let packages = Packages {
        name: match without {
            [] => format!("system{MADE}-{arch}"),
            _ => format!("tests{MADE}-{arch}"),
        },
        edition: Edition::Pinned,
        architecture: arch.description().debian.to_owned(),
        sets: vec![names.clone()],
        with_needs: true,
        programs: Vec::new(),
    };
    let folder = packages.folder()?;
    if packages.state()? != State::Whole {
        // Looked at again with the lock: another command may have made it meanwhile.
        let lock = Lock::take()?;
        let state = packages.state()?;
        if state != State::Whole {
            cache::say_if_damaged(&folder, &state);
            make(&packages, without, &lock).with_context(|| {
                format!(
                    "--with {} for {arch}: names of packages are those of the distribution (`apt-cache search`)",
                    names.join(",")
                )
            })?;
        }
    }
    let programs = fs::read_to_string(folder.join("programs"))?;
    Ok(System {
        archive: folder.join("image.cpio"),
        programs: programs.lines().map(str::to_owned).collect(),
    })
}

/// Fetches and packs them.
fn make(packages: &Packages, without: &[&str], lock: &Lock) -> Result<()> {
    if without.is_empty() {
        return packages.make(lock, pack);
    }
    let archive = super::archive::Archive::open(&packages.architecture, packages.edition)?;
    let mut needed = archive.needed(packages.sets.first().context("no packages are named")?)?;
    needed.retain(|name| !without.iter().any(|begin| name.starts_with(begin)));
    let chosen = Packages {
        name: packages.name.clone(),
        architecture: packages.architecture.clone(),
        sets: vec![needed],
        with_needs: false,
        programs: Vec::new(),
        edition: packages.edition,
    };
    chosen.make_at(lock, &archive, &packages.folder()?, pack)
}

/// Makes the archive of what was unpacked, and removes what is in it.
fn pack(root: &Path) -> Result<()> {
    let mut places = Vec::new();
    list(root, Path::new(""), &mut places)?;
    places.sort();
    let mut archive = Archive::default();
    let (mut programs, mut apart) = (Vec::new(), Vec::new());
    for place in &places {
        let from = root.join(place);
        let name = place.to_str().context("a file's name is not UTF-8")?;
        let metadata = fs::symlink_metadata(&from)?;
        let mode = metadata.permissions().mode();
        let to = merged(name);
        if metadata.is_symlink() {
            if MERGED.contains(&name) {
                // The image has these links.
                continue;
            }
            let target = fs::read_link(&from)?;
            let target = target.to_str().context("a link's target is not UTF-8")?;
            archive.add(&to, LINK, target.as_bytes())?;
        } else if metadata.is_dir() {
            if !MERGED.contains(&name) {
                archive.add(&to, mode, &[])?;
            }
            continue;
        } else if metadata.is_file() {
            archive.add(&to, mode, &fs::read(&from)?)?;
        } else {
            bail!("{name} is neither file nor folder nor link");
        }
        let folder = to.rsplit_once('/').map_or("", |(folder, _)| folder);
        if PATH.contains(&folder) {
            programs.push(to);
        } else if metadata.is_file() && mode & 0o111 != 0 && folder.ends_with("/bin") {
            apart.push(to);
        }
    }
    ensure!(!places.is_empty(), "the packages are empty");
    for (name, target) in alternatives(&programs, &apart) {
        archive.add(&format!("usr/bin/{name}"), LINK, target.as_bytes())?;
        programs.push(format!("usr/bin/{name}"));
    }
    let bytes = archive.finish()?;
    progress::detail(|| format!("the packages' archive: {} bytes", bytes.len()));
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    fs::write(root.join("image.cpio"), bytes)?;
    programs.push(String::new());
    fs::write(root.join("programs"), programs.join("\n"))?;
    Ok(())
}

/// The names that a package's scripts would give to some of its programs, and where each leads:
///
/// 1. those of [`ALTERNATIVES`];
/// 2. what lies in a `bin` that is not in PATH (`java`, `guile`): its own name;
/// 3. a program whose name ends in a version (`php8.4`, `clang-19`): the name without it, for the
///    highest version.
///
/// No name that a program has already is taken.
fn alternatives(programs: &[String], apart: &[String]) -> Vec<(String, String)> {
    let file = |place: &String| place.rsplit('/').next().unwrap_or(place).to_owned();
    let own: BTreeSet<String> = programs.iter().map(file).collect();
    let mut taken = BTreeMap::new();
    for (name, by) in ALTERNATIVES {
        if let Some(program) = by.iter().find(|&&program| own.contains(program)) {
            taken.insert(name.to_owned(), (*program).to_owned());
        }
    }
    for place in apart {
        taken.entry(file(place)).or_insert_with(|| format!("/{place}"));
    }
    let mut versions: Vec<(&str, Vec<u32>, &str)> =
        own.iter().filter_map(|name| without_version(name)).collect();
    // `python3.13` is a version of `python3`.
    let is_longer = |name: &str, program: &str| {
        (name.len() + 1..program.len()).any(|length| own.contains(&program[..length]))
    };
    versions.retain(|(name, _, program)| !is_longer(name, program));
    versions.sort();
    for (name, _, program) in versions.into_iter().rev() {
        taken.entry(name.to_owned()).or_insert_with(|| program.to_owned());
    }
    taken.retain(|name, _| !own.contains(name));
    taken.into_iter().collect()
}

/// A program's name without the version that it ends in, the version, and the whole name. A version
/// has a point (`php8.4`) or follows a line (`clang-19`): `mke2fs` and `sha256` have none.
fn without_version(program: &str) -> Option<(&str, Vec<u32>, &str)> {
    let named = program.trim_end_matches(|one: char| one.is_ascii_digit() || one == '.');
    let version = &program[named.len()..];
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    let name = named.strip_suffix('-').unwrap_or(named);
    let is_one = version.contains('.') || name.len() < named.len();
    (is_one && name.len() > 1).then_some((name, parts?, program))
}

/// Collects the places of everything below a folder.
fn list(root: &Path, folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let place = folder.join(entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        into.push(place.clone());
        if is_folder {
            list(root, &place, into)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let system = System {
            archive: PathBuf::new(),
            programs: ["usr/bin/ls", "usr/sbin/both", "usr/bin/both"].map(str::to_owned).into(),
        };
        assert_eq!(system.program("ls").as_deref(), Some("/usr/bin/ls"));
        assert_eq!(system.program("/bin/ls").as_deref(), Some("/usr/bin/ls"));
        assert_eq!(system.program("both").as_deref(), Some("/usr/sbin/both"));
        assert_eq!(system.program("/etc/passwd"), None);
        assert_eq!(system.program("none"), None);
        assert_eq!(system.names(), ["both", "ls"]);
    }

    #[test]
    fn a_name_of_several_programs_is_taken_by_the_one_that_is_there() {
        let programs = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("usr/bin/{name}")).collect()
        };
        let taken = |names: &[&str], apart: &[&str]| -> String {
            let apart: Vec<String> = apart.iter().map(|place| (*place).to_owned()).collect();
            let taken = alternatives(&programs(names), &apart).into_iter();
            taken.map(|(name, target)| format!("{name}={target} ")).collect()
        };
        assert_eq!(taken(&["mawk"], &[]), "awk=mawk nawk=mawk ");
        assert_eq!(taken(&["mawk", "gawk"], &[]), "awk=gawk nawk=gawk ");
        assert_eq!(taken(&["less", "pager", "ls"], &[]), "");
        assert_eq!(taken(&["php8.4", "php8.10", "phar.phar"], &[]), "php=php8.10 ");
        assert_eq!(
            taken(&["lua5.4", "clang-19", "gcc-14", "gcc"], &[]),
            "clang=clang-19 lua=lua5.4 "
        );
        let java = "usr/lib/jvm/java-21/bin/java";
        assert_eq!(taken(&["ls"], &[java]), "java=/usr/lib/jvm/java-21/bin/java ");
        assert_eq!(taken(&["java"], &[java]), "");
        assert_eq!(taken(&["[", "x5", "mke2fs", "python3.13", "python3"], &[]), "");
    }

    #[test]
    fn what_older_packages_have_beside_usr_lies_in_it() {
        for (place, lies) in [
            ("lib/x/libc.so.6", "usr/lib/x/libc.so.6"),
            ("lib64/ld.so", "usr/lib64/ld.so"),
            ("usr/lib/x", "usr/lib/x"),
            ("etc/lib/x", "etc/lib/x"),
            ("lib", "lib"),
        ] {
            assert_eq!(merged(place), lies);
        }
    }

    #[test]
    fn packages_become_an_archive_and_a_list_of_programs() {
        let root = std::env::temp_dir().join(format!("kstack-pack-{}", std::process::id()));
        for folder in ["usr/bin", "lib/any", "bin"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("usr/bin/tool"), b"\x7fELF").unwrap();
        fs::write(root.join("usr/bin/mawk"), b"\x7fELF").unwrap();
        fs::write(root.join("bin/old"), b"#!/bin/sh\n").unwrap();
        fs::write(root.join("lib/any/libc.so.6"), b"library").unwrap();
        std::os::unix::fs::symlink("tool", root.join("usr/bin/name")).unwrap();
        pack(&root).unwrap();
        let programs = fs::read_to_string(root.join("programs")).unwrap();
        assert_eq!(
            programs.lines().collect::<Vec<_>>(),
            [
                "usr/bin/old",
                "usr/bin/mawk",
                "usr/bin/name",
                "usr/bin/tool",
                "usr/bin/awk",
                "usr/bin/nawk"
            ]
        );
        let image = fs::read(root.join("image.cpio")).unwrap();
        let has = |name: &[u8]| image.windows(name.len()).any(|bytes| bytes == name);
        assert!(has(b"usr/lib/any/libc.so.6\0") && has(b"TRAILER!!!\0"));
        assert!(!has(b"\0lib/any"));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
        fs::remove_dir_all(&root).unwrap();
        let error = system(Arch::USUAL, &["Bad name".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("not a package's name"));
    }
}
