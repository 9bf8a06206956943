//! What an exception in user mode comes down to.

/// What a program did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFault {
    /// It used a page that is not there, or not for that.
    Page {
        /// It wanted to write.
        write: bool,
        /// It wanted to execute.
        exec: bool,
    },
    /// Anything else, as a signal's number.
    Signal(i32),
}
