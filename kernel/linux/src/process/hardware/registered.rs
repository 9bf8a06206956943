//! What a thread has told of its restartable sequences.

/// What a thread has told of its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(in crate::process) at: u64,
    pub(in crate::process) bytes: u32,
    pub(super) signature: u32,
}
