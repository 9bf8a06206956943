//! The program's paging: one reservation of address space, parts of which are memory.

use std::io;

/// Where the reservation is.
pub const LOWEST: usize = 0x6000_0000_0000;
/// Its size: more than 64 stacks and their guards.
const SIZE: usize = 8 << 20;

fn map(lowest: usize, size: usize, protection: i32, how: i32) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | how;
    // SAFETY: the addresses are this module's: `reserve` refuses any that something has.
    let at = unsafe { libc::mmap(lowest as *mut _, size, protection, flags, -1, 0) };
    if at as usize == lowest { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the addresses.
pub fn reserve() {
    map(LOWEST, SIZE, libc::PROT_NONE, libc::MAP_FIXED_NOREPLACE).expect("the addresses are free");
}

/// Makes part of it zeroed memory, or nothing.
pub fn set(lowest: usize, size: usize, memory: bool) -> io::Result<()> {
    assert!(lowest >= LOWEST && lowest + size <= LOWEST + SIZE);
    let protection = if memory { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
    map(lowest, size, protection, libc::MAP_FIXED)
}
