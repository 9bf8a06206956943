//! What the page tables of every machine are asked, and answer.

/// What a page may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Writes.
    pub write: bool,
    /// Instruction fetches.
    pub exec: bool,
}

/// There was no frame for a page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;
