//! The kernel's command line: words of the form `key=value`, and single ones.

use crate::spin::SpinLock;
use alloc::string::{String, ToString};
use core::fmt;

static LINE: SpinLock<String> = SpinLock::new(String::new());

/// Keeps the command line. Once, at boot.
pub fn set(line: &str) {
    *LINE.lock() = line.to_string();
}

/// Writes it.
pub fn write(to: &mut dyn fmt::Write) -> fmt::Result {
    to.write_str(&LINE.lock())
}

/// The value of the last `key=value`.
pub fn get(key: &str) -> Option<String> {
    let line = LINE.lock();
    line.split_ascii_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('=').map(ToString::to_string))
}

/// Whether the command line has a word.
pub fn has(wanted: &str) -> bool {
    LINE.lock().split_ascii_whitespace().any(|word| word == wanted)
}
