//! The conformance matrix: catalogue rows by columns, made from test results alone.
//!
//! ```text
//!   id   title                                   host     x86_64
//!   T4   Freed stacks are cached per CPU ...              passed
//!   T11  Every allocation failure errs ...       passed   not yet
//!   N5   Hosted stacks in a Linux process        not yet
//! ```
//!
//! A cell is passed only if at least one test with the row's id ran in that column, in this run, and
//! all of those passed. The column of an architecture counts emulated tests only; what the host shows
//! about pure decisions is not a claim about a machine. A blank cell means that the row does not
//! apply there.

use std::fmt::Write;

use serde::Serialize;

use crate::catalogue::{self, Row};
use crate::proof::emulated::Verdict;

/// The column of tests that ran on this machine.
pub(crate) const HOST: &str = "host";

/// The results of one column.
pub(crate) struct Column {
    /// `host` or an architecture.
    pub(crate) name: &'static str,
    /// What ran there.
    pub(crate) verdicts: Vec<Verdict>,
}

/// What a cell says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Tests ran, and all passed.
    Passed,
    /// Some test failed.
    Failed,
    /// No test ran.
    NotYet,
}

impl Status {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Status::Passed => "passed",
            Status::Failed => "FAILED",
            Status::NotYet => "not yet",
        }
    }
}

/// One cell, as the JSON file has it.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub(crate) id: &'static str,
    pub(crate) arch: &'static str,
    pub(crate) status: Status,
    tests: Vec<String>,
}

/// All cells of the rows that apply to each column.
pub(crate) fn cells(columns: &[Column]) -> Vec<Cell> {
    catalogue::rows()
        .flat_map(|row| {
            let applying = columns.iter().filter(move |column| row.applies_to(column.name));
            applying.map(move |column| cell(row, column))
        })
        .collect()
}

fn cell(row: Row, column: &Column) -> Cell {
    let shown: Vec<&Verdict> = column
        .verdicts
        .iter()
        .filter(|verdict| catalogue::ids_of(&verdict.name).iter().any(|id| id == row.id))
        .collect();
    let status = if shown.is_empty() {
        Status::NotYet
    } else if shown.iter().all(|verdict| verdict.failure.is_none()) {
        Status::Passed
    } else {
        Status::Failed
    };
    let tests = shown.into_iter().map(|verdict| verdict.name.clone()).collect();
    Cell { id: row.id, arch: column.name, status, tests }
}

/// The matrix as text, with a line of totals.
pub(crate) fn text(columns: &[Column]) -> String {
    let cells = cells(columns);
    let mut text = format!("{:<4} {:<50}", "id", "row");
    for column in columns {
        let _ = write!(text, " {:<8}", column.name);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for row in catalogue::rows() {
        let mut line = format!("{:<4} {:<50}", row.id, row.title);
        for column in columns {
            let cell = cells.iter().find(|cell| cell.id == row.id && cell.arch == column.name);
            let _ = write!(line, " {:<8}", cell.map_or("", |cell| cell.status.text()));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for column in columns {
        let count = |status| {
            cells.iter().filter(|cell| cell.arch == column.name && cell.status == status).count()
        };
        let _ = writeln!(
            text,
            "{}: {} rows passed, {} failed, {} not yet",
            column.name,
            count(Status::Passed),
            count(Status::Failed),
            count(Status::NotYet)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(name: &str) -> Verdict {
        Verdict { name: name.to_owned(), failure: None }
    }

    fn columns() -> Vec<Column> {
        vec![
            Column {
                name: HOST,
                verdicts: vec![passed("core::tests::t11_x"), passed("core::tests::t4_x")],
            },
            Column {
                name: "x86_64",
                verdicts: vec![
                    passed("t4_a"),
                    passed("t4_t5_b"),
                    Verdict::failed("t5_c", "no"),
                    passed("boots"),
                ],
            },
        ]
    }

    fn status(id: &str, arch: &str) -> Option<Status> {
        let cells = cells(&columns());
        cells.iter().find(|cell| cell.id == id && cell.arch == arch).map(|cell| cell.status)
    }

    #[test]
    fn a_cell_passes_only_by_tests_of_its_own_column() {
        assert_eq!(status("T4", "x86_64"), Some(Status::Passed));
        assert_eq!(status("T11", "x86_64"), Some(Status::NotYet));
        assert_eq!(status("T11", "host"), Some(Status::Passed));
        assert_eq!(status("T9", "x86_64"), Some(Status::NotYet));
    }

    #[test]
    fn one_failure_fails_the_cell_whatever_else_passed() {
        assert_eq!(status("T5", "x86_64"), Some(Status::Failed));
    }

    #[test]
    fn rows_have_no_cell_where_they_do_not_apply() {
        assert_eq!(status("T4", "host"), None);
        assert_eq!(status("N5", "x86_64"), None);
        assert_eq!(status("I9", "x86_64"), None);
    }

    #[test]
    fn the_json_has_the_agreed_keys_and_words() {
        let cells = cells(&columns());
        let cell = cells.iter().find(|cell| cell.id == "T5" && cell.arch == "x86_64");
        assert_eq!(
            serde_json::to_string(&cell).unwrap(),
            r#"{"id":"T5","arch":"x86_64","status":"failed","tests":["t4_t5_b","t5_c"]}"#
        );
        assert_eq!(serde_json::to_string(&Status::NotYet).unwrap(), r#""not-yet""#);
        assert_eq!(serde_json::to_string(&Status::Passed).unwrap(), r#""passed""#);
    }

    #[test]
    fn the_text_has_every_row_and_the_totals() {
        let text = text(&columns());
        assert_eq!(text.lines().count(), 1 + catalogue::rows().count() + 2);
        assert!(text.contains("x86_64: 1 rows passed, 1 failed,"), "{text}");
        assert!(text.contains("host: 1 rows passed, 0 failed, 5 not yet"), "{text}");
    }
}
