//! Frames, never given out twice unless they came back; pages of 4 KiB below the boot code's top
//! table. One CPU, no lock: nothing here is called in an interrupt.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where physical addresses are mapped.
pub const OFFSET: usize = 0xffff_0000_0000_0000;
/// The end of memory: 128 MiB.
const END: usize = 0x4800_0000;

unsafe extern "C" {
    safe static kernel_end: u8;
}

static NEVER_USED: AtomicUsize = AtomicUsize::new(0);
static RETURNED: AtomicUsize = AtomicUsize::new(0);

fn take() -> Option<usize> {
    let frame = match RETURNED.load(Relaxed) {
        0 => NEVER_USED.fetch_add(4096, Relaxed) + (&raw const kernel_end as usize - OFFSET),
        frame => {
            // SAFETY: a free frame holds the next one's address.
            RETURNED.store(unsafe { *((OFFSET + frame) as *const usize) }, Relaxed);
            frame
        }
    };
    (frame < END).then_some(frame)
}

/// The entry of a page; tables on the way are made.
fn entry(page: usize) -> Option<*mut usize> {
    let mut table: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, ttbr1_el1", out(reg) table) };
    for shift in [39, 30, 21] {
        let entry = ((OFFSET + table) as *mut usize).wrapping_add(page >> shift & 511);
        // SAFETY: a table, which is mapped at OFFSET.
        unsafe {
            if *entry == 0 {
                let new = take()?;
                ((OFFSET + new) as *mut [usize; 512]).write([0; 512]);
                *entry = new | 3;
            }
            table = *entry & 0x0000_ffff_ffff_f000;
        }
    }
    Some(((OFFSET + table) as *mut usize).wrapping_add(page >> 12 & 511))
}

/// Maps a page to a frame of its own. False where there is no memory.
pub fn map(page: usize) -> bool {
    let Some((entry, frame)) = entry(page).zip(take()) else { return false };
    // SAFETY: the page's entry: normal memory, writable, never executed.
    unsafe {
        *entry = frame | 0x0060_0000_0000_0703;
        asm!("dsb ishst", "isb");
    }
    true
}

/// Unmaps a page and gives its frame back.
pub fn unmap(page: usize) {
    let entry = entry(page).expect("the tables of a mapped page are there");
    // SAFETY: the page was mapped, so its tables are there; nothing reaches the frame after the
    // invalidation.
    unsafe {
        let frame = entry.replace(0) & 0x0000_ffff_ffff_f000;
        asm!("dsb ishst", "tlbi vaae1is, {}", "dsb ish", "isb", in(reg) page >> 12 & 0xfff_ffff_ffff);
        *((OFFSET + frame) as *mut usize) = RETURNED.swap(frame, Relaxed);
    }
}
