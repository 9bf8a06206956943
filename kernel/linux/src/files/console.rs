//! The console, as an open file: the serial line.

use super::object::{How, Object};
use super::readiness::{Readiness, event};
use crate::abi::Stat;
use crate::error::Errno;
use alloc::sync::Arc;
use machine::memory::fallible;
use threads::terminal;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Console {
    /// A value without bytes has no place on the heap.
    _one: bool,
}

static READINESS: Readiness = Readiness::new();

/// The console.
pub(crate) fn open() -> Result<Arc<dyn Object>, Errno> {
    terminal::set_listener(input_arrived);
    Ok(fallible::shared(Console { _one: true })?)
}

/// Something was typed.
fn input_arrived() {
    READINESS.wake();
}

impl Object for Console {
    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        if to.is_empty() {
            return Ok(0);
        }
        let mut read = 0;
        READINESS.wait(how.nonblocking, || {
            read = terminal::take(to);
            read > 0
        })?;
        Ok(read)
    }

    fn write(&self, from: &[u8], _how: How) -> Result<usize, Errno> {
        terminal::write_user(from);
        Ok(from.len())
    }

    fn events(&self) -> u32 {
        event::WRITABLE | if terminal::has_input() { event::READABLE } else { 0 }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&READINESS)
    }

    fn stat(&self) -> Stat {
        Stat { inode: 1, mode: 0o020620, links: 1, device: 5 << 8 | 1, ..Stat::default() }
    }

    fn label(&self) -> &'static str {
        "/dev/console"
    }
}
