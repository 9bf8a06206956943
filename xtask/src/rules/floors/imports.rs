//! Which files of a crate import which, as one architecture sees them: what `use` names, and paths
//! from `crate`, `self` or `super` on.
//!
//! A name that a module only passes on (`pub use`) counts as an import of the file that it comes
//! from: `crate::arch::cpu` is the file of the tree, not the selector.

use std::collections::{BTreeMap, BTreeSet};

use super::Files;

/// A module by its path, `["sched", "thread"]`; the crate itself is empty.
pub(super) type Module = Vec<String>;

/// What a module passes on.
#[derive(Default)]
struct Passed {
    /// By the name it has here. One name may stand for several: `current` is a tree per
    /// architecture.
    names: BTreeMap<String, Vec<String>>,
    /// Everything that these have.
    all_of: Vec<String>,
}

/// The sources of one crate, as one architecture sees them.
pub(super) struct Source<'f> {
    /// Path and text, without comments, of each module with a file.
    pub(super) modules: BTreeMap<Module, (&'f str, String)>,
    /// The paths that a module's `use` names.
    uses: BTreeMap<Module, Vec<String>>,
    passed: BTreeMap<Module, Passed>,
}

impl<'f> Source<'f> {
    pub(super) fn new(folder: &str, files: &'f Files, left_out: &[&str]) -> Self {
        let prefix = format!("{folder}/src/");
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let Some(inner) = path.strip_prefix(&prefix).and_then(|p| p.strip_suffix(".rs")) else {
                continue;
            };
            let mut module: Module = inner.split('/').map(str::to_owned).collect();
            let is_left_out = |part: &String| left_out.contains(&part.as_str());
            // Unit tests in a file of their own see all of it, as those within a file do.
            if module.iter().any(is_left_out) || module.last().is_some_and(|last| last == "tests") {
                continue;
            }
            if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
                module.pop();
            }
            // Tests within a file see all of it.
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
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
    pub(super) fn imports(&self) -> BTreeMap<Module, BTreeSet<Module>> {
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
                // What comes from another crate, or is another architecture's, is nothing of this
                // one.
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

/// Gives files that the crate's root names with `#[path]` the place in the tree of modules that
/// they have there.
fn move_named_by_path(modules: &mut BTreeMap<Module, (&str, String)>, prefix: &str) {
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
            let path = path.trim_end_matches(':');
            // The word alone, in a text.
            path.contains("::").then(|| path.to_owned())
        })
    });
    found.collect()
}
