//! The calls from before there were real-time signals, which i386 and the 32-bit ARM still have:
//! sets are one word, the signals up to 32.

use super::{get, put, set_action};
use crate::abi::action::{Action, flag};
use crate::abi::signals::SignalSet;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::signals::deliver;

/// Bytes of a set.
pub(super) const SET_BYTES: u64 = 4;
/// The signals that a set has room for.
pub(super) const MASK: u64 = 0xffff_ffff;

/// `struct old_sigaction`: handler, mask, flags, restorer, four bytes each.
pub(super) fn sigaction(number: u64, new: u64, old: u64) -> SysResult {
    let action = if new == 0 {
        None
    } else {
        let bytes: [u8; 16] = get(new)?;
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u64::from(u32::from_le_bytes(word))
        };
        let (handler, mask) = (word(0), SignalSet(word(4)));
        Some(Action { handler, mask, flags: word(8), restorer: word(12) })
    };
    let before = set_action(number, action)?;
    if old != 0 {
        let mut bytes = [0; 16];
        let words = [before.handler, before.mask.0, before.flags, before.restorer];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&(word as u32).to_le_bytes());
        }
        put(old, &bytes)?;
    }
    Ok(0)
}

/// The mask, of which only the lower half changes.
pub(super) fn sigprocmask(how: u32, new: u64, old: u64) -> SysResult {
    let before = current_task().signals.lock().blocked;
    if new != 0 {
        let set = u64::from(u32::from_le_bytes(get(new)?));
        deliver::set_mask(SignalSet(match how {
            0 => before.0 | set,
            1 => before.0 & !set,
            2 => before.0 & !MASK | set,
            _ => return Err(Errno::EINVAL),
        }));
    }
    if old != 0 {
        put(old, &(before.0 as u32).to_le_bytes())?;
    }
    Ok(0)
}

/// A handler that runs once, with nothing blocked, as System V had it; the one from before.
pub(super) fn signal(number: u64, handler: u64) -> SysResult {
    let flags = flag::RESET_HANDLER | flag::NO_DEFER;
    let action = Action { handler, flags, ..Action::default() };
    Ok(set_action(number, Some(action))?.handler)
}

/// Sets the mask; what it was.
pub(super) fn ssetmask(mask: u64) -> SysResult {
    let before = current_task().signals.lock().blocked;
    deliver::set_mask(SignalSet(mask & MASK));
    Ok(before.0 & MASK)
}
