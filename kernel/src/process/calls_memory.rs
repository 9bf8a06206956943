//! System calls about memory.

use super::abi::USER_TOP;
use super::current;
use super::error::{Errno, SysResult};
use super::files::Target;
use super::memory::{Area, Kind, Memory};
use crate::arch::paging::Access;
use crate::sync::Mutex;
use alloc::sync::Arc;

const PAGE: u64 = 4096;
const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MREMAP_MAYMOVE: u64 = 1;

fn memory() -> Result<Arc<Mutex<Memory>>, Errno> {
    current().memory().ok_or(Errno::ENOMEM)
}

fn access(protection: u64) -> Access {
    Access { write: protection & PROT_WRITE != 0, exec: protection & PROT_EXEC != 0 }
}

/// A page-aligned range inside the user half.
fn range(at: u64, length: u64) -> Result<(u64, u64), Errno> {
    if !at.is_multiple_of(PAGE) || length == 0 {
        return Err(Errno::EINVAL);
    }
    let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
    let top = at.checked_add(length).filter(|&top| top <= USER_TOP).ok_or(Errno::ENOMEM)?;
    Ok((at, top))
}

pub(super) fn mmap(
    at: u64,
    length: u64,
    protection: u64,
    flags: u64,
    file: u64,
    offset: u64,
) -> SysResult {
    let fixed = flags & MAP_FIXED != 0;
    let (_, top) = range(if fixed { at } else { 0 }, length)?;
    let length = top - if fixed { at } else { 0 };
    let memory = memory()?;
    let lowest = {
        let mut memory = memory.lock();
        let lowest = if fixed { at } else { memory.find_space(length).ok_or(Errno::ENOMEM)? };
        if fixed {
            memory.unmap(lowest, lowest + length);
        }
        memory.add(Area {
            lowest,
            top: lowest + length,
            read: protection & (PROT_READ | PROT_WRITE | PROT_EXEC) != 0,
            access: access(protection),
            kind: Kind::Mapped,
        })?;
        lowest
    };
    if flags & MAP_ANONYMOUS == 0 {
        // Private: a copy of the file as it is now.
        let file = current().files.lock().get(file)?.file;
        let Target::Node(node, _) = &file.target else { return Err(Errno::EACCES) };
        let mut piece = [0; 512];
        let mut done = 0;
        while done < length {
            let read = node.read_at(offset + done, &mut piece)?;
            if read == 0 {
                break;
            }
            let read = read.min((length - done) as usize);
            memory.lock().write_image(lowest + done, &piece[..read])?;
            done += read as u64;
        }
    }
    Ok(lowest)
}

pub(super) fn munmap(at: u64, length: u64) -> SysResult {
    let (lowest, top) = range(at, length)?;
    memory()?.lock().unmap(lowest, top);
    Ok(0)
}

pub(super) fn mprotect(at: u64, length: u64, protection: u64) -> SysResult {
    if length == 0 {
        return Ok(0);
    }
    let (lowest, top) = range(at, length)?;
    memory()?.lock().protect(lowest, top, protection & 7 != 0, access(protection))?;
    Ok(0)
}

/// Grows or shrinks a mapping; moves it if it may.
pub(super) fn mremap(at: u64, old: u64, new: u64, flags: u64) -> SysResult {
    let (lowest, old_top) = range(at, old)?;
    let (_, new_top) = range(at, new)?;
    let memory = memory()?;
    let mut memory = memory.lock();
    if new_top <= old_top {
        if new_top < old_top {
            memory.unmap(new_top, old_top);
        }
        return Ok(lowest);
    }
    if flags & MREMAP_MAYMOVE == 0 {
        return Err(Errno::ENOMEM);
    }
    let area = memory.areas().iter().find(|area| area.lowest <= lowest && old_top <= area.top);
    let area = *area.ok_or(Errno::EFAULT)?;
    let to = memory.find_space(new_top - lowest).ok_or(Errno::ENOMEM)?;
    memory.add(Area { lowest: to, top: to + (new_top - lowest), ..area })?;
    let mut piece = [0; 512];
    for offset in (0..old_top - lowest).step_by(piece.len()) {
        memory.read(lowest + offset, &mut piece)?;
        memory.write_image(to + offset, &piece)?;
    }
    memory.unmap(lowest, old_top);
    Ok(to)
}

pub(super) fn brk(wanted: u64) -> SysResult {
    Ok(memory()?.lock().brk(wanted))
}
