//! Archives in the "newc" format of cpio, as kernels read their first files from.
//!
//! An entry is a header of 13 eight-digit hexadecimal numbers behind the magic `070701`, the name
//! with its NUL, and the data; name and data are each padded to a multiple of four bytes. The entry
//! `TRAILER!!!` ends the archive; another archive may follow. (Format: the kernel documentation's
//! "initramfs buffer format".)

use anyhow::{Context, Result};

/// The mode of a folder.
pub(crate) const DIRECTORY: u32 = 0o040_755;
/// The mode of a symbolic link, whose data is where it leads.
pub(crate) const LINK: u32 = 0o120_777;
/// The mode of a program.
pub(crate) const PROGRAM: u32 = 0o100_755;
/// The mode of any other file.
pub(crate) const FILE: u32 = 0o100_644;

/// A "newc" archive in the making.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry.
    pub(crate) fn add(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        // An inode number of its own for each entry: equal ones would be taken for hard links.
        self.entries += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        self.entry(self.entries, name, mode, links, data)
    }

    /// Ends the archive and gives its bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(0, "TRAILER!!!", 0, 1, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, inode: u32, name: &str, mode: u32, links: u32, data: &[u8]) -> Result<()> {
        let size = u32::try_from(data.len())
            .with_context(|| format!("{name} is too large for the image (4 GiB)"))?;
        let name_size = u32::try_from(name.len() + 1).context("a name is too long")?;
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size,
        // check
        let numbers = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Name, mode and data of an entry.
#[cfg(test)]
pub(crate) type Entry = (String, u32, Vec<u8>);

/// Reads an archive as the format's description has it, independently of the writer.
#[cfg(test)]
pub(crate) fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!(&bytes[at..at + 6], b"070701", "magic at {at}");
        let number = |index: usize| {
            let from = at + 6 + index * 8;
            u32::from_str_radix(std::str::from_utf8(&bytes[from..from + 8]).unwrap(), 16).unwrap()
        };
        let name_from = at + 110;
        let name_size = number(11) as usize;
        let name = std::str::from_utf8(&bytes[name_from..name_from + name_size - 1]).unwrap();
        assert_eq!(bytes[name_from + name_size - 1], 0);
        let data_from = (name_from + name_size).next_multiple_of(4);
        let data_end = data_from + number(6) as usize;
        if name == "TRAILER!!!" {
            assert_eq!(data_end.next_multiple_of(4), bytes.len());
            return found;
        }
        found.push((name.to_owned(), number(1), bytes[data_from..data_end].to_vec()));
        at = data_end.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_reads_back_whatever_the_lengths() {
        let mut archive = Archive::default();
        let mut expected = Vec::new();
        for length in 0..9 {
            let name = "n".repeat(length + 1);
            let data = vec![b'd'; length];
            archive.add(&name, FILE, &data).unwrap();
            expected.push((name, FILE, data));
        }
        archive.add("tmp", DIRECTORY, &[]).unwrap();
        expected.push(("tmp".to_owned(), DIRECTORY, Vec::new()));
        assert_eq!(entries(&archive.finish().unwrap()), expected);
    }
}
