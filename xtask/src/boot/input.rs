//! A program's input that is no terminal: every byte of it arrives, and so does its end.
//!
//! The serial line has no end, and the kernel has room for [`WINDOW`] bytes that no program has
//! read. So the byte [`ESCAPE`] is sent twice, one and [`END`] are the end, and no more is sent
//! than there is room for: the kernel says how much it has taken.

use std::io::{Read, Result, Write};
use std::sync::{Condvar, Mutex};

use crate::jobs;

/// Stands before what is not a byte of the input.
const ESCAPE: u8 = 0x10;
/// The end of the input.
const END: u8 = 0x04;
/// Bytes that the kernel has room for; it has the same number.
const WINDOW: usize = 4096;

/// How much may be sent.
pub(super) struct Room {
    bytes: Mutex<usize>,
    more: Condvar,
}

/// The room of the one machine that has a program's input.
pub(super) static ROOM: Room = Room::new();

impl Room {
    const fn new() -> Room {
        Room { bytes: Mutex::new(WINDOW), more: Condvar::new() }
    }

    /// The kernel has taken so many bytes.
    pub(super) fn add(&self, bytes: usize) {
        *jobs::lock(&self.bytes) += bytes;
        self.more.notify_all();
    }

    /// Waits until there is room; takes at most so much of it.
    fn take(&self, most: usize) -> usize {
        let mut bytes = jobs::lock(&self.bytes);
        while *bytes == 0 {
            bytes = self.more.wait(bytes).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let taken = most.min(*bytes);
        *bytes -= taken;
        taken
    }
}

/// The kernel has taken so many bytes of the input.
pub(crate) fn taken(bytes: usize) {
    ROOM.add(bytes);
}

/// Passes input on to its end.
pub(super) fn pass_on(mut from: impl Read, to: &mut impl Write, room: &Room) -> Result<()> {
    let mut bytes = [0; 1024];
    loop {
        let count = match from.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut sent = Vec::with_capacity(2 * count + 2);
        for &byte in &bytes[..count] {
            if byte == ESCAPE {
                sent.push(ESCAPE);
            }
            sent.push(byte);
        }
        if count == 0 {
            sent.extend([ESCAPE, END]);
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(room.take(rest.len()));
            to.write_all(now)?;
            to.flush()?;
            rest = later;
        }
        if count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_arrives_whole_with_its_end_and_no_faster_than_it_is_taken() {
        let text: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
        let room = Room::new();
        let (mut sent, mut received) = std::os::unix::net::UnixStream::pair().unwrap();
        let passed = std::thread::scope(|scope| {
            scope.spawn(|| pass_on(&text[..], &mut sent, &room).unwrap());
            let (mut passed, mut is_escaped) = (Vec::new(), false);
            loop {
                let mut byte = [0];
                received.read_exact(&mut byte).unwrap();
                match (is_escaped, byte[0]) {
                    (true, END) => return passed,
                    (false, ESCAPE) => is_escaped = true,
                    (_, byte) => {
                        passed.push(byte);
                        is_escaped = false;
                    }
                }
                room.add(1);
            }
        });
        assert!(passed == text);
        assert!(*jobs::lock(&room.bytes) <= WINDOW);
    }
}
