//! Packages of the pinned release, unpacked below the cache and run from there.
//!
//! ```text
//!   <cache>/packages/<name>-<key>/usr/bin/…, usr/lib/…    as the packages have them
//!                                bin/PROGRAM              a launcher of ours for each program that is run from here
//! ```
//!
//! A program is started through the C library's loader of the same folder, with its libraries and data: it is the
//! same program on every machine, whatever that machine has installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::Archive;
use super::cache::{self, Lock, State};
use super::fingerprint;
use crate::progress;

/// What no program of ours reads, by its place in a package.
const LEFT_OUT: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/icons",
    "usr/share/info",
    "usr/share/lintian",
];

/// A set of packages that lie in one folder.
pub(super) struct Packages {
    /// What the folder is called.
    pub(super) name: String,
    /// Debian's name of the architecture.
    pub(super) architecture: String,
    /// The packages: the first of these sets that the archive has.
    pub(super) sets: Vec<Vec<String>>,
    /// Whether what they need to run comes with them.
    pub(super) with_needs: bool,
    /// Programs to be run on this machine: the name, its place in the folder, and arguments that stand before all others.
    pub(super) programs: Vec<Launcher>,
}

/// A program that is run from the folder.
pub(super) struct Launcher {
    /// What it is called.
    pub(super) name: String,
    /// Its place in the folder.
    pub(super) program: &'static str,
    /// Folders with libraries of its own.
    pub(super) libraries: &'static [&'static str],
    /// Variables for it: name and place in the folder.
    pub(super) variables: &'static [(&'static str, &'static str)],
    /// Arguments that stand before all others; `@/` is the folder.
    pub(super) arguments: &'static [&'static str],
}

impl Packages {
    /// The folder, whether it is there or not.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        let mut key = format!("{} {:?} {}", self.architecture, self.sets, self.with_needs);
        for launcher in &self.programs {
            let Launcher { name, program, libraries, variables, arguments } = launcher;
            key.push_str(&format!("{name} {program} {libraries:?} {variables:?} {arguments:?}"));
        }
        let name = format!("{}-{:016x}", self.name, fingerprint(key.as_bytes()));
        Ok(cache::folder()?.join("packages").join(name))
    }

    /// Whether the folder is there and as it was made.
    pub(super) fn state(&self) -> Result<State> {
        Ok(cache::state(&self.folder()?))
    }

    /// Downloads and unpacks them; `check` looks at the result before it gets its name.
    pub(super) fn make(&self, lock: &Lock, check: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.make_at(lock, &Archive::open(&self.architecture)?, &self.folder()?, check)
    }

    /// The same from an archive that is open, in a place that the caller chooses.
    pub(super) fn make_at(
        &self,
        lock: &Lock,
        archive: &Archive,
        place: &Path,
        check: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let mut tried = self.sets.iter().map(|set| archive.download(set, self.with_needs));
        let first = tried.next().context("no packages are named")?;
        let files = first.or_else(|error| tried.find_map(Result::ok).ok_or(error))?;
        cache::make(lock, place, |into| {
            let activity = progress::Activity::start(format!("Unpacking {}", self.name));
            for (count, file) in files.iter().enumerate() {
                activity.at(&format!("{count} of {}", files.len()));
                // Its own checksum was checked by the package manager.
                progress::quiet(Command::new("dpkg-deb").arg("-x").arg(file).arg(into))?;
            }
            activity.done();
            for place in LEFT_OUT {
                let place = into.join(place);
                if place.is_dir() {
                    fs::remove_dir_all(place)?;
                }
            }
            for launcher in &self.programs {
                launcher.write(into)?;
            }
            check(into)
        })?;
        archive.forget(&files);
        Ok(())
    }
}

impl Launcher {
    /// Its place in the folder.
    pub(super) fn place(name: &str) -> PathBuf {
        Path::new("bin").join(name)
    }

    /// Writes a script that finds everything from its own place, since the folder is renamed after this.
    fn write(&self, root: &Path) -> Result<()> {
        let program = root.join(self.program);
        ensure!(program.is_file(), "the packages hold no {}", self.program);
        let (loader, own) = loader(root)?;
        let libraries: Vec<String> = std::iter::once(own.as_str())
            .chain(self.libraries.iter().copied())
            .map(|place| format!("$root/{place}"))
            .collect();
        let mut script = String::from("#!/bin/sh\n");
        script.push_str("# Made by cargo xtask: runs the program of this folder with this folder's libraries.\n");
        script.push_str("root=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n");
        script.push_str("unset LD_LIBRARY_PATH LD_PRELOAD\n");
        for (name, place) in self.variables {
            script.push_str(&format!("export {name}=\"$root/{}\"\n", place.replace("@lib", &own)));
        }
        script.push_str(&format!(
            "exec \"$root/{loader}\" --library-path \"{}\" \"$root/{}\"",
            libraries.join(":"),
            self.program
        ));
        for argument in self.arguments {
            match argument.strip_prefix("@/") {
                Some(place) => script.push_str(&format!(" \"$root/{place}\"")),
                None => script.push_str(&format!(" {argument}")),
            }
        }
        script.push_str(" \"$@\"\n");
        let path = root.join(Launcher::place(&self.name));
        let bin = root.join("bin");
        if bin.is_symlink() {
            // Of a package that lays out a whole system: the script would lie elsewhere, and not find its place.
            fs::remove_file(&bin)?;
        }
        fs::create_dir_all(path.parent().context("a launcher lies in a folder")?)?;
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// The C library's loader in an unpacked folder, and the folder with its libraries.
fn loader(root: &Path) -> Result<(String, String)> {
    let libraries = fs::read_dir(root.join("usr/lib")).context("the packages hold no libraries")?;
    for entry in libraries {
        let folder = entry?.path();
        if !folder.join("libc.so.6").is_file() {
            continue;
        }
        let own = folder.strip_prefix(root)?.to_string_lossy().into_owned();
        let loader = fs::read_dir(&folder)?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with("ld-linux"));
        let name = loader.context("the C library has no loader")?.file_name();
        return Ok((format!("{own}/{}", name.to_string_lossy()), own));
    }
    anyhow::bail!("the packages hold no C library")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_runs_its_program_from_wherever_the_folder_is() {
        // The loader of this test is a shell script that prints what it is told.
        let root = std::env::temp_dir().join(format!("kstack-launcher-{}", std::process::id()));
        let lib = root.join("usr/lib/any-linux-gnu");
        fs::create_dir_all(&lib).unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(lib.join("libc.so.6"), b"").unwrap();
        let loader = lib.join("ld-linux-any.so.2");
        fs::write(&loader, "#!/bin/sh\necho \"$MODULES|$*\"\n").unwrap();
        fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("usr/bin/tool"), b"").unwrap();
        let launcher = Launcher {
            name: "tool".to_owned(),
            program: "usr/bin/tool",
            libraries: &["usr/lib/more"],
            variables: &[("MODULES", "@lib/tool")],
            arguments: &["-L", "@/usr/share/tool"],
        };
        // As a package of a whole system's layout has it.
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        launcher.write(&root).unwrap();
        let moved = root.with_extension("moved");
        fs::rename(&root, &moved).unwrap();
        let out = progress::quiet(Command::new(moved.join("bin/tool")).args(["a b", "c"])).unwrap();
        let at = moved.display();
        let lib = format!("{at}/usr/lib/any-linux-gnu");
        assert_eq!(
            out.trim(),
            format!(
                "{lib}/tool|--library-path {lib}:{at}/usr/lib/more {at}/usr/bin/tool \
                 -L {at}/usr/share/tool a b c"
            )
        );
        fs::remove_dir_all(&moved).unwrap();
    }

    #[test]
    fn a_missing_program_is_named() {
        let root = std::env::temp_dir().join(format!("kstack-no-program-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let launcher = Launcher {
            name: "x".to_owned(),
            program: "usr/bin/x",
            libraries: &[],
            variables: &[],
            arguments: &[],
        };
        assert!(launcher.write(&root).unwrap_err().to_string().contains("usr/bin/x"));
        fs::remove_dir_all(&root).unwrap();
    }
}
