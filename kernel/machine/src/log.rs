//! What the kernel says: a line at a time, on the console, or on the control channel while a
//! program has the console.

use crate::arch::serial;
use crate::fn_cell::FnCell;
use crate::spin::SpinLock;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Held while a line is said: lines are whole, and the last ones are kept.
static LINE: SpinLock<Kept> = SpinLock::new(Kept { bytes: [0; KEPT_BYTES] });
/// Bytes of lines that were ever kept. Changes under the lock.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Lines are kept, and not said.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Bytes of the last lines that are kept for programs (dmesg).
pub const KEPT_BYTES: usize = 16 << 10;

#[derive(Debug)]
struct Kept {
    /// A ring: the byte with the number n lies at n modulo its length.
    bytes: [u8; KEPT_BYTES],
}

impl Write for Kept {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let at = WRITTEN.fetch_add(1, Ordering::Relaxed) as usize % KEPT_BYTES;
            self.bytes[at] = byte;
        }
        Ok(())
    }
}

/// Bytes of lines that were ever kept: the last [`KEPT_BYTES`] of them are there.
pub fn kept() -> u64 {
    WRITTEN.load(Ordering::Relaxed)
}

/// Copies kept bytes from the number `from` on; gives out how many, and the number of the first:
/// what is there no more is left out.
pub fn copy_kept(from: u64, to: &mut [u8]) -> (u64, usize) {
    let kept = LINE.lock();
    let written = WRITTEN.load(Ordering::Relaxed);
    let first = from.max(written.saturating_sub(KEPT_BYTES as u64)).min(written);
    let count = ((written - first) as usize).min(to.len());
    for (number, place) in (first..).zip(&mut to[..count]) {
        *place = kept.bytes[number as usize % KEPT_BYTES];
    }
    (first, count)
}

/// Whether lines are only kept from now on, and not said.
pub fn set_quiet(is_quiet: bool) {
    IS_QUIET.store(is_quiet, Ordering::Relaxed);
}

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
    say_or_keep(text, IS_QUIET.load(Ordering::Relaxed));
}

/// A line that is good to know and no more: it is kept like all others, and said if the console is
/// the kernel's, not beside a program's output.
pub fn detail(text: fmt::Arguments<'_>) {
    let is_quiet = IS_QUIET.load(Ordering::Relaxed);
    say_or_keep(text, is_quiet || CONSOLE_IS_THE_PROGRAMS.load(Ordering::Relaxed));
}

fn say_or_keep(text: fmt::Arguments<'_>, is_kept_only: bool) {
    let mut kept = LINE.lock();
    if let Some(tell) = LISTENER.get() {
        tell(text);
    }
    // As Linux keeps it: with a level, that of what is good to know.
    let _never_fails = writeln!(kept, "<6>{text}");
    if is_kept_only {
        return;
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
