//! Where the parts of an address space begin: drawn for each program that starts.
//!
//! Each part is moved by so many pages below (or above) its usual place, as Linux moves it on this
//! architecture ([`abi::random`](crate::abi::random)).

use super::areas::{PAGE, STACK_GUARD_GAP};
use crate::abi::{DYNAMIC_BASE, USER_TOP, random};
use core::sync::atomic::{AtomicU64, Ordering};

/// What `/proc/sys/kernel/randomize_va_space` says: 0: nothing is drawn; 1: all but the heap; 2:
/// all.
pub(crate) static RANDOMIZE: AtomicU64 = AtomicU64::new(2);

/// The places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The end of the first stack.
    pub stack_top: u64,
    /// How far below it the first stack's contents end.
    pub stack_offset: u64,
    /// Mappings whose place the kernel chooses lie below this, while there is room.
    pub mmap_top: u64,
    /// Where a program that can lie anywhere is put.
    pub image: u64,
    /// How far behind the image the heap starts.
    pub heap_offset: u64,
}

impl Layout {
    /// Draws the places. `is_fixed`: the program asked for those that are always the same.
    pub fn draw(bytes: [[u8; 16]; 2], is_fixed: bool, stack_limit: u64) -> Self {
        let half = |which: usize, from: usize| {
            let half = &bytes[which][from..from + 8];
            half.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        let mode = if is_fixed { 0 } else { RANDOMIZE.load(Ordering::Relaxed) };
        let drawn = |number: u64, bits: u32| if mode == 0 { 0 } else { number & ((1 << bits) - 1) };
        let (one, two) = (half(0, 0), half(0, 8));
        let (three, four) = (half(1, 0), half(1, 8));
        let stack_top = USER_TOP - drawn(one, random::STACK_BITS) * PAGE;
        // What lies below the stack: as far as it may grow, and as far as it may have been moved.
        let most = USER_TOP / 6 * 5;
        let least = 128 << 20;
        let moved = PAGE << random::STACK_BITS;
        let stack = stack_limit.saturating_add(moved + STACK_GUARD_GAP).clamp(least, most);
        let mmap_top = (USER_TOP - stack) & !(PAGE - 1);
        let heap_pages = if mode >= 2 { four % (random::HEAP_BYTES / PAGE) } else { 0 };
        Self {
            stack_top,
            stack_offset: drawn(one >> 32, 9) * 16,
            mmap_top: mmap_top - drawn(two, random::MMAP_BITS) * PAGE,
            image: DYNAMIC_BASE + drawn(three, random::MMAP_BITS) * PAGE,
            heap_offset: heap_pages * PAGE,
        }
    }
}

/// Where of a program, and of what it was started with, the parts lie that /proc tells of: the
/// first address of each, and where it ends. A program that unmaps them changes nothing here.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extents {
    /// The segments with instructions, and the last one, with that in the file.
    pub(crate) code: [u64; 2],
    pub(crate) data: [u64; 2],
    /// Strings.
    pub(crate) arguments: [u64; 2],
    pub(crate) environment: [u64; 2],
}
