//! The initial RAM archive: a cpio archive in the "newc" format, read where it lies.
//!
//! ```text
//!   110 bytes: "070701", then 13 numbers of 8 hexadecimal digits; number 6 is the file's size, number 11 the name's
//!   name, NUL, padded to 4; contents, padded to 4; ... until a file named TRAILER!!!
//! ```
//!
//! The archive comes from outside: every length is checked, and the walk ends at the first thing
//! that does not fit.

/// One file of the archive.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its path, without a leading slash.
    pub name: &'a str,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Its contents; of a symbolic link, the target.
    pub contents: &'a [u8],
}

const HEADER: usize = 110;

/// All files, in the order of the archive.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

/// Walks an archive.
pub fn entries(archive: &[u8]) -> Entries<'_> {
    Entries { rest: archive }
}

/// The contents of one file.
pub fn find<'a>(archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let same = |entry: &Entry<'_>| entry.name.trim_start_matches("./") == name;
    entries(archive).find(same).map(|entry| entry.contents)
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let header = self.rest.get(..HEADER)?;
        if !header.starts_with(b"070701") {
            return None;
        }
        let number = |index: usize| {
            let digits = header.get(6 + 8 * index..14 + 8 * index)?;
            u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (mode, size, name_size) = (number(1)?, number(6)? as usize, number(11)? as usize);
        let name_top = HEADER.checked_add(name_size)?;
        let contents_lowest = name_top.checked_next_multiple_of(4)?;
        let contents_top = contents_lowest.checked_add(size)?;
        let name = self.rest.get(HEADER..name_top)?.strip_suffix(b"\0")?;
        let name = core::str::from_utf8(name).ok()?;
        let contents = self.rest.get(contents_lowest..contents_top)?;
        if name == "TRAILER!!!" {
            return None;
        }
        self.rest = self.rest.get(contents_top.checked_next_multiple_of(4)?..).unwrap_or(&[]);
        Some(Entry { name, mode, contents })
    }
}
