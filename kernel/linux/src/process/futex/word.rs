//! Words of the caller's memory that threads sleep on: what they are known by, and changing them in
//! one step.

use super::queues::Key;
use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::space::Memory;
use crate::process::current;
use alloc::sync::Arc;
use threads::sched::Mutex;

/// Whether a word is at the address; `EINVAL`: it is not aligned.
fn check(address: u64) -> Result<(), Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if address >= USER_TOP { Err(Errno::EFAULT) } else { Ok(()) }
}

fn memory() -> Result<Arc<Mutex<Memory>>, Errno> {
    current().memory().ok_or(Errno::EFAULT)
}

/// What the word at an address is known by. `is_private`: the caller says that no other process
/// uses it; else it must be there, and in a shared mapping it is one word for all who map it.
pub(super) fn key(address: u64, is_private: bool) -> Result<Key, Errno> {
    check(address)?;
    let memory = memory()?;
    if !is_private {
        let mut memory = memory.lock();
        memory.present_for(address, false)?;
        if let Some((node, offset)) = memory.shared_place(address) {
            return Ok(Key::Shared(node, offset));
        }
    }
    Ok(Key::Private(Arc::as_ptr(&memory).addr(), address))
}

/// Reads a word.
pub(super) fn load(address: u64) -> Result<u32, Errno> {
    check(address)?;
    let memory = memory()?;
    let mut memory = memory.lock();
    let frame = memory.present_for(address, false)?;
    Ok(frame.word((address % 4096) as usize))
}

/// Changes a word in one step; what it was. `None` from `change`: it stays.
pub(super) fn update(address: u64, change: impl FnMut(u32) -> Option<u32>) -> Result<u32, Errno> {
    check(address)?;
    let memory = memory()?;
    // The lock is kept: the frame stays the program's.
    let mut memory = memory.lock();
    let frame = memory.present_for(address, true)?;
    Ok(frame.update_word((address % 4096) as usize, change))
}
