//! What a core file is called: `kernel.core_pattern` and `kernel.core_uses_pid` (core(5)).

use crate::abi::signals::Signal;
use crate::error::Errno;
use crate::limits::Resource;
use crate::process::names::{host, numbers};
use crate::process::{current, current_task};
use crate::time::wall;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible::Text;
use machine::spin::SpinLock;
use threads::sched;

/// Bytes of a pattern.
const MAX_BYTES: usize = 127;

#[derive(Debug, Clone, Copy)]
struct Pattern {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

impl Pattern {
    const fn first() -> Self {
        let mut bytes = [0; MAX_BYTES];
        (bytes[0], bytes[1], bytes[2], bytes[3]) = (b'c', b'o', b'r', b'e');
        Self { bytes, length: 4 }
    }

    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

static PATTERN: SpinLock<Pattern> = SpinLock::new(Pattern::first());

/// Whether the process's number is behind a name that does not say it.
pub(crate) static USES_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Sets the pattern. `EINVAL`: no program is given a core file to read, and names are UTF-8 here.
pub(crate) fn set(from: &[u8]) -> Result<(), Errno> {
    let line = from.split(|&byte| byte == b'\n' || byte == 0).next().unwrap_or_default();
    let line = &line[..line.len().min(MAX_BYTES)];
    if line.starts_with(b"|") || core::str::from_utf8(line).is_err() {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; MAX_BYTES];
    bytes[..line.len()].copy_from_slice(line);
    *PATTERN.lock() = Pattern { bytes, length: line.len() };
    Ok(())
}

/// Writes the pattern.
pub(crate) fn write(text: &mut Text) -> fmt::Result {
    let pattern = *PATTERN.lock();
    writeln!(text, "{}", pattern.text())
}

/// The name of the file that the caller's end by a signal leaves. `ENOENT`: it has none.
pub(super) fn of_caller(signal: Signal) -> Result<String, Errno> {
    let pattern = *PATTERN.lock();
    let mut text = Text::new();
    fill(pattern.text(), signal, &mut text).map_err(|_| Errno::ENOMEM)?;
    if text.is_empty() { Err(Errno::ENOENT) } else { Ok(text.into_string()) }
}

/// A name in a path: what parts that has is not its affair.
fn part(name: &str, text: &mut Text) -> fmt::Result {
    name.chars().try_for_each(|one| text.write_char(if one == '/' { '!' } else { one }))
}

fn fill(pattern: &str, signal: Signal, text: &mut Text) -> fmt::Result {
    let (process, task) = (current(), current_task());
    let mut has_number = false;
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.write_char(letter)?;
            continue;
        }
        match letters.next() {
            Some('%') => text.write_char('%')?,
            Some('p') => {
                has_number = true;
                write!(text, "{}", numbers::told(process.id))?;
            }
            Some('P') => write!(text, "{}", process.id)?,
            Some('i') => write!(text, "{}", task.number())?,
            Some('I') => write!(text, "{}", sched::current().number())?,
            Some('u') => write!(text, "{}", task.credentials().user.real)?,
            Some('g') => write!(text, "{}", task.credentials().group.real)?,
            // One that may not be looked into leaves none.
            Some('d') => text.write_char('1')?,
            Some('s') => write!(text, "{}", signal.number())?,
            Some('t') => write!(text, "{}", wall::nanoseconds() / 1_000_000_000)?,
            Some('h') => host::with(|names| part(names.host(), text))?,
            Some('e') => part(task.name_of().as_str(), text)?,
            Some(of @ ('E' | 'f')) => {
                let program = process.executable.lock().clone();
                let path = program.and_then(|program| program.known.path().ok());
                let path = path.as_deref().unwrap_or("(unknown)");
                let name = if of == 'E' { path } else { path.rsplit('/').next().unwrap_or(path) };
                part(name, text)?;
            }
            Some('c') => write!(text, "{}", process.limits.soft(Resource::Core))?,
            Some('C') => write!(text, "{}", sched::current().last_cpu())?,
            // What there is no such thing for is left out.
            Some(_) => {}
            None => break,
        }
    }
    if !has_number && USES_NUMBER.load(Ordering::Relaxed) != 0 {
        write!(text, ".{}", numbers::told(process.id))?;
    }
    Ok(())
}
