//! The house has floors: crates that know only what is below them, and in them files that do not import each other in a circle.
//!
//! | rule | because |
//! |---|---|
//! | a crate of the reference kernel depends on crates below it ([`FLOORS`]) | what is below is read, and changed, without knowing what is above |
//! | files of one crate import each other in no circle | a circle is read as a whole or not at all |
//! | a circle that is there still is in [`CIRCLES`], with the reason | it may shrink, and must not grow |
//!
//! Imports are what `use` names and what paths name from `crate`, `self` or `super` on. A name that a module only passes on (`pub use`)
//! counts as an import of the file that it comes from: `crate::arch::cpu` is the file of the tree, not the selector. The files
//! are looked at once for each architecture, without the trees of the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;

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
    Floor { name: "kstack-core", folder: "kstack-core", files: true },
    Floor { name: "kstack", folder: "kstack", files: true },
    Floor { name: "machine", folder: "kernel/machine", files: true },
    Floor { name: "threads", folder: "kernel/threads", files: true },
    Floor { name: "linux", folder: "kernel/linux", files: true },
    Floor { name: "kernel", folder: "kernel", files: false },
];

/// Files that import each other in a circle still, and why. None of the library's.
struct Circle {
    files: &'static [&'static str],
    /// What ties it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the table"))]
    reason: &'static str,
}

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
    let mut left: BTreeSet<String> =
        CIRCLES.iter().flat_map(|circle| circle.files).map(|&path| path.to_owned()).collect();
    for floor in FLOORS.iter().filter(|floor| floor.files) {
        breaches.extend(circles(floor.folder, files, &archs, &CIRCLES, &mut left));
    }
    for path in left {
        breaches.push(format!(
            "{path}: is in no circle any more: take it out of CIRCLES in xtask/src/floors.rs"
        ));
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
        let imports = source.imports();
        for circle in tied(&imports) {
            let paths: BTreeSet<_> = circle.iter().map(|module| source.modules[module].0).collect();
            for path in &paths {
                left.remove(*path);
            }
            if known.iter().any(|known| paths.iter().all(|path| known.files.contains(path))) {
                continue;
            }
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

/// A module by its path, `["sched", "thread"]`; the crate itself is empty.
type Module = Vec<String>;

/// What a module passes on.
#[derive(Default)]
struct Passed {
    /// By the name it has here. One name may stand for several: `current` is a tree per architecture.
    names: BTreeMap<String, Vec<String>>,
    /// Everything that these have.
    all_of: Vec<String>,
}

/// The sources of one crate, as one architecture sees them.
struct Source<'f> {
    /// Path and text, without comments, of each module with a file.
    modules: BTreeMap<Module, (&'f str, String)>,
    /// The paths that a module's `use` names.
    uses: BTreeMap<Module, Vec<String>>,
    passed: BTreeMap<Module, Passed>,
}

impl<'f> Source<'f> {
    fn new(folder: &str, files: &'f Files, left_out: &[&str]) -> Self {
        let prefix = format!("{folder}/src/");
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let Some(inner) = path.strip_prefix(&prefix).and_then(|p| p.strip_suffix(".rs")) else {
                continue;
            };
            let mut module: Module = inner.split('/').map(str::to_owned).collect();
            if module.iter().any(|part| left_out.contains(&part.as_str())) {
                continue;
            }
            if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
                module.pop();
            }
            // Tests within a file see all of it.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            modules.insert(module, (path.as_str(), without_comments(text)));
        }
        move_named_by_path(&mut modules, &prefix);
        let mut source = Self { modules, uses: BTreeMap::new(), passed: BTreeMap::new() };
        for (module, (_, text)) in &source.modules {
            let (uses, passed) = statements(text);
            source.uses.insert(module.clone(), uses);
            source.passed.insert(module.clone(), passed);
        }
        source
    }

    /// Which modules each imports.
    fn imports(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut imports = BTreeMap::new();
        for (module, (_, text)) in &self.modules {
            let named = self.uses[module].iter().cloned().chain(paths_in(&without_uses(text)));
            let mut found: BTreeSet<Module> =
                named.filter_map(|path| self.resolve(&path, module, 0)).collect();
            let log = vec!["log".to_owned()];
            if self.modules.contains_key(&log)
                && (text.contains("log!(") || text.contains("control!("))
            {
                found.insert(log);
            }
            found.remove(module);
            imports.insert(module.clone(), found);
        }
        imports
    }

    /// The module that a path leads to, as far as it is one of this crate.
    fn resolve(&self, path: &str, from: &Module, depth: usize) -> Option<Module> {
        let mut parts: Vec<&str> = path.split("::").collect();
        let mut base = from.clone();
        match parts[0] {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                while parts.first() == Some(&"super") {
                    base.pop();
                    parts.remove(0);
                }
                return self.walk(base, &parts, depth);
            }
            first => {
                base.push(first.to_owned());
                return self
                    .modules
                    .contains_key(&base)
                    .then(|| self.walk(base, &parts[1..], depth))?;
            }
        }
        self.walk(base, &parts[1..], depth)
    }

    fn walk(&self, mut at: Module, parts: &[&str], depth: usize) -> Option<Module> {
        const DEEPEST: usize = 16;
        for (number, part) in parts.iter().enumerate() {
            let mut inner = at.clone();
            inner.push((*part).to_owned());
            if self.modules.contains_key(&inner) {
                at = inner;
                continue;
            }
            let passed = self.passed.get(&at)?;
            if depth > DEEPEST {
                return Some(at);
            }
            if let Some(paths) = passed.names.get(*part) {
                // What comes from another crate, or is another architecture's, is nothing of this one.
                let target = paths.iter().find_map(|path| self.resolve(path, &at, depth + 1))?;
                return self.walk(target, &parts[number + 1..], depth + 1);
            }
            let target = passed.all_of.iter().find_map(|path| {
                let target = self.resolve(path, &at, depth + 1)?;
                (target != at && self.has(&target, part)).then_some(target)
            });
            return match target {
                Some(target) => self.walk(target, &parts[number..], depth + 1),
                None => Some(at),
            };
        }
        Some(at)
    }

    /// Whether a module has something of this name.
    fn has(&self, module: &Module, name: &str) -> bool {
        let mut inner = module.clone();
        inner.push(name.to_owned());
        let kinds = ["fn", "struct", "enum", "const", "static", "trait", "type", "union", "mod"];
        self.modules.contains_key(&inner)
            || self.passed.get(module).is_some_and(|passed| passed.names.contains_key(name))
            || self.modules.get(module).is_some_and(|(_, text)| {
                words(text)
                    .collect::<Vec<_>>()
                    .windows(2)
                    .any(|two| kinds.contains(&two[0]) && two[1] == name)
            })
    }
}

/// Gives files that the crate's root names with `#[path]` the place in the tree of modules that they have there.
fn move_named_by_path<'f>(modules: &mut BTreeMap<Module, (&'f str, String)>, prefix: &str) {
    const ATTRIBUTE: &str = "#[path = \"";
    let Some((_, root)) = modules.get(&Module::new()) else { return };
    let named: Vec<(String, Module)> = root
        .match_indices(ATTRIBUTE)
        .filter_map(|(at, _)| {
            let (path, rest) = root[at + ATTRIBUTE.len()..].split_once('"')?;
            let name = rest.split_once("mod ")?.1.split(';').next()?;
            Some((format!("{prefix}{path}"), vec![name.to_owned()]))
        })
        .collect();
    for (path, module) in named {
        let at = modules.iter().find(|(_, (one, _))| *one == path).map(|(at, _)| at.clone());
        if let Some(found) = at.and_then(|at| modules.remove(&at)) {
            modules.insert(module, found);
        }
    }
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Each `use`: whether it is passed on, and what it names.
fn each_use(text: &str) -> impl Iterator<Item = (bool, &str)> {
    text.match_indices("use ").filter_map(|(at, _)| {
        let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        let passed = line.starts_with("pub");
        (line.is_empty() || passed && !line.contains('"') && line.split(' ').count() == 1)
            .then(|| text[at + "use ".len()..].split(';').next().map(|tree| (passed, tree)))
            .flatten()
    })
}

/// The text without any `use`.
fn without_uses(text: &str) -> String {
    let mut rest = text.to_owned();
    for (_, tree) in each_use(text) {
        rest = rest.replacen(&format!("use {tree};"), "", 1);
    }
    rest
}

/// The paths that a file's `use` names, and what it passes on.
fn statements(text: &str) -> (Vec<String>, Passed) {
    let (mut uses, mut passed) = (Vec::new(), Passed::default());
    for (is_passed, tree) in each_use(text) {
        let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        for path in leaves(&tree) {
            let (path, name) = match path.split_once(" as ") {
                Some((path, name)) => (path.to_owned(), name.to_owned()),
                None => (path.clone(), path.rsplit("::").next().unwrap_or_default().to_owned()),
            };
            if is_passed {
                match path.strip_suffix("::*") {
                    Some(module) => passed.all_of.push(module.to_owned()),
                    None => passed.names.entry(name).or_default().push(path.clone()),
                }
            }
            uses.push(path);
        }
    }
    (uses, passed)
}

/// `a::{b, c::{self, d}}` as `a::b`, `a::c`, `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((start, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[from..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(leaves)
        .map(|leaf| match leaf.strip_prefix("self") {
            Some(alias) if alias.is_empty() || alias.starts_with(' ') => {
                format!("{}{alias}", start.trim_end_matches("::"))
            }
            _ => format!("{start}{leaf}"),
        })
        .collect()
}

/// The paths from `crate` or `super` on that a file names outside of `use`. A visibility is none.
fn paths_in(text: &str) -> Vec<String> {
    let found = ["crate::", "super::"].into_iter().flat_map(move |start| {
        text.match_indices(start).filter_map(move |(at, _)| {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_$:".contains(c))
                || text[..at].ends_with("in ")
            {
                return None;
            }
            let path =
                text[at..].split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').next()?;
            Some(path.trim_end_matches(':').to_owned())
        })
    });
    found.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        all.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    fn found(all: &[(&str, &str)], known: &[Circle]) -> Vec<String> {
        circles("k", &files(all), &["x86_64", "arm64"], known, &mut BTreeSet::new())
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let floors = [
            Floor { name: "low", folder: "low", files: false },
            Floor { name: "high", folder: "high", files: false },
        ];
        let check = |low: &str, high: &str| {
            upward(&floors, &files(&[("low/Cargo.toml", low), ("high/Cargo.toml", high)]))
        };
        let down = "[dependencies]\nlow = { path = \"../low\" }\n";
        assert_eq!(check("[package]\nname = \"low\"\n", down), [""; 0]);
        for up in [
            "[dependencies]\nhigh = { path = \"../high\" }\n",
            "[dependencies]\nhigh.workspace = true\n",
            "[dev-dependencies]\nhigh = \"1\"\n",
            "[dependencies.high]\npath = \"../high\"\n",
            "[target.'cfg(unix)'.dependencies]\nhigh = \"1\"\n",
        ] {
            assert_eq!(check(up, down).len(), 1, "{up}");
        }
        assert_eq!(check("", "[dependencies]\nhigh = \"1\"\n").len(), 1, "on itself");
        assert_eq!(upward(&floors, &Files::new()).len(), 2, "no manifest");
    }

    #[test]
    fn a_circle_of_files_is_found_however_it_is_tied() {
        for (a, b) in [
            ("use crate::b::f;\n", "use crate::a::g;\n"),
            ("use super::b;\n", "use crate::{a, c};\n"),
            ("fn f() { crate::b::g() }\n", "fn g() { super::a::f() }\n"),
            ("pub use crate::b::{self as d, e};\n", "use crate::a::d;\nuse crate::a;\n"),
        ] {
            let found = found(&[("k/src/a.rs", a), ("k/src/b.rs", b)], &[]);
            assert_eq!(found.len(), 1, "{a}{b}");
            assert!(found[0].starts_with("k/src/a.rs, k/src/b.rs: import each other in a circle"));
            assert!(found[0].ends_with("\n    a -> b\n    b -> a"), "{}", found[0]);
        }
    }

    #[test]
    fn what_is_no_circle_is_none() {
        for (a, b) in [
            ("use crate::b::f;\n", "// use crate::a::g;\n"),
            ("use crate::b::f;\n", "pub(in crate::a) fn f() {}\n"),
            ("use crate::{\n    b::f,\n    c,\n};\n", "use crate::c::{self, g};\n"),
            ("use crate::b::f;\n", "use other::a;\nmacro_rules! m { () => { $crate::a::g() } }\n"),
        ] {
            assert_eq!(found(&[("k/src/a.rs", a), ("k/src/b.rs", b)], &[]), [""; 0], "{a}{b}");
        }
    }

    #[test]
    fn a_name_that_is_passed_on_comes_from_where_it_is() {
        // `a` imports `b` through the folder, and `b` does not import `a`.
        let list = ("k/src/f/mod.rs", "mod a;\nmod b;\npub use a::g;\npub use b::f;\n");
        let a = ("k/src/f/a.rs", "use super::f;\npub fn g() {}\n");
        assert_eq!(found(&[list, a, ("k/src/f/b.rs", "pub fn f() {}\n")], &[]), [""; 0]);
        let tied = found(&[list, a, ("k/src/f/b.rs", "use super::g;\npub fn f() {}\n")], &[]);
        assert!(tied[0].starts_with("k/src/f/a.rs, k/src/f/b.rs: import each other in a circle"));
        // A tree's own file, by the selector's name; that of another architecture has nothing to do with it.
        let selector = ("k/src/arch/mod.rs", "pub use x86_64::*;\npub use arm64::*;\n");
        let tree = |cpu| {
            found(
                &[
                    selector,
                    ("k/src/arch/x86_64/mod.rs", "pub mod cpu;\n"),
                    ("k/src/arch/x86_64/cpu.rs", "pub fn f() {}\n"),
                    ("k/src/arch/arm64/mod.rs", "pub mod cpu;\n"),
                    ("k/src/arch/arm64/cpu.rs", cpu),
                    ("k/src/c.rs", "use crate::arch::cpu;\n"),
                ],
                &[],
            )
        };
        assert_eq!(tree("pub fn f() {}\n"), [""; 0]);
        assert_eq!(tree("use crate::c;\n").len(), 1);
    }

    /// Red if of several trees under one name only the last is looked at.
    #[test]
    fn a_name_that_stands_for_a_tree_of_each_architecture_is_found_in_all() {
        let selector = "pub use x86_64 as current;\npub use arm64 as current;\n";
        for arch in ["x86_64", "arm64"] {
            let tree = format!("k/src/arch/{arch}/regs.rs");
            let list = format!("k/src/arch/{arch}/mod.rs");
            let all = [
                (list.as_str(), "pub mod regs;\n"),
                ("k/src/arch/mod.rs", selector),
                (tree.as_str(), "use crate::a;\n"),
                ("k/src/a.rs", "use crate::arch::current::regs;\n"),
            ];
            assert_eq!(found(&all, &[]).len(), 1, "{arch}");
        }
    }

    #[test]
    fn a_file_that_the_root_names_by_path_is_where_the_root_has_it() {
        let root = ("k/src/lib.rs", "#[path = \"x/t.rs\"]\nmod t;\nmod a;\npub use a::f;\n");
        let a = ("k/src/a.rs", "use crate::t;\n");
        assert_eq!(found(&[root, a, ("k/src/x/t.rs", "")], &[]), [""; 0]);
        assert_eq!(found(&[root, a, ("k/src/x/t.rs", "use crate::f;\n")], &[]).len(), 1);
    }

    #[test]
    fn a_circle_in_the_table_may_not_grow_and_must_be_there() {
        let known = [Circle { files: &["k/src/a.rs", "k/src/b.rs"], reason: "x" }];
        let (a, b) = (("k/src/a.rs", "use crate::b;\n"), ("k/src/b.rs", "use crate::a;\n"));
        assert_eq!(found(&[a, b], &known), [""; 0]);
        let b = ("k/src/b.rs", "use crate::{a, c};\n");
        assert_eq!(found(&[a, b, ("k/src/c.rs", "use crate::b;\n")], &known).len(), 1);
        let mut left = ["k/src/a.rs", "k/src/z.rs"].map(str::to_owned).into();
        circles("k", &files(&[a, b]), &["x86_64"], &known, &mut left);
        assert_eq!(
            left,
            BTreeSet::from(["k/src/z.rs".to_owned()]),
            "only what is in a circle is taken out"
        );
    }

    #[test]
    fn every_circle_has_a_reason_and_stays_in_one_crate() {
        for circle in &CIRCLES {
            assert!(!circle.reason.is_empty());
            assert!(FLOORS.iter().any(|floor| {
                let sources = format!("{}/src/", floor.folder);
                floor.files && circle.files.iter().all(|path| path.starts_with(&sources))
            }));
        }
    }
}
