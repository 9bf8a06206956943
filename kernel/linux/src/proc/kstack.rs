//! Files of /proc/kstack: what only this kernel has.

use crate::{abi, dispatch};
use core::fmt::{self, Write};
use machine::memory::fallible::Text;

/// Every system call there is: its number on this machine, its name.
pub(super) fn calls(text: &mut Text) -> fmt::Result {
    /// Beyond all numbers of Linux, and where the 32-bit ARM has some of its own.
    const NUMBERS: u64 = 1024;
    const PRIVATE: core::ops::Range<u64> = 0xf_0000..0xf_0010;
    (0..NUMBERS)
        .chain(PRIVATE)
        .filter_map(|number| Some((number, abi::name(number)?)))
        .filter(|(_, name)| dispatch::is_known(name))
        .try_for_each(|(number, name)| writeln!(text, "{number} {name}"))
}
