//! The tour: the kernel's questions about stacks, asked in one boot, and a page of the answers.
//!
//! ```text
//!   mode=tour ─> @ask begin, memory, step, mark, bar, fact, line, answer, done ─> Answer
//!   docs/book/NAME.md   the explanation, written by people  ┐
//!   Answer              what was printed, and its picture    ├─> one page, self-contained
//!                                                            ┘   with --page: the book's pages, too
//! ```
//!
//! | file | about |
//! |---|---|
//! | [`picture`] | an answer as a picture |
//! | [`book`] | the pages of the book, and what a run puts into them |
//! | [`html`] | all of it as one page |
//!
//! Invariant: a page is written only of a run in which every question was answered once, and no
//! answer contradicted what the experiment expects.

mod book;
mod html;
mod picture;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::boot::control::{self, Fields, Message};
use crate::boot::qemu::{Boot, Console, End};
use crate::build::initramfs;
use crate::progress::Activity;
use crate::{setup, workspace};

/// Lines of the console shown when the machine was lost.
const SHOWN_LINES: usize = 40;
/// The page that is part of the documents.
const PAGE: &str = "docs/tour.html";

/// Memory in which places lie.
#[derive(Clone, Debug, PartialEq)]
struct Memory {
    name: String,
    lowest: u64,
    top: u64,
    /// A part of the one before, once more and larger.
    is_part: bool,
}

/// A place in memory; steps have an order.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    at: u64,
    text: String,
    is_step: bool,
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
struct Bar {
    name: String,
    value: f64,
    unit: String,
}

/// What the kernel answered to one question.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    name: String,
    asks: String,
    /// What was printed.
    lines: Vec<String>,
    memories: Vec<Memory>,
    places: Vec<Place>,
    bars: Vec<Bar>,
    /// What was read, and what it was. Among the lines, too.
    facts: Vec<(String, String)>,
    /// The answer in a sentence.
    sentence: String,
    is_done: bool,
}

impl Answer {
    /// Takes one piece into account.
    fn hear(&mut self, what: &str, fields: &Fields) -> Result<()> {
        let text = |key: &str| {
            let found = fields.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.clone()).with_context(|| format!("{what}: no {key}"))
        };
        let number = |key: &str| -> Result<u64> {
            text(key)?.parse().with_context(|| format!("{what}: {key}"))
        };
        ensure!(!self.is_done, "{}: {what} after its end", self.name);
        match what {
            "line" => self.lines.push(text("text")?),
            "memory" | "part" => {
                let (lowest, top) = (number("lowest")?, number("top")?);
                let memory = Memory { name: text("name")?, lowest, top, is_part: what == "part" };
                ensure!(memory.lowest < memory.top, "{}: {memory:?}", self.name);
                self.memories.push(memory);
            }
            "step" | "mark" => self.places.push(Place {
                at: number("at")?,
                text: text("text")?,
                is_step: what == "step",
            }),
            "bar" => self.bars.push(Bar {
                name: text("name")?,
                value: number("value")? as f64,
                unit: text("unit")?,
            }),
            "fact" => self.facts.push((text("name")?, text("value")?)),
            "answer" => self.sentence = text("text")?,
            "done" => {
                let wrong = number("wrong")?;
                let lines = self.lines.join("\n");
                ensure!(wrong == 0, "{}: {wrong} things are not as expected\n{lines}", self.name);
                ensure!(!self.sentence.is_empty(), "{}: no answer\n{lines}", self.name);
                self.is_done = true;
            }
            _ => bail!("{}: {what} is no piece of an answer", self.name),
        }
        Ok(())
    }
}

/// The answers of one boot, as they come.
#[derive(Default)]
struct Answers {
    all: Vec<Answer>,
    has_ended: bool,
    wrong: Vec<String>,
}

impl Answers {
    fn hear(&mut self, line: &str) {
        let outcome = match control::parse(line) {
            Ok(None) => Ok(()),
            Ok(Some(Message::Ask { what, fields })) => self.piece(&what, &fields),
            Ok(Some(Message::End)) if !self.has_ended => {
                self.has_ended = true;
                Ok(())
            }
            Ok(Some(other)) => Err(anyhow::anyhow!("out of place: {other:?}")),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            self.wrong.push(format!("{error:#}"));
        }
    }

    fn piece(&mut self, what: &str, fields: &Fields) -> Result<()> {
        if what != "begin" {
            return self.all.last_mut().context("a piece of no answer")?.hear(what, fields);
        }
        let text = |key: &str| fields.iter().find(|(name, _)| name == key).map(|(_, v)| v.clone());
        let name = text("name").context("a question without a name")?;
        ensure!(self.all.iter().all(|one| one.name != name), "{name} is asked twice");
        let asks = text("asks").context("a name without a question")?;
        self.all.push(Answer { name, asks, ..Answer::default() });
        Ok(())
    }

    /// The answers, if all is as it should be.
    fn finish(self, end: &End, tail: &str) -> Result<Vec<Answer>> {
        ensure!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        if !self.has_ended || *end != End::Orderly {
            let last = self.all.last().map_or("the first question", |answer| &answer.name);
            bail!("the kernel did not answer everything, and stopped at {last}: {end}\n{tail}");
        }
        ensure!(!self.all.is_empty(), "the kernel has no questions");
        let open = self.all.iter().find(|answer| !answer.is_done);
        ensure!(open.is_none(), "{} has no end", open.map_or("", |answer| &answer.name));
        Ok(self.all)
    }
}

/// Asks everything and writes the page; where it is. `is_for_documents`: below `docs`, with the
/// book's pages; otherwise below `target`.
pub(crate) fn run(arch: Arch, timeout: Duration, is_for_documents: bool) -> Result<PathBuf> {
    let ready = setup::ensure(arch)?;
    let prepared = initramfs::prepare(arch, arch.board(), &ready, None, None, "tour")?;
    let activity = Activity::start(format!("Asking on {arch}"));
    let mut answers = Answers::default();
    let finished = Boot {
        arch,
        board: arch.board(),
        kernel: &prepared.kernel,
        initramfs: &prepared.image,
        command_line: "mode=tour".to_owned(),
        cpus: 4,
        memory: "512M",
        counting: None,
        console: Console::Log,
        terminal: None,
        name: "tour".to_owned(),
        timeout: Some(timeout),
    }
    .run(&mut |line| {
        let before = answers.all.len();
        answers.hear(line);
        if let Some(answer) = answers.all.get(before) {
            activity.at(&answer.name);
        }
    })?;
    activity.done();
    let answers = answers.finish(&finished.end, &finished.tail(SHOWN_LINES))?;
    let root = workspace::root();
    let pages = book::read(&root, &answers)?;
    let page = html::page(arch, &pages);
    let path = if is_for_documents {
        book::write(&root, &pages)?;
        root.join(PAGE)
    } else {
        let folder = root.join("target/kstack-tour");
        fs::create_dir_all(&folder)?;
        folder.join(format!("{arch}.html"))
    };
    write(&path, &page)?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with memory, a few places and a figure.
    pub(super) fn answer() -> Answer {
        let memory = |name: &str, lowest, top| {
            let name = name.to_owned();
            Memory { name, lowest, top, is_part: false }
        };
        let place = |at, text: &str, is_step| Place { at, text: text.to_owned(), is_step };
        Answer {
            name: "irq-stack".into(),
            asks: "Is <this> right?".into(),
            lines: vec!["  => it is".into()],
            memories: vec![
                memory("thread stack of thread 1", 0x10000, 0x14000),
                memory("a page", 0x20000, 0x21000),
            ],
            places: vec![
                place(0x13ff0, "the <first> step", true),
                place(0x20800, "the second", true),
                place(0x500, "a place elsewhere", false),
            ],
            bars: vec![Bar { name: "cost".into(), value: 12.0, unit: "counts".into() }],
            facts: vec![("what".into(), "that".into())],
            sentence: "it is.".into(),
            is_done: true,
        }
    }

    fn heard(lines: &[&str]) -> Result<Vec<Answer>> {
        let mut answers = Answers::default();
        lines.iter().for_each(|line| answers.hear(line));
        answers.finish(&End::Orderly, "")
    }

    const BEGIN: &str = "@ask begin name=cost asks=What%20does%20it%20cost?";

    #[test]
    fn an_answer_is_made_of_its_pieces() {
        let answers = heard(&[
            BEGIN,
            "@ask line text=%20%20one",
            "@ask memory lowest=4096 top=8192 name=a%20page",
            "@ask step at=5000 text=here",
            "@ask bar name=x value=7 unit=bytes",
            "@ask answer text=yes.",
            "@ask done wrong=0",
            "@end",
        ])
        .expect("an answer");
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((&*answer.asks, &*answer.sentence), ("What does it cost?", "yes."));
        assert_eq!(answer.lines, ["  one"]);
        assert_eq!(
            (answer.memories.len(), answer.places[0].at, answer.bars[0].value),
            (1, 5000, 7.0)
        );
    }

    #[test]
    fn what_contradicts_or_is_missing_is_an_error() {
        let answered = ["@ask answer text=yes.", "@ask done wrong=0"];
        for (lines, why) in [
            (vec![BEGIN, answered[0], "@ask done wrong=1", "@end"], "not as expected"),
            (vec![BEGIN, answered[0], "@end"], "has no end"),
            (vec![BEGIN, answered[1], "@end"], "no answer"),
            (vec![BEGIN, answered[0], answered[1]], "stopped at cost"),
            (vec![BEGIN, answered[0], answered[1], BEGIN, "@end"], "asked twice"),
            (vec!["@ask line text=x", "@end"], "of no answer"),
            (vec![BEGIN, "@ask memory lowest=8 top=8 name=x", "@end"], "lowest: 8"),
            (vec![BEGIN, "@ask gift at=1", "@end"], "gift is no piece"),
            (vec!["@end"], "no questions"),
            (vec![BEGIN, "@test start a", "@end"], "out of place"),
        ] {
            let error = format!("{:#}", heard(&lines).expect_err(why));
            assert!(error.contains(why), "{error}, not {why}");
        }
    }
}
