//! What page tables map, found by walking them as the CPU does: from the root that is loaded, to
//! every entry that maps something.
//!
//! ```text
//!   root                    0xffff_8880_0000_0000   index 273: a table       write, execute
//!    └ level 2              0xffff_8880_0000_0000   index 0: a table         write, execute
//!       └ level 1           0xffff_8880_0000_0000   index 0: a table         write, execute
//!          └ page           0xffff_8880_0010_1000   physical 0x10_1000   neither: text's alias
//! ```
//!
//! A walk may meet another CPU that maps a stack: it sees the entry before or after. Tables of the
//! kernel's half are never freed. What each form of entry says is in the trees' own `mappings`.

use super::paging::Access;
use crate::memory::direct;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// What an entry, or all on the way to it, allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// What the kernel may do.
    pub access: Access,
    /// Whether user mode may do anything.
    pub user: bool,
}

impl Rights {
    /// All of them.
    pub(in crate::arch) const ALL: Self =
        Self { access: Access { write: true, exec: true }, user: true };

    /// What both allow.
    const fn and(self, other: Self) -> Self {
        let access = Access {
            write: self.access.write && other.access.write,
            exec: self.access.exec && other.access.exec,
        };
        Self { access, user: self.user && other.user }
    }
}

/// A page, or a larger piece that one entry maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Its lowest address.
    pub lowest: u64,
    /// Its size.
    pub bytes: u64,
    /// The physical address of its lowest byte.
    pub physical: u64,
    /// What all levels together allow.
    pub rights: Rights,
}

/// What an entry says.
pub(in crate::arch) enum Entry {
    /// Nothing.
    Absent,
    /// That there is a table at this physical address, and what is allowed below at most.
    Table(u64, Rights),
    /// That it maps memory from this physical address on.
    Maps(u64, Rights),
}

/// The form of page tables.
pub(in crate::arch) struct Form {
    /// How far an address is shifted for the index of each level, from the root on.
    pub shifts: &'static [u32],
    /// What an entry says, at this level.
    pub read: fn(value: u64, level: usize) -> Entry,
}

impl Form {
    /// Calls `found` with everything that is mapped below these entries of the root at physical
    /// address `root`, in ascending order. `lowest` is the address that its entry 0 is about.
    pub(in crate::arch) fn walk(
        &self,
        root: u64,
        entries: Range<u64>,
        lowest: u64,
        found: &mut dyn FnMut(Mapping),
    ) {
        self.below(root, 0, entries, lowest, Rights::ALL, found);
    }

    fn below(
        &self,
        table: u64,
        level: usize,
        entries: Range<u64>,
        lowest: u64,
        above: Rights,
        found: &mut dyn FnMut(Mapping),
    ) {
        let Some(&shift) = self.shifts.get(level) else { return };
        for index in entries {
            // SAFETY: (1) tables are frames in the direct map, and none of the kernel's half is
            // freed; (2) an index has nine bits at most; (3) a CPU may change bits of it at any
            // time, hence atomics.
            let entry = unsafe { &*direct::<AtomicU64>(table).add(index as usize & 511) };
            let lowest = lowest + (index << shift);
            match (self.read)(entry.load(Ordering::Acquire), level) {
                Entry::Absent => {}
                Entry::Table(table, rights) => {
                    self.below(table, level + 1, 0..512, lowest, above.and(rights), found);
                }
                Entry::Maps(physical, rights) => {
                    let rights = above.and(rights);
                    found(Mapping { lowest, bytes: 1 << shift, physical, rights });
                }
            }
        }
    }
}
