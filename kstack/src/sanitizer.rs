//! The kernel address sanitizer, for stacks: a kernel that is compiled with it asks here before
//! each load and store. With the feature `address-sanitizer`, on x86_64, arm64 and riscv64.
//!
//! Each 8 bytes of a stack have a byte of shadow, in memory of its own that is mapped when the
//! stack is. What compiled code writes there says what of a frame may be touched:
//!
//! ```text
//!   a frame, from its highest address                its shadow
//!   | saved registers                  |             00 00
//!   | red zone                         |             f3 f3 f3
//!   | array [u8; 69], from SP + 32     |             00 00 00 00 00 00 00 00 05     69 = 8 * 8 + 5
//!   | red zone, with the frame's name  |  <- SP      f1 f1 f1 f1
//!   |..................................|  below SP nothing is alive, whatever the shadow says
//!
//!   x86_64, riscv64        arm64
//!   0xffff_c900_0000_0000  0xffff_8000_0000_0000  arena      16 pages a slot: bodies are doubled
//!   0xffff_f520_0000_0000  0xffff_ec00_0000_0000  its shadow  2 pages a slot: address / 8 + OFFSET
//! ```
//!
//! | access | told as |
//! | --- | --- |
//! | into a red zone, or past the last byte of an array | [`Cause::OutOfFrame`], with the function whose frame it is |
//! | to a local whose block has ended (f8) | [`Cause::DeadFrame`] |
//! | below SP, on the stack that the code runs on | [`Cause::DeadFrame`]: a function that has returned left its address |
//!
//! The report names the stack, begins where the access is, and is carried out like any other: a
//! thread that can be cut out ends, everything else stops ([`judge_access`]).
//!
//! # What a kernel does
//!
//! 1. It is built, with `core` and `alloc`, by `-Zsanitizer=kernel-address`, everything outlined,
//!    with the shadow at [`OFFSET`] (xtask's `variant` has the flags).
//! 2. When it maps a page of a stack, it maps the page of shadow that belongs to it first, if
//!    [`has_shadow`] says that there is none: at [`shadow_page`], zeroed; then [`add_shadow`].
//! 3. When its stacks are there, it calls [`begin`].
//!
//! A stack that is handed out again has no poison left of its last owner, nor has one whose frames
//! are given up. Before a function that does not return, compiled code says so
//! (`__asan_handle_no_return`): the frames on that stack lose their red zones then.
//!
//! Not watched: memory outside of the arena (the heap, the image, the boot stacks, the direct map);
//! assembly; a dead frame whose place a live one has taken again; stacks of other threads below
//! their SP.

use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::poison::{LOWEST, SCALE, STRIDE_SHIFT, is_watched, shadow_of};
use crate::report;
use crate::target::GEOMETRY;
use kstack_core::addr::Addr;
#[cfg(doc)]
use kstack_core::verdict::judge_access;
use kstack_core::verdict::{Cause, Consequence};

pub use crate::poison::{OFFSET, add_shadow, begin, forget_frames, has_shadow, shadow_page};

/// A local whose block has ended.
const AFTER_SCOPE: u8 = 0xf8;

/// The lowest red zone of a frame, where its name is.
const LEFT: u8 = 0xf1;

/// What compiled code writes into the lowest word of a live frame.
const FRAME_MARK: usize = 0x41b5_8ab3;

/// CPUs that are telling a report, as bits: what they do is not watched.
static mut TELLING: [u8; 256] = [0; 256];

/// Before an access of `size` bytes at `address`, by code at `pc` with this SP and frame pointer.
#[sanitize(kernel_address = "off")]
pub(crate) extern "C" fn check(address: usize, size: usize, sp: usize, fp: usize, pc: usize) {
    if size == 0 || !is_watched(address) {
        return;
    }
    // SAFETY: (1) plain words.
    let first = unsafe { LOWEST };
    let on_this_stack = (address - first) >> STRIDE_SHIFT == (sp - first) >> STRIDE_SHIFT;
    if on_this_stack && address < sp {
        return tell(address, sp, [fp, pc], true);
    }
    // The shadow of each 8 bytes that are touched: 0, or how many of them may be, from the lowest.
    let last = address + size - 1;
    let mut at = address & !((1 << SCALE) - 1);
    while at <= last {
        if !is_watched(at) {
            return;
        }
        // SAFETY: (1) shadow that is mapped.
        let shadow = unsafe { *(shadow_of(at) as *const u8) };
        let end = if last < at + 7 { last - at } else { 7 };
        if shadow != 0 && (shadow >= 0x80 || end >= shadow as usize) {
            return tell(address, sp, [fp, pc], shadow == AFTER_SCOPE);
        }
        at += 1 << SCALE;
    }
}

/// The function whose frame an address is in: found in the frame's lowest words, below the address.
#[sanitize(kernel_address = "off")]
fn frame_of(address: usize) -> usize {
    let mut at = address & !((1 << SCALE) - 1);
    // No frame is wider than a body.
    let lowest = at - GEOMETRY.body().get();
    while at > lowest && is_watched(at) {
        // SAFETY: (1) shadow that is mapped, and words of a stack that is.
        unsafe {
            if *(shadow_of(at) as *const u8) == LEFT && *(at as *const usize) == FRAME_MARK {
                return *((at + 2 * size_of::<usize>()) as *const usize);
            }
        }
        at -= 1 << SCALE;
    }
    0
}

/// Tells of a bad access, unless this CPU is telling one: by code with this SP, frame pointer and
/// PC.
#[sanitize(kernel_address = "off")]
#[cold]
#[inline(never)]
fn tell(address: usize, sp: usize, at: [usize; 2], is_dead: bool) {
    // SAFETY: (1) a CPU touches its own byte; the index is cut to the table.
    let telling = unsafe {
        let cpu = CpuLocal::this().cpu().get() as usize & 255;
        ((&raw mut TELLING) as usize + cpu) as *mut u8
    };
    // SAFETY: (1) likewise.
    unsafe {
        if *telling != 0 {
            return;
        }
        *telling = 1;
    }
    let frame = if is_dead { 0 } else { frame_of(address) };
    tell_watched(telling, address, sp, at, frame, is_dead);
}

#[inline(never)]
fn tell_watched(
    telling: *mut u8,
    address: usize,
    sp: usize,
    at: [usize; 2],
    frame: usize,
    is_dead: bool,
) {
    // SAFETY: (1) in the kernel; (2) they are turned on again where the thread ends, if ever.
    let were_on = unsafe { crate::arch::current::interrupts::off() };
    let cause = if is_dead { Cause::DeadFrame } else { Cause::OutOfFrame };
    let found = report::bad_access(
        cause,
        Addr::new(address),
        Addr::new(frame),
        at,
        Addr::new(sp),
        !were_on,
    );
    let Some(report) = found else {
        panic!("a bad access to {address:#x}, which is on no known stack, at {sp:#x}")
    };
    if report.verdict.consequence == Consequence::EndThread {
        // SAFETY: (1) this CPU's own byte.
        unsafe { telling.write(0) };
        report::end_running_thread(report)
    }
    (hooks().stop)(report)
}
