//! The house has floors: crates that know only what is below them, and in them files that do not
//! import each other in a circle.
//!
//! | rule | because |
//! |---|---|
//! | a crate of the reference kernel depends on crates below it ([`FLOORS`]) | what is below is read, and changed, without knowing what is above |
//! | files of one crate import each other in no circle | a circle is read as a whole or not at all |
//! | a room of a crate (a folder, or a file beside it) imports rooms below it ([`Floor::rooms`]) | the same, one size smaller |
//!
//! What an import is: see [`imports`]. The files are looked at once for each architecture, without
//! the trees of the others.

mod imports;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;
use imports::{Module, Source};

/// Files below the root, by their path from there.
type Files = BTreeMap<String, String>;

/// A crate of the workspace.
struct Floor {
    /// Its name, as others depend on it.
    name: &'static str,
    /// Where its manifest is.
    folder: &'static str,
    /// Its folders, and the files beside them, from the ground up; none: they are not held.
    rooms: &'static [&'static str],
}

/// The rooms of `kstack-core/src`, and its tests beside them.
const CORE: [&str; 8] = ["sentences", "place", "dma", "life", "entry", "fault", "models", "misuse"];

/// The rooms of `kernel/linux/src`.
const LINUX: [&str; 17] = [
    "error", "sorted", "limits", "abi", "time", "spaces", "cgroups", "ipc", "files", "memory",
    "process", "signals", "exec", "proc", "fs", "calls", "dispatch",
];

/// The tables and tools of `xtask/src`, and its wings.
const XTASK: [&str; 13] = [
    "workspace",
    "progress",
    "jobs",
    "cpio",
    "catalogue",
    "variant",
    "arch",
    "setup",
    "rules",
    "build",
    "boot",
    "proof",
    "commands",
];

/// From the ground up.
const FLOORS: [Floor; 8] = [
    Floor { name: "kstack-core", folder: "kstack-core", rooms: &CORE },
    Floor { name: "kstack-hosted", folder: "kstack-hosted", rooms: &[] },
    Floor { name: "kstack", folder: "kstack", rooms: &[] },
    Floor { name: "machine", folder: "kernel/machine", rooms: &[] },
    Floor { name: "threads", folder: "kernel/threads", rooms: &[] },
    Floor { name: "linux", folder: "kernel/linux", rooms: &LINUX },
    Floor { name: "kernel", folder: "kernel", rooms: &[] },
    Floor { name: "xtask", folder: "xtask", rooms: &XTASK },
];

/// Where the table of rooms is.
const WHERE: &str = "xtask/src/rules/floors/mod.rs";

/// Every breach, as lines to print.
pub(crate) fn breaches(files: &Files) -> Vec<String> {
    let archs: Vec<_> = Arch::supported().into_iter().map(Arch::name).collect();
    let mut breaches = upward(&FLOORS, files);
    for floor in &FLOORS {
        breaches.extend(circles(floor.folder, files, &archs));
    }
    for floor in &FLOORS {
        breaches.extend(upstairs(floor, files, &archs));
    }
    breaches
}

/// Dependencies that do not lead down.
fn upward(floors: &[Floor], files: &Files) -> Vec<String> {
    let mut breaches = Vec::new();
    for (at, floor) in floors.iter().enumerate() {
        let path = format!("{}/Cargo.toml", floor.folder);
        let Some(text) = files.get(&path) else {
            breaches.push(format!("{path}: missing"));
            continue;
        };
        for name in dependencies(text) {
            if floors[at..].iter().any(|above| above.name == name) {
                breaches.push(format!(
                    "{path}: `{}` depends on `{name}`, which is not below it",
                    floor.name
                ));
            }
        }
    }
    breaches
}

/// The names in the tables of dependencies of a manifest, those for tests too.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut within = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            within = table.ends_with("dependencies");
            // A table of its own for one of them.
            names.extend(table.split_once("dependencies.").map(|(_, name)| name));
        } else if within && !line.starts_with('#') {
            names.extend(line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty()));
        }
    }
    names
}

/// The circles of a crate's files.
fn circles(folder: &str, files: &Files, archs: &[&str]) -> Vec<String> {
    let mut breaches = BTreeSet::new();
    for &arch in archs {
        let others: Vec<_> = archs.iter().filter(|&&other| other != arch).copied().collect();
        let source = Source::new(folder, files, &others);
        let imports = source.imports();
        for circle in tied(&imports) {
            let paths: BTreeSet<_> = circle.iter().map(|module| source.modules[module].0).collect();
            let paths: Vec<_> = paths.into_iter().collect();
            breaches.insert(format!(
                "{}: import each other in a circle{}",
                paths.join(", "),
                ties(&circle, &imports)
            ));
        }
    }
    breaches.into_iter().collect()
}

/// Who imports whom in a circle, a line each.
fn ties(circle: &BTreeSet<Module>, imports: &BTreeMap<Module, BTreeSet<Module>>) -> String {
    let mut lines = String::new();
    for from in circle {
        for to in imports[from].intersection(circle) {
            lines += &format!("\n    {} -> {}", from.join("::"), to.join("::"));
        }
    }
    lines
}

/// Imports of a crate's rooms that do not lead down, and rooms that the table does not have. The
/// root may import all of them.
fn upstairs(floor: &Floor, files: &Files, archs: &[&str]) -> Vec<String> {
    let mut breaches = BTreeSet::new();
    let height = |module: &Module| {
        let room = module.first()?;
        floor.rooms.iter().position(|known| known == room)
    };
    if floor.rooms.is_empty() {
        return Vec::new();
    }
    for &arch in archs {
        let others: Vec<_> = archs.iter().filter(|&&other| other != arch).copied().collect();
        let source = Source::new(floor.folder, files, &others);
        for (module, imports) in source.imports() {
            // The root names its rooms, and may pass on what is in them.
            if module.is_empty() {
                continue;
            }
            let path = source.modules[&module].0;
            let Some(own) = height(&module) else {
                breaches.insert(format!("{path}: is in no room that {WHERE} knows"));
                continue;
            };
            for import in imports {
                if height(&import).is_none_or(|other| other > own) {
                    let import = import.join("::");
                    breaches.insert(format!("{path}: imports `{import}`, which is not below it"));
                }
            }
        }
    }
    breaches.into_iter().collect()
}

/// The sets of modules that reach each other.
fn tied(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for import in imports.get(module).into_iter().flatten() {
                if seen.insert(import.clone()) {
                    next.push(import);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (module, reach(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, seen) in &reached {
        let circle: BTreeSet<_> = seen
            .iter()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(*module)))
            .cloned()
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}
