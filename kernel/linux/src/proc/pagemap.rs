//! /proc/PID/pagemap: a number of 64 bits for each page of an address space
//! (Documentation/admin-guide/mm/pagemap.rst).
//!
//! Which frames they are is for those to know who may administrate the machine; all others read 0
//! there.

use crate::error::Errno;
use crate::memory::areas::PAGE;
use crate::memory::space::Memory;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions::{self, Looks};
use crate::process::{Process, current_task};

/// Bytes of an entry.
const ENTRY: u64 = 8;
/// Bits of an entry.
const FRAME: u64 = (1 << 55) - 1;
/// Written since that was last forgotten, which no call asks for here.
const WRITTEN: u64 = 1 << 55;
const ONLY_HERE: u64 = 1 << 56;
const OF_FILE: u64 = 1 << 61;
const PRESENT: u64 = 1 << 63;

/// Entries made with the address space's lock held at a time.
const PIECE: u64 = 512;

fn entry(memory: &Memory, page: u64, with_frames: bool) -> u64 {
    let Some(area) = memory.areas().at(page) else { return 0 };
    let Some(there) = memory.page_of(area, page) else { return 0 };
    let number = if with_frames { (there.frame.addr() / PAGE) & FRAME } else { 0 };
    let only_here = if there.users == 1 { ONLY_HERE } else { 0 };
    PRESENT | WRITTEN | number | only_here | if there.of_file { OF_FILE } else { 0 }
}

/// Reads entries, whole ones; 0: the end.
pub(super) fn read_at(process: &Process, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
    if !permissions::may_look_into(process, Looks::AsFile) {
        return Err(Errno::EACCES);
    }
    let with_frames = current_task().credentials().can(capability::SYS_ADMIN);
    if !position.is_multiple_of(ENTRY) || !(to.len() as u64).is_multiple_of(ENTRY) {
        return Err(Errno::EINVAL);
    }
    // What has no memory any more has nothing to tell.
    let Some(memory) = process.memory() else { return Ok(0) };
    let entries = crate::abi::USER_TOP.div_ceil(PAGE);
    let first = (position / ENTRY).min(entries);
    let end = first.saturating_add(to.len() as u64 / ENTRY).min(entries);
    let mut page = first;
    while page < end {
        if threads::sched::current().killed() {
            return Err(Errno::EINTR);
        }
        let stop = end.min(page + PIECE);
        let memory = memory.lock();
        while page < stop {
            let at = ((page - first) * ENTRY) as usize;
            let entry = entry(&memory, page * PAGE, with_frames);
            to[at..at + ENTRY as usize].copy_from_slice(&entry.to_ne_bytes());
            page += 1;
        }
    }
    Ok(((end - first) * ENTRY) as usize)
}
