//! Frames, and pages of 4 KiB in the boot table.

use crate::{boot::PHYSICAL, lock::Lock};
use core::ops::Range;
use fdt::Fdt;
use riscv::register::satp;

unsafe extern "C" {
    safe static kernel_end: u8;
}

const VALID: u64 = 1;
/// Valid, readable, writable, global, accessed, dirty.
const DATA: u64 = 0xe7;

struct Frames {
    untouched: Range<usize>,
    returned: usize,
}

static FRAMES: Lock<Frames> = Lock::new(Frames { untouched: 0..0, returned: 0 });

fn at<T>(physical: usize) -> *mut T {
    (PHYSICAL + physical) as *mut T
}

/// Memory between the kernel's end and the end of memory, or the device tree.
pub(crate) fn init(tree: usize) {
    // SAFETY: what the firmware gave, mapped by the boot table.
    let fdt = unsafe { Fdt::from_ptr(at::<u8>(tree)) }.expect("the firmware gave no device tree");
    // The linker script adds an offset of whole 4 GiB.
    let kernel = &raw const kernel_end as usize & 0xffff_ffff;
    let memory = fdt.memory();
    let region = memory.regions().next().expect("there is no memory");
    let end = region.starting_address as usize + region.size.unwrap_or(0);
    FRAMES.lock().untouched = kernel..if tree > kernel { end.min(tree) } else { end };
}

fn take() -> Option<usize> {
    let mut frames = FRAMES.lock();
    let frame = if frames.returned != 0 {
        let frame = frames.returned;
        // SAFETY: a free frame holds the next one's address.
        frames.returned = unsafe { at::<usize>(frame).read() };
        frame
    } else if frames.untouched.len() >= 4096 {
        frames.untouched.start += 4096;
        frames.untouched.start - 4096
    } else {
        return None;
    };
    Some(frame)
}

fn give(frame: usize) {
    let mut frames = FRAMES.lock();
    // SAFETY: nothing uses the frame any more.
    unsafe { at::<usize>(frame).write(frames.returned) };
    frames.returned = frame;
}

/// The entry of a page in the lowest table; tables that are not there are made.
fn entry(page: usize) -> Option<*mut u64> {
    // SAFETY: the active table.
    let mut entry = unsafe { at::<u64>(satp::read().ppn() << 12).add(page >> 30 & 511) };
    for shift in [21, 12] {
        // SAFETY: an entry of a table that is there.
        unsafe {
            if *entry & VALID == 0 {
                let table = take()?;
                at::<[u64; 512]>(table).write([0; 512]);
                *entry = (table as u64 >> 2) | VALID;
            }
            entry = at::<u64>((*entry as usize >> 10) << 12).add(page >> shift & 511);
        }
    }
    Some(entry)
}

/// Maps a page to a frame of its own, whose contents are whatever they were. False if there is no
/// memory.
pub fn map(page: usize) -> bool {
    let Some(entry) = entry(page) else { return false };
    let Some(frame) = take() else { return false };
    // SAFETY: the page's entry.
    unsafe { *entry = (frame as u64 >> 2) | DATA };
    riscv::asm::sfence_vma(0, page);
    true
}

/// Unmaps a page and gives its frame back.
pub fn unmap(page: usize) {
    let entry = entry(page).expect("the tables of a mapped page are there");
    // SAFETY: the page's entry.
    let old = unsafe { entry.replace(0) };
    assert!(old & VALID != 0, "nothing is mapped at {page:#x}");
    riscv::asm::sfence_vma(0, page);
    give((old as usize >> 10) << 12);
}
