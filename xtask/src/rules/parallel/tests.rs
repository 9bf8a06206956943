//! Each rule finds its breach, and nothing else, in a tree of two architectures and a folder that they share.

use super::own::Own;
use super::*;

/// Two folders and what both pass on.
const SOUND: [(&str, &str); 8] = [
    (
        "t/arch/mod.rs",
        "#[cfg(one)]\nmod one;\n#[cfg(two)]\nmod two;\nmod both;\ncompile_error!(\"write t/arch/NAME\");",
    ),
    ("t/arch/one/mod.rs", "pub mod cpu;\npub use super::both::smp;"),
    ("t/arch/two/mod.rs", "pub mod cpu;\npub use super::both::smp;"),
    ("t/arch/both/smp.rs", "pub fn start() {}\npub fn stop() {}"),
    (
        "t/arch/one/cpu.rs",
        "pub struct Cpu;\nimpl Cpu { pub fn new() {} fn own() {} }\npub fn halt() {}",
    ),
    (
        "t/arch/two/cpu.rs",
        "pub struct Cpu;\nimpl Cpu { pub fn new() {} fn own() {} }\npub fn halt() {}",
    ),
    ("t/arch/one/kernel.ld", "a"),
    ("t/arch/two/kernel.ld", "b"),
];

const OF_T: Trees = Trees { folder: "t/arch", folders: true, shared: &["both"] };

fn with(changes: &[(&str, &str)]) -> Files {
    let all = SOUND.iter().chain(changes);
    all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn found(changes: &[(&str, &str)], own: &[Own]) -> Vec<String> {
    OF_T.breaches(&with(changes), &["one", "two"], &["one", "two", "three"], own)
}

fn only(changes: &[(&str, &str)], own: &[Own]) -> String {
    let mut found = found(changes, own);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn own(file: &'static str, items: &'static [&'static str]) -> Own {
    Own { trees: "t/arch", file, items, reason: "the other one does not need such a thing" }
}

#[test]
fn trees_that_are_alike_have_no_breach() {
    assert_eq!(found(&[], &[]), [""; 0]);
}

#[test]
fn a_file_of_one_architecture_wants_a_reason() {
    let extra = [
        ("t/arch/two/nmi.rs", "pub fn send() {}"),
        ("t/arch/two/mod.rs", "pub mod cpu;\npub mod nmi;\npub use super::both::smp;"),
    ];
    let breaches = found(&extra, &[]);
    assert_eq!(breaches.len(), 2, "{breaches:#?}");
    assert!(breaches.iter().any(|breach| breach.starts_with("t/arch/one: no nmi.rs")));
    assert!(breaches.iter().any(|breach| breach.contains("`nmi` is missing in t/arch/one/mod.rs")));
    assert_eq!(found(&extra, &[own("nmi.rs", &[])]), [""; 0]);
    let script = only(&[("t/arch/two/extra.ld", "c")], &[]);
    assert!(script.starts_with("t/arch/one: no extra.ld"), "{script}");
}

#[test]
fn a_file_that_is_shared_counts_for_those_that_pass_it_on_and_for_no_other() {
    let breaches = found(&[("t/arch/two/mod.rs", "pub mod cpu;")], &[]);
    assert!(breaches.iter().any(|breach| breach.starts_with("t/arch/two: no smp.rs")));
    let written_out = [
        ("t/arch/two/mod.rs", "pub mod cpu;\npub mod smp;"),
        ("t/arch/two/smp.rs", "pub fn stop() {}\npub fn start() {}"),
    ];
    let breach = only(&written_out, &[]);
    assert!(breach.starts_with("t/arch/two/smp.rs: `stop` stands before `start`"), "{breach}");
}

#[test]
fn an_item_that_portable_code_may_name_is_everywhere_or_has_a_reason() {
    let base = SOUND[4].1;
    for (addition, name) in [
        ("pub fn more() {}", "`more`"),
        ("pub(crate) const MORE: u8 = 1;", "`MORE`"),
        ("pub mod vector { pub const MORE: u8 = 1; }", "`vector`"),
        ("impl Cpu { pub fn more() {} }", "`Cpu::more`"),
        ("pub use core::cmp::min as more;", "`more`"),
        ("#[macro_export] macro_rules! more { () => {} }", "`more!`"),
    ] {
        let text = format!("{base}\n{addition}");
        let changes = [("t/arch/one/cpu.rs", text.as_str()), ("t/arch/two/cpu.rs", base)];
        let breaches = found(&changes, &[]);
        let breach = &breaches[0];
        assert!(
            breach.contains(name) && breach.contains("missing in t/arch/two/cpu.rs"),
            "{breach}"
        );
        assert!(
            breach.contains("pub(super)") && breach.contains(WHERE),
            "says what to do: {breach}"
        );
    }
    for addition in [
        "fn more() {}",
        "pub(super) fn more() {}",
        "pub(in crate::arch) fn more() {}",
        "struct Mine; impl Mine { pub fn more() {} }",
        "impl Clone for Cpu { fn clone(&self) -> Self { Self } }",
        "macro_rules! more { () => {} }",
        "#[cfg(test)] mod tests { pub fn more() {} }",
    ] {
        let text = format!("{base}\n{addition}");
        let changes = [("t/arch/one/cpu.rs", text.as_str()), ("t/arch/two/cpu.rs", base)];
        assert_eq!(found(&changes, &[]), [""; 0], "{addition}");
    }
    let text = format!("{base}\nimpl Cpu {{ pub fn more() {{}} }}");
    let changes = [("t/arch/one/cpu.rs", text.as_str()), ("t/arch/two/cpu.rs", base)];
    assert_eq!(found(&changes, &[own("cpu.rs", &["Cpu::more"])]), [""; 0]);
    assert_eq!(found(&changes, &[own("cpu.rs", &["Cpu::*"])]), [""; 0]);
}

#[test]
fn the_members_of_a_type_come_with_it_from_a_shared_file() {
    let changes = [
        ("t/arch/both/cpu.rs", SOUND[4].1),
        ("t/arch/one/cpu.rs", SOUND[4].1),
        ("t/arch/two/cpu.rs", "pub use super::both::cpu::{Cpu, halt};"),
    ];
    assert_eq!(found(&changes, &[]), [""; 0]);
}

#[test]
fn items_of_one_name_stand_in_one_order_whoever_may_name_them() {
    for (one, two) in [
        ("pub fn a() {}\npub fn b() {}", "pub fn b() {}\npub fn a() {}"),
        ("fn a() {}\nfn own() {}\nfn b() {}", "fn b() {}\nfn a() {}"),
        (
            "pub const A: u8 = 1;\npub const B: u8 = 2;",
            "pub const B: u8 = 1;\npub const A: u8 = 2;",
        ),
        ("struct A;\nimpl A { fn a() {} fn b() {} }", "struct A;\nimpl A { fn b() {} fn a() {} }"),
    ] {
        let breach = only(&[("t/arch/one/cpu.rs", one), ("t/arch/two/cpu.rs", two)], &[]);
        let start = "t/arch/two/cpu.rs: `";
        assert!(
            breach.starts_with(start) && breach.contains("and in t/arch/one/cpu.rs"),
            "{breach}"
        );
    }
    // A file's own numbers stand as the manual has them, and what is passed on stands at the top.
    let numbers = ["const A: u8 = 1;\nconst B: u8 = 2;", "const B: u8 = 1;\nconst A: u8 = 2;"];
    let changes = [("t/arch/one/cpu.rs", numbers[0]), ("t/arch/two/cpu.rs", numbers[1])];
    assert_eq!(found(&changes, &[]), [""; 0]);
    let changes = [
        ("t/arch/both/cpu.rs", "pub fn a() {}"),
        ("t/arch/one/cpu.rs", "pub use super::both::cpu::a;\npub fn b() {}"),
        ("t/arch/two/cpu.rs", "pub fn b() {}\npub fn a() {}"),
    ];
    assert_eq!(found(&changes, &[]), [""; 0]);
}

#[test]
fn what_is_passed_on_is_named() {
    let breach = &found(&[("t/arch/two/cpu.rs", "pub use super::both::cpu::*;")], &[])[0];
    assert!(breach.starts_with("t/arch/two/cpu.rs: `pub use super::both::cpu::*`"), "{breach}");
}

#[test]
fn a_selector_selects_all_refuses_the_rest_and_knows_what_stands_beside_it() {
    let silent = "mod one;\nmod two;";
    assert!(only(&[("t/arch/mod.rs", silent)], &[]).contains("`compile_error!`"));
    let half = "mod one;\ncompile_error!(\"\");";
    assert!(only(&[("t/arch/mod.rs", half)], &[]).contains("does not select two"));
    assert!(only(&[("t/arch/four/cpu.rs", "")], &[]).starts_with("t/arch/four: no architecture"));
    // One that is not supported yet may be there, half done.
    assert_eq!(found(&[("t/arch/three/cpu.rs", "")], &[]), [""; 0]);
}

#[test]
fn a_line_of_the_table_that_excuses_nothing_is_a_breach() {
    for (line, part) in [
        (own("nmi.rs", &[]), "NAME/nmi.rs: no architecture"),
        (own("cpu.rs", &[]), "NAME/cpu.rs: every architecture"),
        (own("cpu.rs", &["more"]), "NAME/cpu.rs: more: no architecture"),
        (own("cpu.rs", &["halt"]), "NAME/cpu.rs: halt: every architecture"),
        (own("cpu.rs", &["More::*"]), "NAME/cpu.rs: More::*: no architecture"),
        (Own { reason: "why not", ..own("cpu.rs", &["Cpu::*"]) }, "no reason"),
    ] {
        let breach = only(&[], &[line]);
        assert!(breach.contains(part), "{breach}");
    }
}

#[test]
fn trees_of_one_file_are_compared_like_others() {
    let trees = Trees { folder: "t/abi", folders: false, shared: &["both.rs"] };
    let shared = ("t/abi/both.rs", "pub mod nr { pub const READ: u8 = 0; }");
    let selector = ("t/abi/mod.rs", "mod one;\nmod two;\ncompile_error!(\"\");");
    let found = |one: &str, two: &str| {
        let files = [selector, shared, ("t/abi/one.rs", one), ("t/abi/two.rs", two)];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        trees.breaches(&files, &["one", "two"], &["one", "two"], &[])
    };
    assert_eq!(found("pub fn a() {}", "pub fn a() {}"), [""; 0]);
    assert_eq!(found(shared.1, "pub use super::both::nr;"), [""; 0]);
    let breaches = found("pub fn a() {}\npub(super) fn b() {}", "pub fn a() {}");
    assert!(
        breaches[0].starts_with("t/abi/one.rs: `b` is missing in t/abi/two.rs"),
        "{breaches:?}"
    );
}

#[test]
fn only_selectors_and_trees_ask_for_the_architecture() {
    let asks = format!("//! x\n#[cfg({QUESTION} = \"arm\")]\nmod x;\n");
    let found = |path: &str, text: &str| questions(&[(path.to_owned(), text.to_owned())].into());
    for path in ["kernel/src/stacks.rs", "kernel/src/tests/stacks.rs", "user/src/lib.rs"] {
        let found = found(path, &asks);
        assert_eq!(found.len(), 1, "{path}");
        assert!(found[0].starts_with(&format!("{path}:2: ")), "{found:?}");
    }
    for path in
        ["kernel/machine/src/arch/mod.rs", "kstack/src/arch/pc/a.rs", "user/src/arch/mod.rs"]
    {
        assert_eq!(found(path, &asks), [""; 0], "{path}");
    }
    assert_eq!(found("kernel/src/stacks.rs", &format!("//! {QUESTION}\n")), [""; 0]);
}
