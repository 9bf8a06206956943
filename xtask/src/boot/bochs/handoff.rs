//! What the option ROM hands over to the kernel: PVH start info, one module, the command line, and room for the memory map.
//!
//! The layout is written down in the crate `rom`, which reads the first word and fills the map in.

use anyhow::{Context, Result};
use object::read::{Object, ObjectSegment};

/// Where it lies in the machine's memory.
pub(super) const ADDRESS: u64 = 0x1_0000;
const START_INFO: usize = 0x10;
const MAP: usize = 0x100;
const MAP_BYTES: usize = 64 * 24;
const MODULE: usize = MAP + MAP_BYTES;
const LINE: usize = MODULE + 32;
const MAGIC: u32 = 0x336e_c578;

/// The kernel's entry and its lowest physical address. The code that is entered is linked where it is loaded, and lies lowest.
pub(super) fn entry_and_start(kernel: &[u8]) -> Result<(u32, u64)> {
    let file = object::File::parse(kernel).context("the kernel is no ELF file")?;
    let start = file.segments().map(|segment| segment.address()).min();
    Ok((u32::try_from(file.entry())?, start.context("the kernel has nothing to load")?))
}

/// The handoff for a kernel with this entry, an archive (address and length) and a command line.
pub(super) fn bytes(entry: u32, archive: (u64, u64), line: &str) -> Vec<u8> {
    let at = |offset: usize| ADDRESS + offset as u64;
    let mut bytes = entry.to_le_bytes().to_vec();
    bytes.resize(START_INFO, 0);
    // Magic, version, flags, modules.
    for word in [MAGIC, 1, 0, 1] {
        bytes.extend(word.to_le_bytes());
    }
    // Modules, command line, root pointer (the kernel looks for it), memory map, whose length the ROM knows.
    for address in [at(MODULE), at(LINE), 0, at(MAP), 0] {
        bytes.extend(address.to_le_bytes());
    }
    bytes.resize(MODULE, 0);
    for word in [archive.0, archive.1, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(line.bytes());
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_lies_where_the_start_info_says() {
        let bytes = bytes(0x10_1000, (0x400_0000, 77), "mode=test");
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(word(0), 0x10_1000);
        assert_eq!(word(START_INFO) as u32, MAGIC);
        let place = |field: usize| (word(START_INFO + field) - ADDRESS) as usize;
        assert_eq!((word(place(16)), word(place(16) + 8)), (0x400_0000, 77));
        assert_eq!(&bytes[place(24)..], b"mode=test\0");
        assert_eq!((place(40), word(START_INFO + 48)), (MAP, 0));
    }
}
