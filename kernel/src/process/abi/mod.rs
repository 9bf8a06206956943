//! The numbers and layouts of the Linux system-call interface, one file per architecture.
//!
//! Everything that differs between architectures in what a program sees (system-call numbers, structure layouts,
//! register conventions) stands in these files and nowhere else; the rest of `process` uses the names from here.
//! A new architecture adds a file with the same names.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

/// Writes a little-endian integer into a structure being laid out by offset.
pub(super) fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}
