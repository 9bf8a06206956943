//! What programs that try their address space have in common: mappings, words of them, and children
//! that may die of it.

use crate::arch::nr;
use crate::calls::call;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// No access.
pub const NONE: usize = 0;
/// Reads.
pub const READ: usize = 1;
/// Reads and writes.
pub const WRITE: usize = 3;
/// A mapping of its own.
pub const PRIVATE: usize = 0x2;
/// In the place of what is there.
pub const FIXED: usize = 0x10;
/// Of no file.
pub const ANONYMOUS: usize = 0x20;
/// Address space, for the time being.
pub const NO_RESERVE: usize = 0x4000;
/// What a program dies of that uses memory it may not.
pub const SIGSEGV: i32 = 11;

/// Anonymous memory.
pub fn map(at: usize, bytes: usize, protection: usize, flags: usize) -> isize {
    call(nr::MMAP, [at, bytes, protection, PRIVATE | ANONYMOUS | flags, usize::MAX, 0])
}

/// Whether a call failed. Not what is negative: half of a 32-bit program's addresses are.
pub fn is_error(result: isize) -> bool {
    (-4095..0).contains(&result)
}

/// A word of a mapping.
fn word(at: usize) -> &'static AtomicUsize {
    // SAFETY: (1) callers pass addresses in mappings that they made, or want to die of it; (2)
    // nothing but atomics is used there.
    unsafe { AtomicUsize::from_ptr(core::ptr::with_exposed_provenance_mut(at)) }
}

/// Reads a word of memory.
pub fn read(at: usize) -> usize {
    word(at).load(Ordering::SeqCst)
}

/// Writes a word of memory.
pub fn write(at: usize, value: usize) {
    word(at).store(value, Ordering::SeqCst);
}

/// Runs `body` in a child; its wait status.
pub fn child(body: impl FnOnce() -> i32) -> i32 {
    match crate::fork() {
        0 => crate::exit(body()),
        1.. => crate::wait().unwrap_or(-1),
        _ => -1,
    }
}

/// Whether a child that does this is killed by SIGSEGV.
pub fn is_deadly(body: impl FnOnce()) -> bool {
    let status = child(|| {
        body();
        7
    });
    status & 0x7f == SIGSEGV
}
