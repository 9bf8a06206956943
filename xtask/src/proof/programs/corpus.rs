//! A corpus of foreign programs from outside of this tree, and the page with how they do.
//!
//! A corpus is a folder with `run.sh CHECKOUT [STAGE…]`, whose last stage writes `$OUT/table.txt`:
//! a line for each program with its name, list, exit status on the host, on the distribution's
//! Linux and here, and the verdict. What differs has its reason in `reasons.txt`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::proof::pages;
use crate::workspace;

/// Why programs do otherwise here: `NAME: REASON` in a line.
const REASONS: &str = include_str!("reasons.txt");
/// Where the table goes.
const PAGE: &str = "docs/programs.md";
const MARKS: [&str; 2] = [
    "<!-- corpus: begin (from a run of `cargo xtask programs --corpus`) -->",
    "<!-- corpus: end -->",
];

/// One program.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    linux: String,
    here: String,
    verdict: String,
}

/// Runs the stages of a corpus; writes the page from its table. Returns how many programs pass on
/// Linux, and of these how many do otherwise here.
pub(crate) fn command(folder: &Path, stages: &[String]) -> Result<(usize, usize)> {
    let script = folder.join("run.sh");
    ensure!(script.is_file(), "no corpus: {} is not there", script.display());
    let out = std::env::var_os("OUT").map_or_else(|| PathBuf::from("/tmp/programs"), PathBuf::from);
    let status = Command::new("bash")
        .arg(&script)
        .arg(workspace::root())
        .args(stages)
        .env("OUT", &out)
        .status()
        .with_context(|| format!("{} does not start", script.display()))?;
    ensure!(status.success(), "{} ends with {status}", script.display());
    let table = out.join("table.txt");
    let text = fs::read_to_string(&table)
        .with_context(|| format!("the corpus left no {}", table.display()))?;
    let rows = rows(&text)?;
    pages::replace(PAGE, MARKS, |_| page(&rows))?;
    let of_linux: Vec<&Row> = rows.iter().filter(|row| passes_on_linux(row)).collect();
    Ok((of_linux.len(), of_linux.iter().filter(|row| !is_the_same(row)).count()))
}

/// The rows of a table: up to its first empty line, without its head.
fn rows(table: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for line in table.lines().skip(1).take_while(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, _list, _host, linux, here, verdict @ ..] = words.as_slice() else {
            bail!("no row of a table: {line:?}");
        };
        // After the verdict come a time in milliseconds and the last words of the output.
        let words =
            verdict.iter().take_while(|word| word.parse::<u64>().is_err() && **word != "ms");
        let verdict = words.copied().collect::<Vec<_>>().join(" ");
        let [name, linux, here] = [name, linux, here].map(|word| (*word).to_owned());
        rows.push(Row { name, linux, here, verdict });
    }
    ensure!(!rows.is_empty(), "the table has no rows");
    Ok(rows)
}

/// Whether Linux has an answer that is worth comparing with: of a suite's test, that it passed.
fn passes_on_linux(row: &Row) -> bool {
    let is_judged_by_output =
        ["own/", "prog/", "dyn/"].iter().any(|kind| row.name.starts_with(kind));
    row.linux == "0" || is_judged_by_output && row.linux.parse::<u32>().is_ok()
}

fn is_the_same(row: &Row) -> bool {
    row.verdict == "pass"
}

fn reason(name: &str) -> &'static str {
    let of = REASONS.lines().filter_map(|line| line.split_once(": "));
    let found = of.into_iter().find(|(known, _)| *known == name);
    found.map_or("no reason is known: a fault of this kernel", |(_, reason)| reason)
}

fn page(rows: &[Row]) -> String {
    let mut suites: Vec<&str> =
        rows.iter().filter_map(|row| Some(row.name.split_once('/')?.0)).collect();
    suites.dedup();
    let mut text = "| suite | programs | pass on Linux | of these the same here |\n| --- | --- | --- | --- |\n"
        .to_owned();
    let count = |suite: &str| {
        let of = || rows.iter().filter(|row| row.name.split('/').next() == Some(suite));
        let passing = || of().filter(|row| passes_on_linux(row));
        [of().count(), passing().count(), passing().filter(|row| is_the_same(row)).count()]
    };
    let mut sums = [0; 3];
    for suite in suites {
        let counts = count(suite);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
        let [all, linux, here] = counts;
        let _ = writeln!(text, "| {suite} | {all} | {linux} | {here} |");
    }
    let [all, linux, here] = sums;
    let _ = writeln!(text, "| all | {all} | {linux} | {here} |");
    let others: Vec<&Row> =
        rows.iter().filter(|row| passes_on_linux(row) && !is_the_same(row)).collect();
    if !others.is_empty() {
        text.push_str(
            "\n| passes on Linux, and not here | status here | why |\n| --- | --- | --- |\n",
        );
        for row in others {
            let Row { name, here, verdict, .. } = row;
            let here = if verdict == "FAIL" { here.clone() } else { format!("{here}: {verdict}") };
            let _ = writeln!(text, "| `{name}` | {here} | {} |", reason(name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
name list host debian kstack verdict
own/mask= public - 0 0 pass 30 ms
k/a public - 0 1 FAIL 90 ms  not ok 3 ms of it
k/b public - 0 0 FAIL (output) 90 ms
k/c public - 4 0 pass 90 ms

group list tests
";

    #[test]
    fn a_program_that_passes_on_linux_alone_has_a_row_of_its_own() {
        let text = page(&rows(TABLE).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..5],
            ["| own | 1 | 1 | 1 |", "| k | 3 | 2 | 0 |", "| all | 4 | 3 | 1 |"]
        );
        assert!(lines[8].starts_with("| `k/a` | 1 | no reason"), "{}", lines[8]);
        assert!(lines[9].starts_with("| `k/b` | 0: FAIL (output) |"), "{}", lines[9]);
        assert_eq!(lines.len(), 10);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(rows("name\nfew words\n").is_err());
        assert!(rows("name\n\n").is_err());
    }

    #[test]
    fn every_reason_names_a_program() {
        for line in REASONS.lines() {
            let (name, reason) = line.split_once(": ").expect("a name and a reason");
            assert!(name.contains('/') && !reason.is_empty(), "{line}");
        }
    }
}
