//! Names that are no UTF-8. A name of Linux is any bytes but `/` and NUL; the tree keeps names as
//! text. A byte that belongs to no character is kept as a character of its own, from the last plane
//! of private use, and given back as that byte:
//!
//! ```text
//!   byte 0x80 … 0xff   <->   U+10FF80 … U+10FFFF       in UTF-8: F4 8F BC…BF 80…BF
//! ```
//!
//! A name that has such a character itself is taken as its four bytes, each kept in this way: what
//! was given is what is given back, and two names are the same only if their bytes are.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use machine::memory::fallible::{self, NoMemory};

/// What the character of a byte is above it.
const FIRST: u32 = 0x10_ff00;
/// How the UTF-8 of such a character begins.
const BEGINS: [u8; 2] = [0xf4, 0x8f];
/// Bytes of such a character, and of what any one byte is kept as, at most.
pub(crate) const MOST: usize = 4;

/// The byte that a text begins with, if it begins with the character of one.
fn kept(text: &[u8]) -> Option<u8> {
    match text {
        [0xf4, 0x8f, third @ 0xbc..=0xbf, fourth @ 0x80..=0xbf, ..] => {
            Some((third & 3) << 6 | fourth & 0x3f)
        }
        _ => None,
    }
}

fn has_kept(text: &[u8]) -> bool {
    text.windows(2).any(|pair| *pair == BEGINS)
}

/// The text that bytes are kept as.
pub(crate) fn of_bytes(bytes: Vec<u8>) -> Result<String, NoMemory> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if !has_kept(text.as_bytes()) => return Ok(text),
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::new();
    text.try_reserve(bytes.len().saturating_mul(MOST)).map_err(|_| NoMemory)?;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if u32::from(character) >= FIRST {
                keep(character.encode_utf8(&mut [0; MOST]).as_bytes(), &mut text);
            } else {
                // CANNOT FAIL: room for the most that each byte can become was made above.
                text.push(character);
            }
        }
        keep(chunk.invalid(), &mut text);
    }
    Ok(text)
}

/// Adds bytes, each as the character it is kept as, to a text that has room for them.
fn keep(bytes: &[u8], text: &mut String) {
    for character in bytes.iter().filter_map(|&byte| char::from_u32(FIRST + u32::from(byte))) {
        // CANNOT FAIL: see above; and there are characters up to U+10FFFF.
        text.push(character);
    }
}

/// Puts the bytes of a text into `to`, as far as there is room. Returns how many there were room
/// for.
pub(crate) fn put_bytes(text: &[u8], to: &mut [u8]) -> usize {
    let mut left = text;
    let mut done = 0;
    while let (Some(&first), Some(place)) = (left.first(), to.get_mut(done)) {
        let byte = kept(left);
        *place = byte.unwrap_or(first);
        left = &left[if byte.is_some() { MOST } else { 1 }..];
        done += 1;
    }
    done
}

/// How many bytes a text is.
pub(crate) fn length(text: &str) -> usize {
    let text = text.as_bytes();
    if !has_kept(text) {
        return text.len();
    }
    text.len() - (0..text.len()).filter(|&at| kept(&text[at..]).is_some()).count() * (MOST - 1)
}

/// The bytes of a text, in its place.
pub(crate) fn into_bytes(text: String) -> Result<Vec<u8>, NoMemory> {
    if !has_kept(text.as_bytes()) {
        return Ok(text.into_bytes());
    }
    let mut bytes = fallible::collect(core::iter::repeat_n(0, length(&text)))?;
    put_bytes(text.as_bytes(), &mut bytes);
    Ok(bytes)
}

/// The bytes of a text.
pub(crate) fn to_bytes(text: &str) -> Result<Cow<'_, [u8]>, NoMemory> {
    if !has_kept(text.as_bytes()) {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    Ok(Cow::Owned(into_bytes(fallible::text(text)?)?))
}
