//! The house has floors: crates that know only what is below them, and in them files that do not import each other in a circle.
//!
//! | rule | because |
//! |---|---|
//! | a crate of the reference kernel depends on crates below it ([`FLOORS`]) | what is below is read, and changed, without knowing what is above |
//! | a folder of `xtask` imports folders below it ([`WINGS`]) | the same, for the program that checks and measures all this |
//! | files of one crate import each other in no circle | a circle is read as a whole or not at all |
//! | a circle that is there still is in [`CIRCLES`], with the reason | it may shrink, and must not grow |
//!
//! What an import is: see [`imports`]. The files are looked at once for each architecture, without the trees of the others.

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
    /// Whether circles of its files are looked for.
    files: bool,
}

/// From the ground up.
const FLOORS: [Floor; 6] = [
    Floor { name: "kstack-core", folder: "kstack-core", files: false },
    Floor { name: "kstack", folder: "kstack", files: false },
    Floor { name: "machine", folder: "kernel/machine", files: true },
    Floor { name: "threads", folder: "kernel/threads", files: true },
    Floor { name: "linux", folder: "kernel/linux", files: true },
    Floor { name: "kernel", folder: "kernel", files: false },
];

/// What `xtask` consists of, from the ground up: modules in one line do not depend on their order.
const WINGS: [&[&str]; 7] = [
    &["arch", "catalogue", "jobs", "progress", "workspace"],
    &["setup"],
    &["rules"],
    &["build"],
    &["boot"],
    &["proof"],
    &["commands"],
];

/// Files that import each other in a circle still, and why.
struct Circle {
    files: &'static [&'static str],
    /// What ties it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the table"))]
    reason: &'static str,
}

/// Where the tables are.
const WHERE: &str = "xtask/src/rules/floors/mod.rs";

const CIRCLES: [Circle; 1] = [Circle {
    files: &[
        "kernel/machine/src/arch/any/flush.rs",
        "kernel/machine/src/arch/i386/paging.rs",
        "kernel/machine/src/arch/pc/acpi.rs",
        "kernel/machine/src/arch/pc/irqchip.rs",
        "kernel/machine/src/arch/pc/user_tables.rs",
        "kernel/machine/src/arch/x86_64/paging.rs",
    ],
    reason: "the user half of a PC's page tables is written once over each one's walk, and passed on by it",
}];

/// Every breach, as lines to print.
pub(crate) fn breaches(files: &Files) -> Vec<String> {
    let archs: Vec<_> = Arch::supported().into_iter().map(Arch::name).collect();
    let mut breaches = upward(&FLOORS, files);
    breaches.extend(wings("xtask", &WINGS, files));
    let mut left: BTreeSet<String> =
        CIRCLES.iter().flat_map(|circle| circle.files).map(|&path| path.to_owned()).collect();
    for floor in FLOORS.iter().filter(|floor| floor.files) {
        breaches.extend(circles(floor.folder, files, &archs, &CIRCLES, &mut left));
    }
    for path in left {
        breaches
            .push(format!("{path}: is in no circle any more: take it out of CIRCLES in {WHERE}"));
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

/// Imports of a crate's files that do not lead to the same wing or one below it. The crate's root may import all of them.
fn wings(folder: &str, order: &[&[&str]], files: &Files) -> Vec<String> {
    let height = |module: &Module| {
        let Some(first) = module.first() else { return Some(order.len()) };
        order.iter().position(|wing| wing.contains(&first.as_str()))
    };
    let source = Source::new(folder, files, &[]);
    let mut breaches = Vec::new();
    for (module, imports) in source.imports() {
        let path = source.modules[&module].0;
        let Some(from) = height(&module) else {
            breaches.push(format!("{path}: in no wing: give it a place in WINGS in {WHERE}"));
            continue;
        };
        for import in imports {
            // An import of a file without a place is told once, at that file.
            if height(&import).is_some_and(|to| to > from) {
                let above = source.modules[&import].0;
                breaches.push(format!("{path}: imports {above}, which is not below it"));
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

/// The circles of a crate's files that are not in the table; takes those that are out of `left`.
fn circles(
    folder: &str,
    files: &Files,
    archs: &[&str],
    known: &[Circle],
    left: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut breaches = BTreeSet::new();
    for &arch in archs {
        let others: Vec<_> = archs.iter().filter(|&&other| other != arch).copied().collect();
        let source = Source::new(folder, files, &others);
        for circle in tied(&source.imports()) {
            let paths: BTreeSet<_> = circle.iter().map(|module| source.modules[module].0).collect();
            for path in &paths {
                left.remove(*path);
            }
            if known.iter().any(|known| paths.iter().all(|path| known.files.contains(path))) {
                continue;
            }
            let paths: Vec<_> = paths.into_iter().collect();
            breaches.insert(format!("{}: import each other in a circle", paths.join(", ")));
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
