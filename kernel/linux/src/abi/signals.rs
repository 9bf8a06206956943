//! Signals by number: the same on every machine here.

pub(crate) const SIGILL: u64 = 4;
pub(crate) const SIGTRAP: u64 = 5;
pub(crate) const SIGBUS: u64 = 7;
pub(crate) const SIGFPE: u64 = 8;
pub(crate) const SIGKILL: u64 = 9;
pub(crate) const SIGSEGV: u64 = 11;
pub(crate) const SIGPIPE: u64 = 13;
pub(crate) const SIGCHLD: u64 = 17;
pub(crate) const SIGCONT: u64 = 18;
pub(crate) const SIGSTOP: u64 = 19;
pub(crate) const SIGURG: u64 = 23;
pub(crate) const SIGWINCH: u64 = 28;
/// The highest number.
pub(crate) const MAX_SIGNAL: u64 = 64;
