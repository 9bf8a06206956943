//! Frames and page tables: a list of free frames, and the `x86_64` crate's mapper over all of
//! memory at [`PHYSICAL`].

use crate::sync::Lock;
use core::ops::Range;
use x86_64::structures::paging::mapper::{MapToError, Mapper};
use x86_64::structures::paging::{
    FrameAllocator, FrameDeallocator, OffsetPageTable, Page, PageTable, PageTableFlags, PhysFrame,
    Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr, registers::control::Cr3};

/// Where the first GiB of memory is mapped.
pub const PHYSICAL: u64 = 0xffff_8000_0000_0000;

unsafe extern "C" {
    safe static kernel_end: u8;
}

/// Free frames: those never used, and those given back, each holding the address of the next.
struct Frames {
    untouched: Range<u64>,
    returned: u64,
}

fn at(physical: u64) -> *mut u64 {
    (PHYSICAL + physical) as *mut u64
}

// SAFETY: a frame is given out once until it comes back.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = if self.returned != 0 {
            let frame = self.returned;
            // SAFETY: free frames are mapped and hold the next one's address.
            self.returned = unsafe { at(frame).read() };
            frame
        } else {
            self.untouched.next_if_fits()?
        };
        Some(PhysFrame::containing_address(PhysAddr::new(frame)))
    }
}

trait NextFrame {
    fn next_if_fits(&mut self) -> Option<u64>;
}

impl NextFrame for Range<u64> {
    fn next_if_fits(&mut self) -> Option<u64> {
        let frame = self.start;
        (frame + 4096 <= self.end).then(|| self.start += 4096)?;
        Some(frame)
    }
}

impl FrameDeallocator<Size4KiB> for Frames {
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        let frame = frame.start_address().as_u64();
        // SAFETY: mapped at PHYSICAL, and used by nothing else from here on.
        unsafe { at(frame).write(self.returned) };
        self.returned = frame;
    }
}

struct Memory {
    tables: OffsetPageTable<'static>,
    frames: Frames,
}

static MEMORY: Lock<Option<Memory>> = Lock::new(None);

/// Memory that nothing is in: from the end of the kernel to the end of its region, by the boot
/// loader's map.
pub fn usable(start_info: u64) -> Range<u64> {
    let word = |physical: u64| {
        // SAFETY: the boot loader's tables lie below 1 GiB.
        unsafe { at(physical).cast::<u32>().read_unaligned() }
    };
    assert_eq!(word(start_info), 0x336e_c578, "this is no PVH boot loader's start info");
    let long = |physical| u64::from(word(physical)) | u64::from(word(physical + 4)) << 32;
    let (map, entries) = (long(start_info + 40), word(start_info + 48));
    let end_of_kernel = (&raw const kernel_end) as u64;
    (0..u64::from(entries))
        .map(|n| map + n * 24)
        .map(|entry| (long(entry), long(entry + 8), word(entry + 16)))
        .find(|&(start, size, kind)| kind == 1 && (start..start + size).contains(&end_of_kernel))
        .map(|(start, size, _)| end_of_kernel..(start + size).min(1 << 30))
        .expect("the kernel lies in no usable memory")
}

/// Takes over the boot code's tables and the free frames.
pub(crate) fn init(untouched: Range<u64>) {
    let top = Cr3::read().0.start_address().as_u64();
    // SAFETY: the active top table, which only this module changes.
    let tables = unsafe {
        let table = &mut *at(top).cast::<PageTable>();
        // The identity mapping has served.
        table[0].set_unused();
        OffsetPageTable::new(table, VirtAddr::new(PHYSICAL))
    };
    x86_64::instructions::tlb::flush_all();
    *MEMORY.lock() = Some(Memory { tables, frames: Frames { untouched, returned: 0 } });
}

/// Maps a page to a frame of its own. The frame's contents are whatever they were.
pub fn map(page: VirtAddr) -> Result<(), MapToError<Size4KiB>> {
    let mut memory = MEMORY.lock();
    let Memory { tables, frames } = memory.as_mut().expect("memory is not there yet");
    let frame = frames.allocate_frame().ok_or(MapToError::FrameAllocationFailed)?;
    let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE;
    let page = Page::containing_address(page);
    // SAFETY: the frame is used by nothing else.
    match unsafe { tables.map_to(page, frame, flags, frames) } {
        Ok(flush) => {
            flush.flush();
            Ok(())
        }
        Err(error) => {
            // SAFETY: it is mapped nowhere.
            unsafe { frames.deallocate_frame(frame) };
            Err(error)
        }
    }
}

/// Unmaps a page and gives its frame back.
pub fn unmap(page: VirtAddr) {
    let mut memory = MEMORY.lock();
    let Memory { tables, frames } = memory.as_mut().expect("memory is not there yet");
    let (frame, flush) = tables.unmap(Page::<Size4KiB>::containing_address(page)).unwrap();
    flush.flush();
    // SAFETY: it is mapped nowhere any more.
    unsafe { frames.deallocate_frame(frame) };
}
