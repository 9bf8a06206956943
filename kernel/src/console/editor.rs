//! Line editing on a plain serial terminal: insert, delete, move, history.
//!
//! | key | does |
//! | --- | --- |
//! | left, right, Ctrl-B, Ctrl-F | move by a character |
//! | Home, End, Ctrl-A, Ctrl-E | to the start, to the end |
//! | Backspace, Delete | delete before, delete under the cursor |
//! | Ctrl-U, Ctrl-K, Ctrl-W | delete to the start, to the end, the word before |
//! | up, down, Ctrl-P, Ctrl-N | earlier and later lines |
//! | Ctrl-C | drop the line; Ctrl-D on an empty one: leave |

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use machine::arch::serial;
use threads::terminal::read_byte;

const MAX_HISTORY: usize = 32;
const MAX_LENGTH: usize = 200;

/// A line being edited, and the lines before it.
pub(super) struct Editor {
    history: Vec<String>,
}

enum Key {
    Text(u8),
    Enter,
    Left,
    Right,
    Home,
    End,
    Backspace,
    Delete,
    Up,
    Down,
    CutToStart,
    CutToEnd,
    CutWord,
    Cancel,
    Leave,
    Other,
}

impl Editor {
    pub(super) const fn new() -> Self {
        Self { history: Vec::new() }
    }

    /// A line without its end; `None`: the user wants to leave.
    pub(super) fn read_line(&mut self, prompt: &str) -> Option<String> {
        let mut line: Vec<u8> = Vec::new();
        let mut cursor = 0;
        let mut past = self.history.len();
        show(prompt, &line, cursor);
        loop {
            match read_key() {
                Key::Enter => break,
                Key::Text(byte) if line.len() < MAX_LENGTH => {
                    line.insert(cursor, byte);
                    cursor += 1;
                }
                Key::Left => cursor = cursor.saturating_sub(1),
                Key::Right => cursor = (cursor + 1).min(line.len()),
                Key::Home => cursor = 0,
                Key::End => cursor = line.len(),
                Key::Backspace if cursor > 0 => {
                    cursor -= 1;
                    line.remove(cursor);
                }
                Key::Delete if cursor < line.len() => {
                    line.remove(cursor);
                }
                Key::CutToStart => {
                    line.drain(..cursor);
                    cursor = 0;
                }
                Key::CutToEnd => line.truncate(cursor),
                Key::CutWord => {
                    let text = &line[..cursor];
                    let end = text.iter().rposition(|&b| b != b' ').map_or(0, |at| at + 1);
                    let start = text[..end].iter().rposition(|&b| b == b' ').map_or(0, |at| at + 1);
                    line.drain(start..cursor);
                    cursor = start;
                }
                Key::Up if past > 0 => {
                    past -= 1;
                    line = self.history[past].clone().into_bytes();
                    cursor = line.len();
                }
                Key::Down if past < self.history.len() => {
                    past += 1;
                    line = self
                        .history
                        .get(past)
                        .map_or_else(Vec::new, |old| old.clone().into_bytes());
                    cursor = line.len();
                }
                Key::Cancel => {
                    line.clear();
                    cursor = 0;
                    serial::CONSOLE.put_all(b"^C\r\n");
                }
                Key::Leave if line.is_empty() => {
                    serial::CONSOLE.put_all(b"\r\n");
                    return None;
                }
                _ => continue,
            }
            show(prompt, &line, cursor);
        }
        serial::CONSOLE.put_all(b"\r\n");
        let line = String::from_utf8_lossy(&line).trim().into();
        if self.history.last() != Some(&line) && !line.is_empty() {
            if self.history.len() == MAX_HISTORY {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        Some(line)
    }
}

/// Draws the line anew and puts the cursor in its place.
fn show(prompt: &str, line: &[u8], cursor: usize) {
    let mut port = serial::CONSOLE;
    let text = core::str::from_utf8(line).unwrap_or("?");
    let back = line.len() - cursor;
    // To the start, clear, prompt, line; then left again.
    let _never_fails = write!(port, "\r\x1b[K{prompt}{text}");
    if back > 0 {
        let _never_fails = write!(port, "\x1b[{back}D");
    }
}

fn read_key() -> Key {
    let Ok(byte) = read_byte() else { return Key::Leave };
    match byte {
        b'\r' | b'\n' => Key::Enter,
        0x20..0x7f => Key::Text(byte),
        0x7f | 0x08 => Key::Backspace,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Cancel,
        0x04 => Key::Leave,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x0b => Key::CutToEnd,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::CutToStart,
        0x17 => Key::CutWord,
        0x1b => read_escape(),
        _ => Key::Other,
    }
}

/// What comes after ESC: `[` or `O`, digits, and a letter or `~`.
fn read_escape() -> Key {
    let mut number = 0_u32;
    let (Ok(b'[') | Ok(b'O')) = read_byte() else { return Key::Other };
    loop {
        match read_byte() {
            Ok(digit @ b'0'..=b'9') => {
                number = number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
            }
            Ok(b';') => {}
            Ok(b'A') => return Key::Up,
            Ok(b'B') => return Key::Down,
            Ok(b'C') => return Key::Right,
            Ok(b'D') => return Key::Left,
            Ok(b'H') => return Key::Home,
            Ok(b'F') => return Key::End,
            Ok(b'~') => {
                return match number {
                    1 | 7 => Key::Home,
                    4 | 8 => Key::End,
                    3 => Key::Delete,
                    _ => Key::Other,
                };
            }
            _ => return Key::Other,
        }
    }
}
