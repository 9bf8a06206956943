//! Keeps the lines that the kernel logs, for tests.

use crate::log;
use crate::memory::fallible::Text;
use crate::spin::SpinLock;
use alloc::string::String;
use core::fmt::{self, Write};

/// What was logged since a test asked for it.
static RECORDED: SpinLock<Option<Text>> = SpinLock::new(None);

/// Records lines from now on, or no more; gives out those that were recorded.
pub fn record_lines(from_now_on: bool) -> String {
    let next = from_now_on.then(Text::new);
    log::set_listener(from_now_on.then_some(record));
    core::mem::replace(&mut *RECORDED.lock(), next).unwrap_or_default().into_string()
}

fn record(line: fmt::Arguments<'_>) {
    if let Some(recorded) = &mut *RECORDED.lock() {
        // With no memory for it, the line is missing from the record.
        let _lost = writeln!(recorded, "{line}");
    }
}
