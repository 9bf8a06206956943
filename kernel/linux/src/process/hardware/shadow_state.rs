//! A thread's shadow stack, as its task keeps it. What is done with it is in
//! [`shadow`](super::shadow).

use kstack::shadow::mode;

/// What a thread has of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shadow {
    /// What is enabled: bits of [`mode`].
    pub(crate) mode: u64,
    /// Those that it may not change any more.
    pub(crate) locked: u64,
    /// The stack that the kernel made for it; no bytes: none.
    pub(in crate::process) lowest: u64,
    pub(in crate::process) bytes: u64,
}

impl Shadow {
    /// Whether calls and returns use one.
    pub(crate) const fn is_on(&self) -> bool {
        self.mode & mode::ENABLED != 0
    }
}
