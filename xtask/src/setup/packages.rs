//! Packages of the pinned release, unpacked below the cache and run from there.
//!
//! ```text
//!   <cache>/packages/<name>-<key>/usr/bin/…, usr/lib/…    as the packages have them
//!                                bin/PROGRAM              a launcher of ours for each program that is run from here
//! ```
//!
//! A program is started through the C library's loader of the same folder, with its libraries and
//! data: it is the same program on every machine, whatever that machine has installed.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{Archive, Edition};
use super::cache::{self, Lock, State, fingerprint};
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
    /// The release they are of.
    pub(super) edition: Edition,
    /// Debian's name of the architecture.
    pub(super) architecture: String,
    /// The packages: the first of these sets that the archive has.
    pub(super) sets: Vec<Vec<String>>,
    /// Whether what they need to run comes with them.
    pub(super) with_needs: bool,
    /// Programs to be run on this machine: the name, its place in the folder, and arguments that
    /// stand before all others.
    pub(super) programs: Vec<Launcher>,
}

/// A program that is run from the folder.
pub(super) struct Launcher {
    /// What it is called.
    pub(super) name: String,
    /// Its place in the folder.
    pub(super) program: String,
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

    /// Makes sure that they are there, for the one command that needs them; `what` is told before
    /// anything is fetched.
    pub(super) fn fetched(
        &self,
        what: &str,
        check: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        if self.state()? == State::Whole {
            return Ok(());
        }
        let lock = Lock::take()?;
        // Another command may have made it meanwhile.
        let state = self.state()?;
        if state != State::Whole {
            eprintln!("This needs {what}");
            cache::say_if_damaged(&self.folder()?, &state);
            self.make(&lock, check)?;
        }
        Ok(())
    }

    /// Downloads and unpacks them; `check` looks at the result before it gets its name.
    pub(super) fn make(&self, lock: &Lock, check: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.make_at(
            lock,
            &Archive::open(&self.architecture, self.edition)?,
            &self.folder()?,
            check,
        )
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

    /// Writes a script that finds everything from its own place, since the folder is renamed after
    /// this.
    fn write(&self, root: &Path) -> Result<()> {
        let program = program(root, &self.program)?;
        let (loader, system) = loader(root)?;
        let own = &system[0];
        let libraries: Vec<String> = (system.iter().map(String::as_str))
            .chain(self.libraries.iter().copied())
            .map(|place| format!("$root/{place}"))
            .collect();
        let mut script = String::from("#!/bin/sh\n");
        script.push_str("# Made by cargo xtask: runs the program of this folder with this folder's libraries.\n");
        script.push_str("root=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n");
        script.push_str("unset LD_LIBRARY_PATH LD_PRELOAD\n");
        for (name, place) in self.variables {
            script.push_str(&format!("export {name}=\"$root/{}\"\n", place.replace("@lib", own)));
        }
        script.push_str(&format!(
            "exec \"$root/{loader}\" --library-path \"{}\" \"$root/{}\"",
            libraries.join(":"),
            program
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
            // Of a package that lays out a whole system: the script would lie elsewhere, and not
            // find its place.
            fs::remove_file(&bin)?;
        }
        fs::create_dir_all(path.parent().context("a launcher lies in a folder")?)?;
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// A program's place: not a script's of the same name, which calls it where the system would have
/// it.
fn program(root: &Path, place: &str) -> Result<String> {
    let is_script = |place: &str| -> Result<bool> {
        let mut begin = [0; 2];
        let mut file = File::open(root.join(place))
            .with_context(|| format!("the packages hold no {place}"))?;
        Ok(file.read_exact(&mut begin).is_ok() && begin == *b"#!")
    };
    if !is_script(place)? {
        return Ok(place.to_owned());
    }
    let called = place.replace("usr/bin/", "usr/libexec/");
    ensure!(!is_script(&called)?, "{place} and {called} are scripts");
    Ok(called)
}

/// The C library's loader in an unpacked folder, and the folders with its libraries, that of
/// everything but the system's first ones first. Older releases have two: their packages still know
/// a `/lib` beside `/usr/lib`.
fn loader(root: &Path) -> Result<(String, Vec<String>)> {
    for place in ["usr/lib", "lib"] {
        let Ok(folders) = fs::read_dir(root.join(place)) else { continue };
        for entry in folders {
            let entry = entry?;
            if !entry.path().join("libc.so.6").is_file() {
                continue;
            }
            let triple = entry.file_name().to_string_lossy().into_owned();
            let loader = fs::read_dir(entry.path())?
                .filter_map(Result::ok)
                .find(|entry| entry.file_name().to_string_lossy().starts_with("ld-linux"));
            let name = loader.context("the C library has no loader")?.file_name();
            let mut libraries = vec![format!("usr/lib/{triple}")];
            if place == "lib" {
                libraries.push(format!("lib/{triple}"));
            }
            return Ok((format!("{place}/{triple}/{}", name.to_string_lossy()), libraries));
        }
    }
    anyhow::bail!("the packages hold no C library")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_both_layouts_of_a_system() {
        let root = std::env::temp_dir().join(format!("kstack-layouts-{}", std::process::id()));
        for (place, libraries) in [
            ("usr/lib", &["usr/lib/any-linux-gnu"][..]),
            ("lib", &["usr/lib/any-linux-gnu", "lib/any-linux-gnu"]),
        ] {
            let lib = root.join(place).join("any-linux-gnu");
            fs::create_dir_all(&lib).unwrap();
            fs::create_dir_all(root.join("usr/lib/other")).unwrap();
            fs::write(lib.join("libc.so.6"), b"").unwrap();
            assert!(loader(&root).unwrap_err().to_string().contains("no loader"));
            fs::write(lib.join("ld-linux-any.so.2"), b"").unwrap();
            let (loader, found) = loader(&root).unwrap();
            assert_eq!(loader, format!("{place}/any-linux-gnu/ld-linux-any.so.2"));
            assert_eq!(found, libraries);
            fs::remove_dir_all(&root).unwrap();
        }
        assert!(loader(&root).unwrap_err().to_string().contains("no C library"));
    }

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
            program: "usr/bin/tool".to_owned(),
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
    fn the_program_is_run_and_not_a_script_that_calls_it() {
        let root = std::env::temp_dir().join(format!("kstack-scripts-{}", std::process::id()));
        for folder in ["usr/bin", "usr/libexec"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("usr/bin/tool"), b"#!/bin/sh\nexec /usr/libexec/tool\n").unwrap();
        assert!(program(&root, "usr/bin/tool").unwrap_err().to_string().contains("usr/libexec"));
        fs::write(root.join("usr/libexec/tool"), b"\x7fELF").unwrap();
        assert_eq!(program(&root, "usr/bin/tool").unwrap(), "usr/libexec/tool");
        fs::write(root.join("usr/bin/tool"), b"\x7fELF").unwrap();
        assert_eq!(program(&root, "usr/bin/tool").unwrap(), "usr/bin/tool");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_missing_program_is_named() {
        let root = std::env::temp_dir().join(format!("kstack-no-program-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let launcher = Launcher {
            name: "x".to_owned(),
            program: "usr/bin/x".to_owned(),
            libraries: &[],
            variables: &[],
            arguments: &[],
        };
        assert!(launcher.write(&root).unwrap_err().to_string().contains("usr/bin/x"));
        fs::remove_dir_all(&root).unwrap();
    }
}
