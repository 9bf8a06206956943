//! The system calls that the kernel has, as it lists them in /proc/kstack/calls: a line each, the
//! number on this machine and the name. So a program that tries all of them has no list of its own
//! that could lack one.

use crate::arch::{self, nr};
use crate::syscall::Errno;

/// Calls kept.
const MOST: usize = 512;
/// Bytes kept of a name.
const NAME_BYTES: usize = 32;
/// "The current directory", for calls that take a directory.
pub const HERE: usize = -100_isize as usize;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its number on this machine.
    pub number: usize,
    name: [u8; NAME_BYTES],
}

impl Known {
    /// Its name, as the kernel's source has it.
    pub fn name(&self) -> &[u8] {
        let length = self.name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        &self.name[..length]
    }
}

/// All of them.
#[derive(Debug)]
pub struct Calls {
    known: [Known; MOST],
    count: usize,
}

impl Calls {
    /// Asks the kernel.
    pub fn read() -> Result<Self, Errno> {
        let mut text = [0; 16384];
        let length = read_file(c"/proc/kstack/calls", &mut text)?;
        let mut calls =
            Self { known: [Known { number: 0, name: [0; NAME_BYTES] }; MOST], count: 0 };
        for line in text[..length].split(|&byte| byte == b'\n') {
            let Some(blank) = line.iter().position(|&byte| byte == b' ') else { continue };
            let Some(place) = calls.known.get_mut(calls.count) else { return Err(Errno(-7)) };
            place.number = number(&line[..blank]);
            for (to, from) in place.name.iter_mut().zip(&line[blank + 1..]) {
                *to = *from;
            }
            calls.count += 1;
        }
        Ok(calls)
    }

    /// All of them.
    pub fn all(&self) -> &[Known] {
        &self.known[..self.count]
    }

    /// The number of a call, or, where a machine has only that, of the one that does as much
    /// (`renameat2`); one that no call has, if this machine does not have it.
    pub fn number(&self, name: &str) -> usize {
        let is_meant = |known: &&Known| {
            known
                .name()
                .strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest == b"2")
        };
        let exact = self.all().iter().find(|known| known.name() == name.as_bytes());
        exact.or_else(|| self.all().iter().find(is_meant)).map_or(usize::MAX, |known| known.number)
    }
}

/// A decimal number; what is no digit ends it.
pub fn number(digits: &[u8]) -> usize {
    let digits = digits.iter().take_while(|digit| digit.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// One system call, for programs that pass on purpose what no sound program would.
pub fn call<const N: usize>(number: usize, some: [usize; N]) -> isize {
    let mut arguments = [0; 6];
    arguments[..N].copy_from_slice(&some);
    // SAFETY: (1) callers pass memory of their own that nothing else uses, or what the kernel must
    // refuse; what a wrong call does to the program itself is what such a program is for.
    unsafe { arch::syscall(number, arguments) }
}

/// A path as the argument of a call.
pub fn path(path: &core::ffi::CStr) -> usize {
    path.as_ptr().addr()
}

/// The beginning of a file.
pub fn read_file(path: &core::ffi::CStr, to: &mut [u8]) -> Result<usize, Errno> {
    let file = call(nr::OPENAT, [HERE, path.as_ptr().addr(), 0, 0]);
    if file < 0 {
        return Err(Errno(file));
    }
    let mut done = 0;
    while done < to.len() {
        let rest = &mut to[done..];
        let read = call(nr::READ, [file as usize, rest.as_mut_ptr().addr(), rest.len()]);
        match usize::try_from(read) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(_) => return Err(Errno(read)),
        }
    }
    call(nr::CLOSE, [file as usize]);
    Ok(done)
}

/// The number behind a key of /proc/meminfo.
pub fn memory_figure(key: &[u8]) -> usize {
    let mut text = [0; 1024];
    let length = read_file(c"/proc/meminfo", &mut text).unwrap_or(0);
    let mut lines = text[..length].split(|&byte| byte == b'\n');
    let Some(line) = lines.find(|line| line.starts_with(key)) else { return 0 };
    let rest = &line[key.len()..];
    let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
    number(&rest[blanks..])
}

/// Sleeps; a tick of the kernel's clock at least.
pub fn sleep_milliseconds(milliseconds: usize) {
    let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    call(nr::NANOSLEEP, [time.as_ptr().addr(), 0]);
}

/// Waits for a child; its wait status.
pub fn status_of(child: isize) -> i32 {
    let mut status = -1_i32;
    call(nr::WAIT4, [child as usize, (&raw mut status).addr(), 0, 0]);
    status
}

/// Whether a child has ended within so many looks of 4 ms or more; its status.
pub fn ended_within(child: isize, looks: u32) -> Option<i32> {
    let mut status = -1_i32;
    for _ in 0..looks {
        if call(nr::WAIT4, [child as usize, (&raw mut status).addr(), 1, 0]) == child {
            return Some(status);
        }
        sleep_milliseconds(5);
    }
    None
}

/// Writes a line `NAME HEXADECIMAL`.
pub fn print_number(name: &core::ffi::CStr, number: usize) {
    let mut line = [0_u8; 64];
    let name = name.to_bytes();
    line[..name.len()].copy_from_slice(name);
    let mut length = name.len();
    line[length] = b' ';
    length += 1;
    for digit in (0..usize::BITS / 4).rev() {
        line[length] = b"0123456789abcdef"[number >> (digit * 4) & 0xf];
        length += 1;
    }
    line[length] = b'\n';
    call(nr::WRITE, [1, line.as_ptr().addr(), length + 1]);
}
