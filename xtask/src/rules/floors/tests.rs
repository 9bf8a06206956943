//! Tests of the rules about floors, each seen red on a small house of its own.

use super::*;

fn files(all: &[(&str, &str)]) -> Files {
    all.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn found(all: &[(&str, &str)]) -> Vec<String> {
    circles("k", &files(all), &["x86_64", "arm64"])
}

#[test]
fn an_arrow_upwards_is_found() {
    let floors = [
        Floor { name: "low", folder: "low", rooms: &[] },
        Floor { name: "high", folder: "high", rooms: &[] },
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
fn a_room_imports_only_what_is_below_it() {
    let floor = Floor { name: "k", folder: "k", rooms: &["low", "high"] };
    let check = |all: &[(&str, &str)]| {
        let low = ("k/src/low/mod.rs", "pub mod a;\npub mod b;\n");
        let all: Vec<_> = [low, ("k/src/low/b.rs", "")].iter().chain(all).copied().collect();
        upstairs(&floor, &files(&all), &["x86_64"])
    };
    let root = ("k/src/lib.rs", "mod low;\nmod high;\npub use high::g;\n");
    let down = ("k/src/high.rs", "use crate::low::a;\npub fn g() {}\n");
    assert_eq!(check(&[root, down, ("k/src/low/a.rs", "use super::b;\n")]), [""; 0]);
    let up = ["k/src/low/a.rs: imports `high`, which is not below it"];
    for text in [
        "use crate::high::g;\n",
        "use crate::{high::g, low};\n",
        "fn f() { crate::high::g() }\n",
        // What the root passes on comes from its room.
        "use crate::g;\n",
    ] {
        assert_eq!(check(&[root, down, ("k/src/low/a.rs", text)]), up, "{text}");
    }
    let by_root = check(&[root, ("k/src/low/a.rs", "use crate::what_the_root_defines;\n")]);
    assert_eq!(by_root, ["k/src/low/a.rs: imports ``, which is not below it"]);
    let unknown = check(&[root, ("k/src/other.rs", "use crate::low::a;\n")]);
    assert_eq!(unknown, [format!("k/src/other.rs: is in no room that {WHERE} knows")]);
}

#[test]
fn every_room_is_there_and_a_wing_says_what_it_may_import() {
    let root = crate::workspace::root();
    for floor in &FLOORS {
        for room in floor.rooms {
            let place = root.join(floor.folder).join("src").join(room);
            if place.with_extension("rs").is_file() {
                continue;
            }
            let text = std::fs::read_to_string(place.join("mod.rs")).unwrap();
            assert!(floor.name != "xtask" || text.contains("\n//! May import "), "{room}");
        }
    }
}

#[test]
fn a_circle_of_files_is_found_however_it_is_tied() {
    for (a, b) in [
        ("use crate::b::f;\n", "use crate::a::g;\n"),
        ("use super::b;\n", "use crate::{a, c};\n"),
        ("fn f() { crate::b::g() }\n", "fn g() { super::a::f() }\n"),
        ("pub use crate::b::{self as d, e};\n", "use crate::a::d;\nuse crate::a;\n"),
    ] {
        let found = found(&[("k/src/a.rs", a), ("k/src/b.rs", b)]);
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
        assert_eq!(found(&[("k/src/a.rs", a), ("k/src/b.rs", b)]), [""; 0], "{a}{b}");
    }
}

#[test]
fn a_name_that_is_passed_on_comes_from_where_it_is() {
    // `a` imports `b` through the folder, and `b` does not import `a`.
    let list = ("k/src/f/mod.rs", "mod a;\nmod b;\npub use a::g;\npub use b::f;\n");
    let a = ("k/src/f/a.rs", "use super::f;\npub fn g() {}\n");
    assert_eq!(found(&[list, a, ("k/src/f/b.rs", "pub fn f() {}\n")]), [""; 0]);
    let tied = found(&[list, a, ("k/src/f/b.rs", "use super::g;\npub fn f() {}\n")]);
    assert!(tied[0].starts_with("k/src/f/a.rs, k/src/f/b.rs: import each other in a circle"));
    // A tree's own file, by the selector's name; that of another architecture has nothing to do
    // with it.
    let selector = ("k/src/arch/mod.rs", "pub use x86_64::*;\npub use arm64::*;\n");
    let tree = |cpu| {
        found(&[
            selector,
            ("k/src/arch/x86_64/mod.rs", "pub mod cpu;\n"),
            ("k/src/arch/x86_64/cpu.rs", "pub fn f() {}\n"),
            ("k/src/arch/arm64/mod.rs", "pub mod cpu;\n"),
            ("k/src/arch/arm64/cpu.rs", cpu),
            ("k/src/c.rs", "use crate::arch::cpu;\n"),
        ])
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
        assert_eq!(found(&all).len(), 1, "{arch}");
    }
}

#[test]
fn a_file_that_the_root_names_by_path_is_where_the_root_has_it() {
    let root = ("k/src/lib.rs", "#[path = \"x/t.rs\"]\nmod t;\nmod a;\npub use a::f;\n");
    let a = ("k/src/a.rs", "use crate::t;\n");
    assert_eq!(found(&[root, a, ("k/src/x/t.rs", "")]), [""; 0]);
    assert_eq!(found(&[root, a, ("k/src/x/t.rs", "use crate::f;\n")]).len(), 1);
}
