//! The pages below `docs` that hold results: the conformance matrix and the figures.
//!
//! ```text
//!   cargo xtask test --page   ─> docs/matrix.md    after a run of everything in which nothing failed
//!   cargo xtask bench --page  ─> docs/figures.md   after a run of all architectures
//!   cargo xtask bench --against linux --page       (see `against`) ─> docs/figures.md, docs/figures.svg
//!   cargo xtask depth --page  ─> docs/figures.md    how deep the handler of overflows goes
//!   cargo xtask programs --page ─> docs/programs.md  (see `programs`)
//! ```
//!
//! What stands between two marks is replaced; the titles of rows stay as the page has them, since
//! people wrote them there. The tests below hold the front page to both: the excerpt, the two
//! commands and every link.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::proof::against::{ARCHS, Measured};
use crate::proof::baseline::WANTED;
use crate::proof::figures::{self, Figure};
use crate::proof::matrix::{self, Column, HOST, Status};
use crate::{catalogue, workspace};

/// The page with the matrix.
pub(crate) const MATRIX: &str = "docs/matrix.md";
/// The page with the figures.
pub(crate) const FIGURES: &str = "docs/figures.md";

const MATRIX_MARKS: [&str; 2] =
    ["<!-- matrix: begin (from a run of `cargo xtask test`) -->", "<!-- matrix: end -->"];
const FIGURES_MARKS: [&str; 2] =
    ["<!-- figures: begin (from a run of `cargo xtask bench`) -->", "<!-- figures: end -->"];
/// Around the table of both kernels.
pub(crate) const FIGURES_OF_BOTH: [&str; 2] = [
    "<!-- against: begin (from a run of `cargo xtask bench --against linux`) -->",
    "<!-- against: end -->",
];

const DEPTH_MARKS: [&str; 2] =
    ["<!-- depth: begin (from `cargo xtask depth`) -->", "<!-- depth: end -->"];

/// Writes a table of bounds into [`FIGURES`].
pub(crate) fn write_depths(table: &str) -> Result<()> {
    replace(FIGURES, DEPTH_MARKS, |_| format!("{table}\n"))
}

/// Writes the results of a run of everything into [`MATRIX`].
pub(crate) fn write_matrix(columns: &[Column]) -> Result<()> {
    replace(MATRIX, MATRIX_MARKS, |old| matrix_table(columns, old))
}

/// Writes figures into [`FIGURES`], and Linux's beside them. What was not measured stays.
pub(crate) fn write_figures(figures: &[Figure], linux: &Measured) -> Result<()> {
    replace(FIGURES, FIGURES_MARKS, |old| figures_table(figures, linux, old))
}

/// Replaces what stands between two marks of a page.
pub(super) fn replace(
    page: &str,
    marks: [&str; 2],
    text: impl FnOnce(&str) -> String,
) -> Result<()> {
    let path = workspace::root().join(page);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))?;
    let (before, between, after) = split(&old, marks).with_context(|| format!("{page}: marks"))?;
    let new = format!("{before}\n{}\n{after}", text(between));
    fs::write(&path, new).with_context(|| format!("cannot write {page}"))
}

/// What stands before the end of the first mark, between the marks, and from the second mark on.
fn split<'t>(text: &'t str, [begin, end]: [&str; 2]) -> Result<(&'t str, &'t str, &'t str)> {
    let start = text.find(begin).with_context(|| format!("no {begin:?}"))? + begin.len() + 1;
    let stop = text.find(end).with_context(|| format!("no {end:?}"))?;
    ensure!(start <= stop, "{end:?} stands before {begin:?}");
    Ok((&text[..start], &text[start..stop], &text[stop..]))
}

/// The cells of each row of the table in a page, without spaces around them.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(|line| {
        let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(row.split('|').map(str::trim).collect())
    })
}

/// The title that the page gives a row, by the row's first cell.
fn title_of<'t>(page: &'t str, first: &str) -> Option<&'t str> {
    rows(page).find(|row| row[0] == first).and_then(|row| row.get(1).copied())
}

fn matrix_table(columns: &[Column], old: &str) -> String {
    let cells = matrix::cells(columns);
    let status = |id: &str, column: &str| {
        cells.iter().find(|cell| cell.id == id && cell.arch == column).map(|cell| cell.status)
    };
    let archs: Vec<&str> =
        columns.iter().map(|column| column.name).filter(|&name| name != HOST).collect();
    let mut text = format!("| id | what it says | {} |\n", archs.join(" | "));
    let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(archs.len()));
    let mut on_the_host = Vec::new();
    let mut not_shown = Vec::new();
    for row in catalogue::rows() {
        let title = title_of(old, row.id).unwrap_or(row.title);
        if archs.iter().any(|arch| status(row.id, arch) == Some(Status::Passed)) {
            let cells: String = archs
                .iter()
                .map(|arch| format!(" {} |", status(row.id, arch).map_or("", Status::text)))
                .collect();
            let _ = writeln!(text, "| {} | {title} |{cells}", row.id);
        } else if status(row.id, HOST) == Some(Status::Passed) {
            on_the_host.push(format!("- {}: {}", row.id, row.title));
        } else {
            not_shown.push(format!("- {}: {}", row.id, row.title));
        }
    }
    let _ = write!(text, "\nShown on the host alone:\n\n{}\n", on_the_host.join("\n"));
    let _ = write!(text, "\nIn the catalogue, and not shown yet:\n\n{}\n", not_shown.join("\n"));
    text
}

/// The cell of an architecture's column in the row of a bench, as the page has it.
fn cell_of<'t>(page: &'t str, column: &str, first: &str) -> Option<&'t str> {
    let place = rows(page).next()?.iter().position(|&cell| cell == column)?;
    rows(page).find(|row| row[0] == first).and_then(|row| row.get(place).copied())
}

fn figures_table(figures: &[Figure], linux: &Measured, old: &str) -> String {
    let archs = Arch::supported();
    let has_linux = |arch: &Arch| ARCHS.contains(arch);
    let mut head = "| bench | what |".to_owned();
    let mut rule = "| --- | --- |".to_owned();
    for arch in &archs {
        let _ = write!(head, " {arch} |");
        rule.push_str(" ---: |");
        if has_linux(arch) {
            head.push_str(" Linux |");
            rule.push_str(" ---: |");
        }
    }
    let mut text = format!("{head}\n{rule}\n");
    for wanted in &WANTED {
        let name = format!("`{}`", wanted.name);
        let what = title_of(old, &name).unwrap_or_default();
        let _ = write!(text, "| {name} | {what} |");
        for &arch in &archs {
            let value = match figures.iter().find(|figure| figure.is(arch, wanted.name)) {
                Some(figure) => figures::number(figure.value),
                None => cell_of(old, arch.name(), &name).unwrap_or("-").to_owned(),
            };
            let _ = write!(text, " {value} |");
            if has_linux(&arch) {
                let linux = linux.median(arch, wanted.name);
                let _ = write!(text, " {} |", figures::optional(linux));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::proof::emulated::Verdict;

    fn read(name: &str) -> String {
        fs::read_to_string(workspace::root().join(name)).expect(name)
    }

    fn column(name: &'static str, tests: &[&str]) -> Column {
        let passed = |name: &&str| Verdict { name: (*name).to_owned(), failure: None };
        Column { name, verdicts: tests.iter().map(passed).collect() }
    }

    #[test]
    fn a_page_keeps_its_titles_and_gets_the_cells_of_the_run() {
        let columns = [
            column(HOST, &["n5_hosted"]),
            column("x86_64", &["t1_sizes", "x2_words"]),
            column("riscv64", &["t1_sizes"]),
        ];
        let old = "| id | what it says | x86_64 |\n| T1 | A title by hand | not yet |\n";
        let text = matrix_table(&columns, old);
        assert!(text.starts_with("| id | what it says | x86_64 | riscv64 |\n"), "{text}");
        assert!(text.contains("\n| T1 | A title by hand | passed | passed |\n"), "{text}");
        assert!(text.contains("| passed |  |\n"), "X2 is not for riscv64: {text}");
        assert!(!text.contains("| T2 |") && text.contains("\n- T2: "), "{text}");
        let (_, host) = text.split_once("Shown on the host alone:").expect("a list");
        assert!(host.find("- N5: ") < host.find("not shown yet"), "{text}");
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "a\n<b>\nold\n<e>\nz\n";
        assert_eq!(split(text, ["<b>", "<e>"]).unwrap(), ("a\n<b>\n", "old\n", "<e>\nz\n"));
        assert!(split(text, ["<e>", "<b>"]).is_err());
        assert!(split(text, ["<b>", "<x>"]).is_err());
        let all = [(MATRIX, MATRIX_MARKS), (FIGURES, FIGURES_MARKS), (FIGURES, FIGURES_OF_BOTH)];
        for (page, marks) in all {
            let page = read(page);
            assert!(rows(split(&page, marks).unwrap().1).count() > 10);
        }
    }

    #[test]
    fn the_page_of_figures_has_a_row_for_each_and_columns_for_all() {
        let page = read(FIGURES);
        let (_, between, _) = split(&page, FIGURES_MARKS).unwrap();
        let linux = Measured::read().expect("what Linux takes");
        let made = figures_table(&[], &linux, between);
        let first = |text: &str| -> Vec<String> {
            rows(text).map(|row| format!("{} {}", row[0], row[1])).collect()
        };
        assert_eq!(first(between), first(&made), "benches, their order and what they are");
        assert_eq!(rows(between).next(), rows(&made).next(), "the columns");
        assert!(rows(between).all(|row| row.iter().all(|cell| !cell.is_empty())));
        // Linux's figures are those of the file; the other ones stay where nothing was measured.
        assert_eq!(between.trim(), made.trim());
        let figure = Figure::new("switch_bare".to_owned(), Arch::I386, 7.0, String::new(), &linux);
        let changed = figures_table(&[figure], &linux, between);
        assert_eq!(cell_of(&changed, "i386", "`switch_bare`"), Some("7"));
        assert_eq!(
            cell_of(&changed, "arm32", "`switch_bare`"),
            cell_of(between, "arm32", "`switch_bare`")
        );
    }

    #[test]
    fn the_page_of_the_matrix_has_rows_of_the_catalogue_in_its_order() {
        let page = read(MATRIX);
        let (_, between, _) = split(&page, MATRIX_MARKS).unwrap();
        let table: Vec<Vec<&str>> = rows(between).collect();
        let archs: Vec<&str> = Arch::supported().iter().map(|arch| arch.name()).collect();
        assert_eq!(table[0][2..], archs);
        for row in &table[2..] {
            let known = catalogue::rows().find(|known| known.id == row[0]).expect(row[0]);
            for (&cell, arch) in row[2..].iter().zip(&archs) {
                assert_eq!(cell.is_empty(), !known.applies_to(arch), "{} on {arch}", row[0]);
                assert!(["", "passed", "not yet"].contains(&cell), "{} on {arch}", row[0]);
            }
        }
    }

    /// What the front page quotes of the figures is what their page says.
    #[test]
    fn the_front_page_s_figures_are_those_of_their_page() {
        let (front, page) = (read("README.md"), read(FIGURES));
        let mut quoted = 0;
        for row in rows(&front).filter(|row| row[0].starts_with('`') && row.len() > 2) {
            let whole = rows(&page).find(|whole| whole[0] == row[0]).expect(row[0]);
            assert_eq!(row, whole[..row.len()], "{}", row[0]);
            quoted += 1;
        }
        assert!(quoted >= 3, "{quoted}");
    }

    /// The two commands stand in a block of their own, and continuous integration runs the second
    /// one.
    #[test]
    fn the_front_page_has_two_commands_and_continuous_integration_runs_the_test() {
        let front = read("README.md");
        let block = front.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
        let commands: Vec<&str> =
            block.unwrap_or_default().lines().filter_map(|line| line.split('#').next()).collect();
        let commands: Vec<&str> = commands.iter().map(|command| command.trim()).collect();
        assert_eq!(commands, ["cargo xtask run", "cargo xtask test"]);
        assert!(read(".ci/run").contains("\ncargo xtask test "));
    }

    /// A link of a document that leads into the tree finds a file, and a heading where it names
    /// one.
    #[test]
    fn every_link_leads_somewhere() {
        let mut checked = 0;
        for name in crate::rules::tidy::documents(&workspace::root()).expect("the tree can be read")
        {
            let text = read(&name);
            let folder = Path::new(&name).parent().unwrap_or(Path::new(""));
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.contains("://") || link.contains(char::is_whitespace) || link.is_empty() {
                    continue;
                }
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() {
                    name.clone()
                } else {
                    folder.join(file).display().to_string()
                };
                let path = workspace::root().join(&target);
                assert!(path.exists(), "{name}: {link}");
                if !heading.is_empty() {
                    let text = fs::read_to_string(&path).expect(link);
                    let headings = text.lines().filter(|line| line.starts_with('#'));
                    assert!(headings.map(anchor).any(|it| it == heading), "{name}: {link}");
                }
                checked += 1;
            }
        }
        assert!(checked > 20, "{checked}");
    }

    /// A path of the tree that a document names is there: files move, and their names in prose stay
    /// behind.
    #[test]
    fn every_path_that_a_document_names_is_there() {
        let root = workspace::root();
        let mut checked = 0;
        let mut absent = Vec::new();
        for name in crate::rules::tidy::documents(&root).expect("the tree can be read") {
            // Of an example as a user copies it, and of versions as they were.
            if name.starts_with("examples/") || name == "CHANGELOG.md" {
                continue;
            }
            for word in read(&name).split('`').skip(1).step_by(2) {
                let top = word.split_once('/').map(|(top, _)| top);
                let is_ours = top.is_some_and(|top| {
                    !top.is_empty()
                        && top != "target"
                        && top != "examples"
                        && root.join(top).is_dir()
                });
                let is_plain =
                    word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                if is_ours && is_plain && !word.contains("NAME") {
                    checked += 1;
                    let path = root.join(word);
                    if !path.exists() && !path.with_extension("rs").exists() {
                        absent.push(format!("{name}: {word}"));
                    }
                }
            }
        }
        assert!(absent.is_empty(), "{}", absent.join("\n"));
        assert!(checked > 20, "{checked}");
    }

    /// The name by which a heading is linked to.
    fn anchor(heading: &str) -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    }
}
