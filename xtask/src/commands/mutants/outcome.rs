//! What cargo-mutants found: its files `mutants.json` and `outcomes.json`, as far as they are
//! needed.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The text of the files that bugs are planted in, as it was before the first: positions are about
/// it.
pub(super) type Sources = HashMap<String, String>;

/// A mutant, and what the tests said of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    /// File, position and change, as cargo-mutants names it: no other has this name.
    pub(super) name: String,
    /// The file, relative to the workspace.
    pub(super) file: String,
    /// The change: the name without file and position.
    pub(super) change: String,
    /// The rest of the line where the change begins. File, change and this stay the same when lines
    /// move.
    pub(super) at: String,
    /// What the tests said.
    pub(super) end: Ended,
}

/// What the tests said of a mutant.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(super) enum Ended {
    /// One failed.
    #[serde(rename = "CaughtMutant")]
    Caught,
    /// All passed.
    #[serde(rename = "MissedMutant")]
    Missed,
    /// They did not end.
    Timeout,
    /// It does not compile.
    Unviable,
    /// Of the code as it is.
    Success,
    /// Of the code as it is.
    Failure,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As an entry of the list of accepted ones has it.
        write!(f, "{}\n    ({:?}, {:?}),", self.name, self.change, self.at)
    }
}

#[derive(Deserialize)]
struct File {
    outcomes: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    scenario: Scenario,
    summary: Ended,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant(Mutant),
}

#[derive(Deserialize)]
struct Mutant {
    name: String,
    file: String,
    span: Span,
}

#[derive(Deserialize)]
struct Span {
    start: Position,
}

/// Line and column, from 1; columns in characters.
#[derive(Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

/// Reads a run's outcomes.
pub(super) fn read(results: &Path, sources: &Sources) -> Result<Vec<Outcome>> {
    let path = results.join("outcomes.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
    parse(&text, sources)
}

fn parse(text: &str, sources: &Sources) -> Result<Vec<Outcome>> {
    let file: File =
        serde_json::from_str(text).context("cargo-mutants wrote something else than expected")?;
    let outcomes = file.outcomes.into_iter().filter_map(|entry| match entry.scenario {
        Scenario::Baseline => None,
        Scenario::Mutant(mutant) => Some((mutant, entry.summary)),
    });
    outcomes
        .map(|(mutant, end)| {
            let Position { line, column } = mutant.span.start;
            let position = format!("{}:{line}:{column}: ", mutant.file);
            let change = mutant
                .name
                .strip_prefix(&position)
                .with_context(|| format!("a mutant's name: {}", mutant.name))?;
            let source = sources
                .get(&mutant.file)
                .with_context(|| format!("a mutant of {}", mutant.file))?;
            let line = source.lines().nth(line - 1).unwrap_or_default();
            let at: String = line.chars().skip(column - 1).collect();
            Ok(Outcome { change: change.to_owned(), name: mutant.name, file: mutant.file, at, end })
        })
        .collect()
}

/// How far a run is, once it has begun: its files are written anew after each mutant.
pub(super) fn how_far(results: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Counts {
        total_mutants: usize,
        missed: usize,
    }
    #[derive(Deserialize)]
    struct Any {}
    let all: Vec<Any> =
        serde_json::from_str(&fs::read_to_string(results.join("mutants.json")).ok()?).ok()?;
    let counts: Counts =
        serde_json::from_str(&fs::read_to_string(results.join("outcomes.json")).ok()?).ok()?;
    Some(format!(
        "{} of {} mutants, {} not noticed",
        counts.total_mutants,
        all.len(),
        counts.missed
    ))
}

/// How many mutants there were of each kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Summary {
    caught: usize,
    hung: usize,
    unbuildable: usize,
    missed: usize,
    /// Of those that were missed, the ones with a reason.
    pub(super) accepted: usize,
}

impl Summary {
    /// Counts.
    pub(super) fn of(outcomes: &[Outcome], accepted: usize) -> Summary {
        let count = |end| outcomes.iter().filter(|outcome| outcome.end == end).count();
        Summary {
            caught: count(Ended::Caught),
            hung: count(Ended::Timeout),
            unbuildable: count(Ended::Unviable),
            missed: count(Ended::Missed),
            accepted,
        }
    }

    /// Adds the counts of another area.
    pub(super) fn add(&mut self, other: &Summary) {
        self.caught += other.caught;
        self.hung += other.hung;
        self.unbuildable += other.unbuildable;
        self.missed += other.missed;
        self.accepted += other.accepted;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { caught, hung, unbuildable, missed, accepted } = self;
        let all = caught + hung + unbuildable + missed;
        write!(
            f,
            "{all} mutants: {caught} caught, {hung} caught by not ending, {unbuildable} do not compile, \
             {missed} not noticed, of which {accepted} are accepted with a reason"
        )
    }
}

/// A regular expression for exactly this name. Not everything may be escaped: `\<` and `\>` are
/// edges of words.
pub(super) fn exactly(name: &str) -> String {
    const OPERATORS: &str = r"\.+*?()|[]{}^$";
    let mut expression = String::from("^");
    for char in name.chars() {
        if OPERATORS.contains(char) {
            expression.push('\\');
        }
        expression.push(char);
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{ "outcomes": [
        { "scenario": "Baseline", "summary": "Success", "log_path": "x" },
        { "scenario": { "Mutant": { "name": "a.rs:2:7: replace < with <= in f", "package": "p", "file": "a.rs",
            "span": { "start": { "line": 2, "column": 7 }, "end": { "line": 2, "column": 8 } }, "genre": "BinaryOperator" } },
          "summary": "MissedMutant" },
        { "scenario": { "Mutant": { "name": "a.rs:1:1: replace f with ()", "file": "a.rs", "function": null,
            "span": { "start": { "line": 1, "column": 1 } } } }, "summary": "Timeout" }
    ], "total_mutants": 2 }"#;

    fn sources() -> Sources {
        HashMap::from([("a.rs".to_owned(), "fn f() {\n  é a < b && c < d\n}\n".to_owned())])
    }

    #[test]
    fn outcomes_are_read_with_the_place_that_stays() {
        let outcomes = parse(TEXT, &sources()).unwrap();
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes[0].change, "replace < with <= in f");
        assert_eq!(outcomes[0].at, "< b && c < d");
        assert_eq!((outcomes[0].end, outcomes[1].end), (Ended::Missed, Ended::Timeout));
        let summary = Summary { hung: 1, missed: 1, ..Summary::default() };
        assert_eq!(Summary::of(&outcomes, 0), summary);
    }

    #[test]
    fn something_else_than_outcomes_is_an_error() {
        for text in
            ["", "{}", r#"{ "outcomes": [ { "scenario": "Baseline", "summary": "Great" } ] }"#]
        {
            assert!(parse(text, &sources()).is_err(), "{text}");
        }
        assert!(parse(TEXT, &Sources::new()).is_err(), "a mutant of a file that is not known");
    }

    #[test]
    fn an_exact_expression_has_no_operators() {
        assert_eq!(exactly("a.rs:1:2: replace + with *"), r"^a\.rs:1:2: replace \+ with \*$");
        // As they are, or they would be edges of words, and the name would not match.
        let name = "a.rs:1:2: replace < with <= in <impl Drop for X>::drop";
        assert_eq!(exactly(name), format!("^{}$", name.replace('.', r"\.")));
    }
}
