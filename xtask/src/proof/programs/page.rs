//! The page with the programs: what Linux answered, and what this kernel did.

use std::fmt::Write;

use anyhow::Result;

use super::list::{Answer, Entry};
use super::outcome::Outcome;
use crate::arch::Arch;
use crate::proof::pages;

/// The page.
const PAGE: &str = "docs/programs.md";
const MARKS: [&str; 2] =
    ["<!-- programs: begin (from a run of `cargo xtask programs`) -->", "<!-- programs: end -->"];

/// Writes the results of a run of everything.
pub(crate) fn write(results: &[(Arch, Vec<Outcome>)]) -> Result<()> {
    pages::replace(PAGE, MARKS, |_| table(results))
}

fn table(results: &[(Arch, Vec<Outcome>)]) -> String {
    let mut entries: Vec<&Entry> = Vec::new();
    for outcome in results.iter().flat_map(|(_, outcomes)| outcomes) {
        if entries.iter().all(|entry| entry.name != outcome.entry.name) {
            entries.push(&outcome.entry);
        }
    }
    let mut text = "| program | of | Linux: status, output |".to_owned();
    let mut rule = "| --- | --- | --- |".to_owned();
    for (arch, _) in results {
        let _ = write!(text, " {arch} |");
        rule.push_str(" --- |");
    }
    let _ = writeln!(text, "\n{rule}");
    let mut reasons = String::new();
    for entry in entries {
        let of = match &entry.host_rust {
            Some(source) => format!("`{source}`, built here"),
            None if entry.packages.is_empty() => "busybox-static".to_owned(),
            None => entry.packages.join(", "),
        };
        let linux = entry.linux.as_ref().map_or_else(|| "not asked".to_owned(), told);
        let _ = write!(text, "| `{}` | {of} | {linux} |", entry.name);
        for (arch, outcomes) in results {
            let outcome = outcomes.iter().find(|outcome| outcome.entry.name == entry.name);
            let cell = match outcome.map(Outcome::failure) {
                None => "",
                Some(None) => "the same",
                Some(Some(reason)) => {
                    let reason = reason.lines().next().unwrap_or_default();
                    let _ = writeln!(reasons, "- `{}`, {arch}: {reason}", entry.name);
                    "**differs**"
                }
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    let all = || results.iter().flat_map(|(_, outcomes)| outcomes);
    let same = all().filter(|outcome| outcome.failure().is_none()).count();
    let _ = write!(text, "\n{same} of {} runs are as in Linux.\n", all().count());
    if !reasons.is_empty() {
        let _ = write!(text, "\nThe others:\n\n{reasons}");
    }
    text
}

/// What Linux answered, short enough for a cell.
fn told(answer: &Answer) -> String {
    const SHOWN: usize = 24;
    let output = String::from_utf8_lossy(&answer.output);
    let last = output.lines().next_back().unwrap_or_default();
    let mut shown: String =
        last.chars().take(SHOWN).collect::<String>().replace(['|', '`', '\t'], " ");
    if last.chars().count() > SHOWN {
        shown.push('…');
    }
    match output.lines().count() {
        0 => format!("{}, nothing", answer.status),
        1 => format!("{}, `{shown}`", answer.status),
        lines => format!("{}, {lines} lines, the last `{shown}`", answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_program_and_the_reasons_below() {
        let entry = |name: &str, output: &str| Entry {
            name: name.to_owned(),
            packages: vec!["dash".to_owned()],
            linux: Some(Answer { status: 0, output: output.as_bytes().to_vec() }),
            ..Entry::default()
        };
        let did = |entry: &Entry, status| Outcome {
            entry: entry.clone(),
            answer: Ok(Answer { status, ..entry.linux.clone().unwrap() }),
        };
        let (a, b) = (entry("p1_a", "x\ny|z\t1\n"), entry("p2_b", ""));
        let text = table(&[
            (Arch::X86_64, vec![did(&a, 0), did(&b, 139)]),
            (Arch::Arm64, vec![did(&a, 0)]),
        ]);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "| program | of | Linux: status, output | x86_64 | arm64 |",
                "| --- | --- | --- | --- | --- |",
                "| `p1_a` | dash | 0, 2 lines, the last `y z 1` | the same | the same |",
                "| `p2_b` | dash | 0, nothing | **differs** |  |",
                "",
                "2 of 3 runs are as in Linux.",
                "",
                "The others:",
                "",
                "- `p2_b`, x86_64: status 139 and not 0; it wrote last: nothing",
            ]
        );
    }
}
