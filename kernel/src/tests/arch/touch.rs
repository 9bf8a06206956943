//! What an attempt does.

/// Something that the CPU may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tests) enum Touch {
    /// A jump.
    Fetch,
    /// A word is read.
    Load,
    /// A word is written, with zero.
    Store,
}
