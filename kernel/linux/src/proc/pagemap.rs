//! /proc/PID/pagemap: a number of 64 bits for each page of an address space, by its place.
//!
//! Bits: 63: there; 61: of a file, or shared; 56: mapped by nobody else; 55: written since that was last forgotten, which never
//! happens here; below, for the privileged, the number of the frame.

use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::areas::PAGE;
use crate::process::credentials::capability;
use crate::process::{Process, current_task};
use machine::memory::frames;

const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;
const WRITTEN: u64 = 1 << 55;
/// Bytes of an entry.
const ENTRY: usize = 8;

/// Entries from a place on, as many as there is room for; none behind the last page.
pub(super) fn read(process: &Process, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
    if !position.is_multiple_of(ENTRY as u64) || !to.len().is_multiple_of(ENTRY) {
        return Err(Errno::EINVAL);
    }
    let shows_frames = current_task().credentials().can(capability::SYS_ADMIN);
    let Some(memory) = process.memory() else { return Ok(0) };
    let memory = memory.lock();
    let first = position / ENTRY as u64;
    let left = (USER_TOP / PAGE).saturating_sub(first).min((to.len() / ENTRY) as u64);
    for (entry, page) in to.chunks_exact_mut(ENTRY).zip(first..first + left) {
        let address = page * PAGE;
        let mut value = 0;
        if let Some(area) = memory.areas().at(address) {
            value |= WRITTEN;
            if let Some((frame, _)) = memory.tables.lookup(address) {
                let is_of_file = area.is_shared() || area.has_file() && !area.access.write;
                let is_alone = !area.is_shared() && frames::refs(frame) == 1;
                value |= PRESENT
                    | if is_of_file { OF_FILE } else { 0 }
                    | if is_alone { EXCLUSIVE } else { 0 }
                    | if shows_frames { frame.addr() / PAGE } else { 0 };
            }
        }
        entry.copy_from_slice(&value.to_le_bytes());
    }
    Ok(left as usize * ENTRY)
}
