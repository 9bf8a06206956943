//! The cache: what set-up has fetched or made, for all checkouts of one user.
//!
//! ```text
//!   <cache>/                  KSTACK_CACHE, or kstack below XDG_CACHE_HOME or ~/.cache
//!       lock                  held while something is made
//!       packages/<name>-<key>/  packages of the pinned release, unpacked       ┐
//!       sysroot/<key>/          core and alloc for a bare-metal target         │ items
//!       busybox/<arch>-<key>/   the static busybox of an architecture          │
//!       programs/<name>-<version>/  cargo-mutants and the like, built from source ┘
//!       apt/<arch>/           the package manager's lists and downloads
//!       tried/<key>           an empty file per linker and target that fit together
//! ```
//!
//! An *item* is a folder that is made once and never changed. It is made beside its place, gets a
//! list of its files ([`MANIFEST`]) and is renamed, so that a half-made one never has the name of a
//! whole one. Each start compares the list with the files; an item with a file missing or changed
//! is made again.
//!
//! Invariant: items are made, and removed, only with the lock held.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result, ensure};

use crate::progress;
use crate::workspace::made;

/// The list of an item's files: size, time of last change, fingerprint of the contents, name.
const MANIFEST: &str = ".manifest";

/// The cache folder, made if need be.
pub(crate) fn folder() -> Result<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = place(var("KSTACK_CACHE"), var("XDG_CACHE_HOME"), var("HOME"))
        .context("no place for the cache: set KSTACK_CACHE to a folder, or HOME")?;
    // A relative path is meant from where the user stands.
    made(std::path::absolute(path)?)
}

/// Where the cache is, by the variables' values (XDG Base Directory Specification: a relative XDG
/// path is ignored).
fn place(own: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let xdg = xdg.filter(|path| path.is_absolute());
    own.or_else(|| Some(xdg.or_else(|| Some(home?.join(".cache")))?.join("kstack")))
}

/// The right to make items. Given up when dropped, or when the process ends in whatever way.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other command makes anything.
    pub(super) fn take() -> Result<Lock> {
        let path = folder()?.join("lock");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file =
            options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).unwrap_or_default();
                eprintln!("Waiting for another cargo xtask (process {})", holder.trim());
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(process::id().to_string().as_bytes())?;
        Ok(Lock { _file: file })
    }
}

/// What is to be said of an item.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Not made yet.
    Absent,
    /// Made, and a file is missing or was changed since.
    Damaged(String),
    /// As it was made.
    Whole,
}

/// Whether an item is there and as it was made.
pub(super) fn state(item: &Path) -> State {
    if !item.is_dir() {
        return State::Absent;
    }
    let Ok(manifest) = fs::read_to_string(item.join(MANIFEST)) else {
        return State::Damaged("its list of files".to_owned());
    };
    for line in manifest.lines() {
        let mut fields = line.splitn(4, ' ');
        let (Some(size), Some(changed), Some(print), Some(name)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return State::Damaged("its list of files".to_owned());
        };
        let path = item.join(name);
        let same = fs::symlink_metadata(&path).is_ok_and(|metadata| {
            metadata.len().to_string() == size
                // A copy of the cache has the contents, not the times.
                && (changed_at(&metadata) == changed || print_of(&path).is_ok_and(|now| now == print))
        });
        if !same {
            return State::Damaged(name.to_owned());
        }
    }
    State::Whole
}

/// Makes an item, in place of what may be there, by filling an empty folder.
pub(super) fn make(
    _lock: &Lock,
    item: &Path,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let parent = item.parent().context("an item lies in a folder")?;
    let name = item.file_name().context("an item has a name")?.to_string_lossy().into_owned();
    made(parent.to_path_buf())?;
    let making = parent.join(format!("{name}.making"));
    remove(&making)?;
    fs::create_dir(&making).with_context(|| format!("cannot make {}", making.display()))?;
    fill(&making)?;
    let mut manifest = String::new();
    list(&making, &making, &mut manifest)?;
    ensure!(!manifest.is_empty(), "{name} is empty");
    fs::write(making.join(MANIFEST), manifest)?;
    remove(item)?;
    fs::rename(&making, item)?;
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Appends a line for each file below a folder.
fn list(root: &Path, folder: &Path, manifest: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            list(root, &path, manifest)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_str().context("a file's name is not UTF-8")?;
        ensure!(!name.contains('\n'), "a file's name has two lines");
        let (size, changed, print) = (metadata.len(), changed_at(&metadata), print_of(&path)?);
        writeln!(manifest, "{size} {changed} {print} {name}")?;
    }
    Ok(())
}

fn changed_at(metadata: &fs::Metadata) -> String {
    format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())
}

/// A fingerprint of a file's contents, or of where a link leads.
fn print_of(path: &Path) -> Result<String> {
    let bytes = if fs::symlink_metadata(path)?.is_symlink() {
        fs::read_link(path)?.to_string_lossy().into_owned().into_bytes()
    } else {
        fs::read(path)?
    };
    // Word by word: against damage, not against an adversary, and hundreds of megabytes must take
    // no time.
    let mut hash = fingerprint(&bytes.len().to_le_bytes());
    for word in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        hash =
            (hash ^ u64::from_le_bytes(padded)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    Ok(format!("{hash:016x}"))
}

/// Says what is wrong with a damaged item; it is about to be made again.
pub(super) fn say_if_damaged(item: &Path, state: &State) {
    if let State::Damaged(file) = state {
        eprintln!("{} is damaged ({file}): made again", item.display());
    } else {
        progress::detail(|| format!("{} is not there yet", item.display()));
    }
}

/// A stable short hash for cache keys (FNV-1a); not for anything an adversary chooses.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    struct Fnv(u64);
    impl std::hash::Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    std::hash::Hasher::write(&mut hasher, bytes);
    std::hash::Hasher::finish(&hasher)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of a test's own that goes away again.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = env::temp_dir().join(format!("kstack-cache-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        /// The right to make things there; the real one is for the user's cache.
        fn lock(&self) -> Lock {
            Lock { _file: File::create(self.0.join("lock")).unwrap() }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_cache_is_the_user_s_unless_told_otherwise() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(place(path("/c"), path("/x"), path("/h")), path("/c"));
        assert_eq!(place(None, path("/x"), path("/h")), path("/x/kstack"));
        assert_eq!(place(None, path("relative"), path("/h")), path("/h/.cache/kstack"));
        assert_eq!(place(None, None, None), None);
    }

    #[test]
    fn an_item_is_whole_until_one_of_its_files_changes_or_goes() {
        let scratch = Scratch::new("item");
        let item = scratch.0.join("things/item");
        assert_eq!(state(&item), State::Absent);
        let fill = |into: &Path| {
            fs::create_dir(into.join("sub"))?;
            fs::write(into.join("sub/file"), b"contents")?;
            std::os::unix::fs::symlink("sub/file", into.join("link"))?;
            Ok(())
        };
        make(&scratch.lock(), &item, fill).unwrap();
        assert_eq!(state(&item), State::Whole);

        // Written anew with the same bytes, as a copy of the cache has it: still whole.
        fs::write(item.join("sub/file"), b"contents").unwrap();
        assert_eq!(state(&item), State::Whole);
        fs::write(item.join("sub/file"), b"CONTENTS").unwrap();
        assert_eq!(state(&item), State::Damaged("sub/file".to_owned()));
        make(&scratch.lock(), &item, fill).unwrap();
        assert_eq!(state(&item), State::Whole);
        fs::remove_file(item.join("link")).unwrap();
        assert_eq!(state(&item), State::Damaged("link".to_owned()));
        fs::remove_file(item.join(MANIFEST)).unwrap();
        assert!(matches!(state(&item), State::Damaged(_)));
    }

    #[test]
    fn what_was_interrupted_is_not_there_and_does_not_stand_in_the_way() {
        let scratch = Scratch::new("half");
        let item = scratch.0.join("item");
        let half = |into: &Path| {
            fs::write(into.join("first"), b"1")?;
            anyhow::bail!("interrupted")
        };
        assert!(make(&scratch.lock(), &item, half).is_err());
        assert_eq!(state(&item), State::Absent);
        make(&scratch.lock(), &item, |into| Ok(fs::write(into.join("second"), b"2")?)).unwrap();
        assert_eq!(state(&item), State::Whole);
        assert!(!item.join("first").exists(), "the rest of an interrupted try");
    }

    #[test]
    fn an_empty_item_is_refused() {
        let scratch = Scratch::new("empty");
        assert!(make(&scratch.lock(), &scratch.0.join("item"), |_| Ok(())).is_err());
    }
}
