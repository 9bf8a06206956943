//! The terminal: what is typed on the serial line, for programs and for the console; and what
//! programs write there.

use crate::sched::{Interrupted, WaitQueue};
use core::sync::atomic::{AtomicBool, Ordering};
use machine::arch::regs::SavedRegs;
use machine::arch::serial;
use machine::fn_cell::FnCell;
use machine::spin::SpinLock;

/// Bytes of input that there is room for before a program reads them.
pub const ROOM: usize = 4096;

/// Bytes typed and not yet read. When it is full, more is dropped, as a terminal does.
struct Input {
    bytes: [u8; ROOM],
    first: usize,
    length: usize,
}

static INPUT: SpinLock<Input> = SpinLock::new(Input { bytes: [0; ROOM], first: 0, length: 0 });
static READERS: WaitQueue = WaitQueue::new();
static LISTENER: FnCell<fn()> = FnCell::new();
static IS_STREAM: AtomicBool = AtomicBool::new(false);
static FILTER: SpinLock<Option<Filter>> = SpinLock::new(None);

/// Looks at a byte that was typed; true: it is not kept.
type Filter = fn(u8) -> bool;

impl Input {
    fn push(&mut self, byte: u8) {
        if self.length < self.bytes.len() {
            let at = (self.first + self.length) % self.bytes.len();
            self.bytes[at] = byte;
            self.length += 1;
        }
    }
}

/// The console's interrupt: takes what has come.
pub fn input_arrived(_: &mut SavedRegs) {
    take_what_has_come();
}

/// From here on the input is bytes and no keys: none of them means anything. Takes also what came before there was a handler,
/// whose interrupt is lost where the line is one of edges.
pub fn begin_stream() {
    IS_STREAM.store(true, Ordering::Relaxed);
    take_what_has_come();
}

fn take_what_has_come() {
    if IS_STREAM.load(Ordering::Relaxed) {
        // Taken with the lock: in order, whichever CPUs do it at a time.
        let mut input = INPUT.lock();
        while let Some(byte) = serial::CONSOLE.take() {
            input.push(byte);
        }
    } else {
        let filter = *FILTER.lock();
        while let Some(byte) = serial::CONSOLE.take() {
            // One that means something to the listener is not kept.
            if !filter.is_some_and(|filter| filter(byte)) {
                INPUT.lock().push(byte);
            }
        }
    }
    READERS.wake_all();
    if let Some(listener) = LISTENER.get() {
        listener();
    }
}

/// Bytes that were typed and not read.
pub fn waiting() -> usize {
    INPUT.lock().length
}

fn try_read() -> Option<u8> {
    let mut input = INPUT.lock();
    if input.length == 0 {
        return None;
    }
    let byte = input.bytes[input.first];
    input.first = (input.first + 1) % input.bytes.len();
    input.length -= 1;
    Some(byte)
}

/// The next byte typed; sleeps until there is one.
pub fn read_byte() -> Result<u8, Interrupted> {
    let mut byte = None;
    READERS.wait_until(|| {
        byte = try_read();
        byte.is_some()
    })?;
    byte.ok_or(Interrupted)
}

/// Whether a read would not sleep.
pub fn has_input() -> bool {
    INPUT.lock().length > 0
}

/// Takes what is there, as much as fits.
pub fn take(buffer: &mut [u8]) -> usize {
    let mut length = 0;
    while length < buffer.len() {
        match try_read() {
            Some(byte) => buffer[length] = byte,
            None => break,
        }
        length += 1;
    }
    length
}

/// Sets what is told when something has come, and what looks at each byte first: whether it has dealt with it. Both are called in the
/// interrupt, without a lock.
pub fn set_listener(listener: fn(), filter: fn(u8) -> bool) {
    LISTENER.set(Some(listener));
    *FILTER.lock() = Some(filter);
}

/// Writes a program's bytes as they are.
pub fn write_user(bytes: &[u8]) {
    serial::CONSOLE.put_all(bytes);
}
