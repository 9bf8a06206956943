//! Segments with a base of 64 bits.

/// A segment of 64-bit PCs whose base programs ask the kernel to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Based {
    /// For thread-local storage.
    Fs,
    /// For whatever the program likes.
    Gs,
}
