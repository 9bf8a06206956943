//! What calls about memory work on: the caller's memory, and ranges of it in whole pages.

use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::areas::PAGE;
use crate::memory::space::Memory;
use crate::process::current;
use alloc::sync::Arc;
use threads::sched::Mutex;

/// The caller's memory.
pub(super) fn memory() -> Result<Arc<Mutex<Memory>>, Errno> {
    current().memory().ok_or(Errno::ENOMEM)
}

/// A length in whole pages.
pub(super) fn whole_pages(length: u64) -> Result<u64, Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    length.checked_next_multiple_of(PAGE).filter(|&length| length <= USER_TOP).ok_or(Errno::ENOMEM)
}

/// A page-aligned range inside the user half.
pub(super) fn range(at: u64, length: u64) -> Result<(u64, u64), Errno> {
    if !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let length = whole_pages(length)?;
    let top = at.checked_add(length).filter(|&top| top <= USER_TOP).ok_or(Errno::ENOMEM)?;
    Ok((at, top))
}
