//! The initial RAM archive: a cpio archive in the "newc" format, read where it lies.
//!
//! ```text
//!   110 bytes: "070701", then 13 numbers of 8 hexadecimal digits: 1 to 3 are mode, user and group,
//!   5 is the time, 6 the file's size, 11 the name's
//!   name, NUL, padded to 4; contents, padded to 4; ... until a file named TRAILER!!!, behind which another may begin
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
    /// Whose it is.
    pub user: u32,
    pub group: u32,
    /// When it was last written: seconds after 1970.
    pub time: i64,
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

impl<'a> Entries<'a> {
    /// The next entry, be it the end of an archive.
    fn entry(&mut self) -> Option<Entry<'a>> {
        let header = self.rest.get(..HEADER)?;
        if !header.starts_with(b"070701") {
            return None;
        }
        let number = |index: usize| {
            let digits = header.get(6 + 8 * index..14 + 8 * index)?;
            u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (user, group, time) = (number(2)?, number(3)?, number(5)?.into());
        let (mode, size, name_size) = (number(1)?, number(6)? as usize, number(11)? as usize);
        let name_top = HEADER.checked_add(name_size)?;
        let contents_lowest = name_top.checked_next_multiple_of(4)?;
        let contents_top = contents_lowest.checked_add(size)?;
        let name = self.rest.get(HEADER..name_top)?.strip_suffix(b"\0")?;
        let name = core::str::from_utf8(name).ok()?;
        let contents = self.rest.get(contents_lowest..contents_top)?;
        self.rest = self.rest.get(contents_top.checked_next_multiple_of(4)?..).unwrap_or(&[]);
        Some(Entry { name, mode, user, group, time, contents })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let entry = self.entry()?;
            if entry.name != "TRAILER!!!" {
                return Some(entry);
            }
            // Another archive may follow, after zeros.
            let zeros = self.rest.iter().position(|&byte| byte != 0)?;
            self.rest = &self.rest[zeros..];
        }
    }
}
