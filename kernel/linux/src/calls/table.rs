//! The table of system calls: which number leads to which function.
//!
//! Each file of [`calls`](super) has a table of its own, a line for each call, by name. Numbers
//! come from the lists of names that [`abi`] has for each architecture, so a line serves every
//! architecture that has a call of that name:
//!
//! ```text
//! calls! {
//!     "read" (fd, to, length) => read(fd, to, length);
//!     "getuid" | "getuid32" () => Ok(0);
//!     with registers:
//!     "fork" => fork;
//! }
//! ```
//!
//! A call whose arguments differ with the width of a word has a line for each, under `#[cfg]`.

use crate::abi;
use crate::error::SysResult;
use machine::arch::regs::SavedRegs;

/// What carries a call out: it reads its arguments from the registers.
pub(crate) type Handler = fn(&mut SavedRegs) -> SysResult;

/// A line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) names: &'static [&'static str],
    pub(crate) run: Handler,
}

/// Makes a table. See the module's head.
macro_rules! calls {
    (
        $( $(#[$attribute:meta])* $($name:literal)|+ ($($argument:ident),*) => $body:expr; )*
        $( with registers: $( $(#[$own_attribute:meta])* $($own_name:literal)|+ => $own:expr; )* )?
    ) => {
        pub(crate) const CALLS: &[$crate::calls::table::Row] = &[
            $(
                $(#[$attribute])*
                $crate::calls::table::Row {
                    names: &[$($name),+],
                    run: {
                        // A function with a name, for backtraces.
                        fn system_call(
                            regs: &mut machine::arch::regs::SavedRegs,
                        ) -> $crate::error::SysResult {
                            const COUNT: usize = {
                                let arguments: &[&str] = &[$(stringify!($argument)),*];
                                arguments.len()
                            };
                            let [$($argument,)* ..] = $crate::abi::arguments::<COUNT>(
                                regs,
                                $crate::process::user_memory::get,
                            );
                            $body
                        }
                        system_call
                    },
                },
            )*
            $($(
                $(#[$own_attribute])*
                $crate::calls::table::Row { names: &[$($own_name),+], run: $own },
            )*)?
        ];
    };
}
pub(crate) use calls;

/// Numbers that a table has room for: beyond all of Linux. The 32-bit ARM's private ones are among
/// the last.
pub(crate) const NUMBERS: usize = 512;

const fn is_equal(one: &[u8], from: usize, to: usize, other: &[u8]) -> bool {
    if to - from != other.len() {
        return false;
    }
    let mut at = 0;
    while at < other.len() {
        if one[from + at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The handler of the call with a name that lies in `list` between two places; `unknown` if no
/// table has it.
const fn find(tables: &[&[Row]], list: &[u8], from: usize, to: usize, unknown: Handler) -> Handler {
    let mut table = 0;
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            let names = tables[table][row].names;
            let mut name = 0;
            while name < names.len() {
                if is_equal(list, from, to, names[name].as_bytes()) {
                    return tables[table][row].run;
                }
                name += 1;
            }
            row += 1;
        }
        table += 1;
    }
    unknown
}

/// The handlers by number, at compile time.
pub(crate) const fn by_number(tables: &[&[Row]], unknown: Handler) -> [Handler; NUMBERS] {
    let mut handlers = [unknown; NUMBERS];
    let mut stretch = 0;
    while stretch < abi::NAMES.len() {
        let (lowest, list) = abi::NAMES[stretch];
        let list = list.as_bytes();
        let mut number = abi::table_index(lowest);
        let mut from = 0;
        while from < list.len() {
            let mut to = from;
            while to < list.len() && list[to] != b' ' {
                to += 1;
            }
            handlers[number] = find(tables, list, from, to, unknown);
            number += 1;
            from = to + 1;
        }
        stretch += 1;
    }
    handlers
}

/// The handler of the call of this name.
pub(crate) fn handler(tables: &[&[Row]], name: &str) -> Option<Handler> {
    let mut rows = tables.iter().copied().flatten();
    rows.find(|row| row.names.contains(&name)).map(|row| row.run)
}
