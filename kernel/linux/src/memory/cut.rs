//! A file that becomes shorter while it is mapped.
//!
//! 1. The length is set under the file's lock. From then on no fault maps a page beyond it.
//! 2. Every address space is looked at, one after the other under its own lock ([`super::spaces`]):
//!    what it has of the file beyond the new end goes out of its tables. A fork between 1 and 2
//!    makes a space with a higher number, which is looked at later; one that has no number yet
//!    looks at the lengths itself when it gets one.
//! 3. The frames go back to the allocator when their last user goes.

use super::spaces;
use crate::error::Errno;
use crate::files::tree::{Content, Node};
use machine::memory::frames::FRAME_BYTES;

/// Sets a file's length; what is cut off is in no mapping any more afterwards. Not with an address
/// space's lock held.
pub(crate) fn set_length(node: &Node, length: u64) -> Result<(), Errno> {
    let cut = node.set_length(length)?;
    if node.mapped.is_mapped() {
        spaces::forget(node, length.div_ceil(FRAME_BYTES), u64::MAX);
    }
    drop(cut);
    node.attributes.was_written();
    Ok(())
}

/// Makes a file as long as this, if it is shorter.
pub(crate) fn grow(node: &Node, length: u64) -> Result<(), Errno> {
    // Nothing is cut off.
    node.grow(length)?;
    node.attributes.was_written();
    Ok(())
}

/// Makes a hole of bytes: they read as zeros afterwards, in every mapping too.
pub(crate) fn punch_bytes(node: &Node, from: u64, to: u64) -> Result<(), Errno> {
    if node.is_sealed_for_writing() {
        return Err(Errno::EPERM);
    }
    let Content::File(bytes) = &node.content else { return Err(Errno::EOPNOTSUPP) };
    let (first, end) = (from.div_ceil(FRAME_BYTES), to / FRAME_BYTES);
    {
        let mut bytes = bytes.lock();
        let whole = first.saturating_mul(FRAME_BYTES).min(to);
        bytes.zero(from, whole)?;
        bytes.zero((end * FRAME_BYTES).max(whole), to)?;
    }
    if first < end { punch(node, first, end) } else { Ok(()) }
}

/// Takes whole pages of a file out, in every mapping too: they read as zeros afterwards.
pub(crate) fn punch(node: &Node, first: u64, end: u64) -> Result<(), Errno> {
    let Content::File(bytes) = &node.content else { return Err(Errno::EOPNOTSUPP) };
    let cut = bytes.lock().punch(first, end)?;
    if node.mapped.is_mapped() {
        spaces::forget(node, first, end);
    }
    drop(cut);
    Ok(())
}
