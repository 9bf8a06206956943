//! The shadow of stacks, and what compiled code writes there: the part of [`crate::sanitizer`]
//! that the pool and the reports stand on. What is here calls no function that is watched.

use crate::arch::current::this_cpu::fill;
use crate::target::GEOMETRY;
use kstack_core::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack_core::arena::Arena;

/// What is added to an eighth of an address: the compiler's `-asan-mapping-offset`.
pub const OFFSET: usize = 0xdfff_fc00_0000_0000;

/// Bytes that a byte of shadow stands for, as a power of two.
pub(crate) const SCALE: u32 = 3;
/// Bytes of a stack that a page of shadow stands for.
const SPAN: usize = PAGE_BYTES << SCALE;
/// Enough for 65,536 slots.
const MAX_PAGES: usize = (1 << 16) * GEOMETRY.stride().get() / SPAN + 1;

pub(crate) const STRIDE_SHIFT: u32 = GEOMETRY.stride().get().trailing_zeros();
const _: () = assert!(GEOMETRY.stride().get().is_power_of_two());

// Plain words, which functions that are not instrumented read without a call of one that is.
pub(crate) static mut LOWEST: usize = 0;
static mut TOP: usize = 0;
/// Which pages of shadow are mapped: a byte each, by the address they stand for.
static mut PAGES: [u8; MAX_PAGES] = [0; MAX_PAGES];
/// The arena is watched from now on. Once, at boot, by the only CPU.
///
/// # Safety
///
/// 1. Nothing else calls this, or [`add_shadow`], at the same time.
pub unsafe fn begin(arena: &Arena) {
    let range = arena.range();
    assert!(range.size().get() <= (MAX_PAGES - 1) * SPAN, "an arena too large for its shadow");
    // SAFETY: (1) by the caller's promise; no check reads them before the second is there.
    unsafe {
        (&raw mut LOWEST).write(range.lowest.get());
        (&raw mut TOP).write(range.top.get());
    }
}

/// The page of shadow for the page `page` of a stack.
pub const fn shadow_page(page: Addr) -> Addr {
    Addr::new((shadow_of(page.get())) & !(PAGE_BYTES - 1))
}

#[inline(always)]
pub(crate) const fn shadow_of(address: usize) -> usize {
    (address >> SCALE).wrapping_add(OFFSET)
}

/// The place in [`PAGES`] of the shadow of `address`, counted from a multiple of [`SPAN`].
#[sanitize(kernel_address = "off")]
#[inline]
fn place(address: usize) -> *mut u8 {
    // SAFETY: (1) plain words; `address` is in the arena, by those that call this.
    unsafe {
        let first = LOWEST & !(SPAN - 1);
        ((&raw mut PAGES) as usize + (address - first) / SPAN) as *mut u8
    }
}

/// Whether the page of a stack at `page` has shadow.
pub fn has_shadow(page: Addr) -> bool {
    is_watched(page.get())
}

/// The shadow of `page`, and of its neighbours in the same page of shadow, is mapped, and zero.
///
/// # Safety
///
/// 1. A page of zeros is mapped, writable, at [`shadow_page`] of `page`, for good, on every CPU;
///    `page` is in the arena that [`begin`] was given.
/// 2. Nothing else calls this at the same time.
pub unsafe fn add_shadow(page: Addr) {
    // SAFETY: (1) by the caller's promise.
    unsafe { *place(page.get()) = 1 };
}

/// Whether an address is in the arena and its shadow is there.
#[sanitize(kernel_address = "off")]
#[inline]
pub(crate) fn is_watched(address: usize) -> bool {
    // SAFETY: (1) plain words, and a byte of a table that is as long as the arena.
    unsafe { address >= LOWEST && address < TOP && *place(address) != 0 }
}

/// All of a stack may be touched: its frames are given up, or it is another owner's now.
#[sanitize(kernel_address = "off")]
#[inline(never)]
pub fn forget_frames(stack: AddrRange) {
    let (mut at, top) = (stack.lowest.get(), stack.top.get());
    while at < top {
        let next = if at / SPAN == top / SPAN { top } else { (at / SPAN + 1) * SPAN };
        if is_watched(at) {
            fill(shadow_of(at), (next - at) >> SCALE, 0);
        }
        at = next;
    }
}

/// What compiled code has for a frame's shadow.
#[sanitize(kernel_address = "off")]
pub(crate) extern "C" fn set_shadow(shadow: usize, bytes: usize, value: usize) {
    let address = (shadow - OFFSET) << SCALE;
    // The shift has lost the highest bits: those of every address of the kernel are set.
    let address = address | !(usize::MAX >> SCALE);
    if bytes != 0 && is_watched(address) && is_watched(address + (bytes << SCALE) - 1) {
        fill(shadow, bytes, value);
    }
}

/// The frames on the stack that SP is on are given up, or may be.
#[sanitize(kernel_address = "off")]
pub(crate) extern "C" fn no_return(sp: usize) {
    if is_watched(sp) {
        // SAFETY: (1) plain words.
        let first = unsafe { LOWEST };
        let slot = first + (((sp - first) >> STRIDE_SHIFT) << STRIDE_SHIFT);
        let top = Addr::new(slot + (1 << STRIDE_SHIFT));
        forget_frames(AddrRange { lowest: Addr::new(slot), top });
    }
}
