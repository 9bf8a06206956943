//! A program's input that comes over the serial line and has an end.
//!
//! The other side sends [`ESCAPE`] twice for one such byte, and [`ESCAPE`] and [`END`] for the end.
//! It sends no more than there is room for ([`terminal::ROOM`]), so it is told how much was taken.

use crate::files::open::OpenFile;
use alloc::sync::Arc;
use machine::spin::SpinLock;
use threads::sched;
use threads::terminal;

const ESCAPE: u8 = 0x10;
const END: u8 = 0x04;
/// After so many bytes the other side is told.
const TOLD: usize = terminal::ROOM / 4;

/// Where the input goes, for the thread that passes it on.
static WRITER: SpinLock<Option<Arc<OpenFile>>> = SpinLock::new(None);

/// Passes the input on to a pipe, in a thread of its own.
pub(super) fn feed(writer: Arc<OpenFile>) {
    *WRITER.lock() = Some(writer);
    if sched::spawn_kernel("input", pass_on, 0).is_err() {
        // No thread: the input has ended. Dropped without the lock.
        let writer = WRITER.lock().take();
        drop(writer);
        log!("no memory for the thread that passes input on");
    }
}

fn pass_on(_: usize) {
    let mut writer = WRITER.lock().take();
    let mut is_escaped = false;
    let mut taken = 0;
    let mut bytes = [0; 256];
    // The other side sends from the kernel's first sign of life on.
    terminal::begin_stream();
    while let Ok(first) = terminal::read_byte() {
        bytes[0] = first;
        let count = 1 + terminal::take(&mut bytes[1..]);
        let mut length = 0;
        let mut is_end = false;
        for at in 0..count {
            match (is_escaped, bytes[at]) {
                (true, END) => is_end = true,
                (false, ESCAPE) => {
                    is_escaped = true;
                    continue;
                }
                (_, byte) => {
                    bytes[length] = byte;
                    length += 1;
                }
            }
            is_escaped = false;
        }
        let mut rest = &bytes[..length];
        while let Some(file) = &writer
            && !rest.is_empty()
        {
            match file.write(rest) {
                Ok(written) => rest = &rest[written..],
                // No reader is left: the rest goes nowhere.
                Err(_) => writer = None,
            }
        }
        if is_end {
            return;
        }
        taken += count;
        if taken >= TOLD {
            control!("took {taken}");
            taken = 0;
        }
    }
}
