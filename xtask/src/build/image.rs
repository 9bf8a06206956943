//! The kernel in the form in which its machine starts it.
//!
//! A flat image is what the ELF file's loadable segments describe, by their physical addresses, from the lowest
//! to the highest, zeros included:
//!
//! ```text
//!   segment:  text           data + its zeros             file[i] is the byte at physical lowest + i
//!   file:    [text......0000][data.......0000000]         and the machine enters at file[0]
//! ```
//!
//! So a kernel in this form finds its zeroed variables zeroed, and nothing else (an initial archive, a device
//! tree) is put where they are. On arm64 the file begins with the 64 bytes of the `Image` header of the
//! boot protocol of Linux, which the kernel's own assembly provides: it says where in memory the file goes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use object::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::arch::{Arch, Form};

/// More than any kernel of ours has: a segment at a wrong address would fill the disk.
const LARGEST: u64 = 256 << 20;

/// Where the `Image` header has its magic, and what it is.
const ARM64_MAGIC: (usize, &[u8]) = (56, b"ARM\x64");

/// The file to start, made from the kernel's ELF file beside it if need be.
pub(crate) fn bootable(arch: Arch, kernel: PathBuf) -> Result<PathBuf> {
    match arch.description().form {
        Form::Elf => Ok(kernel),
        Form::Flat => {
            let bytes =
                fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
            let image = if arch == Arch::Arm64 {
                let image = flat::<object::elf::FileHeader64<Endianness>>(&bytes)?;
                let (at, magic) = ARM64_MAGIC;
                ensure!(
                    image.get(at..at + magic.len()) == Some(magic),
                    "the kernel does not begin with an arm64 Image header"
                );
                image
            } else {
                flat::<object::elf::FileHeader32<Endianness>>(&bytes)?
            };
            let path = kernel.with_extension("image");
            fs::write(&path, image).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        }
    }
}

/// The memory that an ELF file of a PC describes, from its lowest address on.
pub(crate) fn flat_of_pc(arch: Arch, bytes: &[u8]) -> Result<Vec<u8>> {
    if arch == Arch::X86_64 {
        flat::<object::elf::FileHeader64<Endianness>>(bytes)
    } else {
        flat::<object::elf::FileHeader32<Endianness>>(bytes)
    }
}

/// The memory that an ELF file describes.
fn flat<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Vec<u8>> {
    let header = Elf::parse(bytes).context("not an ELF file of this architecture")?;
    let endian = header.endian()?;
    let loaded: Vec<_> = header
        .program_headers(endian, bytes)?
        .iter()
        .filter(|segment| {
            segment.p_type(endian) == object::elf::PT_LOAD && segment.p_memsz(endian).into() > 0
        })
        .collect();
    let lowest = |segment: &&Elf::ProgramHeader| segment.p_paddr(endian).into();
    let start = loaded.iter().map(lowest).min().context("the kernel has nothing to load")?;
    let mut image = Vec::new();
    for segment in &loaded {
        let offset = lowest(segment) - start;
        let top = offset.saturating_add(segment.p_memsz(endian).into());
        ensure!(
            top <= LARGEST,
            "the kernel has a segment at {:#x}, too far from its lowest at {start:#x}",
            lowest(segment)
        );
        let (offset, top) = (usize::try_from(offset)?, usize::try_from(top)?);
        image.resize(image.len().max(top), 0);
        let data = segment
            .data(endian, bytes)
            .map_err(|()| anyhow::anyhow!("a segment lies outside of the file"))?;
        ensure!(data.len() <= top - offset, "a segment's file part is larger than its memory");
        image[offset..offset + data.len()].copy_from_slice(data);
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 32-bit ELF file with these segments: physical address, data, size in memory.
    fn elf(segments: &[(u32, &[u8], u32)]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
        bytes.resize(16, 0);
        let count = u16::try_from(segments.len()).unwrap();
        let words = |bytes: &mut Vec<u8>, words: &[u32]| {
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        };
        let halves = |bytes: &mut Vec<u8>, halves: &[u16]| {
            halves.iter().for_each(|half| bytes.extend(half.to_le_bytes()));
        };
        halves(&mut bytes, &[2, 40]);
        words(&mut bytes, &[1, 0, 52, 0, 0]);
        halves(&mut bytes, &[52, 32, count, 0, 0, 0]);
        let mut at = 52 + 32 * u32::from(count);
        for (address, data, size) in segments {
            let length = u32::try_from(data.len()).unwrap();
            // The virtual address is another one, and means nothing here.
            words(&mut bytes, &[1, at, address ^ 0x8000_0000, *address, length, *size, 7, 4]);
            at += length;
        }
        segments.iter().for_each(|(_, data, _)| bytes.extend_from_slice(data));
        bytes
    }

    fn flat32(segments: &[(u32, &[u8], u32)]) -> Result<Vec<u8>> {
        flat::<object::elf::FileHeader32<Endianness>>(&elf(segments))
    }

    #[test]
    fn segments_lie_by_physical_address_with_zeros_between_and_behind() {
        let image = flat32(&[(0x1008, b"data", 7), (0x1000, b"text", 4)]).unwrap();
        assert_eq!(image, b"text\0\0\0\0data\0\0\0");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        assert!(flat32(&[]).is_err());
        assert!(flat32(&[(0x1000, b"text", 2)]).is_err());
        assert!(flat32(&[(0, b"low", 3), (0xc000_0000, b"high", 4)]).is_err());
        assert!(flat::<object::elf::FileHeader64<Endianness>>(&elf(&[(0, b"x", 1)])).is_err());
    }
}
