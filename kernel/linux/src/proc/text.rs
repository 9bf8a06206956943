//! Text that can fail: what a file of /proc or /sys reads as.

use crate::error::Errno;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use machine::memory::fallible::Text;

/// What is at a path of /proc or /sys.
#[derive(Debug)]
pub(crate) enum Content {
    /// A file.
    Text(Vec<u8>),
    /// The names in a folder, a line each.
    Names(String),
}

/// Text made by `write`; an error if the heap has no room for it.
pub(super) fn made(write: impl FnOnce(&mut Text) -> fmt::Result) -> Result<Text, Errno> {
    let mut text = Text::new();
    // A text refuses only what there is no memory for.
    write(&mut text).map_err(|_| Errno::ENOMEM)?;
    Ok(text)
}

/// The names of a directory, a line each.
pub(super) fn names(names: &[&str]) -> Result<Content, Errno> {
    let text = made(|text| names.iter().try_for_each(|name| writeln!(text, "{name}")))?;
    Ok(Content::Names(text.into_string()))
}

pub(super) fn text(write: impl FnOnce(&mut Text) -> fmt::Result) -> Result<Content, Errno> {
    made(write).map(|text| Content::Text(text.into_bytes()))
}
