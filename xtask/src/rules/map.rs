//! The map in ARCHITECTURE.md is complete: a paragraph for each folder at the root, each crate's folder, and each room of a crate.
//!
//! ```text
//!   **`kernel/threads/src/sched/`** Birth, switch, …     a paragraph begins so, once
//! ```
//!
//! A room is a folder directly below a crate's `src`. What lies beside a file of the same name (`pool.rs` and `pool/`) is that module's
//! own and needs no paragraph.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the map is.
const DOCUMENT: &str = "ARCHITECTURE.md";

/// Folders without a paragraph, and paragraphs without a folder or with a second one, as lines to print.
pub(crate) fn breaches(root: &Path, files: &[PathBuf], document: &str) -> Vec<String> {
    let files: BTreeSet<&Path> =
        files.iter().filter_map(|file| file.strip_prefix(root).ok()).collect();
    let wanted = folders(&files);
    let mut named = BTreeSet::new();
    let mut breaches = Vec::new();
    for line in document.lines() {
        let Some((folder, _)) = line.strip_prefix("**`").and_then(|rest| rest.split_once("/`**"))
        else {
            continue;
        };
        if !named.insert(folder.to_owned()) {
            breaches.push(format!("{DOCUMENT}: `{folder}/` has two paragraphs in the map"));
        }
        if !files.iter().any(|file| file.starts_with(folder)) {
            breaches.push(format!("{DOCUMENT}: `{folder}/` is in the map and not in the tree"));
        }
    }
    let missing = wanted.difference(&named);
    breaches.extend(
        missing.map(|folder| format!("{DOCUMENT}: `{folder}/` has no paragraph in the map")),
    );
    breaches
}

/// The folders that must be in the map.
fn folders(files: &BTreeSet<&Path>) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    for file in files {
        let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
        let path = |count: usize| parts[..count].join("/");
        if parts.len() > 1 {
            wanted.insert(path(1));
        }
        if parts.len() > 1 && parts.last() == Some(&"Cargo.toml") {
            wanted.insert(path(parts.len() - 1));
        }
        let Some(src) = parts.iter().position(|&part| part == "src") else { continue };
        // The examples' crates are theirs: their folder is enough.
        if parts.len() < src + 3 || parts[0] == "examples" {
            continue;
        }
        let room = path(src + 2);
        if !files.contains(Path::new(&format!("{room}.rs"))) {
            wanted.insert(room);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_one_paragraph_and_each_paragraph_a_folder() {
        let files = [
            "README.md",
            "docs/a.md",
            "core/Cargo.toml",
            "core/src/lib.rs",
            "core/src/pool.rs",
            "core/src/pool/tests.rs",
            "core/src/life/deep/cache.rs",
            "kernel/linux/Cargo.toml",
            "examples/guest/Cargo.toml",
            "examples/guest/src/bin/one.rs",
        ];
        let files = files.map(|file| Path::new("/tree").join(file));
        let check = |document: &str| breaches(Path::new("/tree"), &files, document);
        let whole = "**`docs/`** a\n**`core/`** b\n**`core/src/life/`** c\n**`kernel/`** d\n\
                     **`kernel/linux/`** e\n**`examples/`** f\n**`examples/guest/`** g\nand **`h`** i\n";
        assert_eq!(check(whole), [""; 0]);
        let without = check(&whole.replace("**`core/src/life/`** c\n", ""));
        assert_eq!(without, ["ARCHITECTURE.md: `core/src/life/` has no paragraph in the map"]);
        let twice = check(&format!("{whole}**`docs/`** again\n"));
        assert_eq!(twice, ["ARCHITECTURE.md: `docs/` has two paragraphs in the map"]);
        let moved = check(&whole.replace("core/src/life", "core/src/lives"));
        assert_eq!(moved.len(), 2, "{moved:?}");
        assert!(moved[0].contains("`core/src/lives/` is in the map and not in the tree"));
    }
}
