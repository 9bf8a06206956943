//! Where the kernel's memory lies, physically, and which of it stacks are mapped to.

use crate::arch::paging;
use crate::memory::frames::{self, FRAME_BYTES};
use crate::memory::{ARENA, DIRECT_MAP, IMAGE};
use kstack::addr::Addr;
use kstack::dma::Memory;
use kstack::{elsewhere, registry};

unsafe extern "C" {
    static text_lowest: u8;
    static data_top: u8;
}

/// The kernel's memory, as the library asks about it.
#[derive(Debug, Clone, Copy)]
pub struct Physical;

/// Of what is mapped in one piece: the image, and what the direct map shows of memory.
fn linear(addr: u64) -> Option<u64> {
    let image = (&raw const text_lowest) as u64..(&raw const data_top) as u64;
    if image.contains(&addr) {
        return Some(addr - IMAGE);
    }
    let physical = addr.checked_sub(DIRECT_MAP)?;
    // Devices and holes are there too, or nothing is.
    let is_shown = frames::is_memory(physical) && paging::kernel_is_mapped(addr);
    is_shown.then_some(physical)
}

/// Of what is mapped page by page: the arena.
fn by_page(addr: u64) -> Option<u64> {
    paging::kernel_frame(addr).map(|frame| frame.addr() + addr % FRAME_BYTES)
}

fn is_in_arena(addr: Addr) -> bool {
    registry::get().is_some_and(|registry| registry.arena().range().contains(addr))
}

// SAFETY: (1) the image lies at its address less `IMAGE`, memory at its address less the direct
// map's, and the rest the page tables say; (2) the arena's frames are marked when they are mapped,
// and stacks elsewhere are declared: their memory is compared.
unsafe impl Memory for Physical {
    fn physical(addr: Addr) -> Option<u64> {
        const _: () = assert!(ARENA != DIRECT_MAP && ARENA != IMAGE);
        if is_in_arena(addr) {
            return by_page(addr.get() as u64);
        }
        linear(addr.get() as u64)
    }

    fn is_of_a_stack(physical: u64) -> bool {
        frames::is_of_a_stack(physical)
            || elsewhere::all().any(|stack| {
                let bytes = stack.range.size().get() as u64;
                let lowest = Self::physical(stack.range.lowest);
                lowest.is_some_and(|lowest| physical.wrapping_sub(lowest) < bytes)
            })
    }
}
