//! The line discipline: what becomes of a byte that is typed, and of one that a program writes.

use crate::abi::signals::Signal;
use crate::files::termios::{Modes, key, mode};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A line that is edited has at most this many.
pub(super) const MAX_LINE: usize = 4095;

/// A byte that can be read, and whether a line ends with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typed {
    pub(super) byte: u8,
    pub(super) ends_line: bool,
    /// The key for the end: it ends a line, and is not read.
    pub(super) is_end: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) modes: Modes,
    /// What of them is locked.
    pub(super) locked: Modes,
    pub(super) size: [u16; 4],
    /// The line that is edited.
    pub(super) line: Vec<u8>,
    pub(super) ready: VecDeque<Typed>,
    pub(super) output: VecDeque<u8>,
    /// Output is held (the stop key).
    pub(super) is_held: bool,
    /// The slave cannot be opened yet.
    pub(super) is_locked: bool,
    pub(super) has_master: bool,
    pub(super) slaves: u32,
    /// A slave was ever opened.
    pub(super) was_opened: bool,
    pub(super) session: u64,
    pub(super) foreground: u64,
}

/// What a key does besides being typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Signal(Signal),
}

impl State {
    pub(super) fn has(&self, local: u32) -> bool {
        self.modes.local & local != 0
    }

    /// Puts a byte of a program, or of an echo, where the master reads.
    pub(super) fn put(&mut self, byte: u8) {
        const PROCESS: u32 = 1;
        const NEWLINE_TO_BOTH: u32 = 4;
        const RETURN_TO_NEWLINE: u32 = 0o10;
        let output = self.modes.output;
        if output & PROCESS != 0 && byte == b'\n' && output & NEWLINE_TO_BOTH != 0 {
            self.queue(b'\r');
        }
        let is_turned = output & PROCESS != 0 && byte == b'\r' && output & RETURN_TO_NEWLINE != 0;
        self.queue(if is_turned { b'\n' } else { byte });
    }

    /// Puts a byte behind the output. One that there is no room for is lost, as in a terminal whose
    /// queue is full.
    fn queue(&mut self, byte: u8) {
        if self.output.try_reserve(1).is_ok() {
            // CANNOT FAIL: reserved right here.
            self.output.push_back(byte);
        }
    }

    /// Puts what was typed where the slave reads. What there is no room for is lost, as in a
    /// terminal whose queue is full.
    fn make_ready(&mut self, typed: Typed) {
        if self.ready.try_reserve(1).is_ok() {
            // CANNOT FAIL: reserved right here.
            self.ready.push_back(typed);
        }
    }

    fn echo(&mut self, byte: u8) {
        // Where there is no room it is lost, as Linux's is.
        if self.output.len() + 3 > self.output.capacity() {
            return;
        }
        match byte {
            b'\n' if self.has(mode::ECHO | mode::ECHO_NEWLINE) => self.put(b'\n'),
            _ if !self.has(mode::ECHO) => {}
            0..0x20 | 0x7f if byte != b'\t' && self.has(mode::ECHO_CONTROL) => {
                self.put(b'^');
                self.put(byte ^ 0x40);
            }
            _ => self.put(byte),
        }
    }

    fn erase(&mut self) {
        if self.line.pop().is_some()
            && self.has(mode::ECHO)
            && self.has(mode::ECHO_ERASE)
            && self.output.len() + 3 <= self.output.capacity()
        {
            b"\x08 \x08".iter().for_each(|&byte| self.queue(byte));
        }
    }

    /// Makes the line readable, with its last byte or the key for the end behind it.
    pub(super) fn finish_line(&mut self, is_end: bool) {
        let count = self.line.len();
        for (at, byte) in core::mem::take(&mut self.line).into_iter().enumerate() {
            let ends_line = !is_end && at + 1 == count;
            self.make_ready(Typed { byte, ends_line, is_end: false });
        }
        if is_end {
            self.make_ready(Typed { byte: 0, ends_line: true, is_end: true });
        }
    }

    pub(super) fn flush_input(&mut self) {
        self.line.clear();
        self.ready.clear();
    }

    /// A byte is typed.
    pub(super) fn type_byte(&mut self, byte: u8) -> Effect {
        const NO_STOP: u32 = 0o2000;
        const ANY_STARTS: u32 = 0o4000;
        const START: usize = 8;
        const STOP: usize = 9;
        let (input, keys) = (self.modes.input, self.modes.keys);
        let is = |place: usize| keys[place] != 0 && byte == keys[place];
        if self.has(mode::SIGNALS) {
            let found = [
                (key::INTERRUPT, Signal::INT),
                (key::QUIT, Signal::QUIT),
                (key::SUSPEND, Signal::TSTP),
            ];
            if let Some((_, signal)) = found.into_iter().find(|&(place, _)| is(place)) {
                if !self.has(mode::NO_FLUSH) {
                    self.flush_input();
                    self.output.clear();
                }
                self.is_held = false;
                self.echo(byte);
                return Effect::Signal(signal);
            }
        }
        if input & NO_STOP != 0 {
            if is(STOP) {
                self.is_held = true;
                return Effect::None;
            }
            if is(START) || self.is_held && input & ANY_STARTS != 0 {
                self.is_held = false;
                if is(START) {
                    return Effect::None;
                }
            }
        }
        let byte = match byte {
            b'\r' if input & mode::NO_RETURN != 0 => return Effect::None,
            b'\r' if input & mode::RETURN_TO_NEWLINE != 0 => b'\n',
            b'\n' if input & mode::NEWLINE_TO_RETURN != 0 => b'\r',
            byte => byte,
        };
        if !self.has(mode::LINES) {
            self.echo(byte);
            self.make_ready(Typed { byte, ends_line: false, is_end: false });
            return Effect::None;
        }
        let is = |place: usize| keys[place] != 0 && byte == keys[place];
        if is(key::END) {
            self.finish_line(true);
        } else if is(key::ERASE) {
            self.erase();
        } else if is(key::KILL) {
            self.line.clear();
            if self.has(mode::ECHO_KILL) {
                self.echo(byte);
                self.echo(b'\n');
            }
        } else if is(key::ERASE_WORD) && self.has(mode::EXTENDED) {
            while self.line.last() == Some(&b' ') {
                self.erase();
            }
            while self.line.last().is_some_and(|&last| last != b' ') {
                self.erase();
            }
        } else {
            let ends = byte == b'\n' || is(key::END_OF_LINE);
            if self.line.len() < MAX_LINE - usize::from(!ends) {
                self.echo(byte);
                // CANNOT FAIL: there is room for the longest line from the start, or the byte is
                // lost.
                if self.line.try_reserve(1).is_ok() {
                    self.line.push(byte);
                }
            }
            if ends {
                self.finish_line(false);
            }
        }
        Effect::None
    }

    pub(super) fn has_line(&self) -> bool {
        self.ready.iter().any(|typed| typed.ends_line)
    }

    pub(super) fn has_input(&self) -> bool {
        if self.has(mode::LINES) { self.has_line() } else { !self.ready.is_empty() }
    }

    /// Reads a line or what fits of it, or all that was typed.
    pub(super) fn read(&mut self, to: &mut [u8]) -> usize {
        let by_lines = self.has(mode::LINES);
        let mut read = 0;
        while read < to.len() {
            let Some(typed) = self.ready.pop_front() else { break };
            if !typed.is_end {
                to[read] = typed.byte;
                read += 1;
            }
            if by_lines && typed.ends_line {
                break;
            }
        }
        // The key for the end right behind what was read ends that line, and not the next one.
        let ended = |typed: &Typed| typed.is_end;
        if by_lines && read == to.len() && self.ready.front().is_some_and(ended) {
            self.ready.pop_front();
        }
        read
    }
}
