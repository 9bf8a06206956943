//! The locks of a thread that ends (Documentation/locking/robust-futexes): a list in its memory,
//! which says where they are.
//!
//! The list is the program's: it may be wrong, endless, or change meanwhile. As many entries as
//! Linux looks at are looked at, and what cannot be read ends the walk.

use super::locks::{OWNER, OWNER_DIED, WAITERS, hand_over};
use super::sleepers::ANY_BIT;
use super::{queues, word};
use crate::abi;
use crate::error::Errno;
use crate::process::user_memory::get_numbers;

/// Entries that are looked at.
const MAX_ENTRIES: usize = 2048;
/// Of an entry's address: the lock is one that the kernel hands over.
const IS_HANDED: u64 = 1;

/// Says in each lock that the ending thread, which has this number, holds or was about to release
/// that its owner died, and wakes one who waits.
pub(crate) fn release_all(head: u64, number: u64) {
    // What cannot be read is left.
    let _walked = walk(head, number as u32);
}

fn walk(head: u64, number: u32) -> Result<(), Errno> {
    let [first, offset, pending] = get_numbers::<3>(head, abi::WORD)?;
    // An offset is a signed word.
    let offset = match abi::WORD {
        abi::stack_image::WordSize::Four => i64::from(offset as u32 as i32) as u64,
        abi::stack_image::WordSize::Eight => offset,
    };
    let lock = |entry: u64| (entry & !IS_HANDED).wrapping_add(offset) & address_bits();
    let mut entry = first;
    for _ in 0..MAX_ENTRIES {
        if entry & !IS_HANDED == head {
            break;
        }
        let next = get_numbers::<1>(entry & !IS_HANDED, abi::WORD);
        // One that is pending may be in the list already.
        if entry & !IS_HANDED != pending & !IS_HANDED {
            release(lock(entry), entry & IS_HANDED != 0, number, false)?;
        }
        [entry] = next?;
    }
    if pending & !IS_HANDED != 0 {
        release(lock(pending), pending & IS_HANDED != 0, number, true)?;
    }
    Ok(())
}

const fn address_bits() -> u64 {
    u64::MAX >> (64 - 8 * abi::WORD.bytes() as u32)
}

fn release(address: u64, is_handed: bool, number: u32, is_pending: bool) -> Result<(), Errno> {
    let key = word::key(address, false)?;
    let old =
        word::update(address, |old| (old & OWNER == number).then_some(old & WAITERS | OWNER_DIED))?;
    if old & OWNER != number {
        // Released in the program, and not told to those who wait.
        if is_pending && !is_handed && old & OWNER == 0 {
            queues::wake(key, ANY_BIT, 1);
        }
        return Ok(());
    }
    if is_handed {
        return if old & WAITERS != 0 { hand_over(key, address, OWNER_DIED) } else { Ok(()) };
    }
    if old & WAITERS != 0 {
        queues::wake(key, ANY_BIT, 1);
    }
    Ok(())
}
