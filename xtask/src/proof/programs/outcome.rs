//! What a program amounted to, beside what Linux answers.

use super::list::{Answer, Entry};

/// What a program amounted to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Which one.
    pub(crate) entry: Entry,
    /// What it did, or why that is not known.
    pub(crate) answer: Result<Answer, String>,
}

impl Outcome {
    /// What is different from Linux.
    pub(crate) fn failure(&self) -> Option<String> {
        match (&self.answer, &self.entry.linux) {
            (Err(why), _) => Some(why.clone()),
            (Ok(_), None) => Some(
                "what Linux answers is not in the list: cargo xtask programs --record".to_owned(),
            ),
            (Ok(answer), Some(linux)) => answer.differs_from(linux),
        }
    }
}
