//! System calls about memory.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | mappings: made, taken back, protected, moved |
//! | `range` | the caller's memory, and ranges of it |
//! | `advice` | madvise, mincore, msync, locks, seals |
//! | `memory_file` | memfd_create, and its seals |
//! | `others` | another process's memory |

mod advice;
mod memory_file;
mod others;
mod range;

use super::table::calls;
use crate::abi;
#[cfg(target_pointer_width = "32")]
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::open::Target;
use crate::files::spot::Known;
use crate::files::tree::{Content, Node, Special};
use crate::memory::areas::{Area, PAGE, Source, flag};
use crate::memory::limits::is_too_much;
use crate::memory::object::Object;
use crate::memory::remap::Move;
use crate::memory::space::{Rights, Wanted};
use crate::process::attributes::WRITE_OR_EXECUTE;
#[cfg(target_pointer_width = "32")]
use crate::process::user_memory::get_numbers;
use crate::process::{current, current_task};
#[cfg(target_pointer_width = "64")]
use advice::mseal;
use advice::{madvise, mincore, mlock, mlockall, msync, munlock, munlockall};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::arch::paging::Access;
use memory_file::memfd_create;
pub(super) use memory_file::seals;
use others::{Direction, process_madvise, process_mrelease, process_vm};
use range::{memory, range, whole_pages};

calls! {
    #[cfg(target_pointer_width = "64")]
    "mmap" (at, length, protection, flags, file, offset) => mmap(at, length, protection, flags, file, offset);
    #[cfg(target_pointer_width = "32")]
    "mmap" (arguments) => old_mmap(arguments);
    "mmap2" (at, length, protection, flags, file, page) => mmap(at, length, protection, flags, file, page << 12);
    "munmap" (at, length) => munmap(at, length);
    "mprotect" (at, length, protection) => mprotect(at, length, protection);
    "mremap" (at, old, new, flags, to) => mremap(at, old, new, flags, to);
    "remap_file_pages" (at, length, protection, page) => remap_file_pages(at, length, protection, page);
    "brk" (wanted) => brk(wanted);
    "madvise" (at, length, advice) => madvise(at, length, advice);
    "process_madvise" (fd, vector, count, advice, flags) =>
        process_madvise(fd, (vector, count), advice, flags);
    "process_mrelease" (fd, flags) => process_mrelease(fd, flags);
    "mincore" (at, length, to) => mincore(at, length, to);
    "msync" (at, length, flags) => msync(at, length, flags);
    "mlock" (at, length) => mlock(at, length, 0);
    "mlock2" (at, length, flags) => mlock(at, length, flags);
    "munlock" (at, length) => munlock(at, length);
    "mlockall" (flags) => mlockall(flags);
    "munlockall" () => munlockall();
    #[cfg(target_pointer_width = "64")]
    "mseal" (at, length, flags) => mseal(at, length, flags);
    "memfd_create" (name, flags) => memfd_create(name, flags);
    "process_vm_readv" (process, own, own_count, other, other_count, flags) =>
        process_vm(process, (own, own_count), (other, other_count), flags, Direction::Read);
    "process_vm_writev" (process, own, own_count, other, other_count, flags) =>
        process_vm(process, (own, own_count), (other, other_count), flags, Direction::Write);
}

pub(super) const PROT_READ: u64 = 1;
pub(super) const PROT_WRITE: u64 = 2;
pub(super) const PROT_EXEC: u64 = 4;
const PROT_SEM: u64 = 8;
const PROT_GROWSDOWN: u64 = 0x0100_0000;
const PROT_GROWSUP: u64 = 0x0200_0000;
const MAP_TYPE: u64 = 0xf;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_DROPPABLE: u64 = 8;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_LOCKED: u64 = 0x2000;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_POPULATE: u64 = 0x8000;
const MAP_NONBLOCK: u64 = 0x1_0000;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
/// [`abi::MAP_32BIT`], where there is one.
const LOW: u64 = match abi::MAP_32BIT {
    Some(low) => low,
    None => 0,
};
/// What MAP_SHARED_VALIDATE knows: the flags that Linux had when it came (`LEGACY_MAP_MASK`), those
/// with a meaning here and those with none.
const MAP_KNOWN: u64 = MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_GROWSDOWN
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_HUGETLB
    | MAP_IGNORED
    | LOW;
/// `MAP_DENYWRITE`, `MAP_EXECUTABLE`, `MAP_STACK`, and the size of pages that are large.
const MAP_IGNORED: u64 = 0x800 | 0x1000 | 0x2_0000 | 0x3f << 26;
/// The most that a file can have.
const MAX_FILE: u64 = i64::MAX as u64;
const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;
const MREMAP_DONTUNMAP: u64 = 4;

/// Whether a protection can be read: all that can be written or executed can.
const fn is_readable(protection: u64) -> bool {
    protection & (PROT_READ | PROT_WRITE | PROT_EXEC) != 0
}

pub(super) const fn access(protection: u64) -> Access {
    Access { write: protection & PROT_WRITE != 0, exec: protection & PROT_EXEC != 0 }
}

/// A protection as the caller's personality has it.
pub(super) fn implied(protection: u64) -> u64 {
    if protection & PROT_READ != 0 && current().attributes.reads_imply_instructions() {
        protection | PROT_EXEC
    } else {
        protection
    }
}

/// What is mapped of a file.
fn object_of(
    number: u64,
    (offset, length): (u64, u64),
    protection: u64,
    flags: u64,
) -> Result<(Option<Arc<Object>>, u32), Errno> {
    let file = current_task().files().lock().get(number)?.file;
    let is_file =
        matches!(&file.target, Target::Node(node, _) if node.mode() & 0o170000 == 0o100000);
    if is_file && (length > MAX_FILE || offset > MAX_FILE - length) {
        return Err(Errno::EOVERFLOW);
    }
    let is_shared = match flags & MAP_TYPE {
        MAP_SHARED_VALIDATE if flags & !MAP_KNOWN != 0 => return Err(Errno::EOPNOTSUPP),
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    let Target::Node(node, known) = &file.target else { return Err(Errno::ENODEV) };
    let can_write = file.can_write();
    if !file.can_read() || is_shared && protection & PROT_WRITE != 0 && !can_write {
        return Err(Errno::EACCES);
    }
    if flags & MAP_GROWSDOWN != 0 {
        return Err(Errno::EINVAL);
    }
    match node.content {
        Content::Special(Special::Zero) if is_shared => {
            Ok((Some(Object::nameless(length)?), flag::SHARED))
        }
        Content::Special(Special::Zero) => {
            Ok((Some(Object::of(node.clone(), known.clone(), false)?), 0))
        }
        _ if node.is_mappable() => object_of_node(node, known, is_shared, can_write, protection),
        _ => Err(Errno::ENODEV),
    }
}

fn object_of_node(
    node: &Arc<Node>,
    known: &Arc<Known>,
    is_shared: bool,
    can_write: bool,
    protection: u64,
) -> Result<(Option<Arc<Object>>, u32), Errno> {
    let is_sealed = node.is_sealed_for_writing();
    if is_shared && is_sealed && protection & PROT_WRITE != 0 {
        return Err(Errno::EPERM);
    }
    let writable = is_shared && can_write && !is_sealed;
    let object = Object::of(node.clone(), known.clone(), writable)?;
    let never = if is_shared && !writable { flag::NEVER_WRITE } else { 0 };
    Ok((Some(object), if is_shared { flag::SHARED | never } else { 0 }))
}

pub(crate) fn mmap(
    at: u64,
    length: u64,
    protection: u64,
    flags: u64,
    file: u64,
    offset: u64,
) -> SysResult {
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let is_anonymous = flags & MAP_ANONYMOUS != 0;
    if !is_anonymous {
        // A bad descriptor counts before a bad length.
        let open = current_task().files().lock().get(file)?;
        if open.file.is_path() {
            return Err(Errno::EBADF);
        }
        if flags & MAP_HUGETLB != 0 {
            // No file here has huge pages.
            return Err(Errno::EINVAL);
        }
    }
    let protection = implied(protection);
    let length = whole_pages(length)?;
    if offset.checked_add(length).is_none() {
        return Err(Errno::EOVERFLOW);
    }
    if flags & MAP_HUGETLB != 0 && is_anonymous {
        // There are no huge pages to be had.
        return Err(Errno::ENOMEM);
    }
    const BOTH: u64 = PROT_WRITE | PROT_EXEC;
    if protection & BOTH == BOTH && is_write_or_execute() {
        return Err(Errno::EACCES);
    }
    let wanted = match flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) {
        0 if abi::MAP_32BIT.is_some_and(|low| flags & low != 0) => Wanted::Low(at),
        0 => Wanted::Anywhere(at),
        _ if !at.is_multiple_of(PAGE) => return Err(Errno::EINVAL),
        MAP_FIXED => Wanted::Exactly(at),
        _ => Wanted::There(at),
    };
    let (object, mut area_flags) = if is_anonymous {
        match flags & MAP_TYPE {
            MAP_SHARED if flags & MAP_GROWSDOWN == 0 => {
                if flags & MAP_NORESERVE == 0 && is_too_much(length) {
                    return Err(Errno::ENOMEM);
                }
                (Some(Object::nameless(length)?), flag::SHARED)
            }
            MAP_PRIVATE => (None, 0),
            // Linux's flag has no bit in a word of 32.
            MAP_DROPPABLE if abi::WORD.bytes() < 8 => return Err(Errno::EOPNOTSUPP),
            MAP_DROPPABLE if flags & (MAP_GROWSDOWN | MAP_LOCKED) == 0 => {
                let lost = flag::DROPPABLE | flag::NO_RESERVE;
                (None, lost | flag::WIPED_ON_FORK | flag::NOT_DUMPED)
            }
            _ => return Err(Errno::EINVAL),
        }
    } else {
        object_of(file, (offset, length), protection, flags)?
    };
    let is_lowest = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0 && at < abi::USER_LOWEST;
    if flags & MAP_LOCKED != 0 || is_lowest {
        current().limit_memory();
    }
    let memory = memory()?;
    let mut memory = memory.lock();
    if area_flags & flag::DROPPABLE != 0 && memory.flags_to_come() & flag::LOCKED != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MAP_LOCKED != 0 {
        if !memory.limits.may_lock && memory.limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        area_flags |= flag::LOCKED;
    }
    if flags & MAP_NORESERVE != 0 {
        area_flags |= flag::NO_RESERVE;
    }
    if protection & PROT_READ == 0 && is_readable(protection) {
        area_flags |= flag::READ_UNASKED;
    }
    let offset = if is_anonymous { 0 } else { offset };
    let like = Area {
        grows: flags & MAP_GROWSDOWN != 0,
        flags: area_flags,
        source: object.map(|object| Source { object, offset }),
        ..Area::anonymous(0, 0, is_readable(protection), access(protection))
    };
    let lowest = memory.map(wanted, length, like)?;
    let is_there = flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE;
    let to_come = memory.flags_to_come();
    let is_locked = flags & MAP_LOCKED != 0 || to_come & flag::LOCKED != 0;
    if is_there || is_locked && to_come & flag::LOCKED_ON_FAULT == 0 {
        // As far as it goes: what is missing comes when it is used.
        let _as_far_as_it_goes = memory.populate(lowest, lowest + length);
    }
    Ok(lowest)
}

/// mmap with its arguments in memory, as the first machines had it. Only where the call has a
/// number: 32-bit ARM gives it none.
#[cfg(target_pointer_width = "32")]
fn old_mmap(at: u64) -> SysResult {
    let [at, length, protection, flags, file, offset] = get_numbers(at, WordSize::Four)?;
    mmap(at, length, protection, flags, file, offset)
}

pub(crate) fn munmap(at: u64, length: u64) -> SysResult {
    let (lowest, top) = range(at, length).map_err(|_| Errno::EINVAL)?;
    memory()?.lock().unmap(lowest, top)?;
    Ok(0)
}

pub(crate) fn mprotect(at: u64, length: u64, protection: u64) -> SysResult {
    let grows = protection & (PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP || !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    let (mut lowest, top) = range(at, length)?;
    let known = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM;
    if protection & !(known | PROT_GROWSDOWN | PROT_GROWSUP) != 0 {
        return Err(Errno::EINVAL);
    }
    let protection = implied(protection);
    let memory = memory()?;
    let mut memory = memory.lock();
    if grows != 0 {
        // From the beginning of the stack that the range is in. No stack grows up.
        let first = memory.areas().first_within(lowest, top).ok_or(Errno::ENOMEM)?;
        if grows == PROT_GROWSUP || !first.grows {
            return Err(Errno::EINVAL);
        }
        lowest = first.lowest;
    }
    if protection & PROT_EXEC != 0 && is_write_or_execute() {
        // What is no code does not become some.
        let mut there = memory.areas().iter();
        let gains = there.any(|area| area.lowest < top && lowest < area.top && !area.access.exec);
        if gains || protection & PROT_WRITE != 0 {
            return Err(Errno::EACCES);
        }
    }
    let rights = Rights {
        read: is_readable(protection),
        access: access(protection),
        is_asked: protection & PROT_READ != 0,
    };
    memory.protect(lowest, top, rights)?;
    Ok(0)
}

/// Whether the caller gave up making code of what it can write.
fn is_write_or_execute() -> bool {
    current().attributes.write_or_execute.load(Ordering::Relaxed) & WRITE_OR_EXECUTE != 0
}

/// Makes a mapping larger or smaller; moves it if it may.
pub(crate) fn mremap(at: u64, old: u64, new: u64, flags: u64, to: u64) -> SysResult {
    let may_move = flags & MREMAP_MAYMOVE != 0;
    let is_fixed = flags & MREMAP_FIXED != 0;
    let leaves_area = flags & MREMAP_DONTUNMAP != 0;
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) != 0
        || (is_fixed || leaves_area) && !may_move
        || leaves_area && old != new
        || !at.is_multiple_of(PAGE)
        || new == 0
    {
        return Err(Errno::EINVAL);
    }
    // Lengths that no address space has are too much for what lies there: that is looked at first.
    let pages = |length: u64| length.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1));
    let (old, new) = (pages(old), pages(new));
    // Where the old place stays, the new one is said as for mmap.
    let near = if leaves_area && !is_fixed { to } else { 0 };
    if is_fixed && to < abi::USER_LOWEST {
        current().limit_memory();
    }
    let how = Move { may: may_move, to: is_fixed.then_some(to), near, leaves_area };
    memory()?.lock().remap(at, old, new, how)
}

/// Has a shared mapping show another part of its file in a range.
fn remap_file_pages(at: u64, length: u64, protection: u64, page: u64) -> SysResult {
    let (lowest, length) = (at & !(PAGE - 1), length & !(PAGE - 1));
    let top = lowest.checked_add(length).filter(|&top| top > lowest && top <= abi::USER_TOP);
    let end = page.checked_add(length / PAGE);
    let (Some(top), Some(end), 0) = (top, end, protection) else { return Err(Errno::EINVAL) };
    if end > MAX_FILE / PAGE {
        return Err(Errno::EOVERFLOW);
    }
    let memory = memory()?;
    let mut memory = memory.lock();
    memory.show_other_part(lowest, top, page * PAGE)?;
    let _as_far_as_it_goes = memory.populate(lowest, top);
    Ok(0)
}

pub(crate) fn brk(wanted: u64) -> SysResult {
    Ok(memory()?.lock().brk(wanted))
}
