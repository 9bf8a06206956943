//! System calls about memory.

use super::table::calls;
use crate::abi::USER_TOP;
use crate::error::{Errno, SysResult};
use crate::files::open::Target;
use crate::files::tree::{Content, Special};
use crate::memory::areas::{Area, PAGE};
use crate::memory::space::{Memory, Staged, Wanted};
use crate::process::current;
use alloc::sync::Arc;
use machine::arch::paging::Access;
use threads::sched::Mutex;

calls! {
    #[cfg(target_pointer_width = "64")]
    "mmap" (at, length, protection, flags, file, offset) => mmap(at, length, protection, flags, file, offset);
    "mmap2" (at, length, protection, flags, file, page) => mmap(at, length, protection, flags, file, page << 12);
    "munmap" (at, length) => munmap(at, length);
    "mprotect" (at, length, protection) => mprotect(at, length, protection);
    "mremap" (at, old, new, flags, to) => mremap(at, old, new, flags, to);
    "brk" (wanted) => brk(wanted);
    "madvise" (at, length, advice) => madvise(at, length, advice);
}

const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_TYPE: u64 = 0xf;
const MAP_SHARED: u64 = 1;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;
const MADV_DONTNEED: u64 = 4;

fn memory() -> Result<Arc<Mutex<Memory>>, Errno> {
    current().memory().ok_or(Errno::ENOMEM)
}

/// Whether a protection can be read: all that can be written or executed can.
const fn is_readable(protection: u64) -> bool {
    protection & (PROT_READ | PROT_WRITE | PROT_EXEC) != 0
}

const fn access(protection: u64) -> Access {
    Access { write: protection & PROT_WRITE != 0, exec: protection & PROT_EXEC != 0 }
}

/// A length in whole pages.
fn whole_pages(length: u64) -> Result<u64, Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    length.checked_next_multiple_of(PAGE).filter(|&length| length <= USER_TOP).ok_or(Errno::ENOMEM)
}

/// A page-aligned range inside the user half.
fn range(at: u64, length: u64) -> Result<(u64, u64), Errno> {
    if !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let length = whole_pages(length)?;
    let top = at.checked_add(length).filter(|&top| top <= USER_TOP).ok_or(Errno::ENOMEM)?;
    Ok((at, top))
}

pub(crate) fn mmap(
    at: u64,
    length: u64,
    protection: u64,
    flags: u64,
    file: u64,
    offset: u64,
) -> SysResult {
    let length = whole_pages(length)?;
    if !(MAP_SHARED..=MAP_SHARED_VALIDATE).contains(&(flags & MAP_TYPE)) {
        return Err(Errno::EINVAL);
    }
    let wanted = match flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) {
        0 => Wanted::Anywhere(at),
        _ if !at.is_multiple_of(PAGE) => return Err(Errno::EINVAL),
        MAP_FIXED => Wanted::Exactly(at),
        _ => Wanted::There(at),
    };
    let mut like = Area {
        lowest: 0,
        top: 0,
        read: is_readable(protection),
        access: access(protection),
        grows: false,
        of_file: false,
    };
    let staged = if flags & MAP_ANONYMOUS != 0 {
        Staged::default()
    } else {
        // Private: a copy of the file as it is now.
        if !offset.is_multiple_of(PAGE) || offset.checked_add(length).is_none() {
            return Err(Errno::EINVAL);
        }
        let file = current().files().lock().get(file)?.file;
        match &file.target {
            Target::Node(node, _) => match node.content {
                Content::Special(Special::Zero) => Staged::default(),
                Content::Fixed(_) | Content::File(_) => {
                    like.of_file = true;
                    Staged::copy(node, offset, length)?
                }
                _ => return Err(Errno::ENODEV),
            },
            _ => return Err(Errno::ENODEV),
        }
    };
    memory()?.lock().map(wanted, length, like, staged)
}

pub(crate) fn munmap(at: u64, length: u64) -> SysResult {
    let (lowest, top) = range(at, length).map_err(|_| Errno::EINVAL)?;
    memory()?.lock().unmap(lowest, top)?;
    Ok(0)
}

pub(crate) fn mprotect(at: u64, length: u64, protection: u64) -> SysResult {
    if length == 0 && at.is_multiple_of(PAGE) {
        return Ok(0);
    }
    let (lowest, top) = range(at, length)?;
    memory()?.lock().protect(lowest, top, is_readable(protection), access(protection))?;
    Ok(0)
}

/// Makes a mapping larger or smaller; moves it if it may.
pub(crate) fn mremap(at: u64, old: u64, new: u64, flags: u64, to: u64) -> SysResult {
    let may_move = flags & MREMAP_MAYMOVE != 0;
    let is_fixed = flags & MREMAP_FIXED != 0;
    let (lowest, old_top) = range(at, old).map_err(|_| Errno::EINVAL)?;
    let new = whole_pages(new)?;
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED) != 0
        || is_fixed && (!may_move || !to.is_multiple_of(PAGE))
    {
        return Err(Errno::EINVAL);
    }
    let to = is_fixed.then_some(to);
    memory()?.lock().remap(lowest, old_top - lowest, new, may_move, to)
}

/// Advice is not needed, but for the one that is a promise: what is not needed reads as zeros afterwards.
pub(crate) fn madvise(at: u64, length: u64, advice: u64) -> SysResult {
    if !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if length == 0 || advice != MADV_DONTNEED {
        return Ok(0);
    }
    let (lowest, top) = range(at, length)?;
    memory()?.lock().discard(lowest, top)?;
    Ok(0)
}

pub(crate) fn brk(wanted: u64) -> SysResult {
    Ok(memory()?.lock().brk(wanted))
}
