//! How deep stacks have been, exactly: found once, when nothing runs on them any more.
//!
//! A stack is zero when it is handed out, so what its owner wrote begins at the lowest word that is
//! not zero, above the end word. The page tables say in which page to look: below the lowest dirty
//! page there is nothing, and most often the word is in that page ([`first_written`]).
//!
//! ```text
//!   page 0 (top)   dirty    | frames ...                 |
//!   page 1         dirty    | frames ...  0  0  0  0  0  |  the lowest word that is not zero: here
//!   page 2         clean    |  not looked at             |
//!   page 3         clean    |  not looked at             |  end word
//! ```
//!
//! [`Depths`] counts the depths in Linux's classes and keeps the deepest. What an owner wrote as
//! zeros counts as not written, as it does on Linux.
//!
//! Neighbours: [`crate::meter`] has the samples of stacks in use, which are lower bounds.

use crate::addr::{Addr, AddrRange, ByteSize};
use crate::erase::DirtyPages;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The lowest word of a stack that was written: looks with `find` in each dirty page of `stack`,
/// the lowest first, for the lowest word that is not zero. `end` is the address right above the end
/// word. The stack's top if nothing was written.
pub fn first_written(
    stack: AddrRange,
    end: Addr,
    dirty: DirtyPages,
    mut find: impl FnMut(AddrRange) -> Option<Addr>,
) -> Addr {
    let mut page = stack.lowest;
    while page < stack.top {
        let next = page.wrapping_add(ByteSize::PAGE);
        let is_dirty = DirtyPages::page_of(page, stack.top).is_none_or(|n| dirty.contains(n));
        let lowest = if page < end { end } else { page };
        if is_dirty && lowest < next {
            if let Some(found) = find(AddrRange { lowest, top: next }) {
                return found;
            }
        }
        page = next;
    }
    stack.top
}

/// Classes of depth: each holds what is as deep as its limit or less deep, the last one the rest.
pub const CLASSES: usize = 8;

/// The depths of stacks that have ended: how many of each class, and the deepest.
#[derive(Debug, Default)]
pub struct Depths {
    counts: [AtomicU64; CLASSES],
    /// One more than the bytes that the deepest has left; 0: none has ended.
    least_left: AtomicUsize,
}

impl Depths {
    /// What Linux calls the classes in /proc/vmstat.
    pub const NAMES: [&str; CLASSES] = [
        "kstack_1k",
        "kstack_2k",
        "kstack_4k",
        "kstack_8k",
        "kstack_16k",
        "kstack_32k",
        "kstack_64k",
        "kstack_rest",
    ];

    /// None has ended.
    pub const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; CLASSES], least_left: AtomicUsize::new(0) }
    }

    /// The class of a depth.
    pub const fn class(depth: ByteSize) -> usize {
        let mut class = 0;
        while class < CLASSES - 1 && depth.get() > 1024 << class {
            class += 1;
        }
        class
    }

    /// How many classes there are for stacks of `size`, as on Linux: those that a depth can be of.
    pub const fn classes(size: ByteSize) -> usize {
        Self::class(size) + 1
    }

    /// Counts a stack of `size` that has ended with `left` bytes never used. Whether none before
    /// left so little.
    pub fn note(&self, size: ByteSize, left: ByteSize) -> bool {
        let depth = ByteSize::new(size.get().saturating_sub(left.get()));
        self.counts[Self::class(depth)].fetch_add(1, Ordering::Relaxed);
        // Most often it is no record: a load and a comparison.
        let mut least = self.least_left.load(Ordering::Relaxed);
        let mine = left.get().saturating_add(1);
        while least == 0 || mine < least {
            let set = self.least_left.compare_exchange_weak(
                least,
                mine,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match set {
                Ok(_) => return true,
                Err(other) => least = other,
            }
        }
        false
    }

    /// How many have ended whose depth is of a class.
    pub fn count(&self, class: usize) -> u64 {
        self.counts.get(class).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The bytes that the deepest has left; `None` while none has ended.
    pub fn least_left(&self) -> Option<ByteSize> {
        self.least_left.load(Ordering::Relaxed).checked_sub(1).map(ByteSize::new)
    }

    /// Forgets the deepest: the next one is a record.
    pub fn forget_record(&self) {
        self.least_left.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const STACK: AddrRange = AddrRange { lowest: Addr::new(0x4000), top: Addr::new(0x8000) };
    const END: Addr = Addr::new(0x4008);

    /// Looks for a word, and keeps where it looked.
    fn search(written: &[usize], dirty: u32) -> (usize, Vec<usize>) {
        let mut looked = Vec::new();
        let found = first_written(STACK, END, DirtyPages::from_bits(dirty), |part| {
            looked.push(part.lowest.get());
            written.iter().copied().filter(|&at| part.contains(Addr::new(at))).min().map(Addr::new)
        });
        (found.get(), looked)
    }

    /// Red if a clean page is looked at, the end word is taken for the owner's, or a page that was
    /// written with zeros ends the search.
    #[test]
    fn t13_the_depth_is_looked_for_in_the_lowest_dirty_page_and_not_below() {
        assert_eq!(search(&[0x7f00, 0x7008], 0b0001), (0x7008, [0x7000].to_vec()));
        assert_eq!(search(&[0x7f00, 0x6ff8], 0b0011), (0x6ff8, [0x6000].to_vec()));
        // A hole: a page between was jumped over.
        assert_eq!(search(&[0x7f00, 0x5000], 0b0101), (0x5000, [0x5000].to_vec()));
        // The end word is no owner's.
        assert_eq!(search(&[0x4000, 0x4008], 0b1111), (0x4008, [0x4008].to_vec()));
        assert_eq!(search(&[0x4000, 0x7ff8], 0b1001), (0x7ff8, [0x4008, 0x7000].to_vec()));
        // Zeros are no depth, and nothing is none.
        assert_eq!(search(&[], 0b0010), (0x8000, [0x6000].to_vec()));
        assert_eq!(search(&[0x7f00], 0), (0x8000, Vec::new()));
    }

    #[test]
    fn t13_classes_are_linuxs_and_only_those_that_a_stack_can_reach() {
        let class = |bytes| Depths::NAMES[Depths::class(ByteSize::new(bytes))];
        for (bytes, name) in [
            (0, "kstack_1k"),
            (1024, "kstack_1k"),
            (1025, "kstack_2k"),
            (2048, "kstack_2k"),
            (4096, "kstack_4k"),
            (8192, "kstack_8k"),
            (8193, "kstack_16k"),
            (16384, "kstack_16k"),
            (32768, "kstack_32k"),
            (65536, "kstack_64k"),
            (65537, "kstack_rest"),
        ] {
            assert_eq!(class(bytes), name, "{bytes}");
        }
        assert_eq!(Depths::classes(ByteSize::kib(8)), 4);
        assert_eq!(Depths::classes(ByteSize::kib(16)), 5);
    }

    /// Red if an equal one is a record, the first is none, or one that is less deep replaces it.
    #[test]
    fn t13_only_one_that_leaves_less_than_all_before_is_a_record() {
        let depths = Depths::new();
        let note = |left| depths.note(ByteSize::kib(16), ByteSize::new(left));
        assert_eq!(depths.least_left(), None);
        assert!(note(16_000) && !note(16_000) && !note(16_100) && note(15_992) && note(0));
        assert!(!note(0), "as deep as the deepest");
        assert_eq!(depths.least_left(), Some(ByteSize::ZERO));
        assert_eq!((depths.count(0), depths.count(4)), (4, 2));
        depths.forget_record();
        assert!(note(9000) && depths.least_left() == Some(ByteSize::new(9000)));
    }
}
