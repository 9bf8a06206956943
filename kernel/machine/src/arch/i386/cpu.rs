//! Single instructions, as functions.

use crate::arch::pc::cpu::FPU_BYTES;
use core::arch::asm;
use core::sync::atomic::Ordering;
use kstack::addr::AddrRange;
use kstack::arch::current::tables::CpuTables;
use kstack::interrupts::InterruptsOff;

pub use crate::arch::any::cpu::{
    interrupts_are_on, interrupts_off, interrupts_on, without_interrupts,
};
pub use crate::arch::pc::cpu::{
    cycles, flush_all, flush_page, flush_pages, halt, wait_for_interrupt,
};

/// Leaves the stack this runs on for good, and continues at the top of another.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the caller's, empty; (2) nothing on the old stack is used again; (3) a zero frame
    // pointer is the outermost marker, and the call leaves SP as the ABI wants it.
    unsafe {
        asm!(
            "mov esp, {top}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// Loads the page tables whose root is at this physical address, below 4 GiB. Interrupts are off:
/// the CPU whose task state segments get the root is the one whose register does.
///
/// # Safety
///
/// 1. The tables map the kernel as all others do, and stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64, _off: &InterruptsOff) {
    let tables = crate::cpus::this().arch.tables.load(Ordering::Relaxed);
    if !tables.is_null() {
        // SAFETY: (1) this CPU's tables, with interrupts off; (2) both by the caller's promise.
        unsafe { CpuTables::set_page_tables(tables, root as u32) };
    }
    // SAFETY: (1) by the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root as u32, options(nostack, preserves_flags)) };
}

/// Fills a page with zeros, 16 bytes a store: about 280 instructions, where `rep stosd` counts 1024
/// iterations.
///
/// It borrows xmm0, which belongs to the running program: saved and put back.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes, a multiple of 16.
/// 2. Interrupts are off: a thread without a floating-point area that was preempted here would come
///    back to another thread's xmm0.
#[inline]
pub unsafe fn zero_page(page: *mut u8) {
    // SAFETY: (1) (2) by the caller's promise; (3) xmm0 ends up as it was; SSE is on since boot.
    unsafe {
        asm!(
            "sub esp, 16",
            "movups [esp], xmm0",
            "xorps xmm0, xmm0",
            "2:",
            ".irp half, 0, 16",
            ".irp place, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "movaps [{top} + {left} + (\\half + \\place) * {one}], xmm0",
            ".endr",
            ".endr",
            "add {left}, 32 * {one}",
            "jnz 2b",
            "movups xmm0, [esp]",
            "add esp, 16",
            one = const 16,
            left = inout(reg) -4096_isize => _,
            top = in(reg) page.wrapping_add(4096),
        );
    }
}

/// Stores the floating-point registers.
///
/// # Safety
///
/// 1. The area is the caller's to write, and 16-aligned.
#[inline(always)]
pub(in crate::arch) unsafe fn save_fpu(area: *mut [u8; FPU_BYTES]) {
    // SAFETY: (1) by the caller's promise.
    unsafe { asm!("fxsave [{}]", in(reg) area, options(nostack, preserves_flags)) };
}

/// Loads the floating-point registers.
///
/// # Safety
///
/// 1. The area is 16-aligned, and as [`save_fpu`] makes one: no reserved bit is set.
/// 2. The registers are not in use.
#[inline(always)]
pub(in crate::arch) unsafe fn load_fpu(area: *const [u8; FPU_BYTES]) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe { asm!("fxrstor [{}]", in(reg) area, options(nostack, preserves_flags)) };
}

/// Stores the registers of all states, each whether it changed or not.
///
/// # Safety
///
/// 1. The area is the caller's to write, as large as XCR0 wants it, and 64-aligned; the last 56
///    bytes of its header are zero.
/// 2. CR4.OSXSAVE is set.
#[inline(always)]
pub(in crate::arch) unsafe fn xsave(area: *mut u8) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!("xsave [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
             options(nostack, preserves_flags));
    }
}

/// Stores the registers of the states that are in use and may have changed since the last
/// [`xrstor`] from this area.
///
/// # Safety
///
/// As for [`xsave`]; the CPU has the instruction.
#[inline(always)]
pub(in crate::arch) unsafe fn xsaveopt(area: *mut u8) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!("xsaveopt [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
             options(nostack, preserves_flags));
    }
}

/// Loads the registers of all states.
///
/// # Safety
///
/// 1. The area is 64-aligned, and as [`xsave`] makes one: no reserved bit is set.
/// 2. The registers are not in use.
#[inline(always)]
pub(in crate::arch) unsafe fn xrstor(area: *const u8) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!("xrstor [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
             options(nostack, preserves_flags));
    }
}

/// What a program loads into segment registers: every entry saves it, so that there is nothing left
/// to switch.
pub(in crate::arch) type Selectors = ();

/// Stores nothing.
///
/// # Safety
///
/// None: there is nothing to store.
#[inline(always)]
pub(in crate::arch) unsafe fn save_selectors(_to: *mut Selectors) {}

/// Loads nothing.
///
/// # Safety
///
/// None: there is nothing to load.
#[inline(always)]
pub(in crate::arch) unsafe fn load_selectors(_from: *const Selectors) {}

/// Every return to user mode loads all data segments: see `segments`.
pub(in crate::arch) fn reload_local_data() {}

/// The stack pointer, here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: (1) reading ESP has no effect.
    unsafe { asm!("mov {}, esp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading EBP has no effect.
    unsafe { asm!("mov {}, ebp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}
