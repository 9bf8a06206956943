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

/// Cuts memory into what one entry of the tables maps: `large` bytes wherever that many lie in it, 4 KiB at its ends. So no entry
/// reaches beyond: what is next to memory may be a device, or another owner's. `map` is given an address and whether it is large.
pub fn in_pieces(
    lowest: u64,
    top: u64,
    large: u64,
    mut map: impl FnMut(u64, bool) -> Result<(), NoMemory>,
) -> Result<(), NoMemory> {
    const PAGE: u64 = 4096;
    let (mut at, top) = (lowest.next_multiple_of(PAGE), top & !(PAGE - 1));
    while at < top {
        let is_large = at.is_multiple_of(large) && top - at >= large;
        map(at, is_large)?;
        at += if is_large { large } else { PAGE };
    }
    Ok(())
}
