//! What the kernel says: a line at a time, on the console, or on the control channel while a
//! program has the console.

use crate::arch::serial;
use crate::fn_cell::FnCell;
use crate::spin::SpinLock;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

static LINE: SpinLock<()> = SpinLock::new(());
static CONSOLE_IS_THE_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// From now on the console carries a program's output and nothing else.
pub fn leave_console_to_program() {
    CONSOLE_IS_THE_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Where the kernel says things now: the console, or the control channel while a program has the
/// console. Without the lock on whole lines: for reports.
pub fn port() -> serial::Port {
    if CONSOLE_IS_THE_PROGRAMS.load(Ordering::Relaxed) { serial::CONTROL } else { serial::CONSOLE }
}

/// The function that is told of each line besides.
static LISTENER: FnCell<fn(fmt::Arguments<'_>)> = FnCell::new();

/// Tells a function of each line from now on, before it is printed; or none any more.
pub fn set_listener(listener: Option<fn(fmt::Arguments<'_>)>) {
    LISTENER.set(listener);
}

/// A line of the kernel's own. See `log!`.
pub fn line(text: fmt::Arguments<'_>) {
    let _whole_lines = LINE.lock();
    if let Some(tell) = LISTENER.get() {
        tell(text);
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
