//! The book: a page for each question below `docs/book`. People write what a page explains; what
//! stands between its two marks, the answer and the picture, is of a run.
//!
//! ```text
//!   # Does an interrupt from user mode switch stacks twice?      the question, as the kernel asks it
//!   <!-- run: begin ... -->
//!   > no: 1 change, ...                                          the kernel's answer
//!   (a block of text)                                            what it printed
//!   ![](NAME.svg)                                                its picture
//!   <!-- run: end -->
//!   ## ...                                                       the explanation
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Answer, picture};

/// Where the pages are.
pub(super) const FOLDER: &str = "docs/book";
const MARKS: [&str; 2] =
    ["<!-- run: begin (from a run of `cargo xtask tour`) -->", "<!-- run: end -->"];

/// A page with an answer.
pub(super) struct Page {
    pub(super) name: String,
    pub(super) asks: String,
    /// What people wrote: before the answer, and behind it.
    pub(super) before: String,
    pub(super) behind: String,
    /// The answer in a sentence.
    pub(super) sentence: String,
    /// What the kernel printed.
    pub(super) printed: String,
    pub(super) picture: Option<String>,
}

impl Page {
    /// A page's text and an answer, together.
    fn of(text: &str, answer: &Answer) -> Result<Page> {
        let [begin, end] = MARKS;
        let (before, rest) = text.split_once(begin).with_context(|| format!("no {begin}"))?;
        let (_, behind) = rest.split_once(end).with_context(|| format!("no {end}"))?;
        let title = text.lines().next().unwrap_or_default();
        ensure!(title == format!("# {}", answer.asks), "its title is {title:?}, not the question");
        Ok(Page {
            name: answer.name.clone(),
            asks: answer.asks.clone(),
            before: before.trim_start_matches(title).trim().to_owned(),
            behind: behind.trim().to_owned(),
            sentence: answer.sentence.clone(),
            printed: answer.lines.join("\n"),
            picture: picture::svg(answer),
        })
    }

    /// The page as a document.
    fn markdown(&self) -> String {
        let [begin, end] = MARKS;
        let mut text = format!("# {}\n\n", self.asks);
        if !self.before.is_empty() {
            text += &format!("{}\n\n", self.before);
        }
        text += &format!("{begin}\n> {}\n\n", self.sentence);
        if self.picture.is_some() {
            text += &format!("![What the kernel saw: {}]({}.svg)\n\n", self.name, self.name);
        }
        text + &format!("```text\n{}\n```\n{end}\n\n{}\n", self.printed, self.behind)
    }
}

/// The page of each answer.
pub(super) fn read(root: &Path, answers: &[Answer]) -> Result<Vec<Page>> {
    let page = |answer: &Answer| {
        let name = format!("{FOLDER}/{}.md", answer.name);
        let text = fs::read_to_string(root.join(&name))
            .with_context(|| format!("the question {} has no page {name}", answer.name))?;
        Page::of(&text, answer).with_context(|| name)
    };
    answers.iter().map(page).collect()
}

/// Writes the pages with their answers and pictures.
pub(super) fn write(root: &Path, pages: &[Page]) -> Result<()> {
    for page in pages {
        let folder = root.join(FOLDER);
        super::write(&folder.join(format!("{}.md", page.name)), &page.markdown())?;
        if let Some(picture) = &page.picture {
            super::write(&folder.join(format!("{}.svg", page.name)), picture)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::tour::tests::answer;
    use crate::workspace;

    #[test]
    fn what_people_wrote_stays_and_the_answer_is_the_runs() {
        let [begin, end] = MARKS;
        let text = format!("# Is <this> right?\n\nBefore.\n\n{begin}\nold\n{end}\n\n## Behind\n");
        let page = Page::of(&text, &answer()).expect("a page");
        let new = page.markdown();
        assert!(new.starts_with("# Is <this> right?\n\nBefore.\n"), "{new}");
        assert!(new.contains("> it is.\n") && new.contains("](irq-stack.svg)"), "{new}");
        assert!(!new.contains("old") && new.ends_with("\n## Behind\n"), "{new}");
        let again = Page::of(&new, &answer()).expect("a page").markdown();
        assert_eq!(again, new, "written twice it is the same");
        assert!(Page::of("# Another?\n", &answer()).is_err());
        assert!(Page::of(&text.replace("Is", "Was"), &answer()).is_err());
    }

    /// The kernel's questions and the book's pages are the same, and every page has an answer and
    /// an explanation.
    #[test]
    fn every_question_has_a_page_that_a_run_has_answered() {
        let source = fs::read_to_string(workspace::root().join("kernel/src/console/ask/mod.rs"))
            .expect("the questions");
        let after = |key: &str, text: &str| {
            let (_, rest) = text.split_once(key).expect(key);
            rest.split('"').nth(1).expect("a string").to_owned()
        };
        let mut pages = 0;
        for question in source.split("    Question {").skip(1) {
            let (name, asks) = (after("name:", question), after("asks:", question));
            let page = fs::read_to_string(workspace::root().join(format!("{FOLDER}/{name}.md")))
                .unwrap_or_else(|_| panic!("{name} has no page"));
            assert!(page.starts_with(&format!("# {asks}\n")), "{name}");
            let (_, rest) = page.split_once(MARKS[0]).expect("a mark");
            let (run, behind) = rest.split_once(MARKS[1]).expect("another mark");
            assert!(run.contains("> ") && run.contains("```text"), "{name}: no answer");
            assert!(behind.contains("\n## "), "{name}: no explanation");
            pages += 1;
        }
        assert_eq!(pages, 19);
        let folder = fs::read_dir(workspace::root().join(FOLDER)).expect("the book");
        let files = folder.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let documents = files.filter(|name| name.ends_with(".md") && name != "README.md").count();
        assert_eq!(documents, pages, "pages of no question");
    }
}
