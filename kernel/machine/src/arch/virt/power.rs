//! How the machine ends, as the outside sees it.

/// Why the machine ends. The numbers are the emulator's exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// All that was asked has been done.
    Orderly = 17,
    /// A stack that belongs to a CPU overflowed: stopped, with the report.
    Stopped = 33,
    /// The kernel found itself broken.
    Panic = 49,
}
