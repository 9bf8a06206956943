//! `struct sigaction` as the kernel takes it.

use super::HAS_RESTORER;
use super::common::{W, put_word, u64_at, word_at};
use crate::abi::action::Action;
use crate::abi::signals::SignalSet;

/// Handler, flags, restorer where the machine has one, mask.
const RESTORER: usize = 2 * W;
const MASK: usize = if HAS_RESTORER { 3 * W } else { 2 * W };
/// Bytes of it.
pub const ACTION_BYTES: usize = MASK + 8;

pub fn decode_action(bytes: &[u8; ACTION_BYTES]) -> Action {
    Action {
        handler: word_at(bytes, 0),
        flags: word_at(bytes, W),
        restorer: if HAS_RESTORER { word_at(bytes, RESTORER) } else { 0 },
        mask: SignalSet(u64_at(bytes, MASK)),
    }
}

pub fn encode_action(action: &Action) -> [u8; ACTION_BYTES] {
    let mut bytes = [0; ACTION_BYTES];
    put_word(&mut bytes, 0, action.handler);
    put_word(&mut bytes, W, action.flags);
    if HAS_RESTORER {
        put_word(&mut bytes, RESTORER, action.restorer);
    }
    bytes[MASK..].copy_from_slice(&action.mask.0.to_le_bytes());
    bytes
}
