//! The trees of the architectures are parallel: the same files, in them the same items, in the same order. Who has read one
//! knows where everything is in the others, and what is written for one is not forgotten in another.
//!
//! ```text
//!   kernel/machine/src/arch/ ── mod.rs        selects one tree; the only place that asks which architecture this is
//!                    ── x86_64/       ┐
//!                    ── i386/         ├─ pc/     files that both pass on, `pub use crate::arch::pc::smp`
//!                    ── arm64/ …      ┘  count as theirs
//! ```
//!
//! | rule | because |
//! |---|---|
//! | a file is in every tree, or in the table of [`own`] with a reason | what one architecture needs and another does not is worth a sentence |
//! | an item that portable code may name is in every tree, or in that table | portable code cannot use it otherwise; what only the tree uses is `pub(super)` |
//! | items of one name stand in one order, private ones too | two files can be read side by side |
//! | `pub use` names what it passes on | it is part of the contract |
//! | each selector refuses with `compile_error!`, and what it selects from is known | a tree that is half there says so, not the linker |
//! | the checklist for a new architecture names all of it | somebody is to follow it ([`checklist`]) |
//! | nobody but a selector asks for the architecture outside of the trees | what differs stands where it is looked for |
//!
//! That portable code uses nothing that a tree lacks is held by the compiler: it builds all of them.

mod checklist;
mod items;
mod own;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;
use items::{Entry, Seen};
use own::{Own, WHERE};

/// Trees that are alike, one per architecture.
struct Trees {
    /// The folder that they stand in, with their selector.
    folder: &'static str,
    /// Whether each is a folder; otherwise it is one file.
    folders: bool,
    /// Folders and files beside them, from which some pass things on.
    shared: &'static [&'static str],
}

const TREES: [Trees; 6] = [
    Trees { folder: "kstack/src/arch", folders: true, shared: &["target.rs"] },
    Trees { folder: "kernel/machine/src/arch", folders: true, shared: &["any", "pc", "virt"] },
    Trees {
        folder: "kernel/src/tests/arch",
        folders: true,
        shared: &["pc", "entry_code.rs", "first_use.rs", "overflow_handler.rs"],
    },
    Trees {
        folder: "kernel/linux/src/abi",
        folders: false,
        shared: &[
            "common.rs",
            "generic.rs",
            "names.rs",
            "narrow.rs",
            "signals.rs",
            "stack_image.rs",
            "wide.rs",
        ],
    },
    Trees { folder: "user/src/arch", folders: false, shared: &["generic.rs"] },
    Trees { folder: "user/src/attack", folders: false, shared: &["pc.rs"] },
];

/// Crates whose code is portable outside of the trees.
const PORTABLE: [&str; 4] = ["kernel/", "kstack/", "kstack-core/", "user/"];

/// How a program asks for its architecture. In two parts, since this file is checked too.
const QUESTION: &str = concat!("target", "_arch");

/// Files below the root, by their path from there.
type Files = BTreeMap<String, String>;

/// One file of one architecture.
struct File {
    path: String,
    entries: Vec<Entry>,
}

/// Every breach, as lines to print.
pub(crate) fn breaches(files: &Files) -> Vec<String> {
    let archs: Vec<_> = Arch::supported().into_iter().map(Arch::name).collect();
    let known: Vec<_> = Arch::all().map(Arch::name).collect();
    let mut breaches: Vec<_> =
        TREES.iter().flat_map(|trees| trees.breaches(files, &archs, &known, &own::TABLE)).collect();
    breaches.extend(questions(files));
    let text = files.get(checklist::CHECKLIST).map_or("", String::as_str);
    for trees in &TREES {
        let common = trees.common(files, &archs);
        breaches.extend(checklist::breaches(text, &trees.place("NAME"), &common));
    }
    breaches
}

/// Portable code that asks which architecture it is on. A crate's host tests of one architecture have its name: `tests/NAME.rs`.
fn questions(files: &Files) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, text) in files {
        let portable = PORTABLE.iter().any(|krate| path.starts_with(krate));
        let of_a_tree = TREES
            .iter()
            .any(|trees| path.strip_prefix(trees.folder).is_some_and(|rest| rest.starts_with('/')));
        let of_one = Arch::all().any(|arch| path.ends_with(&format!("/tests/{}.rs", arch.name())));
        if !portable || of_a_tree || of_one || !path.ends_with(".rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if line.contains(QUESTION) && !line.trim_start().starts_with("//") {
                breaches.push(format!(
                    "{path}:{}: asks for the architecture: make what differs a constant or a function of its trees",
                    number + 1
                ));
            }
        }
    }
    breaches
}

impl Trees {
    /// The breaches of these trees.
    fn breaches(&self, files: &Files, archs: &[&str], known: &[&str], own: &[Own]) -> Vec<String> {
        let own: Vec<_> = own.iter().filter(|own| own.trees == self.folder).collect();
        let mut breaches = self.selector(files, archs, known);
        let mut of_archs = Vec::new();
        for &arch in archs {
            match self.read(files, arch) {
                Ok(found) => of_archs.push((arch, found)),
                Err(breach) => breaches.push(breach),
            }
        }
        let names: BTreeSet<_> = of_archs.iter().flat_map(|(_, files)| files.keys()).collect();
        for &name in &names {
            let excused = own.iter().any(|own| own.file == name && own.items.is_empty());
            let mut alike = Vec::new();
            for (arch, files) in &of_archs {
                match files.get(name) {
                    Some(file) => alike.push((*arch, file)),
                    None if excused => {}
                    None => breaches.push(format!(
                        "{}: no {name}, as other architectures have: write it, or give the reason in {WHERE}",
                        self.place(arch)
                    )),
                }
            }
            if !excused {
                breaches.extend(missing_items(name, &alike, &own));
            }
            breaches.extend(out_of_order(name, &alike, &own));
        }
        breaches.extend(idle(&own, &of_archs));
        breaches
    }

    /// What all of them have: files, and in each the items that portable code may name, in their order.
    fn common(&self, files: &Files, archs: &[&str]) -> BTreeMap<String, Vec<String>> {
        let read = archs.iter().filter_map(|arch| self.read(files, arch).ok());
        let mut of_archs = read.map(|files| {
            let outside = |entry: &Entry| (entry.seen == Seen::Outside).then(|| entry.name.clone());
            let items = files.into_iter().map(|(name, file)| {
                (name, file.entries.iter().filter_map(outside).collect::<Vec<_>>())
            });
            items.collect::<BTreeMap<_, _>>()
        });
        let mut common = of_archs.next().unwrap_or_default();
        for other in of_archs {
            common.retain(|name, _| other.contains_key(name));
            for (name, items) in &mut common {
                items.retain(|item| other[name].contains(item));
            }
        }
        // Its items are the other files.
        common.remove("mod.rs");
        common
    }

    /// Where the tree of an architecture is, or would be.
    fn place(&self, arch: &str) -> String {
        format!("{}/{arch}{}", self.folder, if self.folders { "" } else { ".rs" })
    }

    /// What the selector lacks, and what stands beside it that nobody knows.
    fn selector(&self, files: &Files, archs: &[&str], known: &[&str]) -> Vec<String> {
        let selector = format!("{}/mod.rs", self.folder);
        let Some(text) = files.get(&selector) else { return vec![format!("{selector}: missing")] };
        let mut breaches = Vec::new();
        if !text.contains("compile_error!") {
            breaches.push(format!(
                "{selector}: selects without refusing: `compile_error!` for every other architecture, with what to do"
            ));
        }
        for arch in archs {
            let declares = format!("mod {arch};");
            if !text.lines().any(|line| line.ends_with(&declares)) {
                breaches.push(format!("{selector}: does not select {arch}, which xtask supports"));
            }
        }
        let prefix = format!("{}/", self.folder);
        let beside: BTreeSet<_> = files
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix)?.split('/').next())
            .filter(|&name| name != "mod.rs")
            .collect();
        for name in beside {
            let stem = name.strip_suffix(".rs").unwrap_or(name);
            if !known.contains(&stem) && !self.shared.contains(&name) {
                breaches.push(format!(
                    "{prefix}{name}: no architecture of xtask's table, and nothing shared in xtask/src/rules/parallel"
                ));
            }
        }
        breaches
    }

    /// The files of an architecture, by their names; those that it passes on from a shared folder are its own.
    fn read(&self, files: &Files, arch: &str) -> Result<BTreeMap<String, File>, String> {
        let mut found = BTreeMap::new();
        let place = self.place(arch);
        if !self.folders {
            let text = files.get(&place).ok_or(format!("{place}: missing"))?;
            let mut entries = self.with_shared(files, entries(&place, text)?)?;
            for entry in &mut entries {
                // What one file keeps from nobody but strangers, its selector may use.
                if entry.seen == Seen::Inside {
                    entry.seen = Seen::Outside;
                }
            }
            found.insert("NAME.rs".to_owned(), File { path: place, entries });
            return Ok(found);
        }
        let prefix = format!("{place}/");
        for (path, text) in files {
            let Some(name) = path.strip_prefix(&prefix) else { continue };
            let entries = self.with_shared(files, entries(path, text)?)?;
            found.insert(name.to_owned(), File { path: path.clone(), entries });
        }
        let Some(head) = found.get("mod.rs") else {
            return Err(format!("{place}/mod.rs: missing"));
        };
        let mut passed_on = BTreeMap::new();
        for entry in &head.entries {
            if let Some(path) = self.shared_file(entry).filter(|path| files.contains_key(path)) {
                let entries = self.with_shared(files, entries(&path, &files[&path])?)?;
                passed_on.insert(format!("{}.rs", entry.name), File { path, entries });
            }
        }
        found.extend(passed_on);
        Ok(found)
    }

    /// The shared file that an item is, or comes from.
    fn shared_file(&self, entry: &Entry) -> Option<String> {
        let mut from = entry.from.iter().flatten();
        let is_shared = |part: &&String| {
            self.shared.iter().any(|shared| shared.strip_suffix(".rs").unwrap_or(shared) == *part)
        };
        let shared = from.find(is_shared)?;
        let path = format!("{}/{shared}", self.folder);
        if self.shared.contains(&shared.as_str()) {
            Some(format!("{path}/{}.rs", from.next()?))
        } else {
            Some(format!("{path}.rs"))
        }
    }

    /// A file's items, with the members of types and modules that it passes on from a shared file.
    fn with_shared(&self, files: &Files, entries: Vec<Entry>) -> Result<Vec<Entry>, String> {
        let mut all = Vec::new();
        for entry in entries {
            let source = self.shared_file(&entry).and_then(|path| files.get_key_value(&path));
            if let Some((path, text)) = source {
                let members = format!("{}::", entry.name);
                let found = self::entries(path, text)?;
                all.extend(
                    found
                        .into_iter()
                        .filter(|found| found.name.starts_with(&members))
                        .map(|found| Entry { from: entry.from.clone(), has_place: false, ..found }),
                );
            }
            all.push(entry);
        }
        Ok(all)
    }
}

fn entries(path: &str, text: &str) -> Result<Vec<Entry>, String> {
    if !path.ends_with(".rs") {
        return Ok(Vec::new());
    }
    items::of(text).map_err(|error| format!("{path}: {error}"))
}

/// What portable code may name in some trees and not in all.
fn missing_items(name: &str, alike: &[(&str, &File)], own: &[&Own]) -> Vec<String> {
    let outside = |file: &File| -> BTreeSet<String> {
        let seen = file.entries.iter().filter(|entry| entry.seen == Seen::Outside);
        seen.map(|entry| entry.name.clone()).collect()
    };
    let of_archs: Vec<_> = alike.iter().map(|(_, file)| (&file.path, outside(file))).collect();
    let all: BTreeSet<_> = of_archs.iter().flat_map(|(_, items)| items).collect();
    let mut breaches = Vec::new();
    for item in all {
        let lacking: Vec<_> = of_archs.iter().filter(|(_, items)| !items.contains(item)).collect();
        // The file of an architecture's own is declared in its head.
        let declared = own
            .iter()
            .any(|own| own.items.is_empty() && own.file.strip_suffix(".rs") == Some(item.as_str()));
        let excused = own.iter().any(|own| own.file == name && own.is_about(item));
        if lacking.is_empty() || excused || (declared && name == "mod.rs") {
            continue;
        }
        let with = of_archs.iter().find(|(_, items)| items.contains(item));
        let with = with.map(|(path, _)| path.as_str()).unwrap_or_default();
        let lacking: Vec<_> = lacking.iter().map(|(path, _)| path.as_str()).collect();
        breaches.push(format!(
            "{with}: `{item}` is missing in {}: write it there, make it `pub(super)` here, or give the reason in {WHERE}",
            lacking.join(", ")
        ));
    }
    breaches
}

/// Items that two files of one name have in different orders: the first of each file. Excused items have no order.
fn out_of_order(name: &str, alike: &[(&str, &File)], own: &[&Own]) -> Vec<String> {
    let mut breaches = Vec::new();
    let placed = |file: &File, other: &File| -> Vec<String> {
        let there = |name: &String| other.entries.iter().any(|e| e.has_place && e.name == *name);
        let excused = |item: &str| own.iter().any(|own| own.file == name && own.is_about(item));
        let here = file.entries.iter().filter(|entry| entry.has_place && !excused(&entry.name));
        here.map(|entry| entry.name.clone()).filter(there).collect()
    };
    for (place, (_, file)) in alike.iter().enumerate() {
        let differs = alike[..place].iter().find_map(|(_, other)| {
            let (here, there) = (placed(file, other), placed(other, file));
            let (found, wanted) = here.into_iter().zip(there).find(|(one, two)| one != two)?;
            Some((other, found, wanted))
        });
        if let Some((other, found, wanted)) = differs {
            breaches.push(format!(
                "{}: `{found}` stands before `{wanted}`, and in {} after it: move one",
                file.path, other.path
            ));
        }
    }
    breaches
}

/// Names in the table that excuse nothing: what they are about is gone, or is everywhere by now.
fn idle(own: &[&Own], of_archs: &[(&str, BTreeMap<String, File>)]) -> Vec<String> {
    let mut breaches = Vec::new();
    for own in own {
        let file = format!("{}/NAME/{}", own.trees, own.file);
        if own.reason.len() < 20 {
            breaches.push(format!("{WHERE}: {file}: no reason"));
        }
        let mut check = |what: &str, having: usize| {
            let whose = match having {
                0 => "no",
                _ if having == of_archs.len() && !what.ends_with('*') => "every",
                _ => return,
            };
            breaches.push(format!("{WHERE}: {what}: {whose} architecture has it: take it out"));
        };
        let with_file = of_archs.iter().filter_map(|(_, files)| files.get(own.file));
        if own.items.is_empty() {
            check(&file, with_file.clone().count());
        }
        for item in own.items {
            let is_there =
                |entry: &Entry| entry.seen == Seen::Outside && own::stands_for(item, &entry.name);
            let having = with_file.clone().filter(|file| file.entries.iter().any(is_there));
            check(&format!("{file}: {item}"), having.count());
        }
    }
    breaches
}
