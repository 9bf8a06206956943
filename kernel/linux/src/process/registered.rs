//! What a thread has told of its restartable sequences.

/// What a thread has told of its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(super) at: u64,
    pub(super) bytes: u32,
    pub(super) signature: u32,
}
