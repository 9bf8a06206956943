//! This terminal as a program's: every key goes to it, and the size follows.
//!
//! ```text
//!   this terminal ── keys ──┐                          0x10 before each 0x10
//!        │ raw              ├──> emulator's input      0x10 'W' rows columns: the size has changed
//!   keeper (a shell) ─ size ┘                          0x01 before each 0x01, 0x01 'x': the end (the emulator's own)
//! ```
//!
//! The keeper is a process of its own. It tells the size whenever the terminal's changes, and it
//! puts the settings back when this process has ended, in whatever way: it waits for the end of a
//! pipe that nothing else holds.

use std::io::{BufRead, BufReader, IsTerminal, PipeWriter, Read, Result, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use crate::jobs::lock;

/// Stands before what is no key.
const ESCAPE: u8 = 0x10;
/// Behind it: rows and columns follow, two bytes each.
const RESIZED: u8 = b'W';
/// The emulator's own escape, and what ends the machine behind it.
const EMULATOR: u8 = 0x01;
const END: u8 = b'x';
/// The key that ends the machine when it is typed so many times in a row: Ctrl-].
const LEAVE: u8 = 0x1d;
const TIMES: usize = 3;

/// Tells the size now and after each change; puts the settings back at the end of its third file,
/// which is a pipe. The terminal is its first one.
const KEEPER: &str = r#"
exec 3<&0 4<&2 2>/dev/null
trap '' INT QUIT TSTP TTOU TERM HUP PIPE
saved=$(stty -g <&3)
cat <&4 >/dev/null &
waits=$!
trap 'stty size <&3' WINCH
stty size <&3
while kill -0 $waits; do wait $waits; done
stty "$saved" <&3
"#;

/// Rows and columns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

impl Size {
    /// Reads `ROWS COLUMNS`; a terminal without a size has the usual one.
    fn parse(line: &str) -> Option<Size> {
        let (rows, columns) = line.trim().split_once(' ')?;
        let usual = |number: u16, usual| if number == 0 { usual } else { number };
        Some(Size {
            rows: usual(rows.parse().ok()?, 24),
            columns: usual(columns.parse().ok()?, 80),
        })
    }
}

/// A terminal whose settings are put back when this is dropped, or when the process ends.
pub(crate) struct Terminal {
    keeper: Child,
    /// Its end is what the keeper waits for.
    life: Option<PipeWriter>,
    sizes: Mutex<Option<BufReader<ChildStdout>>>,
    /// The size at the start.
    pub(crate) size: Size,
}

impl Terminal {
    /// Standard input, if it is a terminal and can be kept.
    pub(crate) fn kept() -> Result<Option<Terminal>> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let (waits, life) = std::io::pipe()?;
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .stderr(waits)
            .spawn()?;
        let mut sizes = BufReader::new(keeper.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?);
        let mut line = String::new();
        sizes.read_line(&mut line)?;
        let size = Size::parse(&line).unwrap_or(Size { rows: 24, columns: 80 });
        let sizes = Mutex::new(Some(sizes));
        Ok(Some(Terminal { keeper, life: Some(life), sizes, size }))
    }

    /// Gives every key to the program from now on, and each change of the size; `to` is the
    /// emulator's input. The threads end with what they read from or write to.
    pub(crate) fn pass_on(&self, to: impl Write + Send + 'static) -> Result<()> {
        Command::new("stty").args(["raw", "-echo"]).stdin(Stdio::inherit()).status()?;
        let to = std::sync::Arc::new(Mutex::new(to));
        let sizes = lock(&self.sizes).take();
        if let Some(sizes) = sizes {
            let to = to.clone();
            std::thread::spawn(move || pass_sizes(sizes, &to));
        }
        std::thread::spawn(move || pass_keys(std::io::stdin(), &to));
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.life.take());
        // It puts the settings back before it ends.
        let _ = self.keeper.wait();
    }
}

fn pass_sizes(sizes: impl BufRead, to: &Mutex<impl Write>) -> Result<()> {
    for line in sizes.lines() {
        if let Some(Size { rows, columns }) = Size::parse(&line?) {
            let [a, b] = rows.to_le_bytes();
            let [c, d] = columns.to_le_bytes();
            let mut sent = vec![ESCAPE, RESIZED];
            for byte in [a, b, c, d] {
                emulated(byte, &mut sent);
            }
            let mut to = lock(to);
            to.write_all(&sent)?;
            to.flush()?;
        }
    }
    Ok(())
}

fn pass_keys(mut from: impl Read, to: &Mutex<impl Write>) -> Result<()> {
    let mut bytes = [0; 1024];
    let mut leaving = 0;
    loop {
        let count = match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut sent = Vec::with_capacity(2 * count);
        for &byte in &bytes[..count] {
            leaving = if byte == LEAVE { leaving + 1 } else { 0 };
            if leaving == TIMES {
                sent.extend([EMULATOR, END]);
                break;
            }
            if byte == ESCAPE {
                sent.push(ESCAPE);
            }
            emulated(byte, &mut sent);
        }
        let mut to = lock(to);
        to.write_all(&sent)?;
        to.flush()?;
    }
}

/// A byte as the emulator's multiplexer passes it on.
fn emulated(byte: u8, sent: &mut Vec<u8>) {
    if byte == EMULATOR {
        sent.push(EMULATOR);
    }
    sent.push(byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(typed: &[u8]) -> Vec<u8> {
        let to = Mutex::new(Vec::new());
        pass_keys(typed, &to).unwrap();
        to.into_inner().unwrap()
    }

    #[test]
    fn every_key_goes_to_the_program_and_three_of_one_end_the_machine() {
        assert_eq!(keys(b"ls\x03\x1a\x1c\x04\r"), b"ls\x03\x1a\x1c\x04\r");
        assert_eq!(keys(b"a\x01b"), b"a\x01\x01b");
        assert_eq!(keys(b"a\x10b"), b"a\x10\x10b");
        assert_eq!(keys(b"\x1d\x1da\x1d"), b"\x1d\x1da\x1d");
        assert_eq!(keys(b"a\x1d\x1d\x1db"), b"a\x1d\x1d\x01x");
    }

    #[test]
    fn sizes_are_told_apart_from_keys() {
        let to = Mutex::new(Vec::new());
        pass_sizes(&b"24 80\n1 513\nnonsense\n0 0\n"[..], &to).unwrap();
        assert_eq!(
            to.into_inner().unwrap(),
            b"\x10W\x18\0\x50\0\x10W\x01\x01\0\x01\x01\x02\x10W\x18\0\x50\0"
        );
    }
}
