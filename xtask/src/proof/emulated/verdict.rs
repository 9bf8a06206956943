//! The verdict on a test, and which tests share a boot.

/// The verdict on one test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// The test's name.
    pub(crate) name: String,
    /// What went wrong, if it did.
    pub(crate) failure: Option<String>,
}

impl Verdict {
    pub(super) fn passed(name: String) -> Verdict {
        Verdict { name, failure: None }
    }

    /// A failed test.
    pub(crate) fn failed(name: impl Into<String>, failure: impl Into<String>) -> Verdict {
        Verdict { name: name.into(), failure: Some(failure.into()) }
    }
}

/// Tests for one boot.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Tests {
    pub(super) names: Vec<String>,
    /// Whether these are all shared tests there are, so that their names need not be said.
    pub(super) all: bool,
    /// Whether time is to count instructions.
    pub(super) counted: bool,
}
