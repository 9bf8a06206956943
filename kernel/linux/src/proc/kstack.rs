//! Files of /proc/kstack: what only this kernel has.

use crate::abi;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible::Text;

/// Which numbers lead to a call, as bits by [`abi::table_index`]: told by the table of calls, which
/// is above this room.
static KNOWN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Beyond all numbers of Linux, and where the 32-bit ARM has some of its own.
pub(crate) fn numbers() -> impl Iterator<Item = u64> {
    (0..1024).chain(0xf_0000..0xf_0010)
}

/// Tells that a number leads to a call.
pub(crate) fn tell_known(number: u64) {
    let index = abi::table_index(number);
    if let Some(bits) = KNOWN.get(index / 64) {
        bits.fetch_or(1 << (index % 64), Ordering::Relaxed);
    }
}

/// Every system call there is: its number on this machine, its name.
pub(super) fn calls(text: &mut Text) -> fmt::Result {
    let is_known = |number: &u64| {
        let index = abi::table_index(*number);
        KNOWN
            .get(index / 64)
            .is_some_and(|bits| bits.load(Ordering::Relaxed) >> (index % 64) & 1 != 0)
    };
    numbers()
        .filter(is_known)
        .filter_map(|number| Some((number, abi::name(number)?)))
        .try_for_each(|(number, name)| writeln!(text, "{number} {name}"))
}
