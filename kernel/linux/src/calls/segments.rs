//! modify_ldt: segments that a program describes itself, on machines that have some
//! (arch/x86/kernel/ldt.c). Which processor sees what is `machine`'s.

use super::table::calls;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::memory::space::Memory;
use crate::process::current;
use crate::process::user_memory::{get_numbers, put, write_zeros};
use alloc::vec::Vec;
use machine::arch::extras::{Description, LocalSegments, MOST, Segment};
use machine::memory::fallible;
use threads::sched::Thread;

calls! {
    "modify_ldt" (function, at, bytes) => Ok(as_int(modify(function as u32, at, bytes)));
}

/// The result as an `int`, which is what the call returns: an error is no error to who takes all of
/// the register.
fn as_int(result: SysResult) -> u64 {
    u64::from(result.unwrap_or_else(Errno::as_result) as u32)
}

const SEGMENT_BYTES: u64 = size_of::<u64>() as u64;
/// Bytes of a `struct user_desc`.
const DESCRIPTION_BYTES: u64 = 16;

fn modify(function: u32, at: u64, bytes: u64) -> SysResult {
    const READ: u32 = 0;
    const WRITE_OLD: u32 = 1;
    const READ_DEFAULT: u32 = 2;
    const WRITE: u32 = 0x11;
    match function {
        READ => read(at, bytes),
        READ_DEFAULT => {
            // Five segments, or on 64-bit machines 16.
            let most = if cfg!(target_pointer_width = "64") { 128 } else { 40 };
            let bytes = bytes.min(most);
            write_zeros(at, bytes)?;
            Ok(bytes)
        }
        WRITE_OLD | WRITE => write(at, bytes, function == WRITE_OLD),
        _ => Err(Errno::ENOSYS),
    }
}

/// All segments, and zeros behind them.
fn read(at: u64, bytes: u64) -> SysResult {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let segments = memory.lock().segments.clone();
    let Some(segments) = segments else { return Ok(0) };
    let bytes = bytes.min(MOST as u64 * SEGMENT_BYTES);
    let segments = segments.copy(0)?;
    let mut piece = [0; 32 * SEGMENT_BYTES as usize];
    let mut done = 0;
    let mut numbers = segments.iter().map(|segment| segment.bits());
    while done < bytes {
        for place in piece.chunks_exact_mut(SEGMENT_BYTES as usize) {
            place.copy_from_slice(&numbers.next().unwrap_or(0).to_le_bytes());
        }
        let length = (bytes - done).min(piece.len() as u64);
        put(at.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..length as usize])?;
        done += length;
    }
    Ok(bytes)
}

/// Flags of a `struct user_desc`.
mod flag {
    pub(super) const IS_32_BIT: u32 = 1;
    pub(super) const CONTENTS: u32 = 1;
    pub(super) const RESTRICTED: u32 = 1 << 3;
    pub(super) const IN_PAGES: u32 = 1 << 4;
    pub(super) const NOT_PRESENT: u32 = 1 << 5;
    pub(super) const AVAILABLE: u32 = 1 << 6;
    /// 64-bit code, which no segment can be: only "nothing at all" may not have it.
    pub(super) const IS_64_BIT: u32 = 1 << 7;
    pub(super) const ALL: u32 = 0x7f;
}

fn write(at: u64, bytes: u64, is_old: bool) -> SysResult {
    const CONFORMING: u8 = 3;
    if bytes != DESCRIPTION_BYTES {
        return Err(Errno::EINVAL);
    }
    let [number, base, limit, flags] =
        get_numbers::<4>(at, WordSize::Four)?.map(|number| number as u32);
    let number = number as usize;
    let contents = (flags >> flag::CONTENTS & 3) as u8;
    let is_present = flags & flag::NOT_PRESENT == 0;
    if number >= MOST || contents == CONFORMING && (is_old || is_present) {
        return Err(Errno::EINVAL);
    }
    let of_64 = if cfg!(target_pointer_width = "64") { flag::IS_64_BIT } else { 0 };
    let is_nothing = (base, limit) == (0, 0);
    let is_empty = flags & (flag::ALL | of_64) == flag::RESTRICTED | flag::NOT_PRESENT;
    let segment = if is_nothing && (is_old || is_empty) {
        Segment::NONE
    } else {
        let description = Description {
            base,
            limit,
            in_pages: flags & flag::IN_PAGES != 0,
            is_32_bit: flags & flag::IS_32_BIT != 0,
            contents,
            is_restricted: flags & flag::RESTRICTED != 0,
            is_present,
            is_available: !is_old && flags & flag::AVAILABLE != 0,
        };
        // Half of a stack pointer of the kernel's would be the program's after each return path.
        if !description.is_32_bit && description.contents < 2 && !description.is_restricted {
            return Err(Errno::EINVAL);
        }
        Segment::new(description)
    };
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    set(&mut memory.lock(), number, segment)?;
    Ok(0)
}

fn set(memory: &mut Memory, number: usize, segment: Segment) -> Result<(), Errno> {
    if let Some(own) = &memory.segments {
        let mut segments = own.copy(number + 1)?;
        segments[number] = segment;
        return Ok(own.replace(segments)?);
    }
    let mut segments = Vec::new();
    segments.try_reserve_exact(number + 1).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: there is room for all.
    segments.resize(number, Segment::NONE);
    fallible::push(&mut segments, segment)?;
    let own = LocalSegments::new(segments)?;
    Thread::give_segments_to_all(memory.tables_root(), &own)?;
    memory.segments = Some(own);
    Ok(())
}
