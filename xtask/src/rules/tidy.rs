//! The rules of the house that a machine can hold, beyond what the compiler's lints check.
//!
//! | rule | because |
//! |---|---|
//! | a source file opens with `//!` | a reader meets the purpose first |
//! | at most 600 lines a file | one idea per file |
//! | no open-work markers, no `allow`, no `ignore` | what is there is done, and every exception has a reason |
//! | no number as an offset in assembly | a layout that changes must change the assembly with it |
//! | lines of at most 100 columns, and none of the words in [`prose::REFUSED`] in comments, below [`prose::CLEAN`] | they are read beside other text; a sentence names the thing |
//! | test names carry known ids only | a mistyped id would show nothing, silently |
//! | what programs make the kernel allocate can fail | see [`infallible`] |
//! | no absolute path of one machine | it would work nowhere else |
//! | the trees of the architectures are alike | see [`parallel`] |
//! | crates know only those below them, and no files import each other in a circle | see [`floors`] |
//! | each folder has a paragraph in ARCHITECTURE.md | see [`map`] |
//! | licences and the documents are there | they are part of what is delivered |
//!
//! It is a test of this crate too, so that `cargo test` holds the rules as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::catalogue;
use crate::rules::{floors, map, parallel, prose};

/// Lines that a source file may have.
const LONGEST: usize = 600;

/// Files that must be there.
const REQUIRED: [&str; 11] = [
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "README.md",
    "ARCHITECTURE.md",
    "CAVEATS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/adopting.md",
    "docs/figures.md",
    "docs/matrix.md",
];

/// Text that no Rust file may contain, and what it is. Written in two parts, since this file is
/// checked too.
const FORBIDDEN_IN_RUST: [(&str, &str); 8] = [
    (concat!("FIX", "ME"), "open work"),
    (concat!("X", "XX"), "open work"),
    (concat!("TO", "DO"), "open work"),
    (concat!("todo", "!("), "open work"),
    (concat!("unimplemented", "!("), "open work"),
    (concat!("#[al", "low"), "use expect with a reason"),
    (concat!("#![al", "low"), "use expect with a reason"),
    (concat!("#[ig", "nore"), "a test that does not run"),
];

/// Text that no file at all may contain.
const FORBIDDEN_ANYWHERE: [(&str, &str); 3] = [
    (concat!("/ro", "ot/"), "a path of somebody's machine"),
    (concat!("/wo", "rk/"), "a path of somebody's machine"),
    (concat!("/ho", "me/"), "a path of somebody's machine"),
];

/// The required files that are not there, as lines to print.
pub(crate) fn missing(root: &Path) -> Vec<String> {
    let absent = REQUIRED.iter().filter(|name| !root.join(name).is_file());
    absent.map(|name| format!("{name}: missing")).collect()
}

/// Every breach of the rules in the files below a folder, as lines to print.
pub(crate) fn breaches(root: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    let (mut files, mut read) = (Vec::new(), BTreeMap::new());
    walk(root, &mut files)?;
    files.sort();
    for path in &files {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        breaches.extend(check(&name, &text));
        read.insert(name, text);
    }
    breaches.extend(parallel::breaches(&read));
    breaches.extend(floors::breaches(&read));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    breaches.extend(map::breaches(root, &files, &map));
    Ok(breaches)
}

/// The documents of the tree, relative to its root.
#[cfg(test)]
pub(crate) fn documents(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    let names = files.iter().filter_map(|path| path.strip_prefix(root).ok()?.to_str());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Text files of ours below a folder.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Symbolic links are not followed: they may lead out of the workspace.
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            if !["target", ".git", ".kstack"].contains(&name) {
                walk(&path, files)?;
            }
            continue;
        }
        let ours = ["rs", "toml", "md", "ld", "sh", "tsv", "c", "S", "py", "gdb"];
        let extension = path.extension().and_then(|extension| extension.to_str());
        let script = extension.is_none() && folder.file_name().is_some_and(|name| name == ".ci");
        if kind.is_file() && (script || extension.is_some_and(|found| ours.contains(&found))) {
            files.push(path);
        }
    }
    Ok(())
}

/// The breaches of one file.
fn check(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let rust = name.ends_with(".rs");
    if rust && !text.starts_with("//!") {
        breaches.push(format!("{name}:1: does not open with `//!` and its purpose"));
    }
    let count = text.lines().count();
    if rust && count > LONGEST {
        breaches.push(format!("{name}: {count} lines, at most {LONGEST} are one idea"));
    }
    let everywhere = FORBIDDEN_ANYWHERE.iter();
    let forbidden: Vec<_> =
        if rust { everywhere.chain(&FORBIDDEN_IN_RUST).collect() } else { everywhere.collect() };
    for (number, line) in text.lines().enumerate() {
        for (pattern, why) in &forbidden {
            if line.contains(pattern) {
                breaches.push(format!("{name}:{}: `{pattern}`: {why}", number + 1));
            }
        }
    }
    if rust {
        breaches.extend(numeric_offsets(name, text));
        breaches.extend(unknown_ids(name, text));
        breaches.extend(prose::breaches(name, text));
        if ["kernel/linux/src/", "kernel/threads/src/"].iter().any(|of| name.starts_with(of)) {
            breaches.extend(deep(name, text));
        }
        if name.starts_with("kernel/linux/src/") {
            breaches.extend(infallible(name, text, &GROWERS));
        } else if name.starts_with("kernel/threads/src/sched/") {
            // Its lists are linked through the threads: adding to one allocates nothing.
            breaches.extend(infallible(name, text, &[]));
        }
    }
    breaches
}

/// Memory operands with a number as their offset, inside of assembly.
fn numeric_offsets(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut depth = 0_i32;
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if depth == 0 {
            // A quoted one, as in this file, begins no assembly.
            let begins = code.split('"').next().is_some_and(|code| code.contains("asm!("));
            if code.starts_with("//") || !begins {
                continue;
            }
        } else if !code.starts_with("//") && has_numeric_offset(code) {
            breaches.push(format!(
                "{name}:{}: an offset in assembly comes from the compiler (offset_of!), not a number",
                number + 1
            ));
        }
        if depth == 0 && has_numeric_offset(code) {
            breaches.push(format!("{name}:{}: a number as an offset in assembly", number + 1));
        }
        let opened = line.matches('(').count();
        let closed = line.matches(')').count();
        depth += i32::try_from(opened).unwrap_or(0) - i32::try_from(closed).unwrap_or(0);
        depth = depth.max(0);
    }
    breaches
}

/// Whether a line of assembly has a memory operand such as `[rsp + 8]`, `[{base} - 16]` or
/// `gs:[0x10]`.
///
/// No offsets are: a scale (`[rax + rcx*8]`), anything in braces or a multiple of it, a local label
/// (`[rip + 2f]`), and an index into a table that has a name (`[level4 + 511 * 8]`), or arithmetic
/// (`lea rbx, [rax + 1]`; on the stack pointer it is an offset all the same).
fn has_numeric_offset(line: &str) -> bool {
    // A comment after the instruction may quote what it likes.
    let line = line.split("//").next().unwrap_or(line);
    // The instructions are what is between quotes.
    line.split('"').skip(1).step_by(2).any(quoted_offset)
}

fn quoted_offset(instructions: &str) -> bool {
    instructions.split('[').skip(1).any(|rest| {
        let Some((operand, _)) = rest.split_once(']') else { return false };
        let operand = operand.replace(' ', "");
        let mut parts = operand.split(['+', '-']);
        let base = parts.next().unwrap_or_default();
        let stack = ["rsp", "rbp", "esp", "ebp"].contains(&base);
        if instructions.trim_start().starts_with("lea ") && is_register(base) && !stack {
            return false;
        }
        is_number(base) || ((is_register(base) || base.starts_with('{')) && parts.any(is_number))
    })
}

fn is_number(part: &str) -> bool {
    // So many of something whose size is the compiler's: `2 * {WORD}`.
    if part.contains("*{") {
        return false;
    }
    let label = part.ends_with(['f', 'b']) && !part.starts_with("0x");
    part.starts_with(|first: char| first.is_ascii_digit()) && !label
}

fn is_register(base: &str) -> bool {
    let named = ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip"];
    let (width, rest) = base.split_at_checked(1).unwrap_or_default();
    let numbered = rest.trim_end_matches(['d', 'w', 'b']).parse::<u8>().is_ok();
    (width == "r" && (named.contains(&rest) || numbered)) || (width == "e" && named.contains(&rest))
}

/// Sorts in the code below system calls that call themselves, as deep as what a program has chosen
/// makes them.
fn deep(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").enumerate();
    let sorts = [".sort(", ".sort_by", ".sort_unstable", ".select_nth"];
    let calls = lines.filter(|(_, line)| {
        let code = line.split("//").next().unwrap_or_default();
        sorts.iter().any(|sort| code.contains(sort))
    });
    let breach = |(number, _)| {
        format!(
            "{name}:{}: this sort calls itself, with large frames: BinaryHeap::into_sorted_vec does not",
            number + 1
        )
    };
    calls.map(breach).collect()
}

/// What allocates and cannot report that it failed.
const MAKERS: [&str; 15] = [
    "Box::new(",
    "Arc::new(",
    "Arc::from(",
    "Vec::from(",
    "String::from(",
    "with_capacity(",
    "vec![",
    "format!(",
    ".to_vec()",
    ".to_string()",
    ".to_owned()",
    ".collect()",
    ".collect::<",
    ".concat()",
    ".join(\"",
];
/// What grows a list or a text, and may only use room that was reserved.
const GROWERS: [&str; 7] = [
    ".push(",
    ".push_str(",
    ".push_back(",
    ".insert(",
    ".extend(",
    ".extend_from_slice(",
    ".resize(",
];
/// Lines above a grower among which its room is reserved.
const NEAR: usize = 8;
/// The beginning of a comment that says why something of these does not fail, on its line or on one
/// of the two above it.
const REASON: &str = "// CANNOT FAIL:";

/// Allocations in the code below system calls that end the kernel when the heap is used up. Maps
/// and sets cannot be used at all: they have no way to fail.
fn infallible(name: &str, text: &str, growers: &[&str]) -> Vec<String> {
    // Tests of what is below them may end as they like, here or in a file of their own.
    if name.ends_with("/tests.rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect();
    let above = |number: usize, count: usize| &lines[number.saturating_sub(count)..=number];
    let mut breaches = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if above(number, 2).iter().any(|line| line.contains(REASON)) {
            continue;
        }
        let mut found = |what: &str, instead: &str| {
            breaches.push(format!("{name}:{}: `{what}` cannot fail: {instead}", number + 1));
        };
        if let Some(maker) = MAKERS.iter().find(|maker| code.contains(**maker)) {
            found(maker, "memory::fallible has what can");
        }
        if let Some(map) =
            ["BTreeMap", "BTreeSet", "HashMap"].iter().find(|map| code.contains(**map))
        {
            found(map, "use a list with memory::fallible::push");
        }
        let reserved = above(number, NEAR).iter().any(|line| line.contains("try_reserve"));
        if let Some(grower) = growers.iter().find(|grower| grows(code, grower) && !reserved) {
            found(grower, "reserve room before it, or say why there is some");
        }
    }
    breaches
}

/// Whether a line grows a list with this method. A method of the type itself has the same name, as
/// has one of a single argument.
fn grows(code: &str, grower: &str) -> bool {
    code.split_once(grower).is_some_and(|(list, rest)| {
        let two = rest.split('{').next().unwrap_or_default().contains(',');
        !list.ends_with("self") && (grower != ".insert(" || two)
    })
}

/// Names of tests that begin with an id which the catalogue does not have.
fn unknown_ids(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut test = false;
    for (number, line) in text.lines().enumerate() {
        let code = line.trim();
        if code == "#[test]" {
            test = true;
            continue;
        }
        let Some(function) = code.split_once("fn ").filter(|_| test) else { continue };
        test = false;
        let function = function.1.split(['(', '<']).next().unwrap_or_default();
        for id in catalogue::unknown_ids_of(function) {
            breaches.push(format!("{name}:{}: {function}: no row {id}", number + 1));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_workspace_keeps_the_rules() {
        let breaches = breaches(&workspace::root()).unwrap();
        assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
    }

    #[test]
    fn every_rule_finds_its_breach() {
        let long = format!("//! x\n{}", "\n".repeat(LONGEST));
        let test = "//! x\n#[test]\nfn t99_x() {}\n";
        for (name, text, part) in [
            ("a.rs", "#![no_std]\n", "a.rs:1"),
            ("a.rs", long.as_str(), "601 lines"),
            ("a.rs", concat!("//! x\n// TO", "DO: later\n"), "a.rs:2"),
            ("a.rs", concat!("//! x\n#[al", "low(dead_code)]\n"), "expect"),
            ("a.rs", test, "no row T99"),
            ("a.md", concat!("see /ho", "me/me/x"), "a.md:1"),
        ] {
            let found = check(name, text);
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
            assert!(found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn a_tidy_file_has_no_breach() {
        let text = "//! x\n#[test]\nfn t4_t11_x() {}\nfn t99_helper() {}\nlet a = b[1];\n";
        assert_eq!(check("a.rs", text), [""; 0]);
        assert_eq!(check("a.md", "no purpose line needed"), [""; 0]);
    }

    #[test]
    fn u1_sorts_that_call_themselves_are_found_below_system_calls() {
        for code in ["list.sort();", "list.sort_by_key(|one| one.id);", "list.sort_unstable();"] {
            assert_eq!(deep("a.rs", code).len(), 1, "{code}");
        }
        for code in ["// list.sort();", "heap.into_sorted_vec()", "#[cfg(test)]\nlist.sort();"] {
            assert_eq!(deep("a.rs", code).len(), 0, "{code}");
        }
    }

    #[test]
    fn u1_allocation_that_cannot_fail_is_found_below_system_calls() {
        let found = |code: &str| infallible("a.rs", code, &GROWERS).len();
        for code in [
            "let a = Arc::new(1);",
            "let a = Box::new(1);",
            "let a = b.iter().collect();",
            "let a = b.iter().collect::<Vec<_>>();",
            "let a = alloc::format!(\"x\");",
            "let a = \"x\".to_string();",
            "list.push(1);",
            "self.list.insert(at, 1);",
            "text.push_str(\"x\");",
            "use alloc::collections::BTreeMap;",
        ] {
            assert_eq!(found(code), 1, "{code}");
        }
        for code in [
            "// Arc::new(1)",
            "let a = fallible::shared(1)?;",
            "fallible::push(&mut list, 1)?;",
            "list.try_reserve(1)?;\nlist.push(1);",
            "// CANNOT FAIL: there is room.\nlist.push(1);",
            "parts.join(separator)",
            "self.insert(one, other)?;",
            "memory.insert(Area {",
            "pages.insert(Page { number, frame })?;",
        ] {
            assert_eq!(found(code), 0, "{code}");
        }
        let far = format!("list.try_reserve(1)?;\n{}list.push(1);", "\n".repeat(NEAR));
        assert_eq!(found(&far), 1, "room that was reserved long ago");
        assert!(!check("kernel/linux/src/a.rs", "//! x\nlet a = Box::new(1);\n").is_empty());
        assert!(check("kernel/src/tests/a.rs", "//! x\nlet a = Box::new(1);\n").is_empty());
    }

    #[test]
    fn numbers_as_offsets_are_found_in_assembly_only() {
        let found = |operand: &str| {
            numeric_offsets("a.rs", &format!("asm!(\n    \"mov rax, {operand}\",\n);\n")).len()
        };
        for operand in
            ["[rsp + 8]", "[rdi+0x10]", "gs:[0x28]", "[{base} + 16]", "[rbp - 8]", "[r12+rax+8]"]
        {
            assert_eq!(found(operand), 1, "{operand}");
        }
        for operand in [
            "[rsp]",
            "[rsp + {top}]",
            "gs:[{current}]",
            "[rax + rcx*8]",
            "[{x0} + r8]",
            "[rip + 2f]",
            "[table + 511 * 8]",
        ] {
            assert_eq!(found(operand), 0, "{operand}");
        }
        assert!(numeric_offsets("a.rs", "asm!(\n    in(\"rdi\") arguments[0],\n);\n").is_empty());
        assert!(numeric_offsets("a.rs", "println!(\"[1 + 8]\");\n").is_empty());
        let lea =
            |operand| numeric_offsets("a.rs", &format!("asm!(\"lea rax, {operand}\");\n")).len();
        assert_eq!([lea("[rcx + 1]"), lea("[rsp + 8]"), lea("[{base} + 8]")], [0, 1, 1]);
        assert_eq!(numeric_offsets("a.rs", "asm!(\"mov rax, [rsp + 8]\");\n").len(), 1);
        assert_eq!(numeric_offsets("a.rs", "asm!(\"mov rax, [rsp + 2 * {WORD}]\");\n").len(), 0);
        assert_eq!(numeric_offsets("a.rs", "asm!(\"mov rax, [rsp + 2 * 8]\");\n").len(), 1);
    }
}
