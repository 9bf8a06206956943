//! The terminal: what is typed on the serial line, for programs and for the console; and what
//! programs write there.

use crate::entry::device::Device;
use crate::sched::{Interrupted, WaitQueue};
use core::sync::atomic::{AtomicBool, Ordering};
use machine::arch::irqchip::vector;
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
static SIZE_LISTENER: SpinLock<Option<fn(Size)>> = SpinLock::new(None);
static FRAMES: SpinLock<Option<Frame>> = SpinLock::new(None);
static IS_STREAM: AtomicBool = AtomicBool::new(false);
static FILTER: SpinLock<Option<Filter>> = SpinLock::new(None);

/// Rows and columns of the terminal on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Stands before what is not a key, or before itself.
const ESCAPE: u8 = 0x10;
/// Behind [`ESCAPE`]: rows and columns follow, two bytes each, the low one first.
const RESIZED: u8 = b'W';

/// How far what comes from a terminal was read.
#[derive(Debug, Clone, Copy)]
enum Frame {
    Key,
    Escaped,
    Size([u8; 4], usize),
}

/// What comes from a terminal.
enum Event {
    Key(u8),
    Resized(Size),
}

impl Frame {
    /// Reads a byte.
    fn read(&mut self, byte: u8) -> Option<Event> {
        match *self {
            Frame::Key if byte == ESCAPE => *self = Frame::Escaped,
            Frame::Key => return Some(Event::Key(byte)),
            Frame::Escaped if byte == RESIZED => *self = Frame::Size([0; 4], 0),
            Frame::Escaped => {
                *self = Frame::Key;
                return Some(Event::Key(byte));
            }
            Frame::Size(mut bytes, at) => {
                bytes[at] = byte;
                if at + 1 < bytes.len() {
                    *self = Frame::Size(bytes, at + 1);
                    return None;
                }
                *self = Frame::Key;
                let [a, b, c, d] = bytes;
                let (rows, columns) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                return Some(Event::Resized(Size { rows, columns }));
            }
        }
        None
    }
}

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

static CONSOLE: Device =
    Device::new("console", |on| serial::CONSOLE.let_interrupt(on), take_what_has_come);

/// Has the console's interrupt take what has come. Once threads can be made, before the interrupt
/// is let through.
pub fn set_up() {
    CONSOLE.set_up(vector::CONSOLE, |_| CONSOLE.on_interrupt(), |_| CONSOLE.wake_thread());
}

/// How often the thread of the console's interrupt has had work; 0 without `threadirqs`.
pub fn thread_turns() -> u64 {
    CONSOLE.turns()
}

/// From here on the input is bytes and no keys: none of them means anything. Takes also what came
/// before there was a handler, whose interrupt is lost where the line is one of edges.
pub fn begin_stream() {
    IS_STREAM.store(true, Ordering::Relaxed);
    take_what_has_come();
}

/// From here on the input is that of a terminal, which also tells when its size changes. Takes also
/// what came before, as [`begin_stream`].
pub fn begin_frames(resized: fn(Size)) {
    *SIZE_LISTENER.lock() = Some(resized);
    *FRAMES.lock() = Some(Frame::Key);
    take_what_has_come();
}

/// The next event of the serial line.
fn next_event() -> Option<Event> {
    // Read with the lock: in order, whichever CPUs do it at a time.
    let mut frames = FRAMES.lock();
    loop {
        let byte = serial::CONSOLE.take()?;
        match frames.as_mut() {
            None => return Some(Event::Key(byte)),
            Some(frame) => {
                if let Some(event) = frame.read(byte) {
                    return Some(event);
                }
            }
        }
    }
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
        while let Some(event) = next_event() {
            match event {
                // One that means something to the listener is not kept.
                Event::Key(byte) if !filter.is_some_and(|filter| filter(byte)) => {
                    INPUT.lock().push(byte);
                }
                Event::Key(_) => {}
                Event::Resized(size) => {
                    let listener = *SIZE_LISTENER.lock();
                    if let Some(listener) = listener {
                        listener(size);
                    }
                }
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

/// Sets what is told when something has come, and what looks at each byte first: whether it has
/// dealt with it. Both are called in the interrupt, without a lock.
pub fn set_listener(listener: fn(), filter: fn(u8) -> bool) {
    LISTENER.set(Some(listener));
    *FILTER.lock() = Some(filter);
}

/// Writes a program's bytes as they are.
pub fn write_user(bytes: &[u8]) {
    serial::CONSOLE.put_all(bytes);
}
