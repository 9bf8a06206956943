//! What a node knows of being mapped: by how many, and its seals.

pub(crate) use super::file_bytes::NoPage;

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What may not be done to a memory file any more (Linux's `F_SEAL_…`).
pub(crate) mod seal {
    pub(crate) const SEAL: u32 = 1;
    pub(crate) const SHRINK: u32 = 2;
    pub(crate) const GROW: u32 = 4;
    pub(crate) const WRITE: u32 = 8;
    pub(crate) const FUTURE_WRITE: u32 = 0x10;
    pub(crate) const EXEC: u32 = 0x20;
    pub(crate) const ALL: u32 = 0x3f;
}

/// Of a node.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// Mappings of it that have not gone, and those of them through which it can be written.
    pub(super) mappings: AtomicU32,
    pub(super) writable: AtomicU32,
    pub(super) seals: AtomicU32,
    /// Whether it can be sealed at all: a memory file.
    pub(super) is_sealable: AtomicBool,
}

impl Mapped {
    /// Mapped nowhere, with no seals.
    pub(crate) const fn new() -> Self {
        Self {
            mappings: AtomicU32::new(0),
            writable: AtomicU32::new(0),
            seals: AtomicU32::new(0),
            is_sealable: AtomicBool::new(false),
        }
    }

    /// Whether a page of it may be in the tables of an address space.
    pub(crate) fn is_mapped(&self) -> bool {
        self.mappings.load(Ordering::SeqCst) != 0
    }

    pub(crate) fn seals(&self) -> u32 {
        self.seals.load(Ordering::SeqCst)
    }
}
