//! The functions of the entry code, for sweeps over its instructions.

use threads::report::symbols::{self, Symbol};

unsafe extern "C" {
    static kstack_entry_lowest: u8;
    static kstack_entry_top: u8;
}

/// Every function of the entry code, in order of their addresses: its first instruction, and its
/// symbol.
pub fn functions() -> impl Iterator<Item = (u64, Symbol)> {
    let top = &raw const kstack_entry_top as u64;
    let mut at = &raw const kstack_entry_lowest as u64;
    core::iter::from_fn(move || {
        while at < top {
            let here = at;
            match symbols::lookup(here) {
                Some(symbol) if symbol.offset == 0 => {
                    at += symbol.size.max(1);
                    return Some((here, symbol));
                }
                // Between two functions.
                _ => at += 1,
            }
        }
        None
    })
}
