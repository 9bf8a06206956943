//! The trees of the architectures are parallel, so that two can be read side by side, and what is
//! written for one is not forgotten in another.
//!
//! ```text
//!   kernel/machine/src/arch/ ── mod.rs        selects one tree
//!                    ── contract.rs   what all have, with types: the compiler holds it, and it is the porting checklist
//!                    ── x86_64/       ┐
//!                    ── i386/         ├─ pc/     files that both pass on, `pub use crate::arch::pc::smp`
//!                    ── arm64/ …      ┘
//! ```
//!
//! Here is what the compiler cannot say:
//!
//! | rule | because |
//! |---|---|
//! | a file is in every tree, or in [`OWN`] with a reason | what one architecture needs and another does not is worth a sentence |
//! | items of one name stand in one order | two files can be read side by side |
//! | a selector has a contract, and refuses with `compile_error!` | a tree that is half there says so, not the linker |
//! | only selectors and trees ask for the architecture | what differs stands where it is looked for |

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;

/// Files below the root, by their path from there.
type Files = BTreeMap<String, String>;

/// Folders with one tree per architecture that are alike, and have a contract.
const ALIKE: [&str; 4] =
    ["kstack/src/arch", "kernel/machine/src/arch", "kernel/linux/src/abi", "user/src/arch"];

/// Folders with what only one architecture has: tests of it, attacks on it.
const UNLIKE: [&str; 2] = ["kernel/src/tests/arch", "user/src/attack"];

/// Files that not every tree has: folder, file, and why the others do without.
const OWN: [(&str, &str, &str); 18] = [
    ("kstack/src/arch", "nmi.rs", "only PCs have entries that can interrupt any instruction"),
    ("kstack/src/arch", "overflow.rs", "a PC's double fault finds a stack by hardware"),
    ("kstack/src/arch", "double_fault.rs", "only on PCs does a failed push become one"),
    ("kstack/src/arch", "load.rs", "only PCs read gates and tables of segments"),
    ("kstack/src/arch", "syscall.rs", "only 64-bit PCs have an instruction that finds no stack"),
    ("kstack/src/arch", "sysenter.rs", "only 32-bit PCs have an instruction that saves nothing"),
    ("kstack/src/arch", "fiq.rs", "only 32-bit Arm has FIQs, its NMIs"),
    (
        "kstack/src/arch",
        "sanitizer.rs",
        "the kernel address sanitizer is there where addresses have 64 bits",
    ),
    (
        "kernel/machine/src/arch",
        "board.rs",
        "what a device tree said is kept; PCs ask their tables",
    ),
    (
        "kernel/machine/src/arch",
        "bytes.rs",
        "both PCs have one; elsewhere an unaligned copy needs the compiler's way",
    ),
    ("kernel/machine/src/arch", "flush.rs", "32-bit Arm's page tables need it where they are"),
    ("kernel/machine/src/arch", "gic.rs", "only 64-bit Arm has two versions of its controller"),
    ("kernel/machine/src/arch", "psci.rs", "the firmware's calls on Arm"),
    ("kernel/machine/src/arch", "sbi.rs", "the firmware's calls on RISC-V"),
    ("kernel/machine/src/arch", "semihosting.rs", "the emulator's calls on Arm"),
    ("kernel/machine/src/arch", "sysenter_page.rs", "only a 32-bit PC has `sysenter`"),
    (
        "kernel/machine/src/arch",
        "walk.rs",
        "what both PCs share stands above how each one's tables are walked",
    ),
    ("kernel/machine/src/arch", "width.rs", "only PCs share assembly for two sizes of addresses"),
];

/// Files whose items stand in another order here and there, and why.
const UNORDERED: [(&str, &str, &str); 2] = [
    (
        "kstack/src/arch",
        "entry.rs",
        "on PCs a vector is a table's row, elsewhere the first address",
    ),
    ("kstack/src/arch", "local.rs", "words about NMIs stand as each PC's entry code uses them"),
];

/// Where these tables are.
const WHERE: &str = "xtask/src/rules/parallel.rs";

/// Crates whose code is portable outside of the trees.
const PORTABLE: [&str; 4] = ["kernel/", "kstack/", "kstack-core/", "user/"];

/// How a program asks for its architecture. In two parts, since this file is checked too.
const QUESTION: &str = concat!("target", "_arch");

/// Every breach, as lines to print.
pub(crate) fn breaches(files: &Files) -> Vec<String> {
    let archs: Vec<_> = Arch::supported().into_iter().map(Arch::name).collect();
    let of_folder = |folder: &&str| {
        let mut found = selector(folder, files, &archs);
        found.extend(unlike_files(folder, files, &archs, &OWN));
        found.extend(out_of_order(folder, files, &archs));
        found
    };
    let mut breaches: Vec<_> = ALIKE.iter().flat_map(of_folder).collect();
    breaches.extend(questions(files));
    breaches
}

/// What a folder's selector lacks.
fn selector(folder: &str, files: &Files, archs: &[&str]) -> Vec<String> {
    let path = format!("{folder}/mod.rs");
    let text = files.get(&path).map_or("", String::as_str);
    let mut breaches = Vec::new();
    if !text.contains("compile_error!") {
        breaches.push(format!("{path}: does not refuse other architectures: `compile_error!`"));
    }
    for module in archs.iter().chain(&["contract"]) {
        if !text.lines().any(|line| line.ends_with(&format!("mod {module};"))) {
            breaches.push(format!("{path}: does not declare `{module}`"));
        }
    }
    breaches
}

/// Files of a tree's own that another lacks, and lines of the table that excuse nothing.
fn unlike_files(
    folder: &str,
    files: &Files,
    archs: &[&str],
    own: &[(&str, &str, &str)],
) -> Vec<String> {
    let trees: Vec<_> = archs.iter().map(|arch| format!("{folder}/{arch}/")).collect();
    let names = |tree: &String| -> BTreeSet<String> {
        let there = files.keys().filter_map(|path| path.strip_prefix(tree)).map(str::to_owned);
        let head = files.get(&format!("{tree}mod.rs")).map_or("", String::as_str);
        let passed = head.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
        let words = passed.flat_map(|list| list.split(|c: char| !c.is_alphanumeric() && c != '_'));
        there.chain(words.map(|word| format!("{word}.rs"))).collect()
    };
    let of_trees: Vec<_> = trees.iter().map(names).collect();
    let having = |name: &str| of_trees.iter().filter(|names| names.contains(name)).count();
    let mut breaches = Vec::new();
    for (path, tree) in files
        .keys()
        .flat_map(|path| trees.iter().map(move |tree| (path, tree)))
        .filter(|(path, tree)| path.starts_with(*tree))
    {
        let name = &path[tree.len()..];
        let excused = own.iter().any(|(of, file, _)| *of == folder && *file == name);
        if having(name) < trees.len() && !excused {
            breaches.push(format!(
                "{path}: not every tree has it: write it, or give the reason in {WHERE}"
            ));
        }
    }
    for (_, file, _) in own.iter().filter(|(of, ..)| *of == folder) {
        if [0, trees.len()].contains(&having(file)) {
            breaches.push(format!("{WHERE}: {folder}: {file}: excuses nothing: take it out"));
        }
    }
    breaches
}

/// Items that two trees have in different orders in a file: the first of each pair of files.
fn out_of_order(folder: &str, files: &Files, archs: &[&str]) -> Vec<String> {
    let mut alike: BTreeMap<&str, Vec<(&str, Vec<String>)>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let Some(inner) = path.strip_prefix(folder).and_then(|path| path.strip_prefix('/')) else {
            continue;
        };
        // A tree of one file is alike to the others by its place.
        let name = match inner.split_once('/') {
            Some((arch, name)) if archs.contains(&arch) => name,
            None if archs.contains(&inner.trim_end_matches(".rs")) => "",
            _ => continue,
        };
        if UNORDERED.iter().any(|(of, file, _)| *of == folder && *file == name) {
            continue;
        }
        alike.entry(name).or_default().push((path, items(text)));
    }
    let mut breaches = Vec::new();
    for files in alike.values() {
        for (place, (path, here)) in files.iter().enumerate() {
            let differs = files[..place].iter().find_map(|(other, there)| {
                let one = here.iter().filter(|item| there.contains(item));
                let two = there.iter().filter(|item| here.contains(item));
                one.zip(two).find(|(one, two)| one != two).map(|(one, two)| (other, one, two))
            });
            if let Some((other, one, two)) = differs {
                breaches.push(format!(
                    "{path}: `{one}` stands before `{two}`, and in {other} after it: move one"
                ));
            }
        }
    }
    breaches
}

/// Functions and types of a formatted file in its order, with what they stand in. Numbers stand as
/// the manual, or the memory, has them.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut within = String::new();
    for line in text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines() {
        let code = line.trim_start();
        let depth = line.len() - code.len();
        if depth == 0 && !within.is_empty() && code.starts_with('}') {
            within.clear();
        }
        if !(depth == 0 || depth == 4 && !within.is_empty()) {
            continue;
        }
        let rest = match code.split_once(") ") {
            Some((seen, rest)) if seen.starts_with("pub(") => rest,
            _ => code.trim_start_matches("pub "),
        };
        let mut words = rest.split(' ').peekable();
        while let Some(word) = words.next() {
            let next = words.peek().copied().unwrap_or_default();
            match word {
                "const" | "unsafe" | "extern" | "\"C\""
                    if ["unsafe", "extern", "\"C\"", "fn"].contains(&next) =>
                {
                    continue;
                }
                "fn" | "struct" | "enum" | "trait" | "type" => {
                    let name = next.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                    let name = format!("{within}{}", name.unwrap_or_default());
                    if !items.contains(&name) {
                        items.push(name);
                    }
                }
                _ if depth == 0 && word.starts_with("impl") && line.ends_with('{') => {
                    within = format!("{}::", rest.trim_end_matches(" {"));
                    items.push(within.clone());
                }
                _ => {}
            }
            break;
        }
    }
    items
}

/// Portable code that asks which architecture it is on. A crate's host tests of one architecture
/// have its name: `tests/NAME.rs`.
fn questions(files: &Files) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, text) in files {
        let portable = PORTABLE.iter().any(|krate| path.starts_with(krate));
        let of_a_tree = ALIKE
            .iter()
            .chain(&UNLIKE)
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: [(&str, &str); 6] = [
        ("t/mod.rs", "mod contract;\nmod one;\nmod two;\ncompile_error!(\"write t/NAME\");"),
        ("t/one/mod.rs", "pub mod cpu;\npub use super::both::{smp, fpu};"),
        ("t/two/mod.rs", "pub mod cpu;\npub mod smp;\npub use super::both::fpu;"),
        ("t/two/smp.rs", ""),
        ("t/one/cpu.rs", "pub fn a() {}\nfn own() {}\npub fn b() {}"),
        ("t/two/cpu.rs", "pub fn a() {}\npub fn b() {}"),
    ];
    const ARCHS: [&str; 2] = ["one", "two"];

    fn with(changes: &[(&str, &str)]) -> Files {
        let all = SOUND.iter().chain(changes);
        all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn trees_that_are_alike_have_no_breach() {
        let files = with(&[]);
        assert_eq!(selector("t", &files, &ARCHS), [""; 0]);
        assert_eq!(unlike_files("t", &files, &ARCHS, &[]), [""; 0]);
        assert_eq!(out_of_order("t", &files, &ARCHS), [""; 0]);
    }

    #[test]
    fn a_file_of_one_architecture_wants_a_reason_that_is_one() {
        let extra = with(&[("t/two/nmi.rs", ""), ("t/two/nmi.ld", "")]);
        let found = unlike_files("t", &extra, &ARCHS, &[]);
        assert_eq!(found.len(), 2);
        assert!(found[1].starts_with("t/two/nmi.rs: not every tree has it"), "{found:?}");
        let own = [("t", "nmi.rs", "x"), ("t", "nmi.ld", "x"), ("u", "cpu.rs", "x")];
        assert_eq!(unlike_files("t", &extra, &ARCHS, &own), [""; 0]);
        for excuse in ["nmi.rs", "cpu.rs", "smp.rs", "fpu.rs"] {
            let idle = unlike_files("t", &with(&[]), &ARCHS, &[("t", excuse, "x")]);
            assert!(idle.len() == 1 && idle[0].contains("excuses nothing"), "{excuse}: {idle:?}");
        }
        // No tree passes it on any more.
        let lost = with(&[("t/one/mod.rs", "pub mod cpu;\npub use super::both::fpu;")]);
        assert_eq!(unlike_files("t", &lost, &ARCHS, &[]).len(), 1);
    }

    #[test]
    fn items_of_one_name_stand_in_one_order() {
        for (one, two) in [
            ("pub fn a() {}\npub fn b() {}", "pub fn b() {}\npub fn a() {}"),
            ("fn a() {}\nfn own() {}\nfn b() {}", "fn b() {}\nfn a() {}"),
            ("pub struct A;\nenum B {\n}", "enum B {\n}\npub struct A(u8);"),
            ("pub(super) unsafe fn a() {}\nfn b() {}", "fn b() {}\npub(in crate::arch) fn a() {}"),
            (
                "pub unsafe extern \"C\" fn a() {}\nconst fn b() {}",
                "fn b() {}\npub unsafe extern \"C\" fn a() {}",
            ),
            (
                "impl A {\n    pub const fn a() {}\n    fn b() {}\n}",
                "impl A {\n    fn b() {}\n    fn a() {}\n}",
            ),
            ("impl A for B {\n}\nfn a() {}", "fn a() {}\nimpl A for B {\n}"),
        ] {
            let found =
                out_of_order("t", &with(&[("t/one/cpu.rs", one), ("t/two/cpu.rs", two)]), &ARCHS);
            assert_eq!(found.len(), 1, "{one}");
            assert!(found[0].starts_with("t/two/cpu.rs: `"), "{found:?}");
            let single = [("t/one.rs", one), ("t/two.rs", two)];
            let single = single.map(|(path, text)| (path.to_owned(), text.to_owned()));
            assert_eq!(out_of_order("t", &single.into(), &ARCHS).len(), 1, "trees of one file");
        }
        for (one, two) in [
            ("pub const A: u8 = 1;\nconst B: u8 = 2;", "const B: u8 = 1;\npub const A: u8 = 2;"),
            ("mod a;\nmod b;", "mod b;\nmod a;"),
            (
                "impl A {\n    fn a() {}\n}\nfn b() {}",
                "fn b() {}\nimpl A for C {\n    fn a() {}\n}",
            ),
            ("// fn a\nfn b() {}", "fn b() {}\nfn a() {}"),
        ] {
            let files = with(&[("t/one/cpu.rs", one), ("t/two/cpu.rs", two)]);
            assert_eq!(out_of_order("t", &files, &ARCHS), [""; 0], "{one}");
        }
    }

    #[test]
    fn a_selector_has_a_contract_selects_all_and_refuses_the_rest() {
        for part in ["mod contract;", "mod two;", "compile_error!"] {
            let text = SOUND[0].1.replace(part, "");
            assert_eq!(selector("t", &with(&[("t/mod.rs", &text)]), &ARCHS).len(), 1, "{part}");
        }
        assert_eq!(selector("u", &with(&[]), &ARCHS).len(), 4);
    }

    #[test]
    fn only_selectors_and_trees_ask_for_the_architecture() {
        let asks = format!("//! x\n#[cfg({QUESTION} = \"arm\")]\nmod x;\n");
        let found =
            |path: &str, text: &str| questions(&[(path.to_owned(), text.to_owned())].into());
        for path in ["kernel/src/stacks.rs", "kernel/src/tests/stacks.rs", "user/src/lib.rs"] {
            let found = found(path, &asks);
            assert_eq!(found.len(), 1, "{path}");
            assert!(found[0].starts_with(&format!("{path}:2: ")), "{found:?}");
        }
        for path in
            ["kernel/machine/src/arch/mod.rs", "kstack/src/arch/pc/a.rs", "user/src/attack/pc.rs"]
        {
            assert_eq!(found(path, &asks), [""; 0], "{path}");
        }
        assert_eq!(found("kernel/src/stacks.rs", &format!("//! {QUESTION}\n")), [""; 0]);
    }
}
