//! The terminal: what is typed on the serial line, for programs and for the console; and what
//! programs write there.

use crate::sched::{Interrupted, WaitQueue};
use machine::arch::regs::SavedRegs;
use machine::arch::serial;
use machine::fn_cell::FnCell;
use machine::spin::SpinLock;

/// Bytes typed and not yet read. When it is full, more is dropped, as a terminal does.
struct Input {
    bytes: [u8; 256],
    first: usize,
    length: usize,
}

static INPUT: SpinLock<Input> = SpinLock::new(Input { bytes: [0; 256], first: 0, length: 0 });
static READERS: WaitQueue = WaitQueue::new();
static LISTENER: FnCell<fn()> = FnCell::new();

/// The console's interrupt: takes what has come.
pub fn input_arrived(_: &mut SavedRegs) {
    {
        let mut input = INPUT.lock();
        while let Some(byte) = serial::CONSOLE.take() {
            if input.length < input.bytes.len() {
                let at = (input.first + input.length) % input.bytes.len();
                input.bytes[at] = byte;
                input.length += 1;
            }
        }
    }
    READERS.wake_all();
    if let Some(listener) = LISTENER.get() {
        listener();
    }
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

/// Sets what is told when something has come: called in the interrupt, without a lock.
pub fn set_listener(listener: fn()) {
    LISTENER.set(Some(listener));
}

/// Writes a program's bytes as they are.
pub fn write_user(bytes: &[u8]) {
    serial::CONSOLE.put_all(bytes);
}
