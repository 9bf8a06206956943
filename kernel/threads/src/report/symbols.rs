//! Names for addresses of the kernel: from `/kstack/symbols` in the initramfs.
//!
//! One line per function, sorted by address: `address size name [file:line]`, numbers in
//! hexadecimal. The text is used where it lies, in the archive's memory; a lookup is a binary
//! search over line starts, without allocation, so that it works in an overflow report.

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use kstack::addr::{Addr, ByteSize};
use kstack::stacks::Code;
use kstack::unwind::frames::{Frame, Frames};

static TEXT: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Where an address lies.
#[derive(Debug, Clone, Copy)]
pub struct Symbol {
    /// The function, demangled.
    pub name: &'static str,
    /// Bytes from the function's first instruction.
    pub offset: u64,
    /// Size of the function.
    pub size: u64,
    /// Where the function stands, `file:line`, if debug information was there.
    pub place: Option<&'static str>,
}

/// Uses this text from now on. It stays where it is.
pub fn set(text: &'static [u8]) {
    LENGTH.store(text.len(), Ordering::Relaxed);
    TEXT.store(text.as_ptr().cast_mut(), Ordering::Release);
}

fn text() -> &'static [u8] {
    let text = TEXT.load(Ordering::Acquire);
    if text.is_null() {
        return &[];
    }
    // SAFETY: (1) both come from one slice that is never freed; it is set once.
    unsafe { core::slice::from_raw_parts(text, LENGTH.load(Ordering::Relaxed)) }
}

/// The line that contains byte `at`.
fn line_around(text: &'static [u8], at: usize) -> (usize, &'static [u8]) {
    let lowest =
        text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let length =
        text[lowest..].iter().position(|&byte| byte == b'\n').unwrap_or(text.len() - lowest);
    (lowest, &text[lowest..lowest + length])
}

/// The address at the beginning of a line.
fn address_of(line: &[u8]) -> Option<u64> {
    let mut address = None;
    for &byte in line {
        let digit = match byte {
            b' ' => return address,
            digit => char::from(digit).to_digit(16)?,
        };
        address = Some(address.unwrap_or(0) << 4 | u64::from(digit));
    }
    None
}

fn parse(line: &'static [u8]) -> Option<(u64, u64, &'static str, Option<&'static str>)> {
    let line = core::str::from_utf8(line).ok()?;
    let (address, rest) = line.split_once(' ')?;
    let (size, rest) = rest.split_once(' ')?;
    // Names have spaces in them; the place, if there is one, stands in brackets at the end.
    let (name, place) = match rest.strip_suffix(']').and_then(|rest| rest.rsplit_once(" [")) {
        Some((name, place)) => (name, Some(place)),
        None => (rest, None),
    };
    let size = u64::from_str_radix(size, 16).ok()?;
    Some((u64::from_str_radix(address, 16).ok()?, size, name, place))
}

/// The function that an address lies in.
pub fn lookup(address: u64) -> Option<Symbol> {
    let text = text();
    // Invariant: the lines that start before `low` are at or below the address, those from `high`
    // on are above.
    let (mut low, mut high) = (0, text.len());
    let mut best = None;
    while low < high {
        // All of a line is read only of the one that is found.
        let (start, line) = line_around(text, low + (high - low) / 2);
        if address_of(line)? <= address {
            best = Some(line);
            low = start + line.len() + 1;
        } else {
            high = start;
        }
    }
    let (lowest, size, name, place) = parse(best?)?;
    let offset = address - lowest;
    (offset < size.max(1)).then_some(Symbol { name, offset, size, place })
}

/// The table of frames, once it is known.
static FRAMES: AtomicPtr<Frames<'static>> = AtomicPtr::new(core::ptr::null_mut());

/// Uses this table from now on to find the callers of interrupted instructions, if it is one.
pub fn set_frames(table: &'static [u8]) {
    let Some(frames) = Frames::new(table) else { return };
    FRAMES.store(Box::leak(Box::new(frames)), Ordering::Release);
}

/// Where the caller of an instruction is, if the table says so.
pub fn frame_at(pc: Addr) -> Option<Frame> {
    // SAFETY: (1) null, or a reference to what is never freed.
    unsafe { FRAMES.load(Ordering::Acquire).as_ref() }?.at(pc)
}

static CHECKED: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static CHECKED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What the checks of the image have found. It stays where it is.
pub fn set_checked(text: &'static [u8]) {
    CHECKED_BYTES.store(text.len(), Ordering::Relaxed);
    CHECKED.store(text.as_ptr().cast_mut(), Ordering::Release);
}

/// That text: the guard's width, wide frames, how deep the handler of overflows goes.
pub fn checked() -> &'static str {
    let text = CHECKED.load(Ordering::Acquire);
    if text.is_null() {
        return "";
    }
    // SAFETY: (1) both come from one slice that is never freed; it is set once.
    let text = unsafe { core::slice::from_raw_parts(text, CHECKED_BYTES.load(Ordering::Relaxed)) };
    core::str::from_utf8(text).unwrap_or_default()
}

/// The code that an instruction lies in: the library's own, or a function.
pub fn code_at(pc: Addr) -> Code {
    unsafe extern "C" {
        static kstack_entry_lowest: u8;
        static kstack_entry_top: u8;
    }
    let entry_code =
        (&raw const kstack_entry_lowest) as usize..(&raw const kstack_entry_top) as usize;
    if entry_code.contains(&pc.get()) {
        return Code::Entry;
    }
    let Some(Symbol { offset, size, .. }) = lookup(pc.get() as u64) else { return Code::Unknown };
    let lowest = pc.wrapping_sub(ByteSize::new(offset as usize));
    // SAFETY: (1) the table is made from this very image, so that a function lies there, in text
    // that is mapped, readable and never written while it can run.
    let code = unsafe { core::slice::from_raw_parts(lowest.get() as *const u8, size as usize) };
    Code::Function { lowest, code }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}/{:#x}", self.name, self.offset, self.size)?;
        match self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}
