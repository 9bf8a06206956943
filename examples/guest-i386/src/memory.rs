//! Pages of 4 KiB in two levels, and the frames from 16 to 32 MiB.

use crate::cell::OneCpu;
use core::arch::asm;

/// Where memory from address 0 on is mapped.
const DIRECT: usize = 0xc000_0000;
const PAGE: usize = 4096;
const PRESENT_WRITABLE: u32 = 3;
const LAST: usize = 32 << 20;

struct Frames {
    /// From here on no frame was ever used.
    next: usize,
    /// The frame that came back last; its first word says which one came back before it.
    returned: usize,
}

static FRAMES: OneCpu<Frames> = OneCpu::new(Frames { next: 16 << 20, returned: 0 });

unsafe extern "C" {
    static page_directory: u8;
}

fn direct(physical: usize) -> *mut u32 {
    (physical + DIRECT) as *mut u32
}

/// A frame of zeros.
fn frame() -> Option<usize> {
    let frame = FRAMES.with(|frames| match frames.returned {
        0 if frames.next == LAST => None,
        0 => {
            frames.next += PAGE;
            Some(frames.next - PAGE)
        }
        returned => {
            // SAFETY: a frame of ours.
            frames.returned = unsafe { direct(returned).read() } as usize;
            Some(returned)
        }
    })?;
    // SAFETY: a frame that nothing else uses.
    unsafe { direct(frame).cast::<u8>().write_bytes(0, PAGE) };
    Some(frame)
}

/// The entry of a page; its table is made if there is none.
fn entry(page: usize) -> Option<*mut u32> {
    let directory = direct(&raw const page_directory as usize);
    // SAFETY: the directory has 1024 entries, and so has each table.
    unsafe {
        let table = directory.add(page >> 22);
        if *table & 1 == 0 {
            *table = frame()? as u32 | PRESENT_WRITABLE;
        }
        Some(direct(*table as usize & !(PAGE - 1)).add(page >> 12 & 1023))
    }
}

/// Maps a frame of zeros at a page. `None` if there is no memory.
pub fn map(page: usize) -> Option<()> {
    let entry = entry(page)?;
    // SAFETY: an entry of a table of ours.
    unsafe { *entry = frame()? as u32 | PRESENT_WRITABLE };
    Some(())
}

/// Unmaps a page of [`map`].
pub fn unmap(page: usize) {
    let entry = entry(page).expect("its table is there");
    // SAFETY: an entry of a table of ours; its frame, which nothing uses any more.
    unsafe {
        let frame = *entry as usize & !(PAGE - 1);
        *entry = 0;
        asm!("invlpg [{}]", in(reg) page, options(nostack, preserves_flags));
        FRAMES.with(|frames| {
            direct(frame).write(frames.returned as u32);
            frames.returned = frame;
        });
    }
}
