//! What the kernel says: a line at a time, on the console, or on the control channel while a program has the console.

use crate::arch::serial;
use crate::memory::fallible::Text;
use crate::spin::SpinLock;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

static LINE: SpinLock<()> = SpinLock::new(());
static CONSOLE_IS_THE_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// From now on the console carries a program's output and nothing else.
pub fn leave_console_to_program() {
    CONSOLE_IS_THE_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Where the kernel says things now: the console, or the control channel while a program has the console. Without the lock
/// on whole lines: for reports.
pub fn port() -> serial::Port {
    if CONSOLE_IS_THE_PROGRAMS.load(Ordering::Relaxed) { serial::CONTROL } else { serial::CONSOLE }
}

/// What was logged since a test asked for it.
static RECORDED: SpinLock<Option<Text>> = SpinLock::new(None);

/// Records lines from now on, or no more; gives out those that were recorded. For tests.
pub fn record_lines(from_now_on: bool) -> String {
    let next = from_now_on.then(Text::new);
    core::mem::replace(&mut *RECORDED.lock(), next).unwrap_or_default().into_string()
}

/// A line of the kernel's own. See `log!`.
pub fn line(text: fmt::Arguments<'_>) {
    let _whole_lines = LINE.lock();
    if let Some(recorded) = &mut *RECORDED.lock() {
        // With no memory for it, the line is missing from the record.
        let _lost = writeln!(recorded, "{text}");
    }
    let mut port = port();
    // A port takes everything.
    let _never_fails = writeln!(port, "{text}");
}

/// A record for tools, on the control channel: starts with `@`. See `control!`.
pub fn record(text: fmt::Arguments<'_>) {
    let _whole_lines = LINE.lock();
    let mut port = serial::CONTROL;
    let _never_fails = writeln!(port, "@{text}");
}

/// Logs a line.
#[macro_export]
macro_rules! log {
    ($($text:tt)*) => { $crate::log::line(format_args!($($text)*)) };
}

/// Sends a record over the control channel.
#[macro_export]
macro_rules! control {
    ($($text:tt)*) => { $crate::log::record(format_args!($($text)*)) };
}
