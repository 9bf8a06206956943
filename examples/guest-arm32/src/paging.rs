//! Frames, never given out twice unless they came back; small pages of short descriptors above 2
//! GiB. One CPU, no lock: nothing here is called in an interrupt.

use crate::boot::LEVEL1;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The end of memory: 128 MiB.
const END: usize = 0x4800_0000;

unsafe extern "C" {
    safe static kernel_end: u8;
}

static NEVER_USED: AtomicUsize = AtomicUsize::new(0);
static RETURNED: AtomicUsize = AtomicUsize::new(0);

fn take() -> Option<usize> {
    let frame = match RETURNED.load(Relaxed) {
        0 => NEVER_USED.fetch_add(4096, Relaxed) + &raw const kernel_end as usize,
        frame => {
            // SAFETY: a free frame holds the next one's address.
            RETURNED.store(unsafe { *(frame as *const usize) }, Relaxed);
            frame
        }
    };
    (frame < END).then_some(frame)
}

/// The entry of a page; a table on the way is made, in a frame of its own.
fn entry(page: usize) -> Option<*mut u32> {
    let section = LEVEL1.0.get().cast::<u32>().wrapping_add(page >> 20);
    // SAFETY: the table's entry, and a table that is mapped where it is.
    unsafe {
        if *section == 0 {
            let new = take()?;
            (new as *mut [u32; 1024]).write([0; 1024]);
            *section = new as u32 | 1;
        }
        Some(((*section & !0x3ff) as *mut u32).wrapping_add(page >> 12 & 0xff))
    }
}

/// Maps a page to a frame of its own. Nothing where there is no memory.
pub fn map(page: usize) -> Option<()> {
    let (entry, frame) = entry(page).zip(take())?;
    // SAFETY: the page's entry: normal memory, writable for the kernel alone, never executed.
    unsafe {
        *entry = frame as u32 | 0x45f;
        asm!("dsb ishst", "isb");
    }
    Some(())
}

/// Unmaps a page and gives its frame back.
pub fn unmap(page: usize) {
    let entry = entry(page).expect("the table of a mapped page is there");
    // SAFETY: the page was mapped; nothing reaches the frame after the invalidation.
    unsafe {
        let frame = (entry.replace(0) & !0xfff) as usize;
        asm!("dsb ishst", "mcr p15, 0, {}, c8, c7, 3", "dsb ish", "isb", in(reg) page);
        *(frame as *mut usize) = RETURNED.swap(frame, Relaxed);
    }
}
